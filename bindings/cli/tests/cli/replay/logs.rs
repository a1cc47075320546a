//! Logs as they come: formats, order, several of them, packed.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::json;

use super::{Desk, NOW_MS, at, codes, get};
use crate::common::run;

fn data(name: &str) -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/replay");
    directory.join(name).to_str().unwrap().to_owned()
}

#[test]
fn the_decision_log_is_read_and_compared() {
    let args = ["--policy", "preset:sms-gateway", "--json"];
    let ran = run(&[&["replay", &data("decisions.jsonl")], &args[..]].concat(), b"");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let report = ran.json();
    let expected = json!({"allowed": 3, "replayed": 1, "missing_token": 1, "invalid_token": 1, "insufficient_scope": 1});
    assert_eq!(codes(&report["policies"][0]), expected);
    let policy = &report["policies"][0];
    assert_eq!((&policy["reserved"], &policy["posted"]), (&json!(7), &json!(7)));
    assert_eq!(policy["spend"][0]["account"], "acme");
    let callers = &report["callers"];
    assert_eq!(callers["requests_without_token"], 1);
    assert_eq!(callers["requests_with_invalid_token"], 1);
    // A store that fails is not replayed.
    let recorded = &report["recorded"];
    assert_eq!((&recorded["compared"], &recorded["differing"]), (&json!(7), &json!(1)));
    let difference = json!({"recorded": "store_unavailable", "decided": "allowed", "count": 1, "first": "line 7"});
    assert_eq!(recorded["kinds"], json!([difference]));
}

#[test]
fn a_combined_log_is_read_with_its_rubbish() {
    let ran =
        run(&["replay", &data("access.log"), "--policy", "preset:sms-gateway", "--json"], b"");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let report = ran.json();
    let lines = &report["lines"];
    let counts = ["read", "decided", "blank", "not_http", "bad", "late"].map(|name| &lines[name]);
    assert_eq!(counts, [&json!(10), &json!(6), &json!(1), &json!(2), &json!(1), &json!(0)]);
    assert_eq!(report["logs"][0]["bad"][0]["line"], 10);
    // alice, an address without a user, and a user who tried to write a line of his own.
    assert_eq!(report["callers"]["tokens"], 3);
    assert_eq!(report["callers"]["requests_with_invalid_token"], 1);
    let expected = json!({"allowed": 4, "invalid_token": 1, "insufficient_scope": 1});
    assert_eq!(codes(&report["policies"][0]), expected);
    let kinds = &report["recorded"]["kinds"];
    assert_eq!(kinds[0]["recorded"], "HTTP 404");
    assert_eq!(
        kinds[1],
        json!({"recorded": "HTTP 429", "decided": "allowed", "count": 1, "first": "line 7"})
    );
    // One format for all lines.
    let path = data("access.log");
    let args = ["replay", &path, "--policy", "preset:sms-gateway", "--format", "json", "--json"];
    assert_eq!(run(&args, b"").json()["lines"]["bad"], 9);
}

#[test]
fn who_calls_is_what_the_rule_says() {
    let desk = Desk::new();
    let line = |seconds, shop: u64| at(seconds, "GET", "/things", json!({"shop": shop}));
    let lines = [line(0, 1), line(1, 2), line(2, 1), line(3, 2), line(4, 1)];
    let by = |identity: &str| codes(&desk.report(&lines, &["--identity", identity])["policies"][0]);
    assert_eq!(by("token"), json!({"allowed": 2, "rate_limited": 3}));
    assert_eq!(by("shop"), json!({"allowed": 4, "rate_limited": 1}));
    assert_eq!(by("source"), json!({"allowed": 2, "rate_limited": 3}));
    assert_eq!(by("user"), json!({"missing_token": 5}));
}

#[test]
fn lines_are_put_in_order_and_late_ones_are_told() {
    let desk = Desk::new();
    let lines = [get(50), get(1), get(0), get(2), get(100)];
    let report = desk.report(&lines, &[]);
    assert_eq!(report["lines"]["first_ms"], NOW_MS);
    assert_eq!((&report["lines"]["decided"], &report["lines"]["late"]), (&json!(5), &json!(0)));
    let report = desk.report(&lines, &["--window", "1"]);
    assert_eq!((&report["lines"]["decided"], &report["lines"]["late"]), (&json!(4), &json!(1)));
    assert_eq!(report["lines"]["late_shown"], json!(["line 3"]));
    let small = desk.path("small.toml");
    let strict = |window: &str| {
        desk.replay(&lines, &["--policy", &small, "--strict", "--window", window]).code
    };
    assert_eq!((strict("1"), strict("10")), (1, 0));
}

#[test]
fn logs_of_several_servers_become_one() {
    let desk = Desk::new();
    let one = desk.write("one.log", format!("{}\n{}\n", get(0), get(30)));
    let other = desk.write("other.log", format!("{}\n{}\nbad\n", get(1), get(31)));
    let small = desk.path("small.toml");
    let args = ["replay", &other, &one, "--policy", &small, "--strict", "--json"];
    let ran = run(&args, b"");
    assert_eq!(ran.code, 1, "one line is bad");
    let report = ran.json();
    // 0 and 1 take what there is, 30 takes what came back, and 31 is one too many.
    assert_eq!(codes(&report["policies"][0]), json!({"allowed": 3, "rate_limited": 1}));
    assert_eq!(
        report["logs"][0]["bad"],
        json!([{"line": 3, "why": "not the combined format: ADDRESS - USER [TIME] \"REQUEST\" STATUS …"}])
    );
    let text = run(&["replay", &one, &other, "--policy", &small], b"");
    assert_eq!(text.code, 0);
    assert!(text.out.contains("other.log:3: not the combined format"), "{}", text.out);
}

#[test]
fn a_log_may_come_packed_or_through_a_pipe() {
    let desk = Desk::new();
    let small = desk.path("small.toml");
    let text = format!("{}\n{}\n", get(0), get(1));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(text.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    for input in [text.as_bytes(), &packed] {
        let ran = run(&["replay", "-", "--policy", &small, "--json"], input);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""));
        let report = ran.json();
        assert_eq!(report["logs"][0]["name"], "standard input");
        assert_eq!(codes(&report["policies"][0]), json!({"allowed": 2}));
    }
}

#[test]
fn an_empty_log_is_a_report_too() {
    let desk = Desk::new();
    let (small, page) = (desk.path("small.toml"), desk.path("report.html"));
    let ran = desk.replay(&[], &["--policy", &small, "--against", &small, "--html", &page]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.starts_with("0 requests decided of 0 lines\n"), "{}", ran.out);
    assert!(fs::read_to_string(page).unwrap().contains("No requests."));
}
