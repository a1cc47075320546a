//! How a run is begun, bounded and reported.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate::Admin;

use super::faults::Fault;
use super::gateway::{Gateway, Parts};
use super::{Files, admin, run, sms_gateway, start};
use crate::common;

#[test]
fn without_an_api_of_its_own_it_tells_what_can_be_told() {
    let policy = sms_gateway();
    let faults = [
        (Fault::None, None),
        (Fault::RetryExecuted, Some("retry-is-replayed-not-executed")),
        (Fault::DuplicatesExecuted, Some("concurrent-duplicates-one-execution")),
    ];
    for (fault, name) in faults {
        let gateway = Gateway::start(policy.config.clone(), fault).with_api();
        let files = Files::new();
        let secret = files.write("secret", admin::ADMIN_TOKEN);
        let admin = format!("http://{}", gateway.admin);
        // A minute's requests would take long, one after the other.
        let args = [
            "--skip",
            "limit-is-enforced",
            "--admin",
            &admin,
            "--admin-token-file",
            &secret,
            "--json",
        ];
        let ran = start(&gateway, &policy, &args);
        let failed = ran.names("failed");
        assert_eq!(failed, name.into_iter().collect(), "{fault:?} {:#?}", ran.findings());
        assert!(ran.names("not_run").contains("executions-match-decisions"));
    }
}

#[test]
fn people_read_what_differs_and_how_to_see_it() {
    let policy = sms_gateway();
    let gateway = Gateway::start(policy.config.clone(), Fault::CaseSensitiveScheme).with_api();
    let files = Files::new();
    let secret = files.write("secret", admin::ADMIN_TOKEN);
    let admin = format!("http://{}", gateway.admin);
    let args = ["--admin", &admin, "--admin-token-file", &secret];
    let ran = start(&gateway, &policy, &args);
    assert_eq!(ran.code, 1);
    for part in [
        "at most 3000 times",
        "named verify-",
        "passed   missing-token-is-401",
        "FAILED   scheme-is-case-insensitive",
        "RFC 9110, section 11.1",
        "documented  the request is let through",
        "came        401 {\"message\":",
        "-H \"Authorization: bearer $TOKEN\"",
        "1 failed",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    ran.tells_no_secret(&gateway);
}

#[test]
fn what_an_operator_made_by_hand_is_enough_for_most() {
    let policy = sms_gateway();
    let gateway = Gateway::start(policy.config.clone(), Fault::None);
    let files = Files::new();
    let text = serde_json::to_string(&policy.config).unwrap();
    let policy_file = files.write("policy.json", &text);
    let requests = files.write("requests.json", &policy.requests.to_string());
    let needs = ["verify", "--needs", "--policy", &policy_file, "--requests", &requests];
    let needs = common::run(&needs, b"").json();
    let mut tokens = serde_json::Map::new();
    for (index, need) in needs["accounts"].as_array().unwrap().iter().enumerate() {
        let (id, name) = (format!("by-hand-{index}"), need["name"].as_str().unwrap());
        admin::account(&gateway.parts, &id, &need["account"]).unwrap();
        let text = tollgate::TokenText::generate(&[u8::try_from(index).unwrap(); 32]);
        let mut token = need["token"].clone();
        token["token"] = json!(text.expose());
        admin::token(&gateway.parts, &id, &token).unwrap();
        tokens.insert(name.to_owned(), json!(text.expose()));
    }
    let tokens = files.write("tokens.json", &json!({ "tokens": tokens }).to_string());
    let args = ["--tokens", &tokens, "--upstream", "127.0.0.1:0", "--json"];
    let ran = start(&gateway, &policy, &args);
    assert_eq!(ran.names("failed"), BTreeSet::new(), "{:#?}", ran.findings());
    let not_run = BTreeSet::from([
        "denial-keeps-no-key",
        "required-key-is-422",
        "revoked-at-once",
        "vectors",
    ]);
    assert_eq!(ran.names("not_run"), not_run);
    ran.tells_no_secret(&gateway);
}

/// Answers steps as a program would, for one connection.
fn answer_steps(listener: &TcpListener, parts: &Parts) {
    let (stream, _) = listener.accept().unwrap();
    let mut writer = stream.try_clone().unwrap();
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let step: Value = serde_json::from_str(&line).unwrap();
        let id = || step["account"].as_str().unwrap();
        let now_ms = 1_900_000_000_000;
        let done = match step["op"].as_str().unwrap() {
            "account" => admin::account(parts, step["id"].as_str().unwrap(), &step),
            "token" => admin::token(parts, id(), &step),
            "deposit" => {
                let account = tollgate::AccountId::new(id()).unwrap();
                let amount = tollgate::Amount(step["amount"].as_u64().unwrap());
                Admin::new(&*parts.store).deposit(&account, amount, now_ms).map(|()| json!({}))
            }
            "revoke" => {
                let text = step["token"].as_str().unwrap();
                let token = tollgate::TokenText::parse(parts.config.tokens.format, text).unwrap();
                let digest = parts.live.load().digest(&token);
                Admin::new(&*parts.store).revoke_token(&digest, now_ms).map(|()| json!({}))
            }
            other => panic!("{other}"),
        };
        writeln!(writer, "{}", done.unwrap()).unwrap();
    }
}

