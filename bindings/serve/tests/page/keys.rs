//! API keys, from their making to their end.

use serde_json::json;

use crate::access::with_acme;
use crate::browser::{Answer, Browser};
use crate::site::Site;

/// Makes a key with the scope `reports`, and gives its text and what the page calls it.
fn made(browser: &mut Browser<'_>) -> (String, String) {
    let page = browser.get("/settings/keys/new?account=acme");
    let form = page.form("/settings/keys/new").with("scopes", "reports");
    let shown = browser.sent(&form).page();
    let key = shown.with_id("key").unwrap().attribute("value").unwrap().to_owned();
    (key, shown.with_class("hint")[0].tags("code")[0].text.clone())
}

#[test]
fn a_key_is_shown_once_works_and_is_revoked_at_once() {
    let site = with_acme();
    let mut browser = Browser::logged_in(&site);
    let (key, short) = made(&mut browser);
    let again = browser.get("/settings/keys/made?account=acme");
    assert!(!again.text.contains("tg_live_"), "a reload shows it again");
    assert_eq!(site.keys("acme").len(), 2, "a reload makes no other one");
    assert!(!browser.get("/settings/keys?account=acme").text.contains(&key));
    assert_eq!(site.decide(&key, "GET", "/messages", "192.0.2.1")["status"], 200);

    let keys = browser.get("/settings/keys?account=acme").page();
    let row = keys.rows().into_iter().find(|row| row[0] == short).unwrap();
    assert_eq!(row[1..6], ["live", "reports", "any", "the policy's", "never"]);
    let links = keys.tags("a");
    let revoke = links.iter().find(|link| link.words() == format!("Revoke key {short}")).unwrap();
    let page = browser.get(revoke.attribute("href").unwrap());
    assert_eq!(site.decide(&key, "GET", "/messages", "192.0.2.1")["status"], 200);
    let after = browser.sent(&page.form("/settings/keys/revoke")).page();
    assert!(after.with_class("notice")[0].words().contains(&format!("Key {short} was revoked.")));
    assert_eq!(site.decide(&key, "GET", "/messages", "192.0.2.1")["status"], 401);
    let row = after.rows().into_iter().find(|row| row[0] == short).unwrap();
    assert_eq!((&*row[1], &*row[6]), ("revoked", ""));
}

#[test]
fn a_head_request_does_not_use_up_the_one_time() {
    let site = with_acme();
    let mut browser = Browser::logged_in(&site);
    let page = browser.get("/settings/keys/new?account=acme");
    browser.send(&page.form("/settings/keys/new").with("scopes", "reports"));
    let head = browser.ask("HEAD", "/settings/keys/made?account=acme", &[], "");
    assert_eq!((head.status, &*head.text), (200, ""));
    let other = Browser::logged_in(&site);
    assert!(!other.get("/settings/keys/made?account=acme").text.contains("tg_live_"));
    assert!(browser.get("/settings/keys/made?account=acme").text.contains("tg_live_"));
}

#[test]
fn a_keys_settings_are_those_of_the_form() {
    let site = with_acme();
    let mut browser = Browser::logged_in(&site);
    let form = browser
        .get("/settings/keys/new?account=acme")
        .form("/settings/keys/new")
        .with("scopes", "sms:send")
        .with("scopes", "reports")
        .with("networks", "192.0.2.7\r\n2001:db8::/32")
        .with("quota", "5")
        .with("window", "2")
        .with("window_unit", "hour")
        .with("cap_day", "10")
        .with("cap_month", "20")
        .with("cap_lifetime", "30")
        .with("expires", "2030-01-31T09:00");
    browser.sent(&form);
    let key = site.keys("acme").into_iter().find(|key| key["quota"].is_object()).unwrap();
    assert_eq!(key["scopes"], json!(["sms:send", "reports"]));
    assert_eq!(key["networks"], json!(["192.0.2.7/32", "2001:db8::/32"]));
    assert_eq!(key["quota"], json!({"limit": 5, "window_ms": 7_200_000}));
    let cap = |per: &str, amount: u64| json!({"per": per, "amount": amount, "shadow": false});
    let caps = json!([cap("day", 10), cap("month", 20), cap("lifetime", 30)]);
    assert_eq!((&key["spend_caps"], &key["expires_ms"]), (&caps, &json!(1_896_080_400_000_u64)));
    let rows = browser.get("/settings/keys?account=acme").page().rows();
    let row = rows.iter().find(|row| row[1] == "live" && row[5] != "never").unwrap();
    assert_eq!(row[2], "sms:send reports");
    assert_eq!(row[3], "192.0.2.7/32 2001:db8::/32");
    assert!(row[4].starts_with("5 per 2 hours") && row[4].ends_with("30 ever"), "{}", row[4]);
    assert_eq!(row[5], "2030-01-31T09:00:00Z");
}

