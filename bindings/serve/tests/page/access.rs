//! Who gets in, and what a post must show.

use serde_json::json;

use crate::browser::{Browser, Form};
use crate::site::{OPERATOR, Site, log};

/// Every page, for an account `acme` with a key and a reservation.
pub(crate) fn pages(site: &Site) -> Vec<String> {
    let key = site.keys("acme")[0]["digest"].as_str().unwrap().to_owned();
    [
        "/settings/accounts",
        "/settings/account?account=acme",
        "/settings/keys?account=acme",
        "/settings/keys/new?account=acme",
        "/settings/keys/made?account=acme",
        &format!("/settings/keys/rotate?account=acme&key={key}"),
        &format!("/settings/keys/revoke?account=acme&key={key}"),
        "/settings/networks?account=acme",
        "/settings/networks/remove?account=acme&network=192.0.2.0%2F24",
        "/settings/money?account=acme",
        "/settings/limits?account=acme",
        "/settings/limits?account=acme&address=192.0.2.1",
        "/settings/reservations?account=acme",
        "/settings/reservations/settle?account=acme&number=1",
        "/settings/reservations/void?account=acme&number=1",
        "/settings/decisions",
        "/settings/decision?number=0",
    ]
    .map(String::from)
    .into()
}

/// Every form that changes something, with fields that would do it.
fn changes(site: &Site) -> Vec<Form> {
    let key = site.keys("acme")[0]["digest"].as_str().unwrap().to_owned();
    let form = |action: &str, fields: &[(&str, &str)]| Form {
        action: action.to_owned(),
        fields: fields.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
    };
    vec![
        form("/settings/accounts", &[("name", "new"), ("balance", "5")]),
        form("/settings/keys/new?account=acme", &[("scopes", "reports")]),
        form(&format!("/settings/keys/rotate?account=acme&key={key}"), &[("grace", "none")]),
        form(&format!("/settings/keys/revoke?account=acme&key={key}"), &[]),
        form(
            "/settings/networks/add?account=acme",
            &[("network", "10.0.0.0/8"), ("confirmed", "10.0.0.0/8")],
        ),
        form("/settings/networks/remove?account=acme&network=192.0.2.0%2F24", &[]),
        form("/settings/money/deposit?account=acme", &[("amount", "7")]),
        form("/settings/money/caps/add?account=acme", &[("cap_per", "day"), ("cap_amount", "9")]),
        form(
            "/settings/money/caps/remove?account=acme",
            &[("per", "day"), ("of", "100"), ("shadow", "false")],
        ),
        form("/settings/money/senders/add?account=acme", &[("sender", "X")]),
        form("/settings/money/senders/remove?account=acme", &[("approved", "ACME")]),
        form("/settings/reservations/settle?account=acme&number=1", &[("amount", "3")]),
        form("/settings/reservations/void?account=acme&number=1", &[]),
        form("/settings/logout", &[]),
    ]
}

pub(crate) fn with_acme() -> Site {
    let site = Site::start();
    let caps = json!([{"per": "day", "amount": 100}]);
    site.account(
        "acme",
        json!({"balance": 500, "networks": ["192.0.2.0/24"], "spend_caps": caps, "senders": ["ACME"]}),
    );
    let (key, _) = site.key("acme", json!({"scopes": ["sms:send", "reports"]}));
    assert_eq!(site.decide(&key, "POST", "/sms/send", "192.0.2.1")["verdict"], "allow");
    site.later(60_001);
    site
}

#[test]
fn nobody_sees_a_page_without_logging_in_and_everybody_lands_where_they_wanted() {
    let site = with_acme();
    for path in pages(&site) {
        let mut browser = Browser::new(&site);
        let to = browser.get(&path).redirects_to().to_owned();
        assert!(to.starts_with("/settings/login?next="), "{to}");
        let form = browser.get(&to).form("/settings/login").with("token", OPERATOR);
        let landed = browser.send(&form);
        assert_eq!(landed.redirects_to(), path);
        assert_eq!(browser.get(&path).status, 200, "{path}");
        site.later(60_000);
    }
    assert_eq!(site.get("/").redirects_to(), "/settings");
    assert_eq!(site.get("/settings").redirects_to(), "/settings/accounts");
}

