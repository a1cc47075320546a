//! `tollgate replay`: what a policy would have done to recorded traffic.

mod agreement;
mod hostile;
mod logs;
mod tables;

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{Ran, run};

const NOW_MS: u64 = 1_795_950_600_000;

/// Two requests a minute for each token; a price; a key.
const SMALL: &str = r#"
[scopes]
read = ["GET /things"]
buy = ["POST /orders"]

[limits.token]
per = "token"
quota = 2
window_ms = 60_000

[routes."POST /orders"]
idempotency = true
price = 5
"#;

/// A directory with a policy and logs.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Desk(tempfile::tempdir().unwrap());
        desk.write("small.toml", SMALL);
        desk
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// Replays lines under a policy of this directory.
    fn replay(&self, lines: &[Value], args: &[&str]) -> Ran {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.replay_text(text.as_bytes(), args)
    }

    fn replay_text(&self, text: &[u8], args: &[&str]) -> Ran {
        let log = self.write("log", text);
        let mut all = vec!["replay", &log];
        all.extend_from_slice(args);
        run(&all, b"")
    }

    fn report(&self, lines: &[Value], args: &[&str]) -> Value {
        let small = self.path("small.toml");
        let mut all = vec!["--policy", &small, "--json"];
        all.extend_from_slice(args);
        let ran = self.replay(lines, &all);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
        ran.json()
    }
}

/// A request of token `t` so many seconds after the begin, with more members.
fn at(seconds: u64, method: &str, path: &str, more: Value) -> Value {
    let mut line = json!({
        "now_ms": seconds.saturating_mul(1_000).saturating_add(NOW_MS), "method": method, "path": path, "source": "192.0.2.1",
        "token": "t",
    });
    for (name, value) in more.as_object().unwrap() {
        line[name] = value.clone();
    }
    line
}

fn get(seconds: u64) -> Value {
    at(seconds, "GET", "/things", json!({}))
}

fn order(seconds: u64, more: Value) -> Value {
    at(seconds, "POST", "/orders", more)
}

/// How often each code was decided under a policy.
fn codes(policy: &Value) -> Value {
    let codes = policy["codes"].as_array().unwrap();
    codes
        .iter()
        .map(|row| (row["code"].as_str().unwrap().to_owned(), row["count"].clone()))
        .collect()
}

#[test]
fn requests_are_decided_at_their_recorded_times() {
    let desk = Desk::new();
    // A third request within the minute is one too many; half a minute later there is room for one.
    let report = desk.report(&[get(0), get(1), get(2), get(40), get(41)], &[]);
    let policy = &report["policies"][0];
    assert_eq!(codes(policy), json!({"allowed": 3, "rate_limited": 2}));
    assert_eq!((&policy["allow"], &policy["deny"]), (&json!(3), &json!(2)));
    let near = &policy["near_limits"][0];
    assert_eq!(
        (&near["caller"], &near["limit"], &near["per"]),
        (&json!("t"), &json!("token"), &json!("token"))
    );
    assert_eq!(
        (&near["used"], &near["capacity"], &near["rate_limited"]),
        (&json!(2), &json!(2), &json!(2))
    );
    assert_eq!(near["at_ms"], NOW_MS + 1_000);
    assert_eq!(report["lines"]["first_ms"], NOW_MS);
    assert_eq!(report["lines"]["last_ms"], NOW_MS + 41_000);
    let counts = &report["timeline"]["steps"][2]["counts"][0];
    assert_eq!(
        (&report["timeline"]["codes"], counts),
        (&json!(["allowed", "rate_limited"]), &json!([0, 1]))
    );
    // Without what B changes there is nothing to tell.
    assert_eq!((&report["changes"], &report["recorded"]), (&Value::Null, &Value::Null));
}