#[test]
fn problems_are_at_their_fields_and_the_input_stays() {
    let site = with_acme();
    let mut browser = Browser::logged_in(&site);
    let before = site.everything();
    let form = browser.get("/settings/keys/new?account=acme").form("/settings/keys/new");
    let wrong = form
        .with("networks", "nonsense")
        .with("quota", "many")
        .with("cap_day", "-1")
        .with("expires", "2001-01-01T00:00");
    let answer = browser.send(&wrong);
    assert_eq!(answer.status, 422);
    let page = answer.page();
    for field in ["scopes", "networks", "quota", "cap_day", "expires"] {
        let problem =
            page.with_id(&format!("{field}-problem")).unwrap_or_else(|| panic!("{field}"));
        assert!(!problem.words().is_empty());
        let described = page.with_id(field).unwrap().attribute("aria-describedby");
        assert_eq!(described, Some(&*format!("{field}-problem")));
        let links = page.with_class("problems")[0].tags("a");
        assert!(links.iter().any(|link| link.attribute("href") == Some(&format!("#{field}"))));
    }
    let kept = answer.form("/settings/keys/new");
    for field in ["networks", "quota", "cap_day", "expires"] {
        assert_eq!(kept.value(field), wrong.value(field), "{field}");
    }
    assert_ne!(kept.value("once"), wrong.value("once"));
    assert_eq!(site.everything(), before);
    // A scope that went with a reload of the policy while the form was open.
    let mended = |answer: &Answer, scope: &str| {
        let form = answer.form("/settings/keys/new").with("scopes", scope).with("networks", "");
        form.with("quota", "").with("cap_day", "").with("expires", "")
    };
    let gone = browser.send(&mended(&answer, "no-such-scope"));
    assert_eq!(gone.status, 422);
    assert!(gone.page().with_id("scopes-problem").is_some());
    assert_eq!(site.everything(), before);
    assert_eq!(browser.send(&mended(&gone, "reports")).status, 303);
}

#[test]
fn a_rotated_key_works_for_its_grace() {
    let site = with_acme();
    let mut browser = Browser::logged_in(&site);
    let (old, short) = made(&mut browser);
    let links = browser.get("/settings/keys?account=acme").page();
    let links = links.tags("a");
    let rotate = links.iter().find(|link| link.words() == format!("Rotate key {short}")).unwrap();
    let page = browser.get(rotate.attribute("href").unwrap());
    let form = page.form("/settings/keys/rotate");
    assert_eq!(form.value("grace"), "day");
    assert_eq!(browser.send(&form.clone().with("grace", "never")).status, 422);
    let page = browser.get(rotate.attribute("href").unwrap());
    let shown = browser.sent(&page.form("/settings/keys/rotate").with("grace", "hour")).page();
    let new = shown.with_id("key").unwrap().attribute("value").unwrap().to_owned();
    assert_eq!(shown.with_class("hint")[0].tags("time").len(), 1, "until when the old one works");
    let status = |key: &str| site.decide(key, "GET", "/messages", "192.0.2.1")["status"].clone();
    assert_eq!((status(&old), status(&new)), (json!(200), json!(200)));
    site.later(3_600_000);
    assert_eq!((status(&old), status(&new)), (json!(401), json!(200)));
}

#[test]
fn a_key_is_reached_through_its_own_account_alone() {
    let site = Site::start();
    site.account("acme", json!({}));
    site.account("other", json!({}));
    let (key, digest) = site.key("other", json!({"scopes": ["reports"]}));
    let mut browser = Browser::logged_in(&site);
    let own = browser.get("/settings/accounts").form("/settings/logout");
    for digest in [&*digest, "", "nonsense", &key, &"0".repeat(64)] {
        for act in ["revoke", "rotate"] {
            let path = format!("/settings/keys/{act}?account=acme&key={digest}");
            assert_eq!(browser.get(&path).status, 404);
            let mut form = own.clone().with("grace", "none");
            form.action = path;
            let once = browser.get("/settings/accounts").form("/settings/logout");
            let form = form.with("once", once.value("once"));
            assert_eq!(browser.send(&form).status, 404);
        }
    }
    assert_eq!(site.decide(&key, "GET", "/messages", "192.0.2.1")["status"], 200);
}

#[test]
fn many_keys_are_on_several_pages() {
    let site = Site::start();
    site.account("acme", json!({}));
    for _ in 0..103 {
        site.key("acme", json!({"scopes": ["reports"]}));
    }
    let browser = Browser::logged_in(&site);
    let page = browser.get("/settings/keys?account=acme").page();
    assert_eq!(page.rows().len(), 100);
    let links = page.tags("a");
    let next = links.iter().find(|link| link.words() == "More keys").unwrap();
    let page = browser.get(next.attribute("href").unwrap()).page();
    assert_eq!(page.rows().len(), 3);
    assert!(!page.tags("a").iter().any(|link| link.words() == "More keys"));
}
