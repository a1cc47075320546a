//! Answers that no upstream gave: Envoy's retries, routes, timeouts and other filters, before tollgate and behind it.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tollgate_envoy_tests::{Gateway, Options, Writes};
use tollgate_gateway_tests::{Client, Response, TOKEN, Upstream, free_port};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";

fn options(writes: Writes, upstream: u16) -> Options {
    let mut options = Gateway::options(writes, upstream, &json!({}));
    // Envoy's own words behind the code, and what was posted.
    options.access = "%REQ(X-ID)%|%RESPONSE_CODE%|%DYNAMIC_METADATA(tollgate:code)%|%DYNAMIC_METADATA(tollgate:settled)%|%RESPONSE_CODE_DETAILS%".to_owned();
    options
}

/// A payment that the log calls `id`.
fn pay(gateway: &Gateway, key: &str, id: &str, more: &[(&str, &str)]) -> Response {
    let headers = [&[("Idempotency-Key", key), ("X-Id", id)], more].concat();
    gateway.ask("POST", "/pay", &headers, b"{\"to\":1}")
}

/// What the log says of a request, up to Envoy's words.
fn logged(gateway: &Gateway, id: &str) -> String {
    let line = gateway.logged(id);
    let (told, _) = line.rsplit_once('|').unwrap();
    told.to_owned()
}

fn retrying(options: &mut Options, more: &str) {
    options.routes = format!(
        "{{ match: {{ path: /pay }}, route: {{ cluster: upstream, timeout: 0s, retry_policy: {{ retry_on: '5xx,connect-failure', num_retries: 3, retry_back_off: {{ base_interval: 0.005s }}{more} }} }} }}, "
    );
}

/// Answers with these, one after the other, the last one for ever; an empty one is none.
fn answers(texts: &'static [&'static str]) -> Upstream {
    let next = AtomicUsize::new(0);
    Upstream::start(move |_, mut stream| {
        let number = next.fetch_add(1, Ordering::SeqCst).min(texts.len() - 1);
        let _ = stream.write_all(texts[number].as_bytes());
    })
}

const UNAVAILABLE: &str = "HTTP/1.1 503 Unavailable\r\nContent-Length: 4\r\n\r\nlate";

#[test]
fn what_was_tried_again_is_charged_once() {
    for writes in Writes::BOTH {
        // Refused by the upstream, and lost.
        for first in [&[UNAVAILABLE, UNAVAILABLE, OK], &["", "HTTP/1.1 500 ", OK]] {
            let upstream = answers(first);
            let mut options = options(writes, upstream.port());
            retrying(&mut options, "");
            let gateway = Gateway::with(options, upstream);
            let answer = pay(&gateway, "k", "1", &[]);
            assert_eq!((answer.status, answer.text().as_str()), (200, "done"), "{writes:?}");
            assert_eq!(gateway.upstream.calls(), 3);
            gateway.accounts.expect(0, 5);
            assert_eq!(logged(&gateway, "1"), "200|allowed|5");
            let again = pay(&gateway, "k", "2", &[]);
            assert_eq!(again.text(), "done");
            assert_eq!(again.header("idempotent-replayed"), Some("true"));
            assert_eq!(gateway.upstream.calls(), 3);
            gateway.accounts.expect(0, 5);
        }
    }
}

#[test]
fn the_last_of_several_answers_is_the_answer() {
    for writes in Writes::BOTH {
        let upstream = answers(&["", UNAVAILABLE]);
        let mut options = options(writes, upstream.port());
        retrying(&mut options, "");
        let gateway = Gateway::with(options, upstream);
        assert_eq!(pay(&gateway, "k", "1", &[]).text(), "late", "{writes:?}");
        assert_eq!(gateway.upstream.calls(), 4);
        gateway.accounts.expect(0, 0);
        assert_eq!(logged(&gateway, "1"), "503|allowed|0");
        let again = pay(&gateway, "k", "2", &[]);
        assert_eq!((again.status, again.text().as_str()), (503, "late"));
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(gateway.upstream.calls(), 4);
    }
}

