//! Wallet, caps, senders, limits and reservations.

use serde_json::json;

use crate::access::with_acme;
use crate::browser::Browser;
use crate::site::Site;

const MONEY: &str = "/settings/money?account=acme";

#[test]
fn money_is_paid_in_and_a_refusal_is_at_the_field() {
    let site = with_acme();
    let mut browser = Browser::logged_in(&site);
    let form = browser.get(MONEY).form("/settings/money/deposit").with("amount", " 250 ");
    let after = browser.sent(&form).page();
    let figures: Vec<String> =
        after.with_class("figures")[0].tags("dd").iter().map(|dd| dd.words()).collect();
    assert_eq!(figures, ["745", "5", "750", "0"]);
    let too_much = u64::MAX.to_string();
    for (amount, says) in [
        (&*too_much, "The amount does not fit"),
        ("", "Give an amount"),
        ("0", "above 0"),
        ("1.50", "whole number"),
        ("-3", "whole number"),
    ] {
        let form = browser.get(MONEY).form("/settings/money/deposit").with("amount", amount);
        let answer = browser.send(&form);
        assert_eq!(answer.status, 422, "{amount}");
        let page = answer.page();
        assert!(page.with_id("amount-problem").unwrap().words().contains(says), "{amount}");
        assert_eq!(page.with_id("amount").unwrap().attribute("value"), Some(amount));
    }
    assert_eq!(site.shown("acme")["balance"], 750);
}

#[test]
fn caps_are_added_and_removed_with_what_is_spent() {
    let site = with_acme();
    let mut browser = Browser::logged_in(&site);
    let page = browser.get(MONEY);
    assert_eq!(page.page().rows()[0][..5], ["each UTC day", "100", "5", "95", "5 %"]);
    let meter = page.page();
    let meter = meter.with_class("meter")[0].attribute("aria-label").unwrap().to_owned();
    assert_eq!(meter, "Spent: 5 of 100, 5 %");
    let form = page
        .form("/settings/money/caps/add")
        .with("cap_amount", "1000")
        .with("cap_per", "month")
        .with("cap_shadow", "yes");
    browser.sent(&form);
    let cap =
        |per: &str, amount: u64, shadow| json!({"per": per, "amount": amount, "shadow": shadow});
    let both = json!([cap("day", 100, false), cap("month", 1000, true)]);
    assert_eq!(site.shown("acme")["spend_caps"], both);
    for (amount, per) in [("", "day"), ("x", "day"), ("5", "week"), ("100", "day")] {
        let form = browser.get(MONEY).form("/settings/money/caps/add");
        let form = form.with("cap_amount", amount).with("cap_per", per);
        let answer = browser.send(&form);
        assert_eq!(answer.status, 422, "{amount} {per}");
        assert!(!answer.page().with_class("problem").is_empty());
    }
    assert_eq!(site.shown("acme")["spend_caps"], both);
    // The first of the forms is the first cap's.
    let remove = browser.get(MONEY).form("/settings/money/caps/remove");
    let after = browser.sent(&remove);
    assert_eq!(site.shown("acme")["spend_caps"], json!([cap("month", 1000, true)]));
    let once = after.form("/settings/money/deposit").value("once").to_owned();
    assert_eq!(browser.send(&remove.with("once", &once)).status, 422, "it is gone");
    // The settings beside the caps are not touched.
    assert_eq!(site.shown("acme")["networks"], json!(["192.0.2.0/24"]));
}

#[test]
fn senders_are_approved_and_no_longer() {
    let site = with_acme();
    let mut browser = Browser::logged_in(&site);
    let add = |browser: &mut Browser<'_>, sender: &str| {
        let form = browser.get(MONEY).form("/settings/money/senders/add").with("sender", sender);
        browser.send(&form)
    };
    assert_eq!(add(&mut browser, "+15550100").status, 303);
    for wrong in ["", "+15550100", "a\u{0}b", &"x".repeat(257)] {
        assert_eq!(add(&mut browser, wrong).status, 422, "{wrong:?}");
    }
    assert_eq!(site.shown("acme")["senders"], json!(["ACME", "+15550100"]));
    let form = browser.get(MONEY).form("/settings/money/senders/remove");
    browser.sent(&form);
    assert_eq!(site.shown("acme")["senders"], json!(["+15550100"]));
    assert_eq!(site.shown("acme")["spend_caps"].as_array().unwrap().len(), 1);
}

#[test]
fn caps_of_keys_show_what_each_spent() {
    let site = Site::start();
    site.account("acme", json!({"balance": 100}));
    let caps = json!([{"per": "lifetime", "amount": 40}]);
    let (key, digest) = site.key("acme", json!({"scopes": ["sms:send"], "spend_caps": caps}));
    site.key("acme", json!({"scopes": ["sms:send"]}));
    site.decide(&key, "POST", "/sms/send", "192.0.2.1");
    site.decide(&key, "POST", "/sms/send", "192.0.2.1");
    let browser = Browser::logged_in(&site);
    let rows = browser.get(MONEY).page().rows();
    assert_eq!(rows, [[&digest[..16], "ever", "40", "10", "30", "25 %"]]);
}

#[test]
fn limits_are_shown_as_they_stand_and_looking_consumes_nothing() {
    assert_limits(&Site::start());
}

#[test]
fn limits_on_disk_are_shown_just_so() {
    let directory = std::env::temp_dir().join(format!("tollgate-limits-{}", std::process::id()));
    assert_limits(&Site::on_disk(&directory));
    std::fs::remove_dir_all(&directory).unwrap();
}

