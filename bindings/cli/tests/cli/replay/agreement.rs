//! A log that the engine itself made is replayed to the very same decisions.

use serde_json::{Value, json};
use tollgate_scenario::Runner;

use super::{Desk, codes};

const BEGIN_MS: u64 = 1_795_950_600_000;

/// Small quotas and prices, so that every check decides now and then.
fn patch() -> Value {
    json!({
        "tokens": {"format": "opaque"},
        "limits": {
            "token": {"quota": 20},
            "otp_source_ip": {"quota": 2},
            "sends": {"per": "account", "quota": 30, "window_ms": 600_000, "algorithm": "sliding_window",
                      "counts": "executions", "routes": ["POST /sms/send"]},
        },
        "routes": {"POST /otp/send": {"price": 3}},
    })
}

/// Callers by the text of their tokens: account, scopes, networks of the token.
const CALLERS: [(&str, &str, &[&str], &[&str]); 4] = [
    ("t-all", "acme", &["sms:send", "otp", "balance"], &[]),
    ("t-send", "acme", &["sms:send"], &["192.0.2.0/24"]),
    ("t-poor", "poor", &["sms:send", "otp"], &[]),
    ("t-read", "poor", &["balance"], &[]),
];

fn caps(account: &str) -> Value {
    let amount = if account == "acme" { 400 } else { 60 };
    json!([{"per": "day", "amount": amount}])
}

fn balance(account: &str) -> u64 {
    if account == "acme" { 5_000 } else { 150 }
}

/// Numbers that look random (PCG's multiplier), the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33).rem_euclid(bound)
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn pick<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[usize::try_from(self.below(texts.len() as u64)).unwrap()]
    }
}

fn name_of(token: &str) -> String {
    tollgate::digest(token.as_bytes(), None).to_string()[..16].to_owned()
}

/// Runs requests through the engine, each finished at once, and writes what a server would log.
fn recorded(seed: u64) -> Vec<Value> {
    let mut runner = Runner::in_memory();
    let mut step = |step: Value| {
        let reply = runner.step(step.clone());
        assert_eq!(reply.get("error"), None, "{step}");
        reply
    };
    step(json!({"op": "policy", "preset": "sms-gateway", "patch": patch()}));
    for account in ["acme", "poor"] {
        step(
            json!({"op": "account", "id": account, "balance": balance(account), "spend_caps": caps(account), "senders": ["ACME"]}),
        );
    }
    for (token, account, scopes, networks) in CALLERS {
        step(
            json!({"op": "token", "token": token, "account": account, "scopes": scopes, "networks": networks}),
        );
    }
    let (mut dice, mut now_ms) = (Dice(seed), BEGIN_MS);
    let mut log = Vec::new();
    for number in 0..1_500_u64 {
        let pause_ms = if dice.one_in(100) { dice.below(40_000_000) } else { dice.below(2_000) };
        now_ms = now_ms.saturating_add(pause_ms);
        let token =
            dice.pick(&["t-all", "t-all", "t-all", "t-send", "t-poor", "t-read", "t-none", ""]);
        let (method, path) = match dice.below(6) {
            0 => ("GET", "/balance"),
            1 => ("POST", "/otp/send"),
            2 => ("GET", "/nowhere"),
            _ => ("POST", "/sms/send"),
        };
        let source = dice.pick(&["192.0.2.1", "192.0.2.2", "198.51.100.1"]);
        let cost = (path == "/sms/send").then(|| dice.below(9).max(1));
        let key = (!dice.one_in(3)).then(|| match dice.below(40) {
            0 => String::new(),
            _ => format!("key-{}", (number / 8).saturating_add(dice.below(3))),
        });
        let sender = dice.pick(&["ACME", "ACME", "ACME", "EVIL"]);
        let invalid = dice.one_in(20).then_some("no such number");
        let peek = dice.one_in(15);
        let body = if dice.one_in(10) { "another" } else { "the same" };
        let mut headers = Vec::new();
        if !token.is_empty() {
            headers.push(["authorization".to_owned(), format!("Bearer {token}")]);
        }
        if let Some(key) = &key {
            headers.push(["idempotency-key".to_owned(), key.clone()]);
        }
        let id = number.to_string();
        let reply = step(json!({
            "op": "request", "id": id, "now_ms": now_ms, "method": method, "target": path, "headers": headers,
            "peer": source, "body": body, "cost": cost, "sender": sender, "invalid": invalid,
            "peek": peek,
        }));
        let verdict = reply["verdict"].as_str().unwrap();
        let mut status = reply["status"].as_u64().unwrap();
        if verdict == "allow" && !peek {
            status = if dice.one_in(5) { 502 } else { 201 };
            let outcome = if status == 502 { "void" } else { "settle" };
            let response = json!({"status": status, "headers": [], "body": ""});
            step(
                json!({"op": "finish", "id": id, "now_ms": now_ms, "outcome": outcome, "response": response}),
            );
        }
        let code = match verdict {
            "allow" => "allowed",
            "replay" => "replayed",
            _ => reply["code"].as_str().unwrap(),
        };
        let mut line = json!({
            "now_ms": now_ms, "method": method, "path": path, "source": source, "verdict": verdict,
            "status": status, "code": code, "sender": sender, "cost": cost, "invalid": invalid,
            "peek": peek,
        });
        if !token.is_empty() {
            line["token"] = name_of(token).into();
        }
        // Also of a key that is none: a log has its digest.
        if let Some(key) = key {
            line["key"] = name_of(&key).into();
        }
        for member in ["account", "route", "reserved"] {
            if let Some(value) = reply.get(member) {
                line[member] = value.clone();
            }
        }
        log.push(line);
    }
    log
}

#[test]
fn what_the_engine_recorded_it_decides_again() {
    let desk = Desk::new();
    let patch = desk.write("patch.json", patch().to_string());
    let policy = format!("preset:sms-gateway+{patch}");
    let mut state = json!({});
    for (token, account, scopes, networks) in CALLERS {
        state[name_of(token)] = json!({
            "account": account, "scopes": scopes, "token_networks": networks, "balance": balance(account),
            "spend_caps": caps(account), "senders": ["ACME"],
        });
    }
    let state = desk.write("state.json", state.to_string());
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..4 {
        let log = recorded(seed);
        let ran = desk.replay(&log, &["--policy", &policy, "--state", &state, "--json"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let report = ran.json();
        assert_eq!(report["recorded"]["kinds"], json!([]), "seed {seed}");
        assert_eq!(report["recorded"]["compared"], log.len());
        seen.extend(codes(&report["policies"][0]).as_object().unwrap().keys().cloned());
        let posted: u64 = log
            .iter()
            .filter(|line| {
                line["verdict"] == "allow" && line["status"] == 201 && line["peek"] == false
            })
            .filter_map(|line| line["reserved"].as_u64())
            .sum();
        assert_eq!(report["policies"][0]["posted"], posted, "seed {seed}");
    }
    // Every code but those of requests that are still running and of stores that fail.
    let expected = tollgate::STATUS_TABLE
        .iter()
        .map(|row| row.code)
        .filter(|code| !["idempotency_in_flight", "store_unavailable"].contains(code));
    assert_eq!(seen, expected.map(str::to_owned).collect());
}
