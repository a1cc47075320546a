//! Text that is a policy, nearly one, or none.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proptest::prelude::*;
use serde_json::json;

use crate::policy::{CompiledPolicy, PolicyConfig, PolicyErrors, preset};

fn shown(errors: PolicyErrors) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

fn preset_json() -> String {
    serde_json::to_string_pretty(&preset("sms-gateway").unwrap()).unwrap()
}

const TOML: &str = r#"[scopes]
"sms:send" = ["POST /sms/send"]
reports = [
    "GET /messages",
    "GET /messages/{id}",
]

[limits.token]
per = "token"
quota = 120
window_ms = 60_000

[routes."POST /sms/send"]
idempotency = { retention_ms = 1000 }
price = 5
limit_costs = { token = 2 }
"#;

#[test]
fn both_texts_say_the_same() {
    let config = PolicyConfig::from_toml(TOML).unwrap();
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(PolicyConfig::from_json(&json).unwrap(), config);
    CompiledPolicy::from_toml(TOML).unwrap();
    CompiledPolicy::from_json(&json).unwrap();
    let preset = preset("sms-gateway").unwrap();
    assert_eq!(PolicyConfig::from_json(&preset_json()).unwrap(), preset);
    assert_eq!(PolicyConfig::from_json("{}").unwrap(), PolicyConfig::default());
    assert_eq!(PolicyConfig::from_toml("").unwrap(), PolicyConfig::default());
}

#[test]
fn toml_errors_name_place_and_line_all_at_once() {
    let text = r#"realm = 1
[limits.a]
per = "tokens"
quota = "many"
window_ms = -1
color = "red"
[limits.b]
per = "token"
window_ms = 0
[limits.c]
per = "token"
quota = 1
window_ms = 0
routes = ["GET /x"]
[scopes]
s = [
  "GET /a",
  7,
  "HEAD /b",
]
[routes."GET /a"]
price = 1979-05-27
limit_costs = { a = 1 }
idempotency = { retain = 1 }
[routes."GET /c"]
idempotency = "yes"
"#;
    let errors = shown(CompiledPolicy::from_toml(text).unwrap_err());
    let starts = [
        "line 1: realm: is unknown; remove it, or use \"tokens\", \"source\",",
        "line 3: limits.a.per: is \"tokens\", but must be \"token\", \"account\",",
        "line 4: limits.a.quota: is string \"many\", but must be a whole number",
        "line 5: limits.a.window_ms: is integer `-1`, but must be a whole number",
        "line 6: limits.a.color: is unknown; remove it, or use \"per\", \"quota\",",
        "line 7: limits.b: has no \"quota\"; add it",
        "line 13: limits.c.window_ms: must be at least 1",
        "line 18: scopes.s[1]: is integer `7`, but must be a string",
        "line 19: scopes.s[2]: route \"HEAD /b\" declares HEAD",
        "line 22: routes.\"GET /a\".price: is a date or time, but must be a whole number",
        "line 24: routes.\"GET /a\".idempotency.retain: is unknown; remove it, or use",
        "line 26: routes.\"GET /c\".idempotency: is string \"yes\", but must be true, false, or a",
    ];
    assert_eq!(errors.len(), starts.len(), "{errors:#?}");
    for (error, start) in errors.iter().zip(starts) {
        assert!(error.starts_with(start), "{error}\n{start}");
    }
}

#[test]
fn json_errors_name_place_and_line_all_at_once() {
    let text = r#"{
  "limits": {
    "token": {
      "per": "token", "quota": 1e3,
      "window_ms":
        0
    }
  },
  "scopes": {"a\"}{": ["GET /a",
    "GET /a/"], "b": null},
  "tokens": []
}"#;
    let errors = shown(CompiledPolicy::from_json(text).unwrap_err());
    let starts = [
        "line 4: limits.token.quota: is a floating-point number, but must be a whole number",
        "line 9: scopes.\"a\\\"}{\"",
        "line 10: scopes.\"a\\\"}{\"[1]: route \"GET /a/\" has a path",
        "line 10: scopes.b: is null, but must be a list",
        "line 11: tokens: ",
    ];
    // A limit without its quota cannot be compiled: its window is for the next time.
    assert_eq!(errors.len(), starts.len(), "{errors:#?}");
    for (error, start) in errors.iter().zip(starts) {
        assert!(error.starts_with(start), "{error}\n{start}");
    }
}

