//! Where state is kept, beyond one configuration.

use std::fs;

use serde_json::json;

use super::fixture::{Bank, Kept, answered, asks, pays, policy, request};
use super::log;
use super::proxy::{Config, Proxy};

#[test]
fn a_configuration_that_is_made_anew_keeps_the_state() {
    for kept in Kept::ALL {
        let bank = Bank::new("anew", kept);
        bank.account("acme", 100);
        let proxy = bank.proxy();
        let done = pays(&proxy, "acme", "done");
        done.upstream_answers(200, &[], false);
        done.upstream_sends(&[b"first"], true);
        answered(&proxy, &done);
        let quota = asks(&proxy, request("GET", "/quota", "acme", &[]));
        assert!(quota.state().decode.passed);
        let open = pays(&proxy, "acme", "open");
        // Another policy, and none of the old configuration but what the streams hold.
        let mut other = policy();
        other["routes"]["POST /pay"]["price"] = json!(6);
        proxy.update(bank.config(&json!({ "policy": { "inline": other } })).unwrap());
        let replayed = pays(&proxy, "acme", "done");
        assert_eq!(
            (replayed.said("verdict"), replayed.text()),
            ("replay".into(), "first".into()),
            "{kept:?}"
        );
        assert_eq!(pays(&proxy, "acme", "open").received(), 409, "{kept:?}");
        assert_eq!(asks(&proxy, request("GET", "/quota", "acme", &[])).received(), 429, "{kept:?}");
        assert_eq!(pays(&proxy, "acme", "new").said("reserved"), "6");
        // What began under the old one ends under it.
        open.upstream_answers(200, &[], true);
        answered(&proxy, &open);
        bank.expect(&proxy, "acme", 6, 10);
        proxy.ends();
    }
}

#[test]
fn a_store_keeps_its_settings_as_long_as_the_process_lives() {
    let bank = Bank::new("other settings", Kept::Never);
    let Err(errors) = bank.config(&json!({ "limits": "process" })) else { panic!("it is taken") };
    assert!(errors.iter().any(|line| line.contains("in use with other settings")), "{errors:?}");
}

#[test]
fn memory_of_another_filter_is_another() {
    let bank = Bank::new("memory of one", Kept::Memory);
    bank.account("acme", 100);
    let settings = json!({ "policy": { "inline": policy() }, "store": "memory" });
    let proxy = Proxy::new(Config::new("memory of another", &settings.to_string()).unwrap());
    assert_eq!(asks(&proxy, request("GET", "/read", "acme", &[])).received(), 401);
    proxy.ends();
}

#[test]
fn a_store_that_cannot_be_opened_is_tried_again() {
    let directory = tempfile::TempDir::new().unwrap();
    // A file stands where the directory should be.
    let path = directory.path().join("db");
    fs::write(&path, "").unwrap();
    let settings = |allow: bool| {
        let store = json!({ "lmdb": { "directory": path, "sync": "never", "map_bytes": 1 << 26 } });
        json!({ "policy": { "inline": policy() }, "store": store, "metadata": "all", "failure_mode_allow": allow })
            .to_string()
    };
    let proxy = Proxy::new(Config::new("closed", &settings(false)).unwrap());
    let said = format!("the store lmdb {} cannot be opened, which is tried again", path.display());
    assert!(log::anybody_said(&said));
    let refused = asks(&proxy, request("POST", "/pay", "acme", &[]));
    assert_eq!(refused.received(), 503);
    assert!(refused.text().contains("store_unavailable"));
    assert_eq!(refused.header("cache-control").as_deref(), Some("no-store"));
    assert_eq!(proxy.config().count("tollgate.decision.store_unavailable"), 1);

    proxy.update(Config::new("closed", &settings(true)).unwrap());
    let passed = asks(&proxy, request("POST", "/pay", "acme", &[]));
    assert!(passed.state().decode.passed);
    assert_eq!(
        (passed.said("verdict"), passed.said("code")),
        ("allow".into(), "store_unavailable".into())
    );
    passed.upstream_answers(200, &[], false);
    passed.upstream_sends(&[b"done"], true);
    assert_eq!(passed.text(), "done");

    fs::remove_file(&path).unwrap();
    proxy.until("the store is open", || {
        asks(&proxy, request("GET", "/read", "nobody", &[])).received() == 401
    });
    let said = format!("the store lmdb {} is open", path.display());
    proxy.until("that is logged", || log::anybody_said(&said));
    proxy.ends();
}
