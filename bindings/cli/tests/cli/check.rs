//! `tollgate check`.

use std::fs;

use crate::common::{Ran, run};
use serde_json::json;

fn check(name: &str, text: &str, more: &[&str]) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    let mut args = vec!["check", path.to_str().unwrap()];
    args.extend(more);
    run(&args, b"")
}

const GOOD: &str = "[scopes]\nread = [\"GET /things\"]\n";
const ODD: &str = "[scopes]\nread = [\"GET /things\"]\nnone = []\n";
const BAD: &str = "[scopes]\nread = [\"GET things\"]\n\n[limits.token]\nper = \"token\"\nquota = 0\nwindow_ms = 1000\nbust = 5\n";

#[test]
fn a_good_policy_is_summed_up() {
    let ran = check("policy.toml", GOOD, &[]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(
        ran.out.contains("policy.toml: ok, 1 scopes, 1 routes, 0 limits, 0 warnings"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("GET /things  read"), "{}", ran.out);

    let json = r#"{"scopes": {"read": ["GET /things"]}}"#;
    assert_eq!(check("policy.json", json, &[]).code, 0);
    assert_eq!(check("policy.conf", json, &["--format", "json"]).code, 0);
    assert_eq!(check("policy.json", GOOD, &["--format", "toml"]).code, 0);
}

#[test]
fn every_error_has_its_line() {
    let ran = check("policy.toml", BAD, &[]);
    assert_eq!(ran.code, 1);
    for part in [
        "policy.toml:2: error: scopes.read[0]: ",
        "policy.toml:6: error: limits.token.quota: ",
        "policy.toml:8: error: limits.token.bust: ",
        "3 errors",
    ] {
        assert!(ran.out.contains(part), "{part} is not in {}", ran.out);
    }
    let report = check("policy.toml", BAD, &["--json"]);
    assert_eq!(report.code, 1);
    let report = report.json();
    assert_eq!(report["errors"].as_array().unwrap().len(), 3);
    assert_eq!(report["errors"][1]["line"], 6);
    assert_eq!(report["summary"], json!(null));
    assert!(check("policy.json", "{\n\n", &[]).out.contains("policy.json:3: error: "));
}

#[test]
fn warnings_fail_only_if_asked_to() {
    let ran = check("policy.toml", ODD, &[]);
    assert_eq!(ran.code, 0);
    assert!(ran.out.contains("policy.toml: warning: scopes.none: grants no route"), "{}", ran.out);
    assert_eq!(check("policy.toml", ODD, &["--strict"]).code, 1);
    assert_eq!(check("policy.toml", GOOD, &["--strict"]).code, 0);
    let report = check("policy.toml", ODD, &["--json", "--strict"]);
    assert_eq!((report.code, &report.json()["warnings"][0]["place"]), (1, &json!("scopes.none")));
}

#[test]
fn presets_and_patches_on_them() {
    let ran = run(&["check", "--preset", "sms-gateway", "--strict", "--json"], b"");
    assert_eq!(ran.code, 0);
    let summary = &ran.json()["summary"];
    assert_eq!(summary["scopes"]["balance"], json!(["GET /balance"]));
    assert_eq!(summary["limits"]["token"]["quota"], 120);
    let routes = summary["routes"].as_array().unwrap();
    let sms = routes.iter().find(|route| route["route"] == "POST /sms/send").unwrap();
    assert_eq!(sms["idempotency"], true);

    let patch = r#"{"limits": {"token": {"quota": 7}}}"#;
    let ran = check("patch.json", patch, &["--preset", "sms-gateway"]);
    assert_eq!(ran.code, 0);
    assert!(ran.out.contains("7 requests per 60000 ms and token"), "{}", ran.out);
    let ran =
        check("patch.json", r#"{"limits": {"token": {"quota": 0}}}"#, &["--preset", "sms-gateway"]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("limits.token.quota"), "{}", ran.out);
}

#[test]
fn what_cannot_be_read_ends_with_2() {
    for (ran, part) in [
        (run(&["check"], b""), "required"),
        (run(&["check", "/no/such/policy.toml"], b""), "/no/such/policy.toml: "),
        (run(&["check", "--preset", "fax"], b""), "there are: sms-gateway"),
        (check("policy.yaml", "", &[]), "--format toml"),
        (check("patch.toml", "", &["--preset", "sms-gateway"]), "which is JSON"),
        (check("patch.json", "{", &["--preset", "sms-gateway"]), "patch.json: EOF"),
    ] {
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{part}: {}", ran.err);
        assert!(ran.err.contains(part), "{part} is not in {}", ran.err);
    }
}