fn assert_limits(site: &Site) {
    site.account("acme", json!({"balance": 1000}));
    let (key, digest) = site.key("acme", json!({"scopes": ["sms:send", "reports"]}));
    let (_, other) =
        site.key("acme", json!({"scopes": ["reports"], "quota": {"limit": 3, "window_ms": 1000}}));
    // Keys are in the order of their digests.
    let (first, second) = if digest < other { (2, 3) } else { (3, 2) };
    for _ in 0..4 {
        site.decide(&key, "POST", "/sms/send", "192.0.2.1");
    }
    site.decide(&key, "GET", "/messages", "192.0.2.1");
    let browser = Browser::logged_in(site);
    let rows = |path: &str| browser.get(path).page().rows();
    let path = "/settings/limits?account=acme";
    for _ in 0..3 {
        let rows = rows(path);
        let cells = |row: usize, to: usize| rows[row][..to].to_vec();
        assert_eq!(
            cells(0, 5),
            ["account", "requests of the account", "1000 per day", "995", "under 1 %"]
        );
        assert_eq!(rows[1][2], "give an address above to see it");
        assert_eq!(
            cells(first, 5),
            ["token", "requests of each key", "20 per minute", "15", "25 %"]
        );
        assert_eq!(cells(second, 4), ["token", "requests of each key", "3 per second", "3"]);
        assert_eq!(rows[second][5], "it is whole");
    }
    let with_address = rows(&format!("{path}&address=192.0.2.1"));
    assert_eq!(
        with_address[1][..4],
        ["sends_per_address", "executions of each address", "10 per minute", "6"]
    );
    assert_eq!(rows(&format!("{path}&address=192.0.2.2"))[1][3], "10");
    let page = browser.get(path).page();
    let heads: Vec<String> = page.tags("h2").iter().map(|h2| h2.words()).collect();
    assert_eq!(heads.len(), 3);
    assert_eq!(heads[0], "Of all keys together");
    assert_eq!(heads[first - 1], format!("Key {}", &digest[..16]));
    assert_eq!(heads[second - 1], format!("Key {}", &other[..16]));
    let wrong = browser.get(&format!("{path}&address=nowhere")).page();
    assert!(wrong.with_id("address-problem").is_some());
    assert_eq!(wrong.with_id("address").unwrap().attribute("value"), Some("nowhere"));
}

#[test]
fn more_limits_than_a_route_may_have_are_all_shown() {
    const POLICY: &str = r#"
[scopes]
reports = ["GET /a", "GET /b"]
[limits.a0]
per = "account"
quota = 1
window_ms = 1000
routes = ["GET /a"]
"#;
    let mut policy = POLICY.to_owned();
    for number in 1..20 {
        let route = if number % 2 == 0 { "GET /a" } else { "GET /b" };
        policy.push_str(&format!(
            "[limits.a{number}]\nper = \"account\"\nquota = {number}\nwindow_ms = 1000\nroutes = [\"{route}\"]\n"
        ));
    }
    let site = Site::with(policy.leak(), None);
    site.account("acme", json!({}));
    let page = Browser::logged_in(&site).get("/settings/limits?account=acme").page();
    assert_eq!(page.rows().len(), 20);
    for row in page.rows() {
        let number: u64 = row[0][1..].parse().unwrap();
        assert_eq!(row[3], number.max(1).to_string(), "{row:?}");
    }
}

#[test]
fn orphans_are_settled_and_voided_with_a_second_look() {
    let site = Site::start();
    site.account("acme", json!({"balance": 100}));
    let (key, _) = site.key("acme", json!({"scopes": ["sms:send"]}));
    for _ in 0..3 {
        site.decide(&key, "POST", "/sms/send", "192.0.2.1");
    }
    let mut browser = Browser::logged_in(&site);
    let path = "/settings/reservations?account=acme";
    assert_eq!(browser.get(path).page().rows().len(), 3, "under way");
    assert!(browser.get(path).page().tags("a").iter().all(|a| !a.words().starts_with("Settle")));
    site.later(60_000);
    let page = browser.get(path).page();
    let link = |words: &str| {
        let links = page.tags("a");
        let link = links.iter().find(|link| link.words() == words);
        link.unwrap().attribute("href").unwrap().to_owned()
    };
    let (settle, void) = (link("Settle 1"), link("Void 2"));
    for amount in ["6", "x"] {
        let form =
            browser.get(&settle).form("/settings/reservations/settle").with("amount", amount);
        let answer = browser.send(&form);
        assert_eq!(answer.status, 422);
        let page = answer.page();
        assert!(page.with_id("amount-problem").is_some());
        assert_eq!(page.with_id("amount").unwrap().attribute("value"), Some(amount));
    }
    assert_eq!(site.shown("acme")["held"], 15, "nothing was changed yet");
    let form = browser.get(&settle).form("/settings/reservations/settle").with("amount", "3");
    let after = browser.sent(&form).page();
    assert_eq!(after.with_class("notice")[0].words(), "Reservation 1 is settled: 3 was posted.");
    browser.sent(&browser.get(&void).form("/settings/reservations/void"));
    let shown = site.shown("acme");
    assert_eq!(
        (&shown["balance"], &shown["held"], &shown["posted"]),
        (&json!(97), &json!(5), &json!(3))
    );
    let rows = browser.get(path).page().rows();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0][0], "3");
    assert_eq!(browser.get("/settings/reservations/void?account=acme&number=99").status, 404);
    let overview = browser.get("/settings/account?account=acme").page();
    assert!(overview.with_class("links")[0].words().contains("1 orphaned reservation"));
}