#[test]
fn changes_are_told_with_the_check_that_makes_them() {
    let desk = Desk::new();
    let strict = SMALL.replace("quota = 2", "quota = 1").replace("price = 5", "price = 6");
    let strict = desk.write("strict.toml", strict.replace("GET /things", "GET /others"));
    let lines = [get(0), order(10, json!({})), order(11, json!({})), get(12)];
    let against = ["--against", strict.as_str()];
    let report = desk.report(&lines, &against);
    let changes = &report["changes"];
    assert_eq!((&changes["changed"], &changes["same"]), (&json!(3), &json!(1)));
    let kinds = changes["kinds"].as_array().unwrap();
    let kind = |from: &str, to: &str| {
        let found =
            kinds.iter().find(|kind| kind["from"]["code"] == from && kind["to"]["code"] == to);
        found.unwrap_or_else(|| panic!("{from} → {to} is not in {kinds:?}"))
    };
    let scope = kind("allowed", "insufficient_scope");
    assert_eq!((&scope["count"], &scope["routes"]), (&json!(1), &json!([["GET /things", 1]])));
    let example = &scope["examples"][0];
    assert_eq!(
        (&example["place"], &example["method"], &example["path"]),
        (&json!("line 1"), &json!("GET"), &json!("/things"))
    );
    assert_eq!(example["a"]["text"], "every check passed");
    assert_eq!(example["b"]["check"], "scope");
    assert!(example["b"]["text"].as_str().unwrap().contains("no route matches"), "{example}");

    let price = kind("allowed", "allowed");
    assert_eq!(
        (&price["to"]["rule"], &price["reserved"]),
        (&json!("another price"), &json!([5, 6]))
    );
    assert_eq!(price["examples"][0]["b"]["text"], "every check passed, 6 reserved");

    let limited = kind("rate_limited", "insufficient_scope");
    assert_eq!(limited["from"]["rule"], "token");
    let a = &limited["examples"][0]["a"];
    assert_eq!(a["check"], "request limit");
    assert!(a["text"].as_str().unwrap().starts_with("token: 2 per 60000 ms"), "{a}");
    assert!(a["fix"].as_str().unwrap().starts_with("try again at "), "{a}");

    // However many there are, a few are shown.
    let many: Vec<Value> = (0..1_200).step_by(60).map(get).collect();
    let kinds = &desk.report(&many, &against)["changes"]["kinds"];
    let examples = kinds[0]["examples"].as_array().unwrap().len();
    assert_eq!((&kinds[0]["count"], examples), (&json!(20), 3));

    let small = desk.path("small.toml");
    let args = ["--policy", &small, "--against", &strict];
    let text = desk.replay(&lines, &args);
    assert_eq!(text.code, 0);
    for part in [
        "changes from A to B: 3 of 4 decisions",
        "1 × rate_limited (token) → insufficient_scope",
        "line 1: GET /things by t, 2026-11-29 11:10:00 UTC",
        "B: scope: a route of the policy; no route matches the method and path",
    ] {
        assert!(text.out.contains(part), "{part} is not in {}", text.out);
    }
    let failing = ["--policy", &small, "--against", &strict, "--fail-on-change"];
    assert_eq!(desk.replay(&lines, &failing).code, 1);
    let same = ["--policy", &small, "--against", &small, "--fail-on-change"];
    let same = desk.replay(&lines, &same);
    assert_eq!(same.code, 0);
    assert!(same.out.contains("changes from A to B: 0 of 4 decisions"), "{}", same.out);
}

#[test]
fn what_was_only_asked_consumes_nothing() {
    let desk = Desk::new();
    let peek = |seconds| order(seconds, json!({"peek": true, "status": 200}));
    let report = desk.report(&[peek(0), peek(1), peek(2), order(3, json!({}))], &[]);
    let policy = &report["policies"][0];
    assert_eq!(codes(policy), json!({"allowed": 4}));
    assert_eq!(policy["posted"], 5);
}