#[test]
fn a_wrong_token_is_refused_and_after_ten_attempts_the_right_one_has_to_wait() {
    let site = Site::start();
    let mut browser = Browser::new(&site);
    for wrong in ["", "x", "operator-token-012345678", "OPERATOR-TOKEN-0123456789"] {
        let answer = browser.log_in(wrong);
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header("set-cookie"), None);
        assert_eq!(
            answer.page().with_class("problem")[0].words(),
            "This is not the operator's token."
        );
        assert!(!answer.text.contains("token-0123"), "what was typed is not shown");
    }
    for _ in 0..6 {
        assert_eq!(browser.log_in("x").status, 401);
    }
    let answer = browser.log_in(OPERATOR);
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("6")));
    assert_eq!(answer.header("set-cookie"), None);
    site.later(6_000);
    assert_eq!(browser.log_in(OPERATOR).status, 303);
}

#[test]
fn the_cookie_is_kept_from_scripts_and_other_sites() {
    let site = Site::start();
    let mut browser = Browser::new(&site);
    let answer = browser.log_in(OPERATOR);
    let cookie = answer.header("set-cookie").unwrap();
    let (pair, flags) = cookie.split_once("; ").unwrap();
    let id = pair.strip_prefix("tollgate_session=").unwrap();
    assert_eq!(id.len(), 43, "256 bits in base64");
    assert_eq!(flags, "Path=/; HttpOnly; SameSite=Strict");
}

#[test]
fn a_session_ends_with_logging_out_with_time_and_with_the_next_one() {
    let site = with_acme();
    let mut browser = Browser::logged_in(&site);
    let cookie = browser.cookie.clone();
    let out = browser.send(&browser.get("/settings/accounts").form("/settings/logout"));
    assert_eq!(out.redirects_to(), "/settings/login");
    assert!(out.header("set-cookie").unwrap().starts_with("tollgate_session=; "));
    assert!(out.header("set-cookie").unwrap().ends_with("; Max-Age=0"));
    browser.cookie = cookie;
    assert_eq!(browser.get("/settings/accounts").status, 303);

    let mut browser = Browser::logged_in(&site);
    site.later(29 * 60_000);
    assert_eq!(browser.get("/settings/accounts").status, 200);
    site.later(29 * 60_000);
    assert_eq!(browser.get("/settings/accounts").status, 200);
    site.later(30 * 60_000);
    assert_eq!(browser.get("/settings/accounts").status, 303);

    browser.log_in(OPERATOR);
    for _ in 0..12 * 60 - 1 {
        site.later(60_000);
        browser.get("/settings/accounts");
    }
    assert_eq!(browser.get("/settings/accounts").status, 200);
    site.later(60_000);
    assert_eq!(browser.get("/settings/accounts").status, 303);

    browser.log_in(OPERATOR);
    let former = browser.cookie.clone();
    browser.log_in(OPERATOR);
    assert_ne!(browser.cookie, former);
    assert_eq!(browser.get("/settings/accounts").status, 200);
    browser.cookie = former;
    assert_eq!(browser.get("/settings/accounts").status, 303);
}

#[test]
fn sessions_are_bounded() {
    let site = Site::start();
    let first = Browser::logged_in(&site);
    let second = Browser::logged_in(&site);
    for _ in 0..63 {
        site.later(6_000);
        assert_eq!(second.get("/settings/accounts").status, 200);
        Browser::logged_in(&site);
    }
    assert_eq!(first.get("/settings/accounts").status, 303);
    assert_eq!(second.get("/settings/accounts").status, 200);
}

