//! The latest decisions, their charts and traces.

use serde_json::json;

use crate::browser::Browser;
use crate::site::Site;

fn with_decisions() -> (Site, String) {
    let site = Site::start();
    site.account("acme", json!({"balance": 8}));
    site.account("other", json!({}));
    let (key, digest) = site.key("acme", json!({"scopes": ["sms:send", "reports"]}));
    let (other, _) = site.key("other", json!({"scopes": ["reports"]}));
    site.decide(&key, "GET", "/messages/7?secret=query", "192.0.2.1");
    site.later(120_000);
    site.decide(&other, "GET", "/messages", "192.0.2.2");
    site.decide(&key, "POST", "/sms/send", "192.0.2.1");
    site.decide(&key, "POST", "/sms/send", "192.0.2.1");
    site.decide("nonsense", "GET", "/messages", "192.0.2.3");
    (site, digest)
}

#[test]
fn decisions_are_listed_filtered_and_charted() {
    let (site, digest) = with_decisions();
    let browser = Browser::logged_in(&site);
    let page = browser.get("/settings/decisions").page();
    let table = page.with_class("decisions")[0].clone();
    let rows = table.rows();
    assert_eq!(rows.len(), 5);
    let short = &digest[..16];
    assert_eq!(
        rows[1][1..],
        ["deny 402", "insufficient_balance", "POST /sms/send", "acme", short, "192.0.2.1"]
    );
    assert_eq!(rows[4][3], "GET /messages/7", "no query: it may hold customers' data");
    assert_eq!(rows[0][4..], ["unknown", "none", "192.0.2.3"]);
    let chart = page.with_class("columns")[0].attribute("aria-label").unwrap().to_owned();
    assert_eq!(
        chart,
        "Decisions per minute: 3 allowed, 0 replayed, 2 denied; at most 4 in a minute"
    );
    assert_eq!(page.with_class("columns")[0].tags("rect").len(), 1 + 3);
    let count = |query: &str| {
        let page = browser.get(&format!("/settings/decisions?{query}")).page();
        let tables = page.with_class("decisions");
        tables.first().map_or(0, |table| table.rows().len())
    };
    assert_eq!(count("account=acme"), 3);
    assert_eq!(count("verdict=deny"), 2);
    assert_eq!(count("code=invalid_token"), 1);
    assert_eq!(count("account=acme&verdict=allow&code=allowed"), 2);
    assert_eq!(count("account=nobody"), 0);
    let filtered = browser.get("/settings/decisions?account=acme").page();
    let chart = filtered.with_class("columns")[0].attribute("aria-label").unwrap().to_owned();
    assert!(chart.contains("2 allowed, 0 replayed, 1 denied"), "{chart}");
}

#[test]
fn a_trace_is_a_table_of_checks() {
    let (site, _) = with_decisions();
    let browser = Browser::logged_in(&site);
    let page = browser.get("/settings/decisions?code=insufficient_balance").page();
    let table = page.with_class("decisions")[0].clone();
    let link = table.tags("a")[0].attribute("href").unwrap().to_owned();
    let page = browser.get(&link).page();
    assert_eq!(page.tags("h1")[0].words(), "deny 402 insufficient_balance");
    let rows = page.rows();
    let checks: Vec<&str> = rows.iter().map(|row| &*row[0]).collect();
    assert_eq!(checks.first(), Some(&"bearer token"));
    let wallet = rows.iter().find(|row| row[0] == "wallet").unwrap();
    assert_eq!(wallet[1], "decided");
    assert!(wallet[2..].iter().all(|cell| !cell.is_empty()) && wallet[4] != "nothing needed");
    assert_eq!(browser.get("/settings/decision?number=99").status, 404);
    assert_eq!(browser.get("/settings/decision?number=x").status, 404);
}

#[test]
fn many_decisions_are_on_several_pages_and_only_the_latest_are_kept() {
    let (site, _) = with_decisions();
    for _ in 0..510 {
        site.decide("nonsense", "GET", "/messages", "192.0.2.3");
    }
    let browser = Browser::logged_in(&site);
    let mut path = Some("/settings/decisions".to_owned());
    let mut numbers = Vec::new();
    while let Some(next) = path {
        let page = browser.get(&next).page();
        let table = page.with_class("decisions")[0].clone();
        let links = table.tags("a");
        numbers.extend(links.iter().map(|link| link.attribute("href").unwrap().to_owned()));
        let links = page.tags("a");
        let next = links.iter().find(|link| link.words() == "Earlier decisions");
        path = next.map(|link| link.attribute("href").unwrap().to_owned());
    }
    assert_eq!(numbers.len(), 500);
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), 500);
    let chart = browser.get("/settings/decisions").page();
    let chart = chart.with_class("columns")[0].attribute("aria-label").unwrap().to_owned();
    assert!(chart.contains("512 denied"), "all are counted, also those that are not kept: {chart}");
    assert_eq!(browser.get("/settings/decision?number=0").status, 404);
}
