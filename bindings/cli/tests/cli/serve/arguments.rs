//! Arguments and surroundings that do not do.

use std::net::TcpListener;

use crate::common::run;

use super::clients::Certificate;

/// Runs a server that cannot start, and gives what it says.
pub(super) fn refused(arguments: &[&str]) -> String {
    let all = ["serve", "--store", "memory", "--preset", "sms-gateway"];
    let ran = run(&[&all[..], arguments].concat(), b"");
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
    ran.err
}

/// What is said to these arguments has these words.
fn says(arguments: &[&str], words: &[&str]) {
    let said = refused(&[&["--listen", "127.0.0.1:0"], arguments].concat());
    for word in words {
        assert!(said.contains(word), "{arguments:?}: {word}: {said}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, text: &str| {
        std::fs::write(path(name), text).unwrap();
        path(name)
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    says(&["--listen", &taken], &[&taken, "in use"]);
    says(&["--listen", "here"], &["ADDRESS:PORT or unix:PATH"]);
    let short = write("short", "short\n");
    says(&["--api-token-file", &short], &[&short, "16 to 1,024", "openssl rand"]);
    says(&["--api-token-file", &path("absent")], &[&path("absent"), "No such file"]);
    says(&["--admin-listen", "127.0.0.1:0"], &["--admin-token-file"]);
    says(&["--admin-token-file", &short], &["--admin-listen"]);
    says(&["--decision-log", &path("no/such/log")], &["no/such/log", "No such file"]);
    says(&["--tls-cert", &short], &["--tls-key"]);
    says(&["--tls-cert", &short, "--tls-key", &short], &[&short, "certificate"]);
    says(&["--max-connections", "0"], &["1.."]);
    says(&["--receive-timeout-ms", "0"], &["1.."]);
    says(&["--max-head-bytes", "10"], &["8192.."]);
    says(&["--threads", "0"], &["1..=1024"]);
    says(&["--proxy", "10.0.0.0/99"], &["10.0.0.0/99"]);
    says(&["--peer-header", "a b"], &["--peer-header"]);
    says(&["--otlp", "nowhere at all"], &["--otlp"]);
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (files, others) = (Certificate::new(), Certificate::new());
    let said = ["--tls-cert", files.certificate(), "--tls-key", others.key()];
    says(&said, &[files.certificate(), others.key(), "do not belong together"]);
}

#[test]
fn stores_that_cannot_be_opened_are_refused() {
    let said = |store: &str| {
        let arguments = ["serve", "--preset", "sms-gateway", "--listen", "127.0.0.1:0", "--store"];
        let ran = run(&[&arguments[..], &[store]].concat(), b"");
        assert_eq!(ran.code, 2, "{}", ran.err);
        ran.err
    };
    assert!(said("postgres://a").contains("lmdb:DIRECTORY"), "{}", said("postgres://a"));
    assert!(said("lmdb:/proc/nowhere").contains("/proc/nowhere"));
    assert!(said("redis://:hush@").contains("redis") && !said("redis://:hush@").contains("hush"));
    let arguments =
        ["serve", "--preset", "sms-gateway", "--listen", "127.0.0.1:0", "--limits", "memory"];
    let ran = run(&[&arguments[..], &["--store", "redis://127.0.0.1:1"]].concat(), b"");
    assert!(ran.code == 2 && ran.err.contains("leave out --limits memory"), "{}", ran.err);
}

#[test]
fn a_policy_with_errors_names_their_lines() {
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("policy.toml");
    std::fs::write(&policy, "[limits.token]\nper = \"token\"\nqouta = 1\nwindow_ms = 0\n").unwrap();
    let policy = policy.to_str().unwrap();
    let ran = run(&["serve", "--store", "memory", "--policy", policy], b"");
    assert_eq!(ran.code, 2);
    for words in [policy, "the policy has errors", "line 3", "qouta"] {
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
    }
    let ran = run(&["serve", "--store", "memory"], b"");
    assert!(ran.code == 2 && ran.err.contains("--policy"), "{}", ran.err);
    let ran = run(&["serve", "--store", "memory", "--preset", "fax"], b"");
    assert!(ran.code == 2 && ran.err.contains("sms-gateway"), "{}", ran.err);
}

#[test]
fn few_descriptors_mean_few_connections() {
    let script = "ulimit -n 600; exec \"$0\" \"$@\"";
    let mut server = super::process::Serving::through(&["sh", "-c", script], &[]);
    let said = server.until_said("allows 88 connections, not 16384");
    assert!(said.contains("ulimit -n"), "{said}");
}

#[test]
fn help_has_everything() {
    let ran = run(&["serve", "--help"], b"");
    assert_eq!(ran.code, 0);
    for words in [
        "SIGTERM",
        "SIGHUP",
        "--policy",
        "--listen",
        "--proxy",
        "--admin-listen",
        "--otlp",
        "--grace-ms",
    ] {
        assert!(ran.out.contains(words), "{words}");
    }
    assert!(ran.out.lines().all(|line| line.chars().count() <= 120), "{}", ran.out);
}
