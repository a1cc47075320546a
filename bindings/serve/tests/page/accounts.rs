//! Accounts and from where they may be used.

use serde_json::json;

use crate::access::with_acme;
use crate::browser::Browser;
use crate::site::Site;

#[test]
fn an_account_is_created_once() {
    let site = Site::start();
    let mut browser = Browser::logged_in(&site);
    let create = |browser: &mut Browser<'_>, name: &str, balance: &str| {
        let form = browser.get("/settings/accounts").form("/settings/accounts");
        // The search has the same address.
        let mut page_form = form;
        if page_form.value("csrf").is_empty() {
            let logout = browser.get("/settings/accounts").form("/settings/logout");
            page_form.fields = logout.fields;
        }
        browser.send(&page_form.with("name", name).with("balance", balance))
    };
    let made = create(&mut browser, "acme", "12");
    assert_eq!(made.redirects_to(), "/settings/account?account=acme");
    assert_eq!(site.shown("acme")["balance"], 12);
    for (name, balance) in
        [("acme", "5"), ("", ""), ("x", "1.5"), ("x\u{7}y", ""), (&*"é".repeat(65), "")]
    {
        let answer = create(&mut browser, name, balance);
        assert_eq!(answer.status, 422, "{name:?}");
        let kept = answer.page();
        assert_eq!(kept.with_id("balance").unwrap().attribute("value"), Some(balance));
        assert!(!kept.with_class("problem").is_empty());
    }
    assert_eq!(site.shown("acme")["balance"], 12);
    assert_eq!(site.everything().as_array().unwrap().len(), 1);
}

#[test]
fn accounts_are_paged_and_found_by_a_part_of_their_name() {
    let site = Site::start();
    for number in 0..120 {
        site.account(&format!("customer-{number:03}"), json!({}));
    }
    site.account("Übung", json!({"balance": 7}));
    let browser = Browser::logged_in(&site);
    let mut names = Vec::new();
    let mut path = Some("/settings/accounts".to_owned());
    while let Some(next) = path {
        let page = browser.get(&next).page();
        assert!(page.rows().len() <= 50);
        names.extend(page.rows().iter().map(|row| row[0].clone()));
        let links = page.tags("a");
        let next = links.iter().find(|link| link.words() == "Next page");
        path = next.map(|link| link.attribute("href").unwrap().to_owned());
    }
    assert_eq!(names.len(), 121);
    assert!(names.is_sorted());
    let found = |search: &str| {
        let page = browser.get(&format!("/settings/accounts?search={search}")).page();
        page.rows().iter().map(|row| row[0].clone()).collect::<Vec<_>>()
    };
    assert_eq!(found("-117"), ["customer-117"]);
    assert_eq!(found("CUSTOMER-00").len(), 10);
    assert_eq!(found("%C3%BCb"), ["Übung"]);
    assert_eq!(found("nobody"), [""; 0]);
    // A search whose hits fill a page goes on where it stopped.
    let page = browser.get("/settings/accounts?search=1").page();
    let links = page.tags("a");
    let next = links.iter().find(|link| link.words() == "Next page");
    assert!(next.is_none() || page.rows().len() == 50);
}

#[test]
fn the_first_network_needs_a_second_word_and_shuts_others_out() {
    let site = Site::start();
    site.account("acme", json!({}));
    let (key, _) = site.key("acme", json!({"scopes": ["reports"]}));
    let from = |peer: &str| site.decide(&key, "GET", "/messages", peer);
    assert_eq!(from("203.0.113.7")["status"], 200);
    let mut browser = Browser::logged_in(&site);
    let page = browser.get("/settings/networks?account=acme");
    let form = page.form("/settings/networks/add").with("network", "192.0.2.0/24");
    let asked = browser.send(&form);
    assert_eq!(asked.status, 200);
    let warning = asked.page().with_class("warning")[0].words();
    assert!(warning.contains("only 192.0.2.0/24 gets in") && warning.contains("203.0.113.7 (1)"));
    assert_eq!(from("203.0.113.7")["status"], 200, "nothing was changed yet");
    let other = asked.form("/settings/networks/add").with("network", "198.51.100.1");
    let asked = browser.send(&other);
    let warning = asked.page().with_class("warning")[0].words();
    assert!(warning.contains("only 198.51.100.1/32 gets in"), "the second word was for another");
    let form = asked.form("/settings/networks/add").with("network", "192.0.2.0/24");
    let asked = browser.send(&form);
    assert_eq!(from("203.0.113.7")["status"], 200);

    let after = browser.sent(&asked.form("/settings/networks/add")).page();
    assert_eq!(after.with_class("notice")[0].words(), "Requests from 192.0.2.0/24 are let in.");
    let refused = from("203.0.113.7");
    assert_eq!((&refused["status"], &refused["code"]), (&json!(403), &json!("ip_not_allowed")));
    assert_eq!(from("192.0.2.9")["status"], 200);

    // The next one needs no second word, and takes nothing away.
    let page = browser.get("/settings/networks?account=acme");
    let form = page.form("/settings/networks/add").with("network", "203.0.113.7");
    browser.sent(&form);
    assert_eq!(from("203.0.113.7")["status"], 200);
    assert_eq!(site.shown("acme")["networks"], json!(["192.0.2.0/24", "203.0.113.7/32"]));
    for (network, says) in [
        ("192.0.2.0/24", "in the list already"),
        ("", "ot a network"),
        ("10.0.0.1/8", "write 10.0.0.0/8"),
        ("300.1.1.1", "ot a network"),
    ] {
        let page = browser.get("/settings/networks?account=acme");
        let answer = browser.send(&page.form("/settings/networks/add").with("network", network));
        assert_eq!(answer.status, 422, "{network}");
        let problem = answer.page().with_id("network-problem").unwrap().words();
        assert!(problem.contains(says), "{problem}");
    }
}

#[test]
fn who_removes_a_network_is_told_what_that_means() {
    let site = with_acme();
    let mut browser = Browser::logged_in(&site);
    let page = browser.get("/settings/networks?account=acme").page();
    let links = page.tags("a");
    let link = links.iter().find(|link| link.words() == "Remove 192.0.2.0/24").unwrap();
    let asked = browser.get(link.attribute("href").unwrap());
    assert!(asked.page().with_class("warning")[0].words().contains("from any address"));
    let after = browser.sent(&asked.form("/settings/networks/remove")).page();
    assert!(after.with_class("notice")[0].words().ends_with("used from anywhere."));
    assert_eq!(site.shown("acme")["networks"], json!([]));
    let gone = browser.get(link.attribute("href").unwrap());
    assert_eq!(gone.status, 404);

    site.account("acme", json!({"networks": ["192.0.2.0/24", "198.51.100.0/24"]}));
    let asked = browser.get("/settings/networks/remove?account=acme&network=192.0.2.0%2F24").page();
    assert!(asked.with_class("warning")[0].words().contains("192.0.2.1 (1)"));
    let asked =
        browser.get("/settings/networks/remove?account=acme&network=198.51.100.0%2F24").page();
    assert!(asked.with_class("warning").is_empty());
    // The settings beside the networks are not touched.
    assert_eq!(site.shown("acme")["senders"], json!(["ACME"]));
}
