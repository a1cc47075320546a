//! `tollgate docs`: the preset's text as it is on record, and generated policies.

mod generated;
mod validator;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::common::run;

/// The routes that the API of the preset charges for.
const CHARGED: [&str; 6] =
    ["--charged", "POST /sms/send", "--charged", "POST /otp/send", "--charged", "POST /voice/send"];

fn on_record() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/docs/sms-gateway")
}

fn preset(more: &[&str]) -> crate::common::Ran {
    let title = ["--title", "SMS gateway"];
    run(&[&["docs", "--preset", "sms-gateway"], &title[..], &CHARGED, more].concat(), b"")
}

/// After a change that is meant: `tollgate docs --preset sms-gateway … --out` that directory.
#[test]
fn the_presets_reference_is_the_one_on_record() {
    let ran = preset(&["--check", on_record().to_str().unwrap()]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
}

/// The rows of the first table behind a heading, cells without their code spans.
fn table(markdown: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, rest) = markdown.split_once(&format!("## {heading}\n")).unwrap();
    let lines = rest.lines().skip_while(|line| !line.starts_with('|'));
    let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| {
        let cells = row.trim_matches('|').split(" | ");
        cells.map(|cell| cell.replace('`', "").trim().to_owned()).collect()
    })
    .collect()
}

/// What the contract of this API says, sentence by sentence.
#[test]
fn the_presets_reference_says_what_its_contract_says() {
    let text = fs::read_to_string(on_record().join("policy.md")).unwrap();
    let scopes = table(&text, "Scopes");
    let grants = |scope: &str| {
        let row = scopes.iter().find(|row| row[0] == scope).unwrap();
        row[1].split(", ").map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(scopes.len(), 8);
    assert_eq!(grants("sms:send"), ["POST /sms/send"]);
    assert_eq!(grants("otp"), ["POST /otp/send", "POST /otp/verify"]);
    assert_eq!(grants("voice"), ["POST /voice/send", "GET /voice/{id}"]);
    assert_eq!(grants("lookup"), ["POST /lookup", "GET /lookups", "GET /lookup/{id}"]);
    assert_eq!(grants("email:verify"), ["POST /email/verify"]);
    assert_eq!(grants("balance"), ["GET /balance"]);
    assert_eq!(grants("reports").len(), 4);
    assert_eq!(grants("webhooks").len(), 6);

    let errors = table(&text, "Errors");
    let codes = |status: &str| {
        let rows = errors.iter().filter(|row| row[0] == status);
        rows.map(|row| row[1].clone()).collect::<Vec<_>>()
    };
    assert_eq!(codes("401"), ["missing_token", "invalid_token"]);
    assert_eq!(codes("402"), ["insufficient_balance"]);
    assert_eq!(codes("403"), ["ip_not_allowed", "insufficient_scope", "spend_cap_exceeded"]);
    assert_eq!(codes("409"), ["idempotency_in_flight"]);
    assert!(codes("422").contains(&"sender_not_approved".to_owned()));
    assert_eq!(codes("429"), ["rate_limited"]);
    let limited = errors.iter().find(|row| row[0] == "429").unwrap();
    assert!(limited[5].contains("Retry-After") && limited[5].contains("X-RateLimit-Limit"));

    let keys: Vec<String> =
        table(&text, "Idempotency").into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(keys, ["POST /otp/send", "POST /sms/send", "POST /voice/send"]);
    let limits = table(&text, "Rate limits");
    let limit = |name: &str| limits.iter().find(|row| row[0] == name).unwrap().clone();
    assert_eq!(limit("token")[1..3], ["each token", "120 in 1 minute"]);
    assert!(limit("otp_source_ip")[1].starts_with("each source address"));
    assert_eq!(limit("otp_source_ip")[4], "POST /otp/send");
    assert!(text.contains("Idempotent-Replayed: true"));
}

fn openapi(policy: &Value, more: &[&str]) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("policy.json");
    fs::write(&file, policy.to_string()).unwrap();
    let args = ["docs", "--format", "openapi", "--policy", file.to_str().unwrap()];
    let ran = run(&[&args[..], more].concat(), b"");
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran.json()
}

/// The codes that the answers of a route have.
fn codes(document: &Value, path: &str, method: &str) -> Vec<String> {
    let responses = document["paths"][path][method]["responses"].as_object().unwrap();
    let examples = responses.values().filter_map(|response| {
        let content = response["content"].as_object()?.values().next()?;
        content["examples"].as_object()
    });
    examples.flat_map(|examples| examples.keys().cloned()).collect()
}

