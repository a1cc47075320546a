//! How requests end, each on both ways of writing.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

use std::io::Write;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tollgate_envoy_tests::{Gateway, Writes};
use tollgate_gateway_tests::{Upstream, free_port};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-RateLimit-Limit: 7\r\nContent-Length: 4\r\n\r\ndone";

fn gateway(writes: Writes, upstream: Upstream) -> Gateway {
    Gateway::start(writes, upstream, &json!({}))
}

#[test]
fn success_is_posted_and_replayed() {
    for writes in Writes::BOTH {
        let gateway = gateway(writes, Upstream::answering(OK));
        let first = gateway.pay("k");
        assert_eq!((first.status, first.text().as_str()), (200, "done"), "{writes:?}");
        let limits: Vec<_> =
            first.headers.iter().filter(|(name, _)| name == "x-ratelimit-limit").collect();
        assert_eq!(limits.len(), 1, "in place of the upstream's own");
        assert_eq!(limits[0].1, b"1000000");
        // It is settled when the client has the last byte: no waiting here.
        let money = gateway.accounts.money("acme");
        assert_eq!((money.held, money.posted), (0, 5), "{writes:?}");
        let again = gateway.pay("k");
        assert_eq!((again.status, again.text().as_str()), (200, "done"));
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(gateway.upstream.calls(), 1);
        assert_eq!(gateway.accounts.money("acme").posted, 5);
    }
}

