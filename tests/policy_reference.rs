//! `docs/policy.md` names every field of a policy, with its default, and its examples compile.

#![cfg(all(feature = "json", feature = "toml"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may panic too")]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tollgate::*;

const REFERENCE: &str = include_str!("../docs/policy.md");

/// A policy that sets every field: a new one does not compile here until it is added.
fn everything() -> PolicyConfig {
    let limit = LimitConfig {
        per: Partition::Token,
        quota: 2,
        window_ms: 1_000,
        algorithm: Algorithm::Gcra,
        burst: Some(2),
        counts: Counts::Requests,
        routes: Some(vec!["GET /a".into()]),
        cost: 1,
        token_override: Some(true),
        shadow: false,
        on_store_failure: FailureMode::Closed,
    };
    let settings = IdempotencyOverrides {
        retention_ms: Some(1),
        on_orphan: Some(OnOrphan::Conflict),
        required: Some(true),
        on_store_failure: Some(FailureMode::Closed),
    };
    let route = RouteConfig {
        idempotency: Some(RouteIdempotency::Settings(settings)),
        price: Some(Amount(1)),
        lease_ms: Some(1),
        on_expiry: Some(OnExpiry::Void),
        limit_costs: BTreeMap::from([("NAME".into(), 1)]),
    };
    let PolicyConfig { tokens, source, paths, idempotency, reservations, answers, .. } =
        PolicyConfig::default();
    PolicyConfig {
        tokens,
        source,
        paths,
        scopes: BTreeMap::from([("SCOPE".into(), vec!["GET /a".into()])]),
        limits: BTreeMap::from([("NAME".into(), limit)]),
        idempotency,
        reservations,
        routes: BTreeMap::from([("GET /a".into(), route)]),
        answers,
    }
}

/// Each field's place and value; only tables have fields below them.
fn fields(place: &str, value: &Value, found: &mut BTreeMap<String, Value>) {
    let Value::Object(table) = value else {
        found.insert(place.to_string(), value.clone());
        return;
    };
    for (name, value) in table {
        let name = if name.contains(' ') { "ROUTE" } else { name };
        let place = if place.is_empty() { name.to_string() } else { format!("{place}.{name}") };
        fields(&place, value, found);
    }
}

fn fields_of(config: &PolicyConfig) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    fields("", &serde_json::to_value(config).unwrap(), &mut found);
    found
}

/// The rows of the reference: each field's place and what its default is said to be.
fn rows() -> BTreeMap<&'static str, &'static str> {
    let cells = REFERENCE.lines().filter(|line| line.starts_with("| `")).map(|line| {
        let cells: Vec<&str> = line.split(" | ").collect();
        (cells[0].trim_start_matches("| `").trim_end_matches('`'), cells[2].trim_matches('`'))
    });
    cells.collect()
}

#[test]
fn every_field_has_a_row_and_every_row_a_field() {
    let mut expected: Vec<String> = fields_of(&everything()).into_keys().collect();
    expected.push("routes.ROUTE.idempotency".into()); // a table here, and a boolean elsewhere
    expected.sort();
    let documented: Vec<String> = rows().into_keys().map(String::from).collect();
    assert_eq!(documented, expected);
}

#[test]
fn documented_defaults_are_the_defaults() {
    let rows = rows();
    let mut defaults = fields_of(&PolicyConfig::default());
    let limit = serde_json::to_value(LimitConfig::new(Partition::Token, 1, 1)).unwrap();
    fields("limits.NAME", &limit, &mut defaults);
    let mut compared = 0;
    for (place, default) in defaults {
        let documented = rows.get(place.as_str());
        match documented {
            Some(&"required") | None => continue, // none: an empty table of names
            Some(documented) => {
                assert_eq!(serde_json::from_str::<Value>(documented).unwrap(), default, "{place}");
            }
        }
        compared += 1;
    }
    assert!(compared >= 20, "only {compared} defaults were compared");
}

#[test]
fn examples_compile_without_a_warning() {
    let after = REFERENCE.split("```toml\n").skip(1);
    let examples: Vec<&str> = after.map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let config = PolicyConfig::from_toml(example).unwrap();
        config.compile().unwrap();
        assert_eq!(lint(&config), []);
    }
}

#[test]
fn json_has_the_same_shape() {
    let json = json!({"limits": {"token": {"per": "token", "quota": 1, "window_ms": 1}}});
    let toml = "[limits.token]\nper = \"token\"\nquota = 1\nwindow_ms = 1\n";
    let from_json = PolicyConfig::from_json(&json.to_string()).unwrap();
    assert_eq!(from_json, PolicyConfig::from_toml(toml).unwrap());
}