#[test]
fn a_program_makes_accounts_and_tokens() {
    let policy = sms_gateway();
    let gateway = Gateway::start(policy.config.clone(), Fault::None);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let parts = Arc::clone(&gateway.parts);
    let steps = std::thread::spawn(move || answer_steps(&listener, &parts));
    let command = format!(
        "exec bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}; \
         while read -r line; do printf \"%s\\n\" \"$line\" >&3; read -r line <&3; printf \"%s\\n\" \"$line\"; done'"
    );
    let args = ["--provision", &command, "--upstream", "127.0.0.1:0", "--json"];
    let ran = start(&gateway, &policy, &args);
    assert_eq!(ran.names("failed"), BTreeSet::new(), "{:#?}", ran.findings());
    assert_eq!(ran.names("not_run"), BTreeSet::from(["required-key-is-422", "vectors"]));
    steps.join().unwrap();
}

#[test]
fn a_program_that_fails_or_says_nothing_ends_the_run() {
    let policy = sms_gateway();
    for (command, why) in [
        ("read line; echo '{\"error\": \"no more accounts\"}'", "no more accounts"),
        ("read line; echo what", "not a line of JSON"),
        ("true", "--provision"),
        ("exec sleep 30", "no answer within"),
    ] {
        let gateway = Gateway::start(policy.config.clone(), Fault::None).with_api();
        let args = ["--provision", command, "--timeout-ms", "2000", "--json"];
        let ran = start(&gateway, &policy, &args);
        assert_eq!(ran.code, 2, "{command}: {}", ran.said);
        assert!(ran.said.contains(why), "{command}: {}", ran.said);
    }
}

/// A server that does the same with every connection, until the test ends.
fn server(answer: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap());
        }
    });
    address
}

