//! A store in Envoy's memory: filled from a file, shared by the worker threads, and kept when the configuration is made anew.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

use serde_json::{Value, json};
use tollgate_envoy_tests::{Envoy, Gateway, Options, Writes};
use tollgate_gateway_tests::{POLICY, TOKEN, Upstream, send_as_account};

fn filter(accounts: &str) -> Value {
    json!({
        "policy": {"file": "DIR/policy.json"}, "store": "memory", "accounts_file": accounts, "metadata": "all",
        "policy_reload_interval_ms": 20, "charge": {"header": "x-charge"},
    })
}

fn options(upstream: &Upstream, accounts: &str) -> Options {
    let mut options = Gateway::options(Writes::Inline, upstream.port(), &filter(accounts));
    let policy = POLICY.replace("\"quota\": 1000000", "\"quota\": 100");
    options.files[0].1 = policy.replace("60000", "3600000000");
    let token = |more: &str| {
        format!(
            r#"{{"op": "token", "token": "{TOKEN}", "account": "acme", "scopes": ["all"]{more}}}"#
        )
    };
    let account = r#"{"op": "account", "id": "acme", "balance": 12}"#;
    let revoked = format!(r#"{{"op": "revoke", "token": "{TOKEN}"}}"#);
    for (name, lines) in [
        ("accounts", format!("{account}\n{}\n", token(""))),
        ("revoked", format!("{account}\n{}\n{revoked}\n", token(""))),
        ("wrong", format!("{account}\n{}\n", token(", \"scope\": 1"))),
    ] {
        options.files.push((name.to_owned(), lines));
    }
    options.updated = true;
    options
}

#[test]
fn it_is_filled_from_a_file_and_outlives_updates() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let mut envoy = Envoy::start(options(&upstream, "DIR/accounts"));
    let port = envoy.port();
    let pay = |key: &str| {
        send_as_account(port, "POST", "/pay", &[("Idempotency-Key", key)], b"{}").status
    };
    let reads = |count: usize| {
        let threads: Vec<_> = (0..20)
            .map(|_| {
                std::thread::spawn(move || {
                    let read = |_| send_as_account(port, "GET", "/read", &[], b"").status;
                    (0..count).map(read).filter(|status| *status == 200).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
    };
    assert_eq!((pay("a"), pay("b"), pay("c")), (200, 200, 402));
    // 97 are left of the quota, and 20 of these 60 come after an update.
    assert_eq!(reads(2), 40);
    assert!(envoy.update(filter("DIR/accounts")));
    assert_eq!(reads(4), 57);
    // The balance of the file counts once.
    let replayed = send_as_account(port, "POST", "/pay", &[("Idempotency-Key", "a")], b"{}");
    assert_eq!(replayed.status, 429, "a replay is a request");
    // A file that cannot be read changes nothing; what it says is in force at once.
    assert!(!envoy.update(filter("DIR/wrong")));
    assert!(envoy.log().contains("line 2: "), "{}", envoy.log());
    assert_eq!(send_as_account(port, "GET", "/read", &[], b"").status, 429);
    assert!(envoy.update(filter("DIR/revoked")));
    assert_eq!(send_as_account(port, "GET", "/read", &[], b"").code(), "invalid_token");
    assert!(!envoy.log().contains(TOKEN), "{}", envoy.log());
}