/// Before the cluster's endpoint.
const ENDPOINT: &str = "        - endpoint: ";

#[test]
fn another_host_answers_for_one_that_refuses() {
    for writes in Writes::BOTH {
        let upstream = Upstream::answering(OK);
        let mut options = options(writes, upstream.port());
        let refuses = format!(
            "{ENDPOINT}{{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} }}\n",
            free_port()
        );
        options.edit(ENDPOINT, &(refuses + ENDPOINT));
        let others = ", retry_host_predicate: [{ name: previous, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate } }], host_selection_retry_max_attempts: 9";
        retrying(&mut options, others);
        let gateway = Gateway::with(options, upstream);
        for key in ["a", "b", "c", "d"] {
            assert_eq!(pay(&gateway, key, key, &[]).text(), "done", "{writes:?}");
            assert_eq!(
                pay(&gateway, key, "again", &[]).header("idempotent-replayed"),
                Some("true")
            );
        }
        assert!(gateway.envoy.stat("cluster.upstream.upstream_rq_retry") >= 1);
        assert_eq!(gateway.upstream.calls(), 4);
        gateway.accounts.expect(0, 20);
    }
}

#[test]
fn a_refused_connection_is_not_the_end_of_what_was_sent_before() {
    for writes in Writes::BOTH {
        // It reads the request, and then nobody listens any more.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut options = options(writes, listener.local_addr().unwrap().port());
        retrying(&mut options, "");
        let gateway = Gateway::with(options, Upstream::answering(OK));
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = [0; 4096];
            while stream.read(&mut bytes).unwrap() == 0 {}
            drop(listener);
        });
        let answer = pay(&gateway, "k", "1", &[]);
        server.join().unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (503, ""), "{writes:?}");
        let line = gateway.logged("1");
        assert!(line.contains("remote_connection_failure"), "{line}");
        gateway.accounts.expect(5, 0);
        assert_eq!(pay(&gateway, "k", "2", &[]).code(), "idempotency_in_flight");
        assert_eq!(gateway.envoy.stat("cluster.upstream.upstream_rq_retry"), 3);
        assert_eq!(gateway.envoy.stat("dynamicmodulescustom.tollgate.unknown"), 1);
    }
}

#[test]
fn tries_of_which_none_reached_an_upstream_are_held_too() {
    for writes in Writes::BOTH {
        // Envoy does not tell this from the above: what costs a lease here would be done twice there.
        let mut options = options(writes, free_port());
        retrying(&mut options, "");
        let gateway = Gateway::with(options, Upstream::answering(OK));
        assert_eq!(pay(&gateway, "k", "1", &[]).status, 503, "{writes:?}");
        gateway.accounts.expect(5, 0);
        assert_eq!(pay(&gateway, "k", "2", &[]).code(), "idempotency_in_flight");
    }
}

#[test]
fn where_nothing_is_sent_the_key_is_free() {
    for writes in Writes::BOTH {
        let upstream = Upstream::start(|_, mut stream| {
            std::thread::sleep(Duration::from_millis(600));
            let _ = stream.write_all(OK.as_bytes());
        });
        let mut options = options(writes, upstream.port());
        options.concurrency = 1;
        options.edit(
            "max_connections: 10000, max_pending_requests: 10000",
            "max_connections: 1, max_pending_requests: 1",
        );
        let gateway = Gateway::with(options, upstream);
        let mut first = gateway.begin_to_pay("first");
        gateway.accounts.expect(5, 0);
        // One waits for the connection, and leaves; with one that waits, another one overflows.
        let second = gateway.begin_to_pay("second");
        gateway.accounts.expect(10, 0);
        let third = pay(&gateway, "third", "3", &[]);
        assert_eq!((third.status, third.code().as_str()), (503, ""), "{writes:?}");
        assert!(gateway.logged("3").ends_with("overflow}"), "{}", gateway.logged("3"));
        gateway.accounts.expect(10, 0);
        second.close();
        gateway.accounts.expect(5, 0);
        assert_eq!(first.read("POST").unwrap().text(), "done");
        gateway.accounts.expect(0, 5);
        for key in ["second", "third"] {
            let answer = pay(&gateway, key, key, &[]);
            assert_eq!((answer.status, answer.header("idempotent-replayed")), (200, None), "{key}");
        }
        assert_eq!(gateway.upstream.calls(), 3);
        gateway.accounts.expect(0, 15);
    }
}

