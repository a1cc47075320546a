//! `tollgate explain`.

use std::fs;

use crate::common::{Ran, run};
use serde_json::{Value, json};

fn explain(more: &[&str]) -> Ran {
    let mut args = vec!["explain", "--preset", "sms-gateway"];
    args.extend(more);
    run(&args, b"")
}

fn results(report: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let steps = report["trace"].as_array().unwrap();
    steps.iter().map(|step| (text(&step["check"]), text(&step["result"]))).collect()
}

const SEND: &[&str] = &["--method", "POST", "--target", "/sms/send", "--scope", "sms:send"];

#[test]
fn a_decision_and_its_whole_trace() {
    let mut args = SEND.to_vec();
    args.extend(["--balance", "4", "--cost", "5", "--peer", "192.0.2.1", "--now-ms", "60000"]);
    let ran = explain(&args);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let order = [
        "verdict  deny",
        "status   402",
        "code     insufficient_balance",
        "account  example",
        "route    POST /sms/send",
        "X-RateLimit-Limit: 120",
        "body     {\"message\"",
        "bearer token",
        "credential",
        "source network",
        "scope",
        "request limit",
        "idempotency",
        "validation",
        "wallet",
        "to pass:\n  wallet: deposit 1\n",
    ];
    let mut rest = ran.out.as_str();
    for part in order {
        let found = rest.find(part).unwrap_or_else(|| panic!("{part:?} is not next in {rest}"));
        rest = &rest[found + part.len()..];
    }
    let report = explain(&[&args[..], &["--json"]].concat()).json();
    assert_eq!(report["decision"]["status"], 402);
    let decided: Vec<_> =
        results(&report).into_iter().filter(|(_, result)| result != "passed").collect();
    assert_eq!(decided, [("wallet".to_owned(), "decided".to_owned())]);
}

#[test]
fn each_flag_reaches_its_check() {
    let verdict = |more: &[&str]| {
        let report = explain(&[SEND, &["--json", "--balance", "9", "--cost", "5"], more].concat());
        assert_eq!(report.code, 0, "{}", report.err);
        report.json()["decision"]["code"].as_str().unwrap_or("allow").to_owned()
    };
    assert_eq!(verdict(&[]), "allow");
    assert_eq!(verdict(&["--network", "10.0.0.0/8", "--peer", "192.0.2.1"]), "ip_not_allowed");
    assert_eq!(verdict(&["--network", "10.0.0.0/8", "--peer", "10.2.3.4"]), "allow");
    assert_eq!(
        verdict(&["--token-network", "10.0.0.0/8", "--peer", "192.0.2.1"]),
        "ip_not_allowed"
    );
    assert_eq!(verdict(&["--header", "Idempotency-Key: "]), "idempotency_key_invalid");
    assert_eq!(verdict(&["--header", "Authorization: Bearer other"]), "invalid_token");
    assert_eq!(verdict(&["--sender", "ACME"]), "sender_not_approved");
    assert_eq!(verdict(&["--sender", "ACME", "--senders", "OTHER,ACME"]), "allow");
    assert_eq!(verdict(&["--invalid", "no recipient"]), "validation_failed");
    assert_eq!(verdict(&["--now-ms", "99999999999999"]), "store_unavailable");
    let none = explain(&["--target", "/balance", "--json"]).json();
    assert_eq!(none["decision"]["code"], "missing_token");
    let scope = explain(&["--target", "/balance", "--scope", "otp", "--json"]).json();
    assert_eq!(scope["decision"]["code"], "insufficient_scope");
}

#[test]
fn a_request_and_a_state_from_files() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let steps = [
        json!({"op": "policy", "preset": "sms-gateway", "patch": {"tokens": {"format": "opaque"}}}),
        json!({"op": "account", "id": "acme", "balance": 5}),
        json!({"op": "token", "token": "t", "account": "acme", "scopes": ["sms:send"]}),
    ];
    let request = json!({
        "id": "r", "now_ms": 1, "method": "POST", "target": "/sms/send",
        "headers": [["authorization", "Bearer t"]], "peer": "192.0.2.1", "cost": 5,
    });
    let lines: String = steps.iter().map(|step| format!("{step}\n")).collect();
    for state in [json!(steps).to_string(), lines] {
        let state = write("state", &state);
        let file = write("request.json", &request.to_string());
        for input in [&file, "-"] {
            let ran = run(
                &["explain", "--state", &state, "--request", input, "--json"],
                request.to_string().as_bytes(),
            );
            assert_eq!(ran.code, 0, "{}", ran.err);
            let decision = &ran.json()["decision"];
            assert_eq!(
                (&decision["verdict"], &decision["account"]),
                (&json!("allow"), &json!("acme"))
            );
        }
    }
    let bad = write(
        "bad",
        r#"[{"op": "policy", "policy": {}}, {"op": "deposit", "account": "a", "amount": 1}]"#,
    );
    let ran = run(&["explain", "--state", &bad, "--target", "/x"], b"");
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("bad: step 1: ") && ran.err.contains("no such account"),
        "{}",
        ran.err
    );

    let policy = write("policy.toml", "[limits.token]\nquota = 5\n");
    let ran = run(&["explain", "--policy", &policy, "--target", "/x"], b"");
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("line 1: limits.token"), "{}", ran.err);
}

#[test]
fn what_a_request_holds_does_not_steer_the_terminal() {
    let ran = explain(&[SEND, &["--sender", "\u{1b}[2Jx"]].concat());
    assert!(ran.out.contains("\\u{1b}[2Jx") && !ran.out.contains('\u{1b}'), "{}", ran.out);
}

#[test]
fn wrong_arguments_end_with_2_and_repeat_no_token() {
    for (args, part) in [
        (&["explain", "--target", "/x"][..], "--policy"),
        (&["explain", "--preset", "sms-gateway"], "--target"),
        (
            &["explain", "--preset", "sms-gateway", "--target", "/x", "--header", "Bearer hush"],
            "no colon",
        ),
        (
            &["explain", "--preset", "sms-gateway", "--target", "/x", "--peer", "home"],
            "no IP address",
        ),
        (
            &[
                "explain",
                "--preset",
                "sms-gateway",
                "--target",
                "/x",
                "--network",
                "10.0.0.1/8",
                "--scope",
                "a",
            ],
            "10.0.0.0/8",
        ),
        (&["explain", "--preset", "sms-gateway", "--request", "-"], "missing field"),
        (
            &["explain", "--preset", "sms-gateway", "--request", "-", "--cost", "5"],
            "cannot be used with",
        ),
    ] {
        let ran = run(args, b"{}");
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}");
        assert!(
            ran.err.contains(part) && !ran.err.contains("hush"),
            "{part} is not in {}",
            ran.err
        );
    }
}
