//! What the lists and charts of reports show, and in which order.

use std::fs;

use serde_json::{Value, json};

use super::{Desk, at, get};

/// The values of one member of each row.
fn column(rows: &Value, name: &str) -> Vec<Value> {
    rows.as_array().unwrap().iter().map(|row| row[name].clone()).collect()
}

#[test]
fn who_is_closest_to_a_limit_or_spent_most_comes_first() {
    let desk = Desk::new();
    let state = json!({
        "low": {"account": "low", "spend_caps": [{"per": "day", "amount": 100}]},
        "high": {"account": "high", "spend_caps": [{"per": "day", "amount": 20}]},
    });
    let state = desk.write("state.json", state.to_string());
    let by = |token: &str, seconds, path: &str| {
        let method = if path == "/orders" { "POST" } else { "GET" };
        at(seconds, method, path, json!({"token": token, "account": token}))
    };
    let lines = [
        by("idle", 0, "/things"),
        by("low", 1, "/orders"),
        by("high", 2, "/orders"),
        by("high", 3, "/orders"),
        by("high", 4, "/orders"),
        by("busy", 5, "/things"),
        by("busy", 6, "/things"),
    ];
    let report = desk.report(&lines, &["--state", &state]);
    let policy = &report["policies"][0];
    // All of a limit and a refusal; all of it; half of it, in the order in which they came.
    let near = column(&policy["near_limits"], "caller");
    assert_eq!(near, ["high", "busy", "idle", "low"]);
    assert_eq!(column(&policy["spend"], "account"), ["high", "low"]);
    assert_eq!(column(&policy["caps"], "holder"), ["high", "low"]);
}

#[test]
fn what_is_frequent_comes_first() {
    let desk = Desk::new();
    let with_code = |seconds, method: &str, path: &str, code: &str| {
        at(seconds, method, path, json!({"code": code}))
    };
    // Under A two are allowed and four are over the limit; B knows none of the routes.
    let lines = [
        with_code(0, "GET", "/things", "rate_limited"),
        with_code(1, "POST", "/orders", "of_another_gateway"),
        with_code(2, "POST", "/orders", "of_another_gateway"),
        with_code(3, "POST", "/orders", "of_another_gateway"),
        with_code(4, "POST", "/orders", "of_another_gateway"),
        with_code(5, "GET", "/things", "rate_limited"),
    ];
    let closed = desk.write("closed.toml", "[scopes]\nother = [\"GET /other\"]\n");
    let report = desk.report(&lines, &["--against", &closed]);
    let kinds = &report["changes"]["kinds"];
    assert_eq!(column(kinds, "count"), [4, 2]);
    assert_eq!(kinds[0]["from"]["code"], "rate_limited");
    assert_eq!(kinds[0]["routes"], json!([["POST /orders", 3], ["GET /things", 1]]));
    let recorded = &report["recorded"]["kinds"];
    assert_eq!(column(recorded, "count"), [3, 1, 1]);
    assert_eq!(recorded[0]["recorded"], "another code");
}

#[test]
fn lists_of_lines_are_bounded() {
    let desk = Desk::new();
    let late = (0..20_u64).map(|_| get(0));
    let lines: Vec<Value> = [get(1_000), get(1_001)].into_iter().chain(late).collect();
    let report = desk.report(&lines, &["--window", "0"]);
    assert_eq!(report["lines"]["late"], 20);
    assert_eq!(report["lines"]["late_shown"].as_array().unwrap().len(), 5);
    let small = desk.path("small.toml");
    let ran = desk.replay_text(&b"bad\n".repeat(20), &["--policy", &small, "--json"]);
    assert_eq!(ran.json()["lines"]["bad"], 20);
    assert_eq!(ran.json()["logs"][0]["bad"].as_array().unwrap().len(), 5);
}

#[test]
fn columns_stack_what_was_denied() {
    let desk = Desk::new();
    let (small, page) = (desk.path("small.toml"), desk.path("report.html"));
    let page_of = |lines: &[Value]| {
        let ran = desk.replay(lines, &["--policy", &small, "--html", &page]);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""));
        fs::read_to_string(&page).unwrap()
    };
    let nobody = at(0, "GET", "/things", json!({"token": null, "source": null}));
    let lines = [nobody, get(0), get(0), get(0), get(0), get(0), get(2)];
    let denied = page_of(&lines);
    // Four in the first second, and the chart is four high: one without a token below, three over a limit above.
    for part in [
        r#"<rect class="c-missing_token" x="0.000%" y="153.00" width="29.333%" height="45.00">"#,
        r#"<rect class="c-rate_limited" x="0.000%" y="18.00" width="29.333%" height="135.00">"#,
        r#"<rect class="c-rate_limited" x="66.667%" y="153.00" width="29.333%" height="45.00">"#,
        "<title>2026-11-29 11:10:00 UTC: 3 rate_limited</title>",
        "<td class=\"t\">2026-11-29 11:10:02</td>",
    ] {
        assert!(denied.contains(part), "{part} is not in {denied}");
    }
    // Nothing happened in the second between.
    assert!(!denied.contains("<td class=\"t\">2026-11-29 11:10:01</td>"), "{denied}");
    let allowed = page_of(&[get(0)]);
    assert!(allowed.contains("Nothing was denied.") && !allowed.contains("As a table</summary>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Denials"));
}
