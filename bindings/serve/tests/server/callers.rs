//! Who may ask what, and what a server says of itself.

use serde_json::json;
use tollgate_gateway_tests::RedisServer;
use tollgate_serve::{Listen, Secret, StoreLocation};

use crate::client::{call, send, until};
use crate::running::{POLICY, Running};

const API: &str = "api-token-api-token";

fn asked() -> serde_json::Value {
    json!({ "method": "GET", "target": "/free", "headers": [["authorization", "Bearer t-1"]] })
}

#[test]
fn the_api_wants_its_token_and_no_other() {
    let running = Running::with(POLICY, |options, _| {
        options.api_token = Some(Secret::new(API).unwrap());
    });
    let running = running.unwrap();
    running.add_account("acme", 0, "t-1");
    let ask =
        |token: Option<&str>| call(&running.place, token, "POST", "/v1/decide", Some(&asked()));
    assert_eq!(ask(Some(API)).json()["verdict"], "allow");
    for wrong in [None, Some("t-1"), Some("api-token-api-toke"), Some(crate::running::ADMIN)] {
        let reply = ask(wrong);
        assert_eq!((reply.status, &reply.json()["code"]), (401, &json!("unauthorized")));
        assert!(reply.header("www-authenticate").unwrap().starts_with("Bearer"));
    }
    let settle = json!({ "ticket": "1.1.1.-.YQ", "outcome": "settle" });
    assert_eq!(call(&running.place, None, "POST", "/v1/settle", Some(&settle)).status, 401);
}

#[test]
fn operators_show_their_token_on_their_own_listener() {
    let running = Running::start();
    for path in ["/api/accounts", "/api/accounts/acme", "/api/accounts/acme/tokens"] {
        assert_eq!(call(&running.admin, None, "GET", path, None).status, 401, "{path}");
        assert_eq!(call(&running.admin, Some("t-1"), "GET", path, None).status, 401, "{path}");
        // What proxies reach has no administration.
        let reply = call(&running.place, Some(crate::running::ADMIN), "GET", path, None);
        assert_eq!((reply.status, &reply.json()["code"]), (404, &json!("not_found")), "{path}");
    }
    for path in ["/api/expire", "/api/policy/reload", "/api/tokens/x/rotate"] {
        assert_eq!(call(&running.admin, None, "POST", path, None).status, 401, "{path}");
    }
    assert_eq!(call(&running.place, None, "GET", "/metrics", None).status, 404);
}

#[test]
fn only_proxies_ask_on_behalf_of_clients() {
    let running = Running::with(POLICY, |options, directory| {
        options.proxies = vec!["192.0.2.0/24".parse().unwrap()];
        options.listen.push(Listen::Unix(directory.join("socket")));
    });
    let running = running.unwrap();
    running.add_account("acme", 0, "t-1");
    let request = "GET /forward-auth HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Uri: /free\r\nAuthorization: Bearer t-1\r\n\r\n";
    let reply = send(&running.place, request.as_bytes()).unwrap();
    assert_eq!((reply.status, &reply.json()["code"]), (403, &json!("not_a_proxy")));
    // Whoever the permissions of a socket let in is one.
    let socket = running.server().bound()[1].clone();
    assert_eq!(send(&socket, request.as_bytes()).unwrap().status, 200);
    // Services that ask for themselves need not be proxies.
    assert_eq!(running.ask("/v1/decide", &asked()).status, 200);
}

#[test]
fn readiness_follows_the_store_and_is_no_way_to_occupy_it() {
    let redis = RedisServer::start();
    let running = Running::with(POLICY, |options, _| {
        options.store = StoreLocation::Redis(redis.url());
    });
    let running = running.unwrap();
    let ready = || call(&running.place, None, "GET", "/readyz", None).status;
    until("ready", || ready() == 200);
    redis.hang();
    until("not ready", || ready() == 503);
    // Answered from what is known already, however many ask.
    for _ in 0..1_000 {
        assert_eq!(ready(), 503);
    }
    assert_eq!(call(&running.place, None, "GET", "/healthz", None).status, 200);
    redis.wake();
    until("ready again", || ready() == 200);
}

#[test]
fn a_store_that_is_away_denies_and_is_counted() {
    let running = Running::with(POLICY, |options, _| {
        options.store = StoreLocation::Redis("redis://127.0.0.1:1".into());
    });
    let running = running.unwrap();
    let answer = running.ask("/v1/decide", &asked()).json();
    assert_eq!((&answer["status"], &answer["code"]), (&json!(503), &json!("store_unavailable")));
    let text = running.metrics();
    let line = text.lines().find(|line| line.starts_with("tollgate_store_errors_total{")).unwrap();
    assert!(line.ends_with(" 1"), "{line}");
    let reply = running.operate("GET", "/api/accounts", None);
    assert_eq!(reply.status, 503, "{}", reply.text());
}

#[test]
fn money_is_summed_up_for_the_metrics() {
    // It is summed up when the server starts: over what an earlier one left.
    let directory = tempfile::tempdir().unwrap();
    let store = StoreLocation::Lmdb(directory.path().join("db"), tollgate_lmdb::SyncPolicy::Never);
    {
        let running = Running::with(POLICY, |options, _| options.store = store.clone()).unwrap();
        running.add_account("acme", 100, "t-1");
        running.add_account("other", 11, "t-2");
        let mut pay = asked();
        (pay["method"], pay["target"]) = (json!("POST"), json!("/pay"));
        assert_eq!(running.ask("/v1/decide", &pay).json()["reserved"], 5);
    }
    let running = Running::with(POLICY, |options, _| options.store = store).unwrap();
    until("summed up", || running.metric("tollgate_accounts") > 1.5);
    let sums = ["tollgate_held_money", "tollgate_balance_money", "tollgate_orphaned_reservations"];
    let sums = sums.map(|name| running.metric(name).to_string());
    assert_eq!(sums, ["5", "111", "0"]);
}

#[test]
fn hostile_paths_make_no_series() {
    let running = Running::start();
    running.add_account("acme", 0, "t-1");
    let series = |_: ()| running.metrics().lines().filter(|line| !line.starts_with('#')).count();
    let ask = |n: usize| {
        let mut asked = asked();
        asked["target"] = json!(format!("/{n}"));
        asked["method"] = json!(format!("M{n}"));
        asked["id"] = json!(format!("r-{n}"));
        running.ask("/v1/decide", &asked);
        let request = format!("GET /{n} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        send(&running.place, request.as_bytes()).unwrap();
    };
    ask(0);
    let first = series(());
    (1..300).for_each(ask);
    assert_eq!(series(()), first);
    let line = "tollgate_decisions_total{route=\"none\",code=\"insufficient_scope\",via=\"api\"}";
    assert!((running.metric(line) - 300.0).abs() < 0.1, "{}", running.metrics());
}
