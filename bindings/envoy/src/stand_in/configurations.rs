//! Configurations that cannot be, each with what is logged about it.

use std::fs;

use serde_json::{Value, json};

use super::fixture::{policy, validating};
use super::log;
use super::proxy::Config;

fn refused(settings: &Value, said: &[&str]) {
    let Err(errors) = Config::new("wrong", &settings.to_string()) else {
        panic!("{settings} is taken")
    };
    let starts =
        |line: &String| line.starts_with("tollgate: the configuration of filter `wrong`: ");
    assert!(!errors.is_empty() && errors.iter().all(starts), "{errors:?}");
    for said in said {
        assert!(errors.iter().any(|line| line.contains(said)), "{said} is not in {errors:?}");
    }
}

/// A good configuration with one more member.
fn with(name: &str, value: Value) -> Value {
    let mut settings = json!({ "policy": { "inline": policy() }, "store": "memory" });
    settings[name] = value;
    settings
}

#[test]
fn what_is_missing_or_unknown_is_named() {
    refused(&json!({}), &["`policy` is missing"]);
    refused(&json!({ "policy": { "preset": "sms-gateway" } }), &["`store` is missing"]);
    refused(&with("polcy", json!(1)), &["unknown field `polcy`", "line 1"]);
    refused(&with("store", json!("disk")), &["unknown variant `disk`"]);
    refused(&with("store", json!({ "lmdb": {} })), &["missing field `directory`"]);
    refused(&with("limits", json!("both")), &["unknown variant `both`"]);
    refused(&with("peer", json!("x-forwarded-for")), &["unknown variant `x-forwarded-for`"]);
    refused(&json!("policy.json"), &["invalid type: string"]);
}

#[test]
fn what_is_wrong_with_facts_is_named() {
    refused(&with("cost", json!({ "header": "a b" })), &["`cost`", "`a b` is no name of a header"]);
    refused(&with("sender", json!({ "value": null })), &["`sender`", "a text or a number"]);
    refused(&with("invalid", json!({ "cookie": "x" })), &["unknown variant `cookie`"]);
    refused(&with("charge", json!({ "header": "" })), &["`charge`", "no name of a header"]);
    refused(&with("charge", json!({ "value": 1 })), &["unknown variant `value`"]);
    refused(
        &with("replay_headers", json!(["Date"])),
        &["`replay_headers`", "`date` belongs to one"],
    );
    refused(&with("replay_headers", json!(["a:b"])), &["`replay_headers`", "no name of a header"]);
    refused(&with("max_request_body", json!(-1)), &["invalid value", "line 1"]);
}

#[test]
fn what_is_wrong_with_a_policy_is_named() {
    refused(
        &with("policy", json!({ "preset": "none" })),
        &["there is no preset `none`; there are: sms-gateway"],
    );
    let wrong = json!({ "inline": { "routes": { "POST pay": {} }, "limits": { "l": { "per": "token", "quota": 0, "window_ms": 0 } } } });
    // Every error at once, a line each.
    refused(&with("policy", wrong), &["policy not loaded", "POST pay", "limits.l"]);
    let missing = json!({ "file": "/nonexistent/policy.toml" });
    refused(
        &with("policy", missing),
        &["policy /nonexistent/policy.toml not loaded", "No such file"],
    );
    let directory = tempfile::TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        json!({ "file": path })
    };
    refused(&with("policy", file("p.yaml", "{}")), &["must end in .toml or .json"]);
    refused(&with("policy", file("p.toml", "[tokens]\nformat = 3\n")), &["p.toml not loaded", "2"]);
    refused(
        &with("policy", file("p.json", "{\n\"x\": 1}")),
        &["p.json not loaded", "line 2: x: is unknown"],
    );
    refused(
        &with("pepper_file", json!("/nonexistent/pepper")),
        &["pepper /nonexistent/pepper", "No such file"],
    );
}

#[test]
fn what_is_wrong_with_redis_is_named_without_its_password() {
    let redis = |value: Value| with("store", json!({ "redis": value }));
    refused(&redis(json!({})), &["give either `url` or `url_file`"]);
    refused(
        &redis(json!({ "url": "redis://h", "url_file": "x" })),
        &["give either `url` or `url_file`"],
    );
    refused(
        &redis(json!({ "url_file": "/nonexistent/url" })),
        &["/nonexistent/url", "No such file"],
    );
    refused(&redis(json!({ "url": "http://u:secret-word@h" })), &[]);
    refused(
        &redis(json!({ "url": "redis://u:secret-word@h", "urls": 1 })),
        &["unknown field `urls`"],
    );
    let mut process = redis(json!({ "url": "redis://u:secret-word@127.0.0.1:1" }));
    process["limits"] = json!("process");
    refused(&process, &["leave `process` out"]);
    assert!(!log::anybody_said("secret-word"));
}

#[test]
fn a_configuration_that_is_only_checked_opens_nothing() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("db");
    let settings = with("store", json!({ "lmdb": { "directory": path } }));
    let checked = validating(|| Config::new("checked", &settings.to_string()));
    assert!(checked.is_ok() && !path.exists());
    let wrong = with("policy", json!({ "preset": "none" }));
    assert!(validating(|| Config::new("checked", &wrong.to_string())).is_err());
}