#[test]
fn only_what_the_policy_can_answer_is_listed() {
    let plain = json!({ "scopes": { "a": ["GET /a", "POST /b"] } });
    let document = openapi(&plain, &[]);
    let always = [
        "missing_token",
        "invalid_token",
        "insufficient_scope",
        "ip_not_allowed",
        "store_unavailable",
    ];
    let found = codes(&document, "/a", "get");
    for code in always {
        assert!(found.contains(&code.to_owned()), "{code}: {found:?}");
    }
    for (patch, flags, code) in [
        (
            json!({ "limits": { "l": { "per": "token", "quota": 1, "window_ms": 60_000 } } }),
            vec![],
            "rate_limited",
        ),
        (
            json!({ "routes": { "GET /a": { "idempotency": true } } }),
            vec![],
            "idempotency_in_flight",
        ),
        (
            json!({ "routes": { "GET /a": { "idempotency": true } } }),
            vec![],
            "idempotency_key_reused",
        ),
        (json!({ "routes": { "GET /a": { "price": 3 } } }), vec![], "insufficient_balance"),
        (json!({ "routes": { "GET /a": { "price": 3 } } }), vec![], "spend_cap_exceeded"),
        (json!({}), vec!["--charged", "GET /a"], "insufficient_balance"),
        (
            // One request a window: the answers to a second one come all the same, later.
            json!({
                "limits": { "l": { "per": "token", "quota": 1, "window_ms": 60_000 } },
                "routes": { "GET /a": { "idempotency": { "required": true } } },
            }),
            vec![],
            "idempotency_in_flight",
        ),
    ] {
        assert!(!found.contains(&code.to_owned()), "{code}");
        let mut policy = plain.clone();
        policy.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
        let document = openapi(&policy, &flags);
        assert!(codes(&document, "/a", "get").contains(&code.to_owned()), "{code}");
        let is_everywhere = code == "rate_limited";
        assert_eq!(codes(&document, "/b", "post").contains(&code.to_owned()), is_everywhere);
    }
    let mut shadow = plain.clone();
    shadow["source"] = json!({ "shadow_networks": true });
    assert!(!codes(&openapi(&shadow, &[]), "/a", "get").contains(&"ip_not_allowed".to_owned()));
    let mut open = plain;
    let limit = json!({ "per": "token", "quota": 1, "window_ms": 60_000, "shadow": true });
    open["limits"] = json!({ "l": limit });
    assert!(!codes(&openapi(&open, &[]), "/a", "get").contains(&"rate_limited".to_owned()));
}

#[test]
fn files_are_compared_and_what_differs_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("reference");
    let place = place.to_str().unwrap();
    assert_eq!(preset(&["--check", place]).code, 1);
    assert_eq!(preset(&["--out", place]).code, 0);
    assert_eq!(preset(&["--check", place]).code, 0);
    let file = Path::new(place).join("policy.md");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("120 in 1 minute", "100 in 1 minute")).unwrap();
    let ran = preset(&["--check", place]);
    assert_eq!(ran.code, 1);
    let removed = ran.out.lines().find(|line| line.starts_with("-| `token`")).unwrap();
    assert!(removed.contains("100 in 1 minute"), "{removed}");
    let added = ran.out.lines().find(|line| line.starts_with("+| `token`")).unwrap();
    assert!(added.contains("120 in 1 minute"), "{added}");
    assert_eq!(preset(&["--check", place, "--format", "openapi"]).code, 0);
}

#[test]
fn what_cannot_be_written_says_why() {
    for (args, why) in [
        (vec!["--preset", "sms-gateway", "--format", "all"], "--out DIR"),
        (vec!["--preset", "sms-gateway", "--charged", "GET /none"], "no route `GET /none`"),
        (vec!["--preset", "none"], "there is no preset"),
        (vec!["--policy", "/dev/null"], "--format"),
        (vec!["--preset", "sms-gateway", "--out", "/dev/null/x"], "/dev/null/x"),
    ] {
        let ran = run(&[&["docs"], &args[..]].concat(), b"");
        assert_eq!(ran.code, 2, "{args:?}");
        assert!(ran.err.contains(why), "{args:?}: {}", ran.err);
    }
}