#[test]
fn routes_that_answer_are_answers_unless_they_refuse() {
    for writes in Writes::BOTH {
        let upstream = Upstream::answering(OK);
        let mut options = options(writes, upstream.port());
        let route = |path: &str, answer: &str| {
            format!("{{ match: {{ path: {path}, headers: [{{ name: x-made }}] }}, {answer} }}, ")
        };
        options.routes = [
            route("/pay", "direct_response: { status: 200, body: { inline_string: made } }"),
            route("/paid", "redirect: { path_redirect: /read }"),
            route("/free", "direct_response: { status: 404, body: { inline_string: none } }"),
        ]
        .concat();
        let gateway = Gateway::with(options, upstream);
        let ask = |method: &str, target: &str, id: &str, made: &[(&str, &str)]| {
            let headers = [&[("Idempotency-Key", "k"), ("X-Id", id)], made].concat();
            gateway.ask(method, target, &headers, b"")
        };
        let made = [("X-Made", "1")];
        // A direct response and a redirection are charged and replayed.
        let first = ask("POST", "/pay", "1", &made);
        assert_eq!((first.status, first.text().as_str()), (200, "made"), "{writes:?}");
        assert!(first.header("x-ratelimit-limit").is_some());
        gateway.accounts.expect(0, 5);
        let again = ask("POST", "/pay", "2", &made);
        assert_eq!(
            (again.text().as_str(), again.header("idempotent-replayed")),
            ("made", Some("true"))
        );
        let first = ask("GET", "/paid", "3", &made);
        assert_eq!((first.status, first.header("location")), (301, Some("http://test/read")));
        gateway.accounts.expect(0, 8);
        let again = ask("GET", "/paid", "4", &made);
        assert_eq!((again.status, again.header("location")), (301, Some("http://test/read")));
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        // A refusal is not, and its key is free.
        let first = ask("POST", "/free", "5", &made);
        assert_eq!((first.status, first.text().as_str()), (404, "none"));
        assert_eq!(gateway.upstream.calls(), 0);
        let again = ask("POST", "/free", "6", &[]);
        assert_eq!((again.text().as_str(), again.header("idempotent-replayed")), ("done", None));
        gateway.accounts.expect(0, 8);
        assert_eq!(
            ["1", "2", "3", "4", "5", "6"].map(|id| logged(&gateway, id)),
            [
                "200|allowed|5",
                "200|replayed|-",
                "301|allowed|3",
                "301|replayed|-",
                "404|allowed|0",
                "200|allowed|0"
            ]
        );
    }
}

const DENIES: &str = "{ name: rbac, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC, rules: { action: DENY, policies: { those: { permissions: [{ header: { name: x-deny, present_match: true } }], principals: [{ any: true }] } } } } }";

