//! Policies as text, as merge patches and as made up from the fuzzer's bytes: read, compiled, written and read again.
//!
//! The first byte says what the rest is: `T` TOML, `J` JSON, `P` a merge patch on the preset in JSON, and anything else a
//! policy that `made_up` makes.

#![no_main]

mod made_up;

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use tollgate::{
    CompiledPolicy, Engine, PolicyConfig, PolicyErrors, Request, lint, merge_patch, preset,
};
use tollgate_kv::{KvOptions, KvStore, MemoryMap};

const READ: fn(&str) -> Result<PolicyConfig, PolicyErrors> = PolicyConfig::from_json;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let text = || str::from_utf8(rest).ok();
    match kind {
        b'T' => {
            _ = text().map(|text| read(text, PolicyConfig::from_toml, CompiledPolicy::from_toml))
        }
        b'J' => _ = text().map(|text| read(text, READ, CompiledPolicy::from_json)),
        b'P' => _ = text().and_then(|text| serde_json::from_str(text).ok()).map(patch),
        _ => {
            if let Ok(config) = made_up::policy(&mut Unstructured::new(rest)) {
                written(&config);
            }
        }
    }
});

/// A text is read alike by both of its readers, and what is wrong has a place in it.
fn read(
    text: &str,
    read: impl Fn(&str) -> Result<PolicyConfig, PolicyErrors>,
    compile: impl Fn(&str) -> Result<CompiledPolicy, PolicyErrors>,
) {
    let (config, compiled) = (read(text), compile(text));
    for errors in [config.as_ref().err(), compiled.as_ref().err()].into_iter().flatten() {
        check_errors(errors, Some(text));
    }
    match (&config, &compiled) {
        (Err(_), Ok(_)) => panic!("compiled, but not read"),
        (Ok(config), Ok(_)) => assert!(config.compile().is_ok()),
        (Ok(config), Err(errors)) => {
            let own = config.compile().expect_err("the text does not compile");
            assert_eq!(said(&own), said(errors));
        }
        (Err(_), Err(_)) => {}
    }
    if let Ok(config) = &config {
        written(config);
    }
}

/// Lines are lines of the text, the order is that of the lines, and there is something to read.
fn check_errors(errors: &PolicyErrors, text: Option<&str>) {
    let lines = text.map_or(0, |text| text.split('\n').count());
    let errors = errors.as_slice();
    assert!(!errors.is_empty() && errors.iter().all(|error| !error.message.is_empty()));
    for error in errors {
        match error.line {
            Some(line) => assert!((1..=lines).contains(&line), "{error} of {lines}"),
            None if text.is_some() => assert!(error.place.is_empty(), "{error} has no line"),
            None => {}
        }
    }
    assert!(errors.is_sorted_by_key(|error| (error.line, error.place.clone())));
}

fn said(errors: &PolicyErrors) -> Vec<(&str, &str)> {
    let mut said: Vec<_> = errors.iter().map(|error| (&*error.place, &*error.message)).collect();
    said.sort_unstable();
    said
}

/// A policy is the same after it was written as JSON and as TOML, and compiles to the same.
fn written(config: &PolicyConfig) {
    let _ = lint(config);
    let compiled = config.compile();
    if let Err(errors) = &compiled {
        check_errors(errors, None);
    }
    let json = serde_json::to_string(config).unwrap();
    assert_eq!(PolicyConfig::from_json(&json).as_ref(), Ok(config), "{json}");
    let from_json = CompiledPolicy::from_json(&json);
    same(&compiled, &from_json);
    // TOML has no integer above 2^63 - 1.
    if let Ok(toml) = toml::to_string(config) {
        assert_eq!(PolicyConfig::from_toml(&toml).as_ref(), Ok(config), "{toml}");
        same(&compiled, &CompiledPolicy::from_toml(&toml));
    }
    if let Ok(compiled) = compiled {
        decide(config, compiled);
    }
}

