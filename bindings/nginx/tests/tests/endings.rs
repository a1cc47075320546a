//! How requests end: the table of the README, each row on both ways of writing.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

use std::io::Write;
use std::sync::mpsc;
use std::time::Duration;

use tollgate_gateway_tests::{Client, Upstream, free_port};
use tollgate_nginx_tests::{Gateway, Writes};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-RateLimit-Limit: 7\r\nContent-Length: 4\r\n\r\ndone";

#[test]
fn success_is_posted_and_replayed() {
    for writes in Writes::BOTH {
        let gateway = Gateway::start(writes, Upstream::answering(OK), "", "");
        let first = gateway.pay("k");
        assert_eq!((first.status, first.text().as_str()), (200, "done"), "{writes:?}");
        assert_eq!(
            first.header("x-ratelimit-limit"),
            Some("1000000"),
            "in place of the upstream's own"
        );
        assert_eq!(
            first
                .headers
                .iter()
                .filter(|(name, _)| name.eq_ignore_ascii_case("x-ratelimit-limit"))
                .count(),
            1
        );
        // It is settled when the client has the last byte: no waiting here.
        assert_eq!(
            (gateway.accounts.money("acme").held, gateway.accounts.money("acme").posted),
            (0, 5)
        );
        let again = gateway.pay("k");
        assert_eq!((again.status, again.text().as_str()), (200, "done"));
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(again.header("content-type"), Some("text/plain"));
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
            (504, "HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 4\r\n\r\nmine"),
        ] {
            let gateway = Gateway::start(writes, Upstream::answering(head), "", "");
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
        let upstream = Upstream::answering(OK);
        let mut options = Gateway::options(writes, upstream.port(), "", "");
        options.upstream = free_port();
        let gateway = Gateway::with(options, upstream);
        for _ in 0..2 {
            let response = gateway.pay("k");
            assert_eq!((response.status, response.code().as_str()), (502, ""), "{writes:?}");
            assert!(response.header("x-ratelimit-limit").is_some());
            assert_eq!(response.header("idempotent-replayed"), None);
            gateway.accounts.expect(0, 0);
        }
    }
}

fn is_unknown(gateway: &Gateway, key: &str, status: u16) {
    let first = gateway.pay(key);
    assert_eq!((first.status, first.code().as_str()), (status, ""));
    gateway.accounts.expect(5, 0);
    let again = gateway.pay(key);
    assert_eq!((again.status, again.code().as_str()), (409, "idempotency_in_flight"));
    assert_eq!(gateway.upstream.calls(), 1);
    gateway.accounts.expect(5, 0);
}

#[test]
fn what_was_sent_and_not_answered_is_unknown() {
    for writes in Writes::BOTH {
        // It closes at once, resets, answers nonsense, answers half a head.
        is_unknown(&Gateway::start(writes, Upstream::start(|_, _| {}), "", ""), "close", 502);
        let nonsense = "HTTP/1.1 200 OK\r\nno header at all\r\n\r\n";
        is_unknown(&Gateway::start(writes, Upstream::answering(nonsense), "", ""), "nonsense", 502);
        let half = "HTTP/1.1 200 OK\r\nContent-Le";
        is_unknown(&Gateway::start(writes, Upstream::answering(half), "", ""), "half", 502);
        // It is silent for too long.
        let (end, ended) = mpsc::channel::<()>();
        let ended = std::sync::Mutex::new(ended);
        let silent = Upstream::start(move |_, _| {
            let _ = ended.lock().unwrap().recv();
        });
        is_unknown(&Gateway::start(writes, silent, "", "proxy_read_timeout 200ms;"), "silent", 504);
        drop(end);
    }
}

#[test]
fn an_error_page_in_place_of_a_lost_answer_changes_nothing() {
    for writes in Writes::BOTH {
        let server = "location = /oops { return 200 'never mind'; }";
        let gateway = Gateway::start(
            writes,
            Upstream::start(|_, _| {}),
            server,
            "error_page 502 =200 /oops;",
        );
        let first = gateway.pay("k");
        assert_eq!((first.status, first.text().as_str()), (200, "never mind"), "{writes:?}");
        gateway.accounts.expect(5, 0);
        assert_eq!(gateway.pay("k").code(), "idempotency_in_flight");
    }
}

