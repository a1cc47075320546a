//! What a server writes down, and what it must not.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::clients::{Place, get_over_http2};
use super::process::{Serving, call, decisions};

fn decide(server: &Serving, asked: &Value) -> Value {
    let (status, answer) = call(server.place, None, "POST", "/v1/decide", &asked.to_string());
    assert_eq!(status, 200, "{answer}");
    serde_json::from_str(&answer).unwrap()
}

fn asked(id: &str) -> Value {
    json!({ "id": id, "method": "GET", "target": "/free", "headers": [["authorization", "Bearer t-1"]] })
}

const LOST: &str = "tollgate_decision_log_lines_lost_total";

#[test]
fn a_full_disk_stops_no_decision_and_is_said_once() {
    let mut server = Serving::start(&["--decision-log", "/dev/full"]);
    server.add_account("acme", 0, "t-1");
    for n in 0..50 {
        assert_eq!(decide(&server, &asked(&format!("r-{n}")))["verdict"], "allow");
        std::thread::sleep(Duration::from_millis(20));
    }
    server.until_said("the decision log cannot be written");
    let began = Instant::now();
    while server.metric(LOST) < 49.5 {
        assert!(began.elapsed() < Duration::from_secs(30), "{}", server.metric(LOST));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(server.said().matches("cannot be written").count(), 1, "{}", server.said());
    assert!((server.metric(LOST) - 50.0).abs() < 0.1);
}

#[test]
fn a_log_that_is_moved_away_is_begun_anew() {
    let mut server = Serving::start(&["--decision-log", "decisions.json"]);
    server.add_account("acme", 0, "t-1");
    let log = server.directory.path().join("decisions.json");
    let moved = server.directory.path().join("decisions.old");
    for n in 0..20 {
        if n == 10 {
            fs::rename(&log, &moved).unwrap();
            server.tell(Signal::HUP);
            server.until_said("the policy was loaded anew");
        }
        decide(&server, &asked(&format!("r-{n}")));
    }
    server.tell(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0));
    let names = |path| -> Vec<String> {
        decisions(path).iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect()
    };
    let expected = |numbers: std::ops::Range<u32>| -> Vec<String> {
        numbers.map(|n| format!("r-{n}")).collect()
    };
    assert_eq!((names(&moved), names(&log)), (expected(0..10), expected(10..20)));
}

#[test]
fn a_line_does_not_wait_for_others() {
    let server = Serving::start(&["--decision-log", "decisions.json"]);
    server.add_account("acme", 0, "t-1");
    let log = server.directory.path().join("decisions.json");
    // One after the other, so that there is never a pause in which the queue is empty for long.
    let began = Instant::now();
    let mut sent = 0;
    while fs::read(&log).unwrap().is_empty() {
        decide(&server, &asked("r"));
        sent += 1;
        std::thread::sleep(Duration::from_millis(20));
        assert!(began.elapsed() < Duration::from_secs(20), "{sent} lines, and none is there");
    }
    // A buffer of eight thousand bytes holds some twenty lines.
    assert!(began.elapsed() < Duration::from_secs(5), "{sent}");
}