#[test]
fn references_to_what_could_not_be_read_are_no_errors() {
    let text = "[limits.a]\nper = 1\nquota = 1\nwindow_ms = 1\n\
                [routes.\"GET /a\"]\nlimit_costs = { a = 1 }\n";
    assert_eq!(shown(CompiledPolicy::from_toml(text).unwrap_err()).len(), 1);
}

#[test]
fn text_in_no_language_names_its_lines() {
    let errors = shown(CompiledPolicy::from_toml("a = \n[b\nc = 1").unwrap_err());
    assert!(errors.iter().any(|error| error.starts_with("line 1: ")), "{errors:?}");
    let errors = shown(CompiledPolicy::from_json("{\n\"a\" 1}").unwrap_err());
    assert_eq!(errors, ["line 2: expected `:`"]);
    for text in ["1", "[]", "null", "\"x\""] {
        let errors = shown(PolicyConfig::from_json(text).unwrap_err());
        assert!(errors.len() == 1 && errors[0].contains("must be a table"), "{errors:?}");
    }
    let errors = shown(PolicyConfig::from_json("{\"tokens\": {},\n\"tokens\": {}}").unwrap_err());
    assert_eq!(errors, ["line 2: tokens: is there twice; remove one of the two"]);
}

#[test]
fn very_many_errors_end() {
    let text: String = (0..500).map(|number| format!("k{number} = 1\n")).collect();
    let errors = shown(PolicyConfig::from_toml(&text).unwrap_err());
    assert_eq!(errors.len(), 101);
    // What was not read to its end is not compiled.
    let text = format!("[limits.a]\nper = \"token\"\nquota = 0\nwindow_ms = 1\n[x]\n{text}");
    let text = text.replace("[x]\n", "");
    assert_eq!(shown(CompiledPolicy::from_toml(&text).unwrap_err()).len(), 101);
}

#[test]
fn json_lists_keep_their_lines() {
    let text = "{\"source\": {\"trusted_proxies\": [1,\n2,\n{\"a\": 3, \"a\": 4}]}}";
    let errors = shown(PolicyConfig::from_json(text).unwrap_err());
    assert_eq!(
        errors,
        ["line 3: source.trusted_proxies[2].a: is there twice; remove one of the two"]
    );
    let text = "{\"source\": {\"trusted_proxies\": [1,\n2]}}";
    let errors = shown(PolicyConfig::from_json(text).unwrap_err());
    let starts = ["line 1: source.trusted_proxies[0]: ", "line 2: source.trusted_proxies[1]: "];
    assert_eq!(errors.len(), 2);
    assert!(errors.iter().zip(starts).all(|(error, start)| error.starts_with(start)), "{errors:?}");
}

#[test]
fn a_wrong_word_is_told_the_right_ones() {
    let errors = shown(PolicyConfig::from_toml("tokens.format = \"x\"").unwrap_err());
    assert_eq!(errors, ["line 1: tokens.format: is \"x\", but must be \"native\" or \"opaque\""]);
}

#[test]
fn merge_patches_reach_every_setting() {
    let preset = preset("sms-gateway").unwrap();
    let patch = json!({
        "tokens": {"format": "opaque"},
        "limits": {"token": {"quota": 5}, "otp_source_ip": null},
        "routes": {"POST /sms/send": {"idempotency": {"required": true}, "price": 3}},
        "idempotency": {"retention_ms": 1000},
    });
    let patched = preset.merge_patch(&patch).unwrap();
    assert_eq!(patched.limits.len(), 1);
    assert_eq!(patched.limits["token"].quota, 5);
    let policy = patched.compile().unwrap();
    let sms = policy.route(policy.find_route(b"POST", b"/sms/send").unwrap()).unwrap();
    let rule = sms.idempotency.unwrap();
    assert!(rule.required && rule.retention_ms == 1000);
    assert_eq!(preset.merge_patch(&json!({})).unwrap(), preset);
    let errors =
        shown(preset.merge_patch(&json!({"limits": {"token": {"quota": null}}})).unwrap_err());
    assert_eq!(errors, ["limits.token: has no \"quota\"; add it"]);
}

