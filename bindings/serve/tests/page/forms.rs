//! What makes pages usable by keyboard and by reading aloud.

use crate::access::{pages, with_acme};
use crate::browser::Browser;

#[test]
fn every_field_has_a_label_and_every_page_its_heads_in_order() {
    let site = with_acme();
    let browser = Browser::logged_in(&site);
    let mut paths = pages(&site);
    paths.push("/settings/login".into());
    for path in paths {
        let page = browser.get(&path).page();
        assert_eq!(page.tags("h1").len(), 1, "{path}");
        assert_eq!(page.tags("main").len(), 1, "{path}");
        assert_eq!(page.tags("html")[0].attribute("lang"), Some("en"));
        assert!(page.tags("title")[0].text.ends_with(" · tollgate"));
        let skip = page.with_class("skip")[0].attribute("href").unwrap().to_owned();
        assert_eq!(skip, "#main");
        let mut level = 1;
        for head in page.all().iter().filter(|element| ["h1", "h2", "h3"].contains(&&*element.tag))
        {
            let now: u32 = head.tag[1..].parse().unwrap();
            assert!(now <= level + 1, "{path}: {}", head.words());
            level = now;
        }
        let labels = page.tags("label");
        for field in page.all() {
            let is_field = ["input", "select", "textarea"].contains(&&*field.tag);
            if !is_field || field.attribute("type") == Some("hidden") {
                continue;
            }
            let is_labelled = labels.iter().any(|label| {
                let by_id = field.attribute("id").is_some()
                    && label.attribute("for") == field.attribute("id");
                by_id
                    || label.tags("input").iter().any(|inner| inner.attributes == field.attributes)
            });
            assert!(is_labelled, "{path}: {field:?}");
        }
        let mut ids: Vec<&str> =
            page.all().iter().filter_map(|element| element.attribute("id")).collect();
        let many = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), many, "{path}: an id twice");
        for time in page.tags("time") {
            assert_eq!(time.attribute("datetime").unwrap(), time.text);
            assert!(time.text.len() == 20 && time.text.ends_with('Z'), "{}", time.text);
        }
    }
}

#[test]
fn the_page_where_one_is_is_marked() {
    let site = with_acme();
    let browser = Browser::logged_in(&site);
    for tab in ["account", "keys", "networks", "money", "limits", "reservations"] {
        let page = browser.get(&format!("/settings/{tab}?account=acme")).page();
        let marked: Vec<String> = page.with_class("tabs")[0]
            .tags("a")
            .iter()
            .filter(|link| link.attribute("aria-current") == Some("page"))
            .map(|link| link.attribute("href").unwrap().to_owned())
            .collect();
        assert_eq!(marked, [format!("/settings/{tab}?account=acme")]);
    }
}