#[test]
fn another_upstream_that_answers_settles_for_the_first() {
    for writes in Writes::BOTH {
        let (down, upstream) = (free_port(), Upstream::answering(OK));
        let server = format!(
            "location @other {{ proxy_pass http://127.0.0.1:{}; }} location /x {{ }}",
            upstream.port()
        );
        let mut options = Gateway::options(writes, down, &server, "error_page 502 = @other;");
        options.upstream = down;
        let gateway = Gateway::with(options, upstream);
        assert_eq!(gateway.pay("k").text(), "done", "{writes:?}");
        gateway.accounts.expect(0, 5);
        assert_eq!(gateway.pay("k").header("idempotent-replayed"), Some("true"));
    }
}

#[test]
fn a_truncated_body_is_never_kept_as_whole() {
    for writes in Writes::BOTH {
        for head in [
            "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nbegin",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n",
        ] {
            for buffering in ["", "proxy_buffering off;"] {
                let location = format!("{buffering} proxy_http_version 1.1;");
                let gateway = Gateway::start(writes, Upstream::answering(head), "", &location);
                let first = gateway.pay("k");
                assert_eq!((first.status, first.whole), (200, false), "{writes:?} {buffering}");
                gateway.accounts.expect(5, 0);
                assert_eq!(gateway.pay("k").code(), "idempotency_in_flight");
                assert_eq!(gateway.upstream.calls(), 1);
            }
        }
    }
}

#[test]
fn answers_without_a_body_settle_too() {
    for writes in Writes::BOTH {
        for (method, target, key, status, head) in [
            ("POST", "/pay", true, 204, "HTTP/1.1 204 No Content\r\n\r\n"),
            ("POST", "/pay", true, 200, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            ("POST", "/pay", true, 304, "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n"),
            ("HEAD", "/paid", true, 200, "HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n"),
            ("HEAD", "/paid", false, 200, "HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n"),
        ] {
            let gateway = Gateway::start(writes, Upstream::answering(head), "", "");
            let price = if target == "/pay" { 5 } else { 3 };
            let headers: &[(&str, &str)] = if key { &[("Idempotency-Key", "k")] } else { &[] };
            let first = gateway.ask(method, target, headers, b"");
            assert_eq!(first.status, status, "{writes:?} {head}");
            let money = gateway.accounts.money("acme");
            assert_eq!((money.held, money.posted), (0, price), "{writes:?} {head}");
            if key {
                let again = gateway.ask(method, target, headers, b"");
                assert_eq!(
                    (again.status, again.header("idempotent-replayed")),
                    (status, Some("true"))
                );
                assert_eq!(
                    again.header("content-length"),
                    first.header("content-length"),
                    "{head}"
                );
                assert_eq!(again.header("etag"), first.header("etag"));
                assert_eq!(gateway.upstream.calls(), 1);
            }
        }
    }
}

#[test]
fn the_upstream_says_what_is_charged() {
    for writes in Writes::BOTH {
        for (charge, posted, complaint) in [
            ("3", 3, None),
            ("0", 0, None),
            ("9", 5, Some("more than was reserved")),
            ("much", 5, Some("no amount")),
        ] {
            let upstream = Upstream::start(move |_, mut stream| {
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nX-Charge: {charge}\r\nContent-Length: 2\r\n\r\nok"
                );
            });
            let gateway = Gateway::start(writes, upstream, "", "");
            assert_eq!(gateway.pay("k").status, 200);
            gateway.accounts.expect(0, posted);
            let log = gateway.nginx.error_log();
            assert!(complaint.is_none_or(|complaint| log.contains(complaint)), "{log}");
        }
    }
}