#[test]
fn another_filter_that_denies() {
    for writes in Writes::BOTH {
        for place in ["tollgate", "router"] {
            let upstream = Upstream::answering(OK);
            let mut options = options(writes, upstream.port());
            options.filter_before(place, DENIES);
            let gateway = Gateway::with(options, upstream);
            let denied = pay(&gateway, "k", "1", &[("X-Deny", "1")]);
            assert_eq!((denied.status, denied.code().as_str()), (403, ""), "{writes:?} {place}");
            assert_eq!(denied.text(), "RBAC: access denied");
            gateway.accounts.expect(0, 0);
            // Behind tollgate it was decided and voided; before it, nothing was asked.
            let behind = place == "router";
            assert_eq!(denied.header("x-ratelimit-limit").is_some(), behind);
            assert_eq!(logged(&gateway, "1"), if behind { "403|allowed|0" } else { "403|-|-" });
            let voided = gateway.envoy.stat("dynamicmodulescustom.tollgate.voided");
            assert_eq!(voided, u64::from(behind));
            let answer = pay(&gateway, "k", "2", &[]);
            assert_eq!((answer.status, answer.header("idempotent-replayed")), (200, None));
            gateway.accounts.expect(0, 5);
            // A replay does not reach what stands behind.
            let again = pay(&gateway, "k", "3", &[("X-Deny", "1")]);
            assert_eq!(again.status, if behind { 200 } else { 403 });
            assert_eq!(gateway.upstream.calls(), 1);
        }
    }
}

const BUFFERS: &str = "{ name: buffer, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer, max_request_bytes: 1000 } }";

#[test]
fn bodies_that_another_filter_refuses() {
    for writes in Writes::BOTH {
        for place in ["tollgate", "router"] {
            let upstream = Upstream::answering(OK);
            let mut options = options(writes, upstream.port());
            options.filter_before(place, BUFFERS);
            let gateway = Gateway::with(options, upstream);
            let body = vec![b'b'; 100_000];
            let behind = place == "router";
            let mut posted = 0;
            for (id, headers) in
                [("1", &[("X-Id", "1")][..]), ("2", &[("X-Id", "2"), ("Idempotency-Key", "k")])]
            {
                let answer = gateway.ask("POST", "/pay", headers, &body);
                // What was held while the module asked reaches a filter behind it at once and whole, which Envoy does not count against that one's bound.
                if behind && writes == Writes::Threads && answer.status == 200 {
                    posted += 5;
                    gateway.accounts.expect(0, posted);
                    assert_eq!(logged(&gateway, id), "200|allowed|5");
                    continue;
                }
                assert_eq!(
                    (answer.status, answer.code().as_str()),
                    (413, ""),
                    "{writes:?} {place}"
                );
                gateway.accounts.expect(0, posted);
                assert_eq!(logged(&gateway, id), if behind { "413|allowed|0" } else { "413|-|-" });
                if id == "2" {
                    // Its key is free.
                    let key = [("Idempotency-Key", "k"), ("X-Id", "3")];
                    let answer = gateway.ask("POST", "/pay", &key, b"short");
                    assert_eq!((answer.status, answer.header("idempotent-replayed")), (200, None));
                    posted += 5;
                }
            }
            gateway.accounts.expect(0, posted);
            assert_eq!(gateway.upstream.calls(), usize::try_from(posted / 5).unwrap());
        }
    }
}

#[test]
fn a_request_that_does_not_come_to_its_end() {
    for writes in Writes::BOTH {
        let upstream = Upstream::answering(OK);
        let mut options = options(writes, upstream.port());
        options.edit(
            "stream_idle_timeout: 0s",
            "stream_idle_timeout: 0s, request_timeout: 0.4s".replace(", ", "\n        ").as_str(),
        );
        options.disk_may_wait = true;
        let gateway = Gateway::with(options, upstream);
        let half = |id: &str, headers: &str| {
            let mut client = Client::connect(gateway.envoy.port());
            client.write(format!("POST /pay HTTP/1.1\r\nHost: x\r\nX-Id: {id}\r\nAuthorization: Bearer {TOKEN}\r\n{headers}Content-Length: 9\r\n\r\nhalf").as_bytes());
            client
        };
        // Its key needs all of the body: nothing is reserved before.
        let timed_out = half("1", "Idempotency-Key: k\r\n").read("POST").unwrap();
        assert_eq!(timed_out.status, 408, "{writes:?}");
        assert_eq!(timed_out.header("x-ratelimit-limit"), None);
        gateway.accounts.expect(0, 0);
        assert_eq!(logged(&gateway, "1"), "408|-|-");
        // Without one it was sent on, and what the upstream had of it may be enough for it.
        let timed_out = half("2", "").read("POST").unwrap();
        assert_eq!(timed_out.status, 408);
        gateway.accounts.expect(5, 0);
        assert_eq!(logged(&gateway, "2"), "408|allowed|-");
        // Envoy answers while the module asks: what comes of it is given back.
        if writes == Writes::Threads {
            gateway.envoy.disk_waits(true);
            let timed_out = half("3", "").read("POST").unwrap();
            assert_eq!(timed_out.status, 408);
            assert_eq!(logged(&gateway, "3"), "408|-|-");
            gateway.envoy.disk_waits(false);
            std::thread::sleep(Duration::from_millis(200));
            gateway.accounts.expect(5, 0);
        }
        assert_eq!(pay(&gateway, "k", "4", &[]).text(), "done");
        assert_eq!(gateway.upstream.calls(), 1);
    }
}