fn same(one: &Result<CompiledPolicy, PolicyErrors>, other: &Result<CompiledPolicy, PolicyErrors>) {
    match (one, other) {
        (Ok(one), Ok(other)) => {
            assert_eq!(shown(one), shown(other));
        }
        (Err(one), Err(other)) => assert_eq!(said(one), said(other)),
        _ => panic!(
            "compiles in one form and not in another: {:?} {:?}",
            one.as_ref().err(),
            other.as_ref().err()
        ),
    }
}

/// All that a compiled policy shows.
fn shown(policy: &CompiledPolicy) -> String {
    format!(
        "{:?} {:?} {:?} {:?}",
        policy.routes(),
        policy.limits(None),
        policy.scopes(),
        policy.token_format()
    )
}

/// Requests that meet every route get an answer, and a peek before them the same one.
fn decide(config: &PolicyConfig, policy: CompiledPolicy) {
    let engine = Engine::new(policy);
    // Made more quickly than the memory store, whose shards are many.
    let store = KvStore::open(MemoryMap::default(), &KvOptions::default()).unwrap();
    let native = tollgate::TokenText::generate(&[7; 32]);
    let account = tollgate::AccountId::new("acme").unwrap();
    let admin = tollgate::Admin::new(&store);
    let settings = tollgate::TokenPatch {
        scopes: Some(config.scopes.keys().map(|name| name.as_str().into()).collect()),
        ..Default::default()
    };
    admin.put_account(&account, tollgate::Amount(1_000_000), Default::default(), 0).unwrap();
    admin.put_token(&engine.digest(&native), &account, settings, 0).unwrap();
    let bearer = format!("Bearer {}", native.expose());
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
    let names: Vec<&str> = engine.policy().routes().iter().map(|route| &*route.name).collect();
    for name in names.iter().take(8).copied().chain(["GET /nowhere"]) {
        let (method, target) = name.split_once(' ').unwrap();
        let request = Request {
            peer: Some([192, 0, 2, 7].into()),
            ..Request::new(method.as_bytes(), target.as_bytes(), 1_000).with_headers(&headers)
        };
        let peeked = engine.decide(&store, &Request { peek: true, ..request });
        let decided = engine.decide(&store, &request);
        assert_eq!(peeked.status(), decided.status(), "{name}");
        let found =
            decided.route().and_then(|id| engine.policy().route(id)).map(|route| &*route.name);
        // A pattern is a path too, which it matches itself, unless a better one does.
        assert!(found.is_some() || !names.contains(&name), "{name}");
        let answer = engine.answer(&decided);
        assert!((100..1000).contains(&answer.status), "{name}");
    }
}

/// A merge patch does what RFC 7396 says, on a policy as on any value.
fn patch(patch: Value) {
    let config = preset("sms-gateway").unwrap();
    let before = serde_json::to_value(&config).unwrap();
    let expected = patched(&before, &patch);
    let mut after = before;
    merge_patch(&mut after, &patch);
    assert_eq!(after, expected);
    let changed = config.merge_patch(&patch);
    assert_eq!(changed, PolicyConfig::from_json_value(&expected));
    match changed {
        Ok(changed) => written(&changed),
        Err(errors) => check_errors(&errors, None),
    }
}

/// RFC 7396, section 2, without changing anything in place.
fn patched(target: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let none = Map::new();
    let target = target.as_object().unwrap_or(&none);
    let names: std::collections::BTreeSet<&String> = target.keys().chain(patch.keys()).collect();
    let member = |name: &String| match (target.get(name), patch.get(name)) {
        (_, Some(Value::Null)) => None,
        (before, Some(change)) => Some(patched(before.unwrap_or(&Value::Null), change)),
        (before, None) => before.cloned(),
    };
    names.into_iter().filter_map(|name| Some((name.clone(), member(name)?))).collect()
}