#[test]
fn a_gateway_that_hangs_or_talks_nonsense_is_a_finding() {
    let kept = std::sync::Mutex::new(Vec::new());
    let hangs = server(move |stream| kept.lock().unwrap().push(stream));
    let nonsense = server(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"220 smtp ready\r\n\r\n\x00\xff");
    });
    let breaks_off = server(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    });
    let endless = server(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x1_0000], b"\r\n"].concat();
        let mut go_on = stream.write_all(head).is_ok();
        while go_on {
            go_on = stream.write_all(&chunk).is_ok();
        }
    });
    for (address, what) in [
        (hangs, "no answer within"),
        (nonsense, "no HTTP answer"),
        (breaks_off, "cannot be read"),
        (endless, "cannot be read"),
    ] {
        let url = format!("http://{address}");
        let args = ["verify", &url, "--preset", "sms-gateway", "--timeout-ms", "1000", "--json"];
        let mut child = common::tollgate();
        child.args(args).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = child.spawn().unwrap();
        // A run that hangs is ended here, and fails below.
        let began = Instant::now();
        let bound = Duration::from_secs(60);
        while child.try_wait().unwrap().is_none() && began.elapsed() < bound {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = report["checks"].as_array().unwrap();
        let failed: Vec<&Value> = checks.iter().filter(|c| c["verdict"] == "failed").collect();
        assert_eq!(failed.len(), 1, "{failed:#?}");
        assert_eq!(failed[0]["name"], "answers-http");
        let got = failed[0]["findings"][0]["got"].as_str().unwrap();
        assert!(got.contains(what), "{got}");
        assert!(report["requests"].as_u64().unwrap() <= 3);
    }
}

#[test]
fn bounds_hold_and_what_they_leave_out_is_said() {
    let policy = sms_gateway();
    let gateway = Gateway::start(policy.config.clone(), Fault::None);
    let ran = run(&gateway, &policy, &["--max-requests", "5"]);
    assert_eq!(ran.code, 0);
    let spent = "5 requests were made, which is all that --max-requests allows";
    assert!(ran.out.contains(spent), "{}", ran.out);
    let ran = run(&gateway, &policy, &["--only", "spend-cap", "--only", "missing-token-is-401"]);
    assert!(
        ran.names("passed").is_superset(&BTreeSet::from(["spend-cap", "missing-token-is-401"]))
    );
    assert!(ran.names("not_run").contains("empty-wallet-is-402"));
    let ran = run(&gateway, &policy, &["--skip", "limit-is-enforced"]);
    assert!(ran.names("not_run").contains("limit-is-enforced"));
}

#[test]
fn what_cannot_begin_says_why() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gone = format!("http://{free}");
    let file = Files::new();
    let wrong = file.write("tokens.json", "{\"tokens\": \"tg_live_secret\"}");
    for (args, why) in [
        (vec![gone.as_str()], "no connection"),
        (vec!["ftp://127.0.0.1"], "neither http nor https"),
        (vec!["http://user:pass@127.0.0.1"], "other users can see"),
        (vec!["http://127.0.0.1:1", "--only", "no-such"], "there is no check `no-such`"),
        (vec!["http://127.0.0.1:1", "--tokens", &wrong], "see --needs"),
        (vec!["http://127.0.0.1:1", "--admin", "http://127.0.0.1:1"], "--admin-token-file"),
        (vec!["http://127.0.0.1:1", "--requests", &wrong], "tokens.json"),
    ] {
        let args = [&["verify", "--preset", "sms-gateway"], &args[..]].concat();
        let ran = common::run(&args, b"");
        assert_eq!(ran.code, 2, "{args:?} {}", ran.err);
        assert!(ran.err.contains(why), "{args:?}: {}", ran.err);
        assert!(!ran.err.contains("secret"), "{}", ran.err);
    }
}

#[test]
fn what_an_http_server_refuses_itself_is_no_finding() {
    let policy = sms_gateway();
    let gateway = Gateway::start(policy.config.clone(), Fault::StrictServer);
    let ran = run(&gateway, &policy, &["--skip", "limit-is-enforced"]);
    assert_eq!(ran.names("failed"), BTreeSet::new(), "{:#?}", ran.findings());
    let why = "the gateway's server itself answers with 400";
    assert_eq!(ran.out.matches(why).count(), 3, "{}", ran.out);
}

#[test]
fn a_gateway_below_a_path_is_asked_there() {
    let policy = sms_gateway();
    let gateway = Gateway::start(policy.config.clone(), Fault::UnderPrefix);
    let ran = run(&gateway, &policy, &["--skip", "limit-is-enforced"]);
    assert_eq!(ran.names("failed"), BTreeSet::new(), "{:#?}", ran.findings());
    assert!(ran.names("passed").contains("non-canonical-path-is-denied"));
}

