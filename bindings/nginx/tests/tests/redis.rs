//! A store on the network: asked in threads, while workers go on.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

use std::time::{Duration, Instant};

use tollgate::{AccountId, Admin};
use tollgate_gateway_tests::{POLICY, RedisServer, TOKEN, Upstream};
use tollgate_nginx_tests::{Nginx, Options};

#[test]
fn a_server_that_stops_and_comes_back() {
    let mut server = RedisServer::start();
    let url = server.url();
    let store = server.accounts();
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    let http = format!(
        "tollgate_policy policy.json; tollgate_store {url};
         server {{
             listen 127.0.0.1:PORT;
             location = /up {{ return 200; }}
             location / {{ tollgate on; proxy_pass http://UPSTREAM; }}
         }}"
    );
    let mut options = Options::new(&http, upstream.port());
    options.files.push(("policy.json".to_owned(), POLICY.to_owned()));
    let nginx = Nginx::start(options);
    let bearer = format!("Bearer {TOKEN}");
    let pay = |key: &str| {
        let headers = [("Authorization", bearer.as_str()), ("Idempotency-Key", key)];
        nginx.send("POST", "/pay", &headers, b"{}")
    };
    let posted = || {
        let id = AccountId::new("acme").unwrap();
        Admin::new(&store).account(&id, 1_700_000_000_000).unwrap().wallet.posted.0
    };

    assert_eq!(pay("a").text(), "done");
    assert_eq!(posted(), 5);
    assert_eq!(pay("a").header("idempotent-replayed"), Some("true"));
    assert_eq!(nginx.send("GET", "/read", &[("Authorization", &bearer)], b"").status, 200);

    server.stop();
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let (port, bearer) = (nginx.port(), bearer.clone());
            std::thread::spawn(move || {
                let headers = [("Authorization", bearer.as_str()), ("Idempotency-Key", "b")];
                tollgate_gateway_tests::send(port, "POST", "/pay", &headers, b"{}")
            })
        })
        .collect();
    // Meanwhile the workers serve others at once.
    for _ in 0..20 {
        let begin = Instant::now();
        assert_eq!(nginx.send("GET", "/up", &[], b"").status, 200);
        assert!(begin.elapsed() < Duration::from_millis(500), "{:?}", begin.elapsed());
    }
    for answer in waiting {
        let answer = answer.join().unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (503, "store_unavailable"));
    }
    assert_eq!(upstream.calls(), 2);

    server.go_on();
    let end = Instant::now() + Duration::from_secs(20);
    while pay("c").status != 200 {
        assert!(Instant::now() < end, "{}", nginx.error_log());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(pay("a").header("idempotent-replayed"), Some("true"));
    assert_eq!(pay("c").header("idempotent-replayed"), Some("true"));
    assert_eq!(posted(), 10);
}

#[test]
fn a_server_that_is_not_there_at_first() {
    let mut server = RedisServer::start();
    let url = server.url();
    let _store = server.accounts();
    server.stop();
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    let http = format!(
        "tollgate_policy policy.json; tollgate_store {url};
         server {{
             listen 127.0.0.1:PORT;
             location = /up {{ return 200; }}
             location / {{ tollgate on; proxy_pass http://UPSTREAM; }}
             location /read {{ tollgate on; tollgate_fail open; proxy_pass http://UPSTREAM; }}
         }}"
    );
    let mut options = Options::new(&http, upstream.port());
    options.files.push(("policy.json".to_owned(), POLICY.to_owned()));
    let nginx = Nginx::start(options);
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("Authorization", bearer.as_str())];
    let closed = nginx.send("POST", "/pay", &headers, b"{}");
    assert_eq!((closed.status, closed.code().as_str()), (503, "store_unavailable"));
    server.go_on();
    let end = Instant::now() + Duration::from_secs(20);
    while nginx.send("POST", "/pay", &headers, b"{}").status != 200 {
        assert!(Instant::now() < end, "{}", nginx.error_log());
        std::thread::sleep(Duration::from_millis(100));
    }
}
