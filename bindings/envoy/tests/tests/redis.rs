//! A store on the network: asked on the module's threads, while Envoy's go on.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

use std::time::{Duration, Instant};

use serde_json::json;
use tollgate_envoy_tests::{Envoy, Gateway, Options, Writes};
use tollgate_gateway_tests::{RedisServer, Response, Upstream, send_as_account};

const DONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";

/// Those of a gateway with this store, and with `/up`, which no filter looks at.
fn options(url: &str, upstream: u16) -> Options {
    let store = json!({"store": {"redis": {"url": url}}});
    let mut options = Gateway::options(Writes::Inline, upstream, &store);
    options.routes = "{ match: { path: /up }, direct_response: { status: 200 }, typed_per_filter_config: { tollgate: {
        \"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true } } }, "
        .replace('\n', "");
    options
}

fn pay(port: u16, key: &str) -> Response {
    send_as_account(port, "POST", "/pay", &[("Idempotency-Key", key)], b"{}")
}

fn until_paid(envoy: &Envoy, key: &str) {
    let end = Instant::now() + Duration::from_secs(20);
    while pay(envoy.port(), key).status != 200 {
        assert!(Instant::now() < end, "not served again");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_server_that_stops_and_comes_back() {
    let mut server = RedisServer::start();
    let store = server.accounts();
    let posted = || {
        let id = tollgate::AccountId::new("acme").unwrap();
        tollgate::Admin::new(&store).account(&id, 1_700_000_000_000).unwrap().wallet.posted.0
    };
    let upstream = Upstream::answering(DONE);
    let envoy = Envoy::start(options(&server.url(), upstream.port()));
    let port = envoy.port();

    assert_eq!(pay(port, "a").text(), "done");
    assert_eq!(posted(), 5);
    assert_eq!(pay(port, "a").header("idempotent-replayed"), Some("true"));
    assert_eq!(send_as_account(port, "GET", "/read", &[], b"").status, 200);

    server.stop();
    let waiting: Vec<_> = (0..8).map(|_| std::thread::spawn(move || pay(port, "b"))).collect();
    // Meanwhile others are served at once.
    for _ in 0..20 {
        let begin = Instant::now();
        assert_eq!(envoy.send("GET", "/up", &[], b"").status, 200);
        assert!(begin.elapsed() < Duration::from_millis(500), "{:?}", begin.elapsed());
    }
    for answer in waiting {
        let answer = answer.join().unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (503, "store_unavailable"));
    }
    assert_eq!(upstream.calls(), 2);

    server.go_on();
    until_paid(&envoy, "c");
    assert_eq!(pay(port, "a").header("idempotent-replayed"), Some("true"));
    assert_eq!(pay(port, "c").header("idempotent-replayed"), Some("true"));
    assert_eq!(posted(), 10);
}

#[test]
fn a_server_that_is_not_there_at_first() {
    let mut server = RedisServer::start();
    let _store = server.accounts();
    server.stop();
    let upstream = Upstream::answering(DONE);
    let envoy = Envoy::start(options(&server.url(), upstream.port()));
    let closed = pay(envoy.port(), "a");
    assert_eq!((closed.status, closed.code().as_str()), (503, "store_unavailable"));
    // What needs no store is decided all the same.
    assert_eq!(envoy.send("GET", "/read", &[], b"").code(), "missing_token");
    server.go_on();
    until_paid(&envoy, "a");
}