#[test]
fn a_post_needs_its_sessions_own_token() {
    let site = with_acme();
    let mut browser = Browser::logged_in(&site);
    let other = Browser::logged_in(&site).get("/settings/accounts").form("/settings/logout");
    let own = browser.get("/settings/accounts").form("/settings/logout");
    assert_ne!(own.value("csrf"), other.value("csrf"));
    let before = site.everything();
    let mut shorter = own.value("csrf").to_owned();
    shorter.pop();
    for form in changes(&site) {
        let form = form.with("once", own.value("once"));
        for wrong in [None, Some(""), Some(other.value("csrf")), Some(&*shorter)] {
            let form = match wrong {
                None => form.clone(),
                Some(csrf) => form.clone().with("csrf", csrf),
            };
            let answer = browser.send(&form);
            assert_eq!(answer.status, 403, "{} {wrong:?}", form.action);
        }
    }
    assert_eq!(site.everything(), before);
    // Each of them would have been let in with it.
    for form in changes(&site) {
        let form = form.with("csrf", own.value("csrf")).with("once", &form_number());
        let answer = browser.send(&form);
        assert!(matches!(answer.status, 303 | 404 | 422), "{} {}", form.action, answer.status);
    }
    assert_ne!(site.everything(), before);
}

/// A number that was not used.
fn form_number() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("form-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

#[test]
fn a_post_of_another_site_is_refused_also_with_cookie_and_token() {
    let site = with_acme();
    let mut browser = Browser::logged_in(&site);
    let own = browser.get("/settings/accounts").form("/settings/logout");
    let before = site.everything();
    let here = format!("http://{}", site.admin);
    let port = format!("http://127.0.0.1:{}", site.admin.port().wrapping_add(1));
    let name = format!("http://localhost:{}", site.admin.port());
    let foreign: &[&[(&str, &str)]] = &[
        &[],
        &[("origin", "null")],
        &[("origin", "https://evil.example")],
        &[("origin", &port)],
        &[("origin", &name)],
        &[("origin", &here), ("sec-fetch-site", "cross-site")],
        &[("origin", &here), ("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
    ];
    let mut forms = changes(&site);
    forms.push(Form {
        action: "/settings/login".into(),
        fields: vec![("token".into(), OPERATOR.into())],
    });
    for form in forms {
        for headers in foreign {
            let form = form.clone().with("csrf", own.value("csrf")).with("once", &form_number());
            let answer = browser.post(&form, headers);
            assert_eq!(answer.status, 403, "{} {headers:?}", form.action);
            assert_eq!(answer.header("set-cookie"), None);
        }
    }
    assert_eq!(site.everything(), before);
    assert_eq!(browser.get("/settings/accounts").status, 200, "and nobody was logged out");
    let form = own.clone().with("once", &form_number());
    assert_eq!(browser.send(&form).status, 303);
}

#[test]
fn no_get_changes_anything() {
    let site = with_acme();
    let mut browser = Browser::logged_in(&site);
    let before = site.everything();
    let own = browser.get("/settings/accounts").form("/settings/logout");
    for form in changes(&site) {
        let separator = if form.action.contains('?') { '&' } else { '?' };
        let form = form.with("csrf", own.value("csrf")).with("once", &form_number());
        let path = format!("{}{separator}{}", form.action, form.body());
        let answer = browser.get(&path);
        assert!(matches!(answer.status, 200 | 405), "{path} {}", answer.status);
    }
    for path in pages(&site) {
        assert_eq!(browser.get(&path).status, 200, "{path}");
    }
    assert_eq!(site.everything(), before);
    let here = format!("http://{}", site.admin);
    for method in ["PUT", "DELETE", "PATCH"] {
        let form = own.clone().with("once", &form_number());
        let headers = [("origin", &*here), ("content-type", "application/x-www-form-urlencoded")];
        let answer = browser.ask(method, "/settings/accounts", &headers, &form.body());
        assert_eq!(answer.status, 405, "{method}");
    }
    browser.send(&own);
}

#[test]
fn a_form_acts_once() {
    let site = with_acme();
    let mut browser = Browser::logged_in(&site);
    let page = browser.get("/settings/money?account=acme");
    let form = page.form("/settings/money/deposit").with("amount", "100");
    assert_eq!(browser.send(&form).status, 303);
    assert_eq!(browser.send(&form).status, 409);
    assert_eq!(browser.send(&form.without("once")).status, 409);
    assert_eq!(site.shown("acme")["balance"], 600);
}

#[test]
fn what_is_no_form_or_too_long_is_refused() {
    let site = with_acme();
    let browser = Browser::logged_in(&site);
    let own = browser.get("/settings/accounts").form("/settings/logout");
    let here = format!("http://{}", site.admin);
    let form = own.with("filler", &"x".repeat(70_000));
    for path in ["/settings/accounts", "/settings/login"] {
        let post = |media_type: &str, body: &str| {
            let headers = [("origin", &*here), ("content-type", media_type)];
            browser.ask("POST", path, &headers, body).status
        };
        assert_eq!(post("application/x-www-form-urlencoded", &form.body()), 413);
        for media_type in ["text/plain", "application/json", "multipart/form-data; boundary=x"] {
            assert_eq!(post(media_type, "token=x"), 415, "{path} {media_type}");
        }
    }
}

#[test]
fn every_answer_has_the_headers_that_keep_others_out() {
    let site = with_acme();
    let browser = Browser::logged_in(&site);
    let style = browser.get("/settings/accounts").page().tags("link")[1]
        .attribute("href")
        .unwrap()
        .to_owned();
    let mut paths = pages(&site);
    paths.extend(
        ["/settings", "/settings/login", "/settings/nothing", "/settings/account?account=none"]
            .map(String::from),
    );
    paths.extend(["/settings/assets/none.css".into(), "/settings/money/deposit".into()]);
    for path in paths.iter().chain([&style]) {
        for browser in [&browser, &Browser::new(&site)] {
            let answer = browser.get(path);
            let header =
                |name: &str| answer.header(name).unwrap_or_else(|| panic!("{path}: {name}"));
            assert_eq!(
                header("content-security-policy"),
                "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
                 form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
            );
            assert_eq!(header("x-content-type-options"), "nosniff");
            assert_eq!(header("x-frame-options"), "DENY");
            assert_eq!(header("referrer-policy"), "same-origin");
            assert_eq!(header("cross-origin-opener-policy"), "same-origin");
            let kept = header("cache-control");
            match path == &style {
                true => assert_eq!(kept, "public, max-age=31536000, immutable"),
                false => assert_eq!(kept, "no-store", "{path}"),
            }
        }
    }
    let refused = browser.post(&Form { action: "/settings/logout".into(), fields: vec![] }, &[]);
    assert_eq!(refused.status, 403);
    assert!(refused.header("content-security-policy").is_some());
}

#[test]
fn no_page_needs_inline_style_or_script() {
    let site = with_acme();
    let browser = Browser::logged_in(&site);
    for path in pages(&site) {
        let page = browser.get(&path).page();
        for element in page.all() {
            let is_inline =
                |(name, _): &(String, String)| name == "style" || name.starts_with("on");
            assert!(!element.attributes.iter().any(is_inline), "{path}: {element:?}");
            assert_ne!(element.tag, "style");
        }
        for script in page.tags("script") {
            assert!(script.text.is_empty() && script.attribute("src").is_some());
        }
    }
}

#[test]
fn no_secret_is_logged_or_in_an_address() {
    let site = with_acme();
    let mut browser = Browser::logged_in(&site);
    browser.log_in("a-wrong-token-that-somebody-typed");
    let page = browser.get("/settings/keys/new?account=acme");
    let form = page.form("/settings/keys/new").with("scopes", "reports");
    let made = browser.send(&form);
    assert_eq!(made.redirects_to(), "/settings/keys/made?account=acme");
    let shown = browser.get("/settings/keys/made?account=acme").page();
    let key = shown.with_id("key").unwrap().attribute("value").unwrap().to_owned();
    assert!(key.starts_with("tg_live_"));
    assert_eq!(site.decide(&key, "GET", "/messages", "192.0.2.1")["verdict"], "allow");
    let cookie = browser.cookie.clone().unwrap();
    let id = cookie.split_once('=').unwrap().1;
    let log = log();
    assert!(log.contains("logged in") && log.contains("made an API key"), "it is the log");
    for secret in [OPERATOR, &key, id, form.value("csrf"), "a-wrong-token-that-somebody-typed"] {
        assert!(!log.contains(secret));
    }
}