/// The request that the wallet refused was also the last that the limit let through: asked again, the limit would
/// refuse it.
#[test]
fn a_check_that_did_not_decide_is_never_given_as_the_reason() {
    let desk = Desk::new();
    let one = desk.write("one.toml", SMALL.replace("quota = 2", "quota = 1"));
    let cheap = desk.write("cheap.toml", SMALL.replace("price = 5", "price = 1"));
    let state = desk.write("state.json", r#"{"*": {"balance": 4}}"#);
    let args = ["--policy", &one, "--against", &cheap, "--state", &state, "--json"];
    let report = desk.replay(&[order(0, json!({}))], &args).json();
    let kind = &report["changes"]["kinds"][0];
    assert_eq!(kind["from"]["code"], "insufficient_balance");
    let why = &kind["examples"][0]["a"];
    assert_eq!(why["check"], Value::Null);
    assert!(why["text"].as_str().unwrap().starts_with("The wallet balance is too low."), "{why}");
}

#[test]
fn presets_and_patches_on_them_are_policies() {
    let desk = Desk::new();
    let patch = desk.write("patch.json", r#"{"limits": {"token": {"quota": 1}}}"#);
    let lines = [0, 1].map(|seconds| at(seconds, "GET", "/balance", json!({})));
    let patched = format!("preset:sms-gateway+{patch}");
    let args = ["--policy", "preset:sms-gateway", "--against", &patched, "--json"];
    let ran = desk.replay(&lines, &args);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let report = ran.json();
    assert_eq!(codes(&report["policies"][0]), json!({"allowed": 2}));
    assert_eq!(codes(&report["policies"][1]), json!({"allowed": 1, "rate_limited": 1}));
    let rule = &report["changes"]["kinds"][0]["to"]["rule"];
    assert_eq!(rule, "token");
}

#[test]
fn money_is_settled_as_the_log_says() {
    let desk = Desk::new();
    let posted = |line: Value| {
        let report = desk.report(&[order(0, line)], &[]);
        let policy = &report["policies"][0];
        (policy["reserved"].as_u64().unwrap(), policy["posted"].as_u64().unwrap())
    };
    assert_eq!(posted(json!({})), (5, 5));
    assert_eq!(posted(json!({"status": 201})), (5, 5));
    assert_eq!(posted(json!({"status": 302})), (5, 5));
    assert_eq!(posted(json!({"status": 502})), (5, 0));
    assert_eq!(posted(json!({"status": 404})), (5, 0));
    // Who was denied then was answered by nobody else.
    assert_eq!(posted(json!({"status": 429, "code": "rate_limited"})), (5, 5));
    assert_eq!(posted(json!({"status": 402, "verdict": "deny"})), (5, 5));
    assert_eq!(posted(json!({"charged": 2})), (5, 2));
    assert_eq!(posted(json!({"charged": 9})), (5, 5));
    assert_eq!(posted(json!({"cost": 8})), (8, 8));
    assert_eq!(posted(json!({"cost": 8, "charged": 7})), (8, 7));
    // The route's price is this policy's, whatever was reserved then; a charge of another price says nothing.
    assert_eq!(posted(json!({"reserved": 9, "charged": 4, "route": "POST /orders"})), (5, 5));
    assert_eq!(posted(json!({"reserved": 5, "charged": 4, "route": "POST /orders"})), (5, 4));
    // Where the policy has none for the recorded route, what was reserved is the host's.
    assert_eq!(posted(json!({"reserved": 9, "route": "POST /old"})), (9, 9));
}

#[test]
fn callers_may_do_what_the_state_says() {
    let desk = Desk::new();
    let state = json!({
        "t": {"account": "acme", "balance": 12, "spend_caps": [{"per": "day", "amount": 7}],
              "networks": ["192.0.2.0/24"], "senders": ["ACME"]},
        "poor": {"balance": 4},
        "own": {"quota": {"limit": 1, "window_ms": 60_000}, "expires_ms": NOW_MS + 30_000,
                "token_networks": ["198.51.100.7"], "token_spend_caps": [{"per": "lifetime", "amount": 3}]},
        "*": {"scopes": ["read"]}
    });
    let state = desk.write("state.json", state.to_string());
    let lines = [
        order(0, json!({})),
        order(1, json!({"token": "poor"})),
        order(2, json!({"token": "other"})),
        order(3, json!({"source": "198.51.100.1"})),
        at(4, "GET", "/things", json!({"token": "own", "source": "198.51.100.8"})),
        order(5, json!({"token": "own", "source": "198.51.100.7"})),
        at(6, "GET", "/things", json!({"token": "own", "source": "198.51.100.7"})),
        at(7, "GET", "/things", json!({"token": "own", "source": "198.51.100.7"})),
        at(31, "GET", "/things", json!({"token": "own", "source": "198.51.100.7"})),
        order(100, json!({})),
        order(200, json!({"sender": "EVIL"})),
        order(300, json!({"cost": 1, "sender": "ACME"})),
    ];
    let report = desk.report(&lines, &["--state", &state]);
    let policy = &report["policies"][0];
    // What a cap refuses has counted as a request of the token.
    let expected = json!({
        "allowed": 2, "insufficient_balance": 1, "insufficient_scope": 1, "ip_not_allowed": 2,
        "spend_cap_exceeded": 2, "rate_limited": 2, "invalid_token": 1, "sender_not_approved": 1,
    });
    assert_eq!(codes(policy), expected);
    let cap = |holder: &str| {
        let caps = policy["caps"].as_array().unwrap();
        caps.iter().find(|cap| cap["holder"] == holder).unwrap_or_else(|| panic!("{caps:?}"))
    };
    let acme = cap("acme");
    let seen = ["per", "cap", "peak", "refused", "permille"].map(|name| &acme[name]);
    assert_eq!(seen, [&json!("day"), &json!(7), &json!(6), &json!(1), &json!(857)]);
    assert_eq!(cap("token own")["refused"], 1);
    let poor = policy["spend"].as_array().unwrap().iter().find(|row| row["account"] == "poor");
    assert_eq!(poor.unwrap()["insufficient_balance"], 1);
    // Without a state a sender is not checked, and money does not lack.
    let report = desk.report(&[order(0, json!({"sender": "EVIL", "cost": 1_000_000_000}))], &[]);
    assert_eq!(codes(&report["policies"][0]), json!({"allowed": 1}));
}

#[test]
fn keys_replay_and_what_the_log_knows_of_them_is_kept() {
    let desk = Desk::new();
    desk.write("small.toml", SMALL.replace("quota = 2", "quota = 100"));
    let lines = [
        order(0, json!({"key": "k-1", "status": 201})),
        order(1, json!({"key": "k-1"})),
        order(2, json!({"key": "k-1", "code": "idempotency_key_reused", "status": 422})),
        order(3, json!({"code": "idempotency_key_invalid", "status": 422})),
        order(3, json!({"code": "idempotency_key_invalid", "status": 422, "key": "k-1"})),
        order(4, json!({"headers": [["Idempotency-Key", "k-1"]]})),
        order(5, json!({"headers": [["Idempotency-Key", "other"]], "key": "k-1"})),
        order(6, json!({"code": "validation_failed", "status": 422})),
        order(7, json!({"invalid": "no such article"})),
        // Another token's key is another key; and so is one whose retention has ended.
        order(8, json!({"key": "k-1", "token": "u", "account": "other"})),
        order(90_000, json!({"key": "k-1"})),
    ];
    let report = desk.report(&lines, &[]);
    let expected = json!({
        "allowed": 3, "replayed": 3, "idempotency_key_reused": 1, "idempotency_key_invalid": 2,
        "validation_failed": 2,
    });
    assert_eq!(codes(&report["policies"][0]), expected);
    assert_eq!(report["policies"][0]["posted"], 15);
}

#[test]
fn what_cannot_begin_ends_with_2() {
    let desk = Desk::new();
    let small = desk.path("small.toml");
    let bad = desk.write("bad.toml", "[limits.x]\nper = \"token\"\nquota = 0\nwindow_ms = 1\n");
    let slip = desk.write("slip.json", r#"{"t": {"scopes": ["raed"]}}"#);
    let log = desk.write("log", "");
    for (args, part) in [
        (vec!["--policy", "preset:fax"], "there are: sms-gateway"),
        (vec!["--policy", "/no/such.toml"], "/no/such.toml: "),
        (vec!["--policy", &bad], "the policy has errors:\n  "),
        (vec!["--policy", &small, "--against", &bad], "limits.x.quota"),
        (vec!["--policy", &small, "--state", &slip], "no policy has a scope `raed`"),
        (vec!["--policy", &small, "--html", "/no/such/page.html"], "/no/such/page.html: "),
        (vec!["--policy", &small, "/no/such.log"], "/no/such.log: "),
        (vec!["--policy", &small, "-", "-"], "give `-` once"),
        (vec!["--policy", &small, "--fail-on-change"], "--against"),
        (vec![], "--policy"),
    ] {
        let ran = run(&[&["replay", log.as_str()], args.as_slice()].concat(), b"");
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{part}: {}", ran.err);
        assert!(ran.err.contains(part), "{part} is not in {}", ran.err);
    }
}

#[test]
fn the_same_logs_give_the_same_reports() {
    let desk = Desk::new();
    let strict = desk.write("strict.toml", SMALL.replace("quota = 2", "quota = 1"));
    let state =
        desk.write("state.json", r#"{"*": {"spend_caps": [{"per": "day", "amount": 40}]}}"#);
    let small = desk.path("small.toml");
    let lines: Vec<Value> = (0..400_u64)
        .map(|number| order(number * 7 % 400, json!({"token": format!("t-{}", number % 23), "account": format!("a-{}", number % 5), "key": format!("k-{}", number % 300)})))
        .collect();
    let reports = |name: &str| {
        let page: PathBuf = desk.path(name).into();
        let args = ["--policy", &small, "--against", &strict, "--state", &state];
        let html = ["--html", page.to_str().unwrap()];
        let text = desk.replay(&lines, &[&args[..], &html].concat());
        let json = desk.replay(&lines, &[&args[..], &["--json"]].concat());
        (text.out, json.out, fs::read_to_string(page).unwrap())
    };
    let first = reports("first.html");
    assert!(
        first.0.contains("rate_limited") && first.0.contains("spend_cap_exceeded"),
        "{}",
        first.0
    );
    assert_eq!(first, reports("second.html"));
}
