//! What a route overrides.

use std::rc::Rc;

use serde_json::json;

use super::fixture::{Bank, Kept, answered, decided, request};
use super::proxy::{Proxy, Route};
use super::stream::Stream;

fn ask(proxy: &Proxy, route: Option<&Rc<Route>>, path: &str) -> Rc<Stream> {
    let stream = proxy.stream();
    *stream.route.borrow_mut() = route.cloned();
    stream.sends_head(request("POST", path, "acme", &[("x-cost", "9")]), true);
    decided(proxy, &stream);
    stream
}

#[test]
fn a_route_may_be_left_alone() {
    let bank = Bank::new("disabled", Kept::Never);
    bank.account("acme", 100);
    let proxy = bank.proxy();
    let route = Route::new("{\"disabled\": true}").unwrap();
    let stream = ask(&proxy, Some(&route), "/other");
    assert!(stream.state().decode.passed);
    stream.upstream_answers(500, &[], true);
    assert_eq!((stream.received(), stream.said("code").as_str()), (500, ""));
    assert_eq!(ask(&proxy, None, "/other").received(), 403);
    drop(route);
    proxy.ends();
}

#[test]
fn a_filter_may_be_enabled_by_routes_alone() {
    let bank = Bank::with("enabled", Kept::Never, &json!({ "disabled": true }));
    bank.account("acme", 100);
    let proxy = bank.proxy();
    assert!(ask(&proxy, None, "/other").state().decode.passed);
    let route = Route::new("{\"disabled\": false}").unwrap();
    assert_eq!(ask(&proxy, Some(&route), "/other").received(), 403);
    proxy.ends();
}

#[test]
fn a_route_may_have_a_policy_of_its_own() {
    for kept in Kept::MOST {
        let bank = Bank::new("own policy", kept);
        bank.account("acme", 100);
        let proxy = bank.proxy();
        let settings = json!({ "policy": { "inline": {
            "tokens": { "format": "opaque" },
            "scopes": { "all": ["POST /other"] },
            "routes": { "POST /other": { "price": 11 } }
        } } });
        let route = Route::new(&settings.to_string()).unwrap();
        let stream = ask(&proxy, Some(&route), "/other");
        assert_eq!(
            (stream.said("reserved"), stream.said("route")),
            ("11".into(), "POST /other".into())
        );
        // The route is gone from Envoy's configuration; the request finishes under what it began with.
        drop(route);
        stream.route.borrow_mut().take();
        stream.upstream_answers(200, &[], true);
        answered(&proxy, &stream);
        bank.expect(&proxy, "acme", 0, 11);
        assert_eq!(ask(&proxy, None, "/other").received(), 403);
        proxy.ends();
    }
}

#[test]
fn a_route_overrides_where_facts_come_from() {
    let bank = Bank::with("own facts", Kept::Never, &json!({ "cost": { "value": 2 } }));
    bank.account("acme", 100);
    let proxy = bank.proxy();
    assert_eq!(ask(&proxy, None, "/sent").said("reserved"), "2");
    let route = Route::new("{\"cost\": {\"header\": \"X-Cost\"}}").unwrap();
    assert_eq!(ask(&proxy, Some(&route), "/sent").said("reserved"), "9");
    let route = Route::new("{\"charge\": {\"header\": \"x-charge\"}}").unwrap();
    let stream = ask(&proxy, Some(&route), "/sent");
    stream.upstream_answers(200, &[("x-charge", "1")], true);
    assert_eq!(stream.said("settled"), "1");
    proxy.ends();
}

#[test]
fn what_is_wrong_with_a_route_is_logged() {
    for (json, said) in [
        ("{\"store\": \"memory\"}", "`store` belongs to the filter"),
        ("{\"polcy\": 1}", "unknown field `polcy`"),
        ("{\"pepper_file\": \"x\"}", "goes with a `policy` of its own"),
        ("{\"policy\": {\"preset\": \"none\"}}", "there is no preset `none`"),
        ("{", "EOF"),
        ("{\"replay_headers\": [\"Set-Cookie\"]}", "`set-cookie` belongs to one connection"),
    ] {
        let Err(errors) = Route::new(json) else { panic!("{json} is taken") };
        let wanted = |line: &String| {
            line.starts_with("tollgate: the configuration of a route: ") && line.contains(said)
        };
        assert!(errors.iter().any(wanted), "{json}: {errors:?}");
    }
}