#[test]
fn refusals_of_the_upstream_are_voided_and_replayed() {
    for writes in Writes::BOTH {
        for (status, head) in [
            (404, "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone"),
            (302, "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 4\r\n\r\nmove"),
            (502, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\nmine"),
            (503, "HTTP/1.1 503 Unavailable\r\nContent-Length: 4\r\n\r\nmine"),
        ] {
            let gateway = gateway(writes, Upstream::answering(head));
            let (first, again) = (gateway.pay("k"), gateway.pay("k"));
            assert_eq!((first.status, again.status), (status, status), "{writes:?}");
            assert_eq!(first.body, again.body);
            assert_eq!(first.header("location"), again.header("location"));
            assert_eq!(again.header("idempotent-replayed"), Some("true"));
            assert_eq!(gateway.upstream.calls(), 1);
            gateway.accounts.expect(0, if status == 302 { 5 } else { 0 });
        }
    }
}

#[test]
fn a_refused_connection_frees_money_and_key() {
    for writes in Writes::BOTH {
        let options = Gateway::options(writes, free_port(), &json!({}));
        let gateway = Gateway::with(options, Upstream::answering(OK));
        for _ in 0..2 {
            let response = gateway.pay("k");
            assert_eq!((response.status, response.code().as_str()), (503, ""), "{writes:?}");
            assert!(response.header("x-ratelimit-limit").is_some());
            assert_eq!(response.header("idempotent-replayed"), None);
            gateway.accounts.expect(0, 0);
        }
    }
}

fn is_unknown(gateway: &Gateway, key: &str, status: u16) {
    let first = gateway.pay(key);
    assert_eq!((first.status, first.code().as_str()), (status, ""), "{key}");
    gateway.accounts.expect(5, 0);
    let again = gateway.pay(key);
    assert_eq!((again.status, again.code().as_str()), (409, "idempotency_in_flight"), "{key}");
    assert_eq!(gateway.upstream.calls(), 1);
    gateway.accounts.expect(5, 0);
}

#[test]
fn what_was_sent_and_not_answered_is_unknown() {
    for writes in Writes::BOTH {
        // It closes at once, answers nonsense, answers half a head.
        is_unknown(&gateway(writes, Upstream::start(|_, _| {})), "close", 503);
        let nonsense = "HTTP/1.1 200 OK\r\nno header at all\r\n\r\n";
        is_unknown(&gateway(writes, Upstream::answering(nonsense)), "nonsense", 502);
        let half = "HTTP/1.1 200 OK\r\nContent-Le";
        is_unknown(&gateway(writes, Upstream::answering(half)), "half", 502);
        // It is silent for too long.
        let (end, ended) = mpsc::channel::<()>();
        let ended = Mutex::new(ended);
        let silent = Upstream::start(move |_, _| {
            let _ = ended.lock().unwrap().recv();
        });
        let mut options = Gateway::options(writes, silent.port(), &json!({}));
        options.routes =
            "{ match: { path: /pay }, route: { cluster: upstream, timeout: 0.2s } }, ".to_owned();
        is_unknown(&Gateway::with(options, silent), "silent", 504);
        drop(end);
    }
}

#[test]
fn a_truncated_body_is_never_kept_as_whole() {
    for writes in Writes::BOTH {
        for head in [
            "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nbegin",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n",
        ] {
            let gateway = gateway(writes, Upstream::answering(head));
            let first = gateway.pay("k");
            assert_eq!((first.status, first.whole), (200, false), "{writes:?} {head}");
            gateway.accounts.expect(5, 0);
            assert_eq!(gateway.pay("k").code(), "idempotency_in_flight");
            assert_eq!(gateway.upstream.calls(), 1);
        }
    }
}

#[test]
fn answers_without_a_body_settle_too() {
    for writes in Writes::BOTH {
        for (method, target, key, status, head) in [
            ("POST", "/pay", true, 204, "HTTP/1.1 204 No Content\r\n\r\n"),
            ("POST", "/pay", true, 200, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            (
                "POST",
                "/pay",
                true,
                200,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            ),
            ("POST", "/pay", true, 304, "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n"),
            ("HEAD", "/paid", true, 200, "HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n"),
            ("HEAD", "/paid", false, 200, "HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n"),
        ] {
            let gateway = gateway(writes, Upstream::answering(head));
            let price = if target == "/pay" { 5 } else { 3 };
            let headers: &[(&str, &str)] = if key { &[("Idempotency-Key", "k")] } else { &[] };
            let first = gateway.ask(method, target, headers, b"");
            assert_eq!(first.status, status, "{writes:?} {head}");
            let money = gateway.accounts.money("acme");
            assert_eq!((money.held, money.posted), (0, price), "{writes:?} {head}");
            if key {
                let again = gateway.ask(method, target, headers, b"");
                let replayed = again.header("idempotent-replayed");
                assert_eq!((again.status, replayed), (status, Some("true")), "{head}");
                assert_eq!(again.body.len(), 0);
                assert_eq!(again.header("etag"), first.header("etag"));
                assert_eq!(gateway.upstream.calls(), 1);
            }
        }
    }
}

#[test]
fn the_upstream_says_what_is_charged() {
    for writes in Writes::BOTH {
        // More than was reserved, and no amount, are what was reserved.
        for (charge, posted) in [("3", 3), ("0", 0), ("9", 5), ("much", 5)] {
            let upstream = Upstream::start(move |_, mut stream| {
                let head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n";
                let _ = write!(stream, "{head}X-Charge: {charge}\r\n\r\nok");
            });
            let gateway = gateway(writes, upstream);
            assert_eq!(gateway.pay("k").status, 200, "{writes:?} {charge}");
            gateway.accounts.expect(0, posted);
        }
    }
}

#[test]
fn a_client_that_leaves_before_the_answer() {
    for writes in Writes::BOTH {
        // Envoy breaks off too: nobody knows.
        let (upstream, arrival, go) = Upstream::waiting([OK]);
        let gateway = gateway(writes, upstream);
        let client = gateway.begin_to_pay("k");
        arrival.recv().unwrap();
        client.close();
        std::thread::sleep(Duration::from_millis(100));
        go.send(()).unwrap();
        gateway.accounts.expect(5, 0);
        assert_eq!(gateway.pay("k").code(), "idempotency_in_flight", "{writes:?}");
    }
}

#[test]
fn a_client_that_leaves_amid_the_answer() {
    for writes in Writes::BOTH {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n".to_owned();
        let parts = vec![head + &"a".repeat(300_000), "b".repeat(300_000), "b".repeat(300_000)];
        let (upstream, arrival, go) = Upstream::waiting(parts);
        let gateway = gateway(writes, upstream);
        let client = gateway.begin_to_pay("k");
        arrival.recv().unwrap();
        go.send(()).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        drop(client); // with what it has not read: the next write fails
        for _ in 0..2 {
            std::thread::sleep(Duration::from_millis(100));
            go.send(()).unwrap();
        }
        // The head was good: it was carried out. Its body was not read to the end.
        gateway.accounts.expect(0, 5);
        let again = gateway.pay("k");
        assert_eq!((again.status, again.body.len()), (200, 0), "{writes:?}");
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(gateway.upstream.calls(), 1);
    }
}

#[test]
fn a_client_that_leaves_before_all_of_its_request_is_there() {
    for writes in Writes::BOTH {
        let gateway = gateway(writes, Upstream::answering(OK));
        // With a key the body is awaited before anything is reserved; without one it is streamed.
        for headers in ["Idempotency-Key: k\r\n", ""] {
            let mut client = tollgate_gateway_tests::Client::connect(gateway.envoy.port());
            client.write(format!("POST /pay HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t-acme\r\n{headers}Content-Length: 100\r\n\r\nhalf").as_bytes());
            std::thread::sleep(Duration::from_millis(100));
            drop(client);
        }
        std::thread::sleep(Duration::from_millis(100));
        // The upstream has not got all of the second one, but might have acted on what it has.
        assert_eq!(gateway.accounts.money("acme").posted, 0, "{writes:?}");
        let first = gateway.pay("k");
        assert_eq!((first.status, first.header("idempotent-replayed")), (200, None));
    }
}

#[test]
fn a_process_that_stops_ends_well() {
    for writes in Writes::BOTH {
        let (upstream, arrival, _go) = Upstream::waiting([OK]);
        let mut gateway = gateway(writes, upstream);
        let _client = gateway.begin_to_pay("k");
        arrival.recv().unwrap();
        gateway.accounts.expect(5, 0);
        assert!(gateway.envoy.stop(Signal::TERM), "{writes:?}: {}", gateway.envoy.log());
        // Nobody knows what became of it: it stays held until its lease ends.
        gateway.accounts.expect(5, 0);
    }
}