/// Texts that no log may have. What is written down of them are digests.
const SECRETS: [&str; 9] = [
    "hush-token-1",
    "hush-token-2",
    "hush-key-1",
    "hush-cookie",
    "hush-query",
    "hush-body",
    "hush-answer",
    "hush-made-up",
    "hush-import",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_written_down_at_any_level() {
    let server = Serving::with(
        &["--store", "memory"],
        &["--decision-log", "decisions.json", "--cost-header", "x-cost"],
        &[("RUST_LOG", "debug")],
    );
    for account in ["hush-token-1", "hush-token-2"] {
        server.add_account(&format!("of-{}", account.replace("hush-", "")), 1_000, account);
    }
    let mut server = server;
    let headers = |token: &str| {
        json!([
            ["authorization", format!("Bearer {token}")],
            ["idempotency-key", "hush-key-1"],
            ["cookie", "session=hush-cookie"],
        ])
    };
    let pay = |token: &str, body: &str| json!({ "method": "POST", "target": "/pay?q=hush-query", "headers": headers(token), "body": body });
    // Allowed, in flight, settled, replayed, another body, a token that is not known, and none.
    let first = decide(&server, &pay("hush-token-1", "hush-body"));
    assert_eq!(decide(&server, &pay("hush-token-1", "hush-body"))["code"], "idempotency_in_flight");
    let settle = json!({
        "ticket": first["ticket"], "outcome": "settle",
        "response": { "status": 201, "headers": [["x-a", "hush-answer"]], "body": "hush-answer" },
    });
    assert_eq!(call(server.place, None, "POST", "/v1/settle", &settle.to_string()).0, 200);
    assert_eq!(decide(&server, &pay("hush-token-1", "hush-body"))["verdict"], "replay");
    assert_eq!(
        decide(&server, &pay("hush-token-1", "hush-other"))["code"],
        "idempotency_key_reused"
    );
    assert_eq!(decide(&server, &pay("hush-made-up", "hush-body"))["code"], "invalid_token");
    let basic = json!({ "method": "GET", "target": "/free?hush-query", "headers": [["authorization", "Basic hush-made-up"]] });
    assert_eq!(decide(&server, &basic)["verdict"], "deny");
    // What is no request at all.
    for wrong in [
        r#"{"method": "GET", "target": "/free", "headers": "hush-token-1"}"#,
        r#"{"hush-token-1": 1}"#,
        r#"{"method": "GET", "target": "/free", "peer": "hush-token-1 at line 1"}"#,
        r#"{"ticket": "hush-token-1", "outcome": "hush-token-1"}"#,
        "hush-body",
    ] {
        for path in ["/v1/decide", "/v1/settle"] {
            let (status, answer) = call(server.place, None, "POST", path, wrong);
            assert!(status == 400 && !answer.contains("hush"), "{answer}");
        }
    }
    // By a proxy.
    let head = "GET /forward-auth?hush-query HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Uri: /free?hush-query\r\nX-Forwarded-For: 192.0.2.1\r\nAuthorization: Bearer hush-token-2\r\nCookie: hush-cookie\r\n\r\n";
    for _ in 0..2 {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(server.place).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let headers = [
        ("x-forwarded-method", "GET"),
        ("x-forwarded-uri", "/free?hush-query"),
        ("authorization", "Bearer hush-token-2"),
        ("cookie", "hush-cookie"),
    ];
    let place = Place::Tcp(server.place);
    assert_eq!(get_over_http2(&place, "/forward-auth?hush-query", &headers).await, 200);
    // By operators, with mistakes too.
    let path = "/api/accounts/of-token-1/tokens";
    let import = json!({ "token": "hush-import", "scopes": ["all"] });
    assert_eq!(server.operate("POST", path, &import).0, 201);
    let wrong = json!({ "token": "hush-import", "scopes": "hush-import" });
    let (status, answer) = server.operate("POST", path, &wrong);
    assert!(status == 400 && !answer.contains("hush"), "{answer}");
    assert_eq!(server.operate("DELETE", "/api/tokens/hush-import", &json!(null)).0, 400);
    let made = server.operate("POST", path, &json!({ "scopes": ["all"] })).1;
    let made: Value = serde_json::from_str(&made).unwrap();
    let metrics = call(server.admin, None, "GET", "/metrics", "").1;
    server.tell(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0));
    let log = fs::read_to_string(server.directory.path().join("decisions.json")).unwrap();
    let said = server.said();
    assert!(said.contains("DEBUG"), "{said}");
    assert_eq!(log.lines().count(), 9, "{log}");
    let mut secrets = SECRETS.to_vec();
    secrets.extend([super::process::ADMIN, made["token"].as_str().unwrap()]);
    for (place, text) in [("log", &log), ("standard error", &said), ("metrics", &metrics)] {
        for secret in &secrets {
            assert!(!text.contains(secret), "{place} has {secret}: {text}");
        }
    }
    assert_members(&log);
}

/// Each line is an object with the documented members and no other.
fn assert_members(log: &str) {
    const MEMBERS: [&str; 19] = [
        "time",
        "now_ms",
        "id",
        "via",
        "method",
        "path",
        "source",
        "verdict",
        "status",
        "code",
        "peek",
        "account",
        "token",
        "route",
        "reserved",
        "key",
        "limit",
        "shadow",
        "duration_us",
    ];
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        for member in line.as_object().unwrap().keys() {
            assert!(MEMBERS.contains(&member.as_str()), "{member}: {line}");
        }
        for always in
            ["time", "now_ms", "via", "method", "path", "verdict", "status", "code", "duration_us"]
        {
            assert!(!line[always].is_null(), "{always}: {line}");
        }
        assert!(!line["path"].as_str().unwrap().contains('?'), "{line}");
    }
}

#[test]
fn a_log_that_nobody_reads_holds_nobody_up() {
    // Nobody reads its standard output, which fills up at some time.
    let mut server = Serving::start(&["--decision-log", "-"]);
    server.add_account("acme", 0, "t-1");
    for n in 0..400 {
        assert_eq!(decide(&server, &asked(&"x".repeat(100 + n % 20)))["verdict"], "allow");
    }
    server.tell(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0), "{}", server.said());
    assert!(server.said().contains("the end of the decision log is lost"), "{}", server.said());
}