#[test]
fn every_check_is_listed_with_its_ground() {
    let ran = common::run(&["verify", "--list", "--json"], b"");
    let list = ran.json();
    let list = list.as_array().unwrap();
    assert!(list.len() >= 35);
    assert!(list.iter().all(|check| !check["basis"].as_str().unwrap().is_empty()));
    let text = common::run(&["verify", "--list"], b"").out;
    assert!(text.contains("retry-after-on-429\n    429 says in Retry-After"));
}

#[test]
fn scenarios_are_asked_as_far_as_http_carries_them() {
    let policy = sms_gateway();
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors");
    let gateway = Gateway::start(policy.config.clone(), Fault::None);
    let args =
        ["--vectors", vectors, "--only", "vectors", "--wait", "2", "--max-requests", "20000"];
    let ran = run(&gateway, &policy, &args);
    assert_eq!(ran.names("failed"), BTreeSet::new(), "{:#?}", ran.findings());
    let checks = ran.report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == "vectors").unwrap();
    assert!(check["answers"].as_u64().unwrap() >= 400, "{check:#}");
    let (carried, all) = check["note"].as_str().unwrap().split_once(" of ").unwrap();
    let carried: u64 = carried.parse().unwrap();
    assert!(carried >= 140, "{carried} of {all}");
    let not_run = check["not_run"].as_array().unwrap();
    // Each scenario is carried, or counted with its reason.
    let counts = not_run.iter().map(|text| {
        let count = text.as_str().unwrap().split_once(" scenarios: ").unwrap().0;
        count.parse::<u64>().unwrap()
    });
    assert_eq!(all, format!("{} scenarios", counts.sum::<u64>().saturating_add(carried)));
    for why in ["HTTP has no peek", "its policy is another one", "a price that only its host knows"]
    {
        let is_told = not_run.iter().any(|text| text.as_str().unwrap().contains(why));
        assert!(is_told, "{why}: {not_run:#?}");
    }
    let gateway = Gateway::start(policy.config.clone(), Fault::KeyReuseAccepted);
    let ran = run(&gateway, &policy, &args);
    assert_eq!(ran.names("failed"), BTreeSet::from(["vectors"]), "{:#?}", ran.findings());
}

/// Ends TLS in front of a gateway.
fn tls(gateway: &Gateway, certificate: &rcgen::CertifiedKey<rcgen::KeyPair>) -> SocketAddr {
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;
    let key = PrivateKeyDer::Pkcs8(certificate.signing_key.serialize_der().into());
    let chain = vec![certificate.cert.der().clone()];
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config.unwrap()));
    let address = gateway.address;
    let listener = gateway.runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let at = listener.local_addr().unwrap();
    gateway.runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut client) = acceptor.accept(stream).await else { return };
                let mut server = tokio::net::TcpStream::connect(address).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    at
}

#[test]
fn https_is_spoken_to_who_can_show_who_they_are() {
    let policy = sms_gateway();
    let gateway = Gateway::start(policy.config.clone(), Fault::None);
    let certificate = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let url = format!("https://localhost:{}", tls(&gateway, &certificate).port());
    let files = Files::new();
    let authorities = files.write("authorities.pem", &certificate.cert.pem());
    let args = ["verify", &url, "--preset", "sms-gateway"];
    let known = common::tollgate().args(args).env("SSL_CERT_FILE", &authorities).output().unwrap();
    let out = String::from_utf8(known.stdout).unwrap();
    assert!(out.contains("passed   missing-token-is-401"), "{out}");
    assert_eq!(known.status.code(), Some(0), "{out}");
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let others = files.write("others.pem", &other.cert.pem());
    let unknown = common::tollgate().args(args).env("SSL_CERT_FILE", &others).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    let err = String::from_utf8(unknown.stderr).unwrap();
    assert!(err.contains("no connection") && err.contains("certificate"), "{err}");
}