#[test]
fn a_client_that_leaves_before_the_answer() {
    for writes in Writes::BOTH {
        // nginx breaks off too: nobody knows.
        let (upstream, arrival, go) = Upstream::waiting([OK]);
        let gateway = Gateway::start(writes, upstream, "", "");
        let client = gateway.begin_to_pay("k");
        arrival.recv().unwrap();
        client.close();
        std::thread::sleep(Duration::from_millis(100));
        go.send(()).unwrap();
        gateway.accounts.expect(5, 0);
        assert_eq!(gateway.pay("k").code(), "idempotency_in_flight", "{writes:?}");

        // nginx carries on: as if the client had stayed.
        let (upstream, arrival, go) = Upstream::waiting([OK]);
        let gateway = Gateway::start(writes, upstream, "", "proxy_ignore_client_abort on;");
        let client = gateway.begin_to_pay("k");
        arrival.recv().unwrap();
        client.close();
        std::thread::sleep(Duration::from_millis(100));
        go.send(()).unwrap();
        gateway.accounts.expect(0, 5);
        let again = gateway.pay("k");
        assert_eq!(
            (again.text().as_str(), again.header("idempotent-replayed")),
            ("done", Some("true"))
        );
    }
}

/// A long answer in three parts, so that the client can leave after the first, and the second fails.
fn long_parts() -> [String; 3] {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n".to_owned();
    [head + &"a".repeat(300_000), "b".repeat(300_000), "b".repeat(300_000)]
}

#[test]
fn a_client_that_leaves_amid_the_answer() {
    for writes in Writes::BOTH {
        for carried_on in [false, true] {
            let (upstream, arrival, go) = Upstream::waiting(long_parts());
            let location = if carried_on { "proxy_ignore_client_abort on;" } else { "" };
            let gateway = Gateway::start(writes, upstream, "", location);
            let client = gateway.begin_to_pay("k");
            arrival.recv().unwrap();
            go.send(()).unwrap();
            std::thread::sleep(Duration::from_millis(100));
            drop(client); // with what it has not read: the next write fails
            for _ in 0..2 {
                std::thread::sleep(Duration::from_millis(100));
                go.send(()).unwrap();
            }
            // The head was good: it was carried out.
            gateway.accounts.expect(0, 5);
            let again = gateway.pay("k");
            assert_eq!(again.status, 200, "{writes:?}");
            assert_eq!(again.header("idempotent-replayed"), Some("true"));
            // Its body was read to the end only where nginx is told to carry on.
            assert_eq!(again.body.len(), if carried_on { 900_000 } else { 0 }, "{writes:?}");
            assert_eq!(gateway.upstream.calls(), 1);
        }
    }
}

#[test]
fn a_client_that_leaves_before_the_request_is_forwarded() {
    for writes in Writes::BOTH {
        // The body of a request without a key is read by the proxy, after the decision.
        let gateway = Gateway::start(writes, Upstream::answering(OK), "", "");
        let mut client = Client::connect(gateway.nginx.port());
        client.write(
            b"POST /pay HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t-acme\r\nContent-Length: 100\r\n\r\nhalf",
        );
        gateway.accounts.expect(5, 0);
        client.close();
        gateway.accounts.expect(0, 0);
        assert_eq!(gateway.upstream.calls(), 0, "{writes:?}");
    }
}

#[test]
fn a_worker_that_stops_settles_what_it_holds() {
    for writes in Writes::BOTH {
        let (upstream, arrival, _go) = Upstream::waiting([OK]);
        let mut gateway = Gateway::start(writes, upstream, "", "");
        let _client = gateway.begin_to_pay("k");
        let mut half = Client::connect(gateway.nginx.port());
        half.write(
            b"POST /pay HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t-acme\r\nContent-Length: 100\r\n\r\nhalf",
        );
        arrival.recv().unwrap();
        gateway.accounts.expect(10, 0);
        gateway.nginx.stop(rustix::process::Signal::TERM);
        // Unknown for the one that was sent, void for the one that was not.
        gateway.accounts.expect(5, 0);
    }
}
