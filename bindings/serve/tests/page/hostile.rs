//! Names and texts that would like to be more than text.

use serde_json::json;

use crate::browser::{Browser, Form};
use crate::html::Element;
use crate::site::{Site, encoded};

const NAMES: [&str; 16] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "../x",
    "..",
    ".",
    "a/b",
    "a\\b",
    "%2f",
    "%",
    "a&account=b",
    "a?b#c",
    " blanks  within ",
    "🚪 é ＜script＞",
    "{{ 7*7 }}",
    "javascript:alert(1)",
];

const TABS: [&str; 6] = ["account", "keys", "networks", "money", "limits", "reservations"];

/// That nothing on the page is more than the page itself put there.
pub(crate) fn assert_harmless(page: &Element, place: &str) {
    let scripts = page.tags("script");
    assert_eq!(scripts.len(), 1, "{place}");
    assert!(
        scripts[0].text.is_empty()
            && scripts[0].attribute("src").unwrap().starts_with("/settings/assets/")
    );
    for element in page.all() {
        let known = [
            "",
            "html",
            "head",
            "meta",
            "title",
            "link",
            "script",
            "body",
            "a",
            "header",
            "div",
            "nav",
            "form",
            "input",
            "button",
            "main",
            "p",
            "h1",
            "h2",
            "h3",
            "span",
            "label",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "section",
            "dl",
            "dt",
            "dd",
            "ul",
            "li",
            "code",
            "strong",
            "small",
            "time",
            "svg",
            "rect",
            "figure",
            "figcaption",
            "details",
            "summary",
            "select",
            "option",
            "textarea",
            "fieldset",
            "legend",
        ];
        assert!(known.contains(&&*element.tag), "{place}: {}", element.tag);
        for (name, value) in &element.attributes {
            assert!(
                !name.starts_with("on") && name != "style" && name != "srcdoc",
                "{place}: {name}"
            );
            if ["href", "action", "src"].contains(&&**name) {
                let is_own =
                    value.starts_with("/settings/") || value.starts_with('#') || value == "data:,";
                assert!(is_own, "{place}: {name}={value}");
            }
        }
    }
}

#[test]
fn accounts_with_hostile_names_are_as_good_as_others() {
    let site = Site::start();
    let mut browser = Browser::logged_in(&site);
    for name in NAMES {
        site.account(name, json!({"balance": 5, "senders": [name]}));
        let (key, _) = site.key(name, json!({"scopes": ["reports"]}));
        site.decide(&key, "GET", "/messages/<i>x</i>", "192.0.2.1");
    }
    let list = browser.get("/settings/accounts").page();
    assert_harmless(&list, "accounts");
    for name in NAMES {
        let links = list.tags("a");
        let link = links.iter().find(|link| link.text == name).unwrap_or_else(|| panic!("{name}"));
        let overview = browser.get(link.attribute("href").unwrap()).page();
        assert_eq!(overview.tags("h1")[0].text, name);
        for tab in TABS {
            let answer = browser.get(&format!("/settings/{tab}?account={}", encoded(name)));
            assert_eq!(answer.status, 200, "{name} {tab}");
            let page = answer.page();
            assert_harmless(&page, name);
            assert_eq!(page.with_class("crumbs")[0].with_class("name")[0].text, name);
        }
        // Its forms reach it, and no other.
        let money = browser.get(&format!("/settings/money?account={}", encoded(name)));
        let deposit = money.form("/settings/money/deposit").with("amount", "3");
        browser.sent(&deposit);
        assert_eq!(site.shown(name)["balance"], 8, "{name}");
        let remove = money.form("/settings/money/senders/remove");
        assert_eq!(remove.value("approved"), name);
        let decisions =
            browser.get(&format!("/settings/decisions?account={}", encoded(name))).page();
        assert_harmless(&decisions, name);
        assert_eq!(
            decisions.rows().len(),
            1 + 1,
            "its decision, and the minute in the chart's table"
        );
    }
}

#[test]
fn hostile_text_in_any_field_comes_back_as_text() {
    let site = Site::start();
    let hostile = "\"'><script>alert(1)</script><img src=x onerror=alert(1)></textarea></title>";
    site.account("acme", json!({"balance": 5}));
    site.key("acme", json!({"scopes": ["reports"]}));
    let mut browser = Browser::logged_in(&site);
    let mut tried = 0;
    for path in [
        "/settings/accounts",
        "/settings/keys/new?account=acme",
        "/settings/networks?account=acme",
        "/settings/money?account=acme",
    ] {
        for form in forms(&browser.get(path).page()) {
            if form.action == "/settings/logout" || form.value("csrf").is_empty() {
                continue;
            }
            let fresh = browser.get(path).form("/settings/logout").value("once").to_owned();
            let mut form = form.with("once", &fresh);
            for (name, value) in &mut form.fields {
                if !["csrf", "once"].contains(&&**name) {
                    hostile.clone_into(value);
                }
            }
            let answer = browser.send(&form);
            assert!(matches!(answer.status, 422 | 303), "{} {}", form.action, answer.status);
            let page = match answer.status {
                303 => browser.get(answer.redirects_to()).page(),
                _ => answer.page(),
            };
            assert_harmless(&page, &form.action);
            tried += 1;
        }
    }
    assert_eq!(tried, 6);
    for query in ["search", "after"] {
        let page = browser.get(&format!("/settings/accounts?{query}={}", encoded(hostile))).page();
        assert_harmless(&page, query);
    }
    for query in ["account", "verdict", "code", "before"] {
        let page = browser.get(&format!("/settings/decisions?{query}={}", encoded(hostile))).page();
        assert_harmless(&page, query);
    }
    for query in ["address", "skip"] {
        let path = format!("/settings/limits?account=acme&{query}={}", encoded(hostile));
        assert_harmless(&browser.get(&path).page(), query);
    }
    let login = browser.get(&format!("/settings/login?next={}", encoded(hostile)));
    assert_harmless(&login.page(), "login");
    assert_eq!(login.form("/settings/login").value("next"), "/settings/accounts");
    assert_harmless(&browser.get(&format!("/settings/{}", encoded(hostile))).page(), "no page");
}

fn forms(page: &Element) -> Vec<Form> {
    let actions = page
        .tags("form")
        .iter()
        .map(|form| form.attribute("action").unwrap().to_owned())
        .collect::<Vec<_>>();
    let answer = |form: &Element| form.clone();
    page.tags("form")
        .iter()
        .zip(actions)
        .map(|(form, action)| Form {
            action,
            fields: answer(form)
                .all()
                .iter()
                .filter_map(|element| {
                    let name = element.attribute("name")?;
                    Some((
                        name.to_owned(),
                        element.attribute("value").unwrap_or_default().to_owned(),
                    ))
                })
                .collect(),
        })
        .collect()
}