/// An upstream that reads a head, answers in full, and goes on reading.
fn early(listener: TcpListener, answer: &'static str) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap() > 2 {
            line.clear();
        }
        let mut stream: &TcpStream = reader.get_ref();
        stream.write_all(answer.as_bytes()).unwrap();
        let mut rest = Vec::new();
        let _ = reader.read_to_end(&mut rest);
        rest
    })
}

#[test]
fn an_upstream_that_does_not_wait_for_the_body() {
    for writes in Writes::BOTH {
        for answer in [
            OK,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndone\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ] {
            for goes_on in [true, false] {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let mut options = options(writes, listener.local_addr().unwrap().port());
                options.disk_may_wait = true;
                let gateway = Gateway::with(options, Upstream::answering(OK));
                let server = early(listener, answer);
                let mut client = Client::connect(gateway.envoy.port());
                let head = format!(
                    "POST /pay HTTP/1.1\r\nHost: x\r\nX-Id: 1\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 100000\r\n\r\n"
                );
                client.write(head.as_bytes());
                client.write(&[b'x'; 1000]);
                // The settlement takes its time, and the body comes meanwhile.
                if writes == Writes::Threads {
                    std::thread::sleep(Duration::from_millis(100));
                }
                if goes_on {
                    client.write(&[b'x'; 50_000]);
                    client.write(&[b'x'; 49_000]);
                }
                let response = client.read("POST").unwrap();
                assert_eq!((response.status, response.whole), (200, true), "{writes:?} {answer}");
                gateway.accounts.expect(0, 5);
                assert_eq!(logged(&gateway, "1"), "200|allowed|5");
                drop(client);
                drop(server.join().unwrap());
            }
        }
    }
}

#[test]
fn a_body_that_comes_while_the_settlement_is_awaited() {
    // Only where it is awaited.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = options(Writes::Threads, listener.local_addr().unwrap().port());
    options.disk_may_wait = true;
    let gateway = Gateway::with(options, Upstream::answering(OK));
    let (mut client, server) = (Client::connect(gateway.envoy.port()), {
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            let mut line = String::new();
            while reader.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            gone.recv().unwrap();
            let mut stream: &TcpStream = reader.get_ref();
            stream.write_all(OK.as_bytes()).unwrap();
            let _ = reader.read_to_end(&mut Vec::new());
        });
        (go, server)
    });
    let head = format!(
        "POST /pay HTTP/1.1\r\nHost: x\r\nX-Id: 1\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 100000\r\n\r\n"
    );
    client.write(head.as_bytes());
    client.write(&[b'x'; 1000]);
    gateway.accounts.expect(5, 0);
    gateway.envoy.disk_waits(true);
    server.0.send(()).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    client.write(&[b'x'; 50_000]);
    std::thread::sleep(Duration::from_millis(100));
    client.write(&[b'x'; 49_000]);
    std::thread::sleep(Duration::from_millis(100));
    gateway.envoy.disk_waits(false);
    let response = client.read("POST").unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "done"));
    gateway.accounts.expect(0, 5);
    drop(client);
    server.1.join().unwrap();
}