#[test]
fn deep_text_is_refused_and_not_followed() {
    let deep = "a.".repeat(200_000);
    for text in [format!("[{deep}a]"), format!("{deep}a = 1"), format!("x = {{ {deep}a = 1 }}")] {
        assert!(CompiledPolicy::from_toml(&text).is_err());
    }
    for open in ["[", "{\"a\":"] {
        assert!(CompiledPolicy::from_json(&open.repeat(200_000)).is_err());
    }
    assert!(CompiledPolicy::from_toml(&format!("x = {}", "[".repeat(200_000))).is_err());
}

/// Replaces, inserts or removes a few bytes.
fn mutated(text: String) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        proptest::sample::select(
            &["\"", "{", "}", "[", "]", "\n", "=", ":", "-1", "null", "0", ""][..]
        )
        .prop_map(String::from),
        any::<String>(),
    ];
    proptest::collection::vec((any::<prop::sample::Index>(), 0..20_usize, piece), 1..6).prop_map(
        move |edits| {
            let mut chars: Vec<char> = text.chars().collect();
            for (at, length, piece) in edits {
                let start = at.index(chars.len().max(1));
                let end = start.saturating_add(length).min(chars.len());
                chars.splice(start..end, piece.chars());
            }
            chars.into_iter().collect()
        },
    )
}

/// Every error of text has a line.
fn check(result: Result<CompiledPolicy, PolicyErrors>) -> Result<(), TestCaseError> {
    if let Err(errors) = result {
        prop_assert!(!errors.as_slice().is_empty());
        prop_assert!(errors.iter().all(|error| error.line.is_some()), "{errors}");
    }
    Ok(())
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text: String) {
        let _ = CompiledPolicy::from_toml(&text);
        let _ = CompiledPolicy::from_json(&text);
    }

    #[test]
    fn mutated_toml_never_panics(text in mutated(TOML.into())) {
        check(CompiledPolicy::from_toml(&text))?;
    }

    #[test]
    fn mutated_json_never_panics(text in mutated(preset_json())) {
        check(CompiledPolicy::from_json(&text))?;
    }
}

/// Puts `new` in place of something within `value`, which `choices` lead to.
fn replace_within(value: &mut serde_json::Value, choices: &[usize], new: &serde_json::Value) {
    let children: Vec<&mut serde_json::Value> = match value {
        serde_json::Value::Object(members) => members.values_mut().collect(),
        serde_json::Value::Array(items) => items.iter_mut().collect(),
        _ => Vec::new(),
    };
    let count = children.len().max(1);
    let chosen = choices.split_first().and_then(|(choice, rest)| {
        children.into_iter().nth(choice.checked_rem(count)?).map(|child| (child, rest))
    });
    match chosen {
        Some((child, rest)) => replace_within(child, rest, new),
        None => value.clone_from(new),
    }
}

proptest! {
    #[test]
    fn wrong_values_anywhere_are_errors_with_lines_or_a_policy(
        changes in proptest::collection::vec(
            (
                proptest::collection::vec(any::<usize>(), 1..5),
                proptest::sample::select(vec![
                    json!(null), json!(true), json!(0), json!(-1), json!(u64::MAX), json!(1.5),
                    json!(""), json!("GET /a"), json!("token"), json!([]), json!([1]), json!({}),
                    json!({"": {"a": 1}}), json!({"idempotency": {}, "price": 1}),
                ]),
            ),
            1..5,
        ),
    ) {
        let mut value = serde_json::to_value(preset("sms-gateway").unwrap()).unwrap();
        for (choices, new) in &changes {
            replace_within(&mut value, choices, new);
        }
        let text = serde_json::to_string_pretty(&value).unwrap();
        check(CompiledPolicy::from_json(&text))?;
        // The same errors without text, only without lines.
        let read = PolicyConfig::from_json(&text).map_err(|errors| errors.as_slice().len());
        let direct = PolicyConfig::from_json_value(&value).map_err(|errors| errors.as_slice().len());
        // What is read is what serde reads, which says less of what is wrong.
        if let Ok(config) = &read {
            let derived: Option<PolicyConfig> = serde_json::from_value(value).ok();
            prop_assert_eq!(Some(config), derived.as_ref());
        }
        prop_assert_eq!(read, direct);
    }
}
