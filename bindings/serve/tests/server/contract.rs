//! What a server says of itself is so: its OpenAPI description, by schemathesis, and its metrics, by Prometheus's own parser.

use std::process::Command;

use serde_json::{Value, json};
use tollgate_serve::{Bound, Secret};

use crate::client::call;
use crate::python::program;
use crate::running::{ADMIN, POLICY, Running};

fn address(place: &Bound) -> String {
    match place {
        Bound::Tcp(address) => format!("http://{address}"),
        Bound::Unix(path) => panic!("{}", path.display()),
    }
}

/// With an account, a token, and reservations that are open, settled and orphaned.
fn running() -> Running {
    let running = Running::with(POLICY, |options, _| {
        options.api_token = Some(Secret::new(ADMIN).unwrap());
    });
    let running = running.unwrap();
    running.add_account("acme", 1_000, "t-1");
    for n in 0..3 {
        let pay = json!({
            "method": "POST", "target": "/pay",
            "headers": [["authorization", "Bearer t-1"], ["idempotency-key", format!("k-{n}")]],
        });
        let decided = call(&running.place, Some(ADMIN), "POST", "/v1/decide", Some(&pay)).json();
        let settle = json!({ "ticket": decided["ticket"], "outcome": "settle" });
        if n > 0 {
            let settled = call(&running.place, Some(ADMIN), "POST", "/v1/settle", Some(&settle));
            assert_eq!(settled.status, 200, "{}", settled.text());
        }
    }
    running
}

/// All checks but one: some of what is right in form is refused by its meaning, which OpenAPI has no words for.
fn schemathesis(description: &str, place: &Bound, operations: &str) {
    let output = Command::new(program("schemathesis"))
        .args(["run", description, "--url", &address(place), "--include-path-regex", operations])
        .args(["-H", &format!("Authorization: Bearer {ADMIN}")])
        .args(["--exclude-checks", "positive_data_acceptance", "--seed", "1", "--no-color"])
        .args(["--max-examples", "20", "--max-time", "20"])
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{said}");
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let cases = said.lines().find_map(|line| line.trim().split_once(" generated, "));
    let cases: usize = cases.unwrap_or_else(|| panic!("{said}")).0.parse().unwrap();
    assert!(cases > 100, "{said}");
}

#[test]
fn the_api_keeps_to_its_description() {
    let running = running();
    let description = format!("{}/openapi.json", address(&running.place));
    schemathesis(&description, &running.place, "^/v1");
    schemathesis(&description, &running.admin, "^/api");
}

#[test]
fn every_path_is_described_on_both_listeners() {
    let running = running();
    let get = |place, token| call(place, token, "GET", "/openapi.json", None);
    let (one, other) = (get(&running.place, None), get(&running.admin, None));
    assert_eq!((one.status, &one.body), (200, &other.body));
    let description = one.json();
    assert_eq!(description["openapi"], "3.1.0");
    let paths: Vec<&String> = description["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths.len(), 14, "{paths:?}");
    // Each is there, and none is open to everybody.
    for (path, operations) in description["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let place = if path.starts_with("/v1") { &running.place } else { &running.admin };
            let reply = call(place, None, &method.to_uppercase(), path, None);
            assert_eq!(reply.status, 401, "{method} {path}");
        }
    }
}

#[test]
fn prometheus_reads_the_metrics() {
    let running = running();
    let script = "
import sys, json
from prometheus_client.openmetrics.parser import text_string_to_metric_families
families = text_string_to_metric_families(sys.stdin.read())
samples = [[s.name, s.labels, s.value] for family in families for s in family.samples]
print(json.dumps(samples))
";
    let file = running.directory.path().join("metrics");
    std::fs::write(&file, running.metrics()).unwrap();
    let output = Command::new(program("python"))
        .args(["-c", script])
        .stdin(std::fs::File::open(&file).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let samples: Vec<(String, Value, f64)> = serde_json::from_slice(&output.stdout).unwrap();
    let value = |name: &str, labels: Value| {
        let found = samples.iter().find(|sample| sample.0 == name && sample.1 == labels);
        found.unwrap_or_else(|| panic!("{name} {labels}: {samples:?}")).2.to_string()
    };
    let allowed = json!({ "route": "POST /pay", "code": "allowed", "via": "api" });
    assert_eq!(value("tollgate_decisions_total", allowed), "3");
    let api = json!({ "via": "api" });
    assert_eq!(value("tollgate_decision_duration_seconds_count", api.clone()), "3");
    let all = json!({ "via": "api", "le": "+Inf" });
    assert_eq!(value("tollgate_decision_duration_seconds_bucket", all), "3");
    assert_eq!(value("tollgate_settlements_total", json!({ "outcome": "settle" })), "2");
    for gauge in ["tollgate_connections", "tollgate_held_money", "tollgate_accounts"] {
        value(gauge, json!({}));
    }
}
