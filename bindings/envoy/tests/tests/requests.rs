//! What goes through the gateway, and what it makes of it.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use serde_json::json;
use tollgate_envoy_tests::{Envoy, Gateway, Options, Writes};
use tollgate_gateway_tests::{Client, POLICY, Response, TOKEN, Upstream};

const DONE: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\nX-Own: 1\r\n\r\ndone";

/// Answers with what it was asked.
fn echo() -> Upstream {
    Upstream::start(|request, mut stream| {
        let range = request.header("range").unwrap_or("none").to_owned();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Range: {range}\r\nContent-Length: {}\r\n\r\n",
            request.body.len()
        );
        let _ = stream.write_all(head.as_bytes());
        if request.method != "HEAD" {
            let _ = stream.write_all(&request.body);
        }
    })
}

/// With this quota for an hour's window: nothing refills meanwhile that would matter.
fn with_quota(mut options: Options, quota: u32) -> Options {
    let policy = POLICY.replace("\"quota\": 1000000", &format!("\"quota\": {quota}"));
    options.files[0].1 = policy.replace("60000", "3600000000");
    options
}

/// All at once, each on a connection of its own; what they got.
fn at_once<T: Send + 'static>(
    gateway: &Arc<Gateway>,
    count: usize,
    ask: impl Fn(&Gateway) -> T + Clone + Send + 'static,
) -> Vec<T> {
    let start = Arc::new(Barrier::new(count));
    let threads: Vec<_> = (0..count)
        .map(|_| {
            let (gateway, start, ask) = (Arc::clone(gateway), Arc::clone(&start), ask.clone());
            std::thread::spawn(move || {
                start.wait();
                ask(&gateway)
            })
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut chunks = Vec::new();
    for part in body.chunks(size) {
        chunks.extend(format!("{:x}\r\n", part.len()).into_bytes());
        chunks.extend(part);
        chunks.extend(b"\r\n");
    }
    chunks.extend(b"0\r\n\r\n");
    chunks
}

/// How many connections each worker thread accepted on the port.
fn accepted(envoy: &Envoy) -> Vec<u64> {
    let worker =
        |number: usize| format!("listener.127.0.0.1_0.worker_{number}.downstream_cx_total");
    (0..2).map(|number| envoy.stat(&worker(number))).collect()
}

#[test]
fn a_quota_is_exact_over_two_worker_threads() {
    for limits in ["store", "process"] {
        for writes in Writes::BOTH {
            let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            let options = Gateway::options(writes, upstream.port(), &json!({"limits": limits}));
            let gateway = Arc::new(Gateway::with(with_quota(options, 100), upstream));
            let answers = at_once(&gateway, 40, |gateway| {
                let ask = |_| gateway.ask("GET", "/read", &[], b"").status;
                (0..10).map(ask).collect::<Vec<_>>()
            });
            let mut counts = HashMap::new();
            for status in answers.into_iter().flatten() {
                *counts.entry(status).or_insert(0) += 1;
            }
            assert_eq!(counts, [(200, 100), (429, 300)].into(), "{limits} {writes:?}");
            assert_eq!(gateway.upstream.calls(), 100);
            let accepted = accepted(&gateway.envoy);
            assert!(accepted.iter().all(|count| *count > 0), "{accepted:?}");
        }
    }
}

#[test]
fn sixty_four_duplicates_of_one_key_are_one_call() {
    for writes in Writes::BOTH {
        let upstream = Upstream::start(|_, mut stream| {
            std::thread::sleep(Duration::from_millis(100));
            let _ = stream.write_all(DONE.as_bytes());
        });
        let gateway = Arc::new(Gateway::start(writes, upstream, &json!({})));
        let answers = at_once(&gateway, 64, |gateway| gateway.pay("one"));
        assert_eq!(gateway.upstream.calls(), 1, "{writes:?}");
        let first = |answer: &&Response| {
            answer.status == 200 && answer.header("idempotent-replayed").is_none()
        };
        assert_eq!(answers.iter().filter(first).count(), 1);
        for answer in &answers {
            match answer.status {
                200 => assert_eq!(answer.text(), "done"),
                _ => assert_eq!(answer.code(), "idempotency_in_flight"),
            }
        }
        gateway.accounts.expect(0, 5);
    }
}

#[test]
fn bodies_belong_to_their_keys() {
    for writes in Writes::BOTH {
        let filter = json!({"max_request_body": 4 << 20, "max_response_body": 4 << 20});
        let gateway = Gateway::start(writes, echo(), &filter);
        // Longer than what Envoy holds of a body unless told otherwise.
        let body: Vec<u8> = (0..=250_u8).cycle().take(3_000_000).collect();
        let first = gateway.ask("POST", "/pay", &[("Idempotency-Key", "k")], &body);
        assert_eq!((first.status, first.body == body), (200, true), "{writes:?}");
        let again = gateway.ask("POST", "/pay", &[("Idempotency-Key", "k")], &body);
        assert_eq!((again.status, again.body == body), (200, true));
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        // The same in chunks is the same.
        let headers = [("Idempotency-Key", "k"), ("Transfer-Encoding", "chunked")];
        let chunks = gateway.ask("POST", "/pay", &headers, &chunked(&body, 70_000));
        assert_eq!((chunks.status, chunks.body == body), (200, true), "{}", chunks.text());
        assert_eq!(chunks.header("idempotent-replayed"), Some("true"));
        let mut other = body.clone();
        *other.last_mut().unwrap() ^= 1;
        for (headers, body) in
            [(&headers[..1], other.clone()), (&headers[..], chunked(&other, 999))]
        {
            let other = gateway.ask("POST", "/pay", headers, &body);
            assert_eq!((other.status, other.code().as_str()), (422, "idempotency_key_reused"));
        }
        assert_eq!(gateway.upstream.calls(), 1);
        // In chunks first, and chunks of one byte.
        let headers = [("Idempotency-Key", "c"), ("Transfer-Encoding", "chunked")];
        let first = gateway.ask("POST", "/pay", &headers, &chunked(b"a few bytes", 1));
        assert_eq!((first.status, first.text().as_str()), (200, "a few bytes"));
        let again = gateway.ask("POST", "/pay", &headers[..1], b"a few bytes");
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        gateway.accounts.expect(0, 10);
    }
}

/// Envoy stops reading at a megabyte while the module's threads look a token up, and must go on.
#[test]
fn a_body_as_long_as_it_may_be_is_read_to_its_end() {
    const LENGTH: usize = 1_300_000;
    let body = vec![b'b'; LENGTH];
    for writes in Writes::BOTH {
        let gateway = Gateway::start(writes, echo(), &json!({"max_request_body": LENGTH}));
        for key in 0..10 {
            let key = key.to_string();
            let answer = gateway.ask("POST", "/pay", &[("Idempotency-Key", &key)], &body);
            assert_eq!((answer.status, answer.body.len()), (200, LENGTH), "{writes:?} {key}");
        }
        gateway.accounts.expect(0, 50);
    }
}

#[test]
fn a_body_that_is_too_long_is_refused_where_a_key_needs_it() {
    for writes in Writes::BOTH {
        let gateway = Gateway::start(writes, echo(), &json!({"max_request_body": 100_000}));
        let body = vec![b'b'; 2_000_000];
        let refused = gateway.ask("POST", "/pay", &[("Idempotency-Key", "k")], &body);
        assert_eq!(refused.status, 413, "{writes:?}");
        gateway.accounts.expect(0, 0);
        assert_eq!(gateway.upstream.calls(), 0);
        // Without a key nothing is held.
        let streamed = gateway.ask("POST", "/pay", &[], &body);
        assert_eq!((streamed.status, streamed.body == body), (200, true));
        gateway.accounts.expect(0, 5);
    }
}

#[test]
fn a_body_without_a_key_is_streamed() {
    for writes in Writes::BOTH {
        // What is streamed reaches a socket before its end.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let options = Gateway::options(writes, port, &json!({}));
        let gateway = Gateway::with(options, Upstream::answering(DONE));
        let mut client = Client::connect(gateway.envoy.port());
        client.write(format!("POST /pay HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 9\r\n\r\nhalf").as_bytes());
        let (mut upstream, _) = listener.accept().unwrap();
        upstream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut seen = String::new();
        while !seen.ends_with("half") {
            let mut byte = [0];
            upstream.read_exact(&mut byte).unwrap();
            seen.push(char::from(byte[0]));
        }
        client.write(b" more");
        upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        assert_eq!(client.read("POST").unwrap().text(), "ok", "{writes:?}");
        gateway.accounts.expect(0, 5);
    }
}

#[test]
fn long_answers_are_kept_whole_or_not_at_all() {
    const LENGTH: usize = 4_000_000;
    let body: Arc<[u8]> = (0..=252_u8).cycle().take(LENGTH).collect();
    for writes in Writes::BOTH {
        for in_chunks in [true, false] {
            for (bound, kept) in [(8 << 20, LENGTH), (LENGTH, LENGTH), (LENGTH - 1, 0)] {
                let sent = Arc::clone(&body);
                let upstream = Upstream::start(move |_, mut stream| {
                    let head = "HTTP/1.1 200 OK\r\nETag: \"e\"\r\n";
                    if in_chunks {
                        let _ = write!(stream, "{head}Transfer-Encoding: chunked\r\n\r\n");
                        let _ = stream.write_all(&chunked(&sent, 50_000));
                    } else {
                        let _ = write!(stream, "{head}Content-Length: {LENGTH}\r\n\r\n");
                        let _ = stream.write_all(&sent);
                    }
                });
                let gateway =
                    Gateway::start(writes, upstream, &json!({"max_response_body": bound}));
                let first = gateway.pay("k");
                assert!(
                    first.whole && *first.body == *body,
                    "{writes:?} {in_chunks} {bound}: {} bytes",
                    first.body.len()
                );
                // Whoever has all of an answer finds it settled.
                assert_eq!(
                    gateway.accounts.money("acme").posted,
                    5,
                    "{writes:?} {in_chunks} {bound}"
                );
                let again = gateway.pay("k");
                assert_eq!(
                    (again.status, again.body.len()),
                    (200, kept),
                    "{writes:?} {in_chunks} {bound}"
                );
                assert!(again.body.is_empty() || *again.body == *body);
                assert_eq!(again.header("idempotent-replayed"), Some("true"));
                assert_eq!(again.header("etag").is_some(), kept > 0);
                assert_eq!(gateway.upstream.calls(), 1);
            }
        }
    }
}

/// A route with an override of the filter's configuration.
fn route(path: &str, settings: &serde_json::Value) -> String {
    let settings = json!({
        "tollgate": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilterPerRoute",
            "dynamic_module_config": {"name": "tollgate_envoy"},
            "per_route_config_name": "tollgate",
            "filter_config": {"@type": "type.googleapis.com/google.protobuf.Struct", "value": settings},
        }
    });
    format!(
        "{{ match: {{ path: {path} }}, route: {{ cluster: upstream, timeout: 0s }}, typed_per_filter_config: {settings} }}, "
    )
}

#[test]
fn routes_override_the_filter_or_do_without_it() {
    for writes in Writes::BOTH {
        let upstream = Upstream::answering(DONE);
        let mut options =
            Gateway::options(writes, upstream.port(), &json!({"cost": {"header": "x-cost"}}));
        let other = json!({
            "tokens": {"format": "opaque"},
            "scopes": {"all": ["POST /free"]},
            "routes": {"POST /free": {"idempotency": true, "price": 11}},
        });
        options.routes = [
            route("/open", &json!({"disabled": true})),
            route("/quota", &json!({"cost": {"value": 7}})),
            route("/free", &json!({"policy": {"inline": other}, "replay_headers": ["x-own"]})),
        ]
        .concat();
        let gateway = Gateway::with(options, upstream);
        // Nothing is asked, not even for a token.
        let open = gateway.envoy.send("GET", "/open", &[], b"");
        assert_eq!((open.status, open.header("x-t-verdict")), (200, None), "{writes:?}");
        assert_eq!(gateway.envoy.send("GET", "/quota", &[], b"").status, 401);
        assert_eq!(gateway.ask("GET", "/quota", &[("X-Cost", "1")], b"").status, 200);
        gateway.accounts.expect(0, 7);
        assert_eq!(gateway.ask("POST", "/pay", &[("X-Cost", "1")], b"").status, 200);
        gateway.accounts.expect(0, 8);
        let key = [("Idempotency-Key", "k")];
        let first = gateway.ask("POST", "/free", &key, b"");
        assert_eq!((first.status, first.header("x-ratelimit-limit")), (200, None));
        gateway.accounts.expect(0, 19);
        let again = gateway.ask("POST", "/free", &key, b"");
        assert_eq!((again.header("x-own"), again.header("content-type")), (Some("1"), None));
        // What is kept elsewhere is the filter's choice.
        let first = gateway.pay("p");
        let again = gateway.pay("p");
        assert_eq!((first.header("x-own"), again.header("x-own")), (Some("1"), None));
        assert_eq!(again.header("content-type"), Some("text/plain"));
    }
}

#[test]
fn heads_are_answered_without_bodies() {
    for writes in Writes::BOTH {
        let upstream =
            Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: \"e\"\r\n\r\n");
        let gateway = Gateway::start(writes, upstream, &json!({}));
        let key = [("Idempotency-Key", "h")];
        let first = gateway.ask("HEAD", "/paid", &key, b"");
        assert_eq!(
            (first.status, first.header("content-length")),
            (200, Some("1234")),
            "{writes:?}"
        );
        gateway.accounts.expect(0, 3);
        let again = gateway.ask("HEAD", "/paid", &key, b"");
        assert_eq!(
            (again.status, again.header("content-length"), again.header("idempotent-replayed")),
            (200, Some("1234"), Some("true"))
        );
        assert_eq!(again.header("etag"), Some("\"e\""));
        let denied = gateway.envoy.send("HEAD", "/paid", &[], b"");
        assert_eq!((denied.status, denied.body.len()), (401, 0));
        assert!(denied.header("www-authenticate").is_some());
        gateway.accounts.expect(0, 3);
        assert_eq!(gateway.upstream.calls(), 1);
    }
}

#[test]
fn denials_and_replays_have_their_headers() {
    for writes in Writes::BOTH {
        let upstream = Upstream::answering(DONE);
        let options = Gateway::options(writes, upstream.port(), &json!({}));
        let gateway = Gateway::with(with_quota(options, 4), upstream);
        let no_token = gateway.envoy.send("GET", "/read", &[], b"");
        assert_eq!((no_token.status, no_token.code().as_str()), (401, "missing_token"));
        assert_eq!(no_token.header("content-type"), Some("application/json"), "{writes:?}");
        assert!(no_token.header("www-authenticate").unwrap().starts_with("Bearer"));
        assert_eq!(no_token.header("x-ratelimit-limit"), None);
        let wrong = gateway.envoy.send("GET", "/read", &[("Authorization", "Bearer nobody")], b"");
        assert_eq!((wrong.status, wrong.code().as_str()), (401, "invalid_token"));
        let scope = gateway.ask("GET", "/nowhere", &[], b"");
        assert_eq!((scope.status, scope.code().as_str()), (403, "insufficient_scope"));
        assert!(scope.header("www-authenticate").unwrap().contains("insufficient_scope"));
        assert_eq!(scope.header("x-ratelimit-remaining"), Some("4"));

        let first = gateway.pay("k");
        assert_eq!((first.status, first.header("idempotent-replayed")), (200, None));
        assert_eq!(first.header("x-ratelimit-remaining"), Some("3"));
        assert_eq!((first.header("x-own"), first.text().as_str()), (Some("1"), "done"));
        let again = gateway.pay("k");
        assert_eq!((again.status, again.header("idempotent-replayed")), (200, Some("true")));
        assert_eq!(again.header("x-ratelimit-remaining"), Some("2"));
        assert_eq!(again.header("content-type"), Some("text/plain"));
        assert_eq!((again.header("x-own"), again.text().as_str()), (None, "done"));
        let reused = gateway.ask("POST", "/pay", &[("Idempotency-Key", "k")], b"other");
        assert_eq!((reused.status, reused.code().as_str()), (422, "idempotency_key_reused"));
        assert_eq!(gateway.ask("GET", "/read", &[], b"").status, 200);
        let limited = gateway.ask("GET", "/read", &[], b"");
        assert_eq!((limited.status, limited.code().as_str()), (429, "rate_limited"));
        assert_eq!(limited.header("x-ratelimit-remaining"), Some("0"));
        let wait: u64 = limited.header("retry-after").unwrap().parse().unwrap();
        assert!((800_000..=900_000).contains(&wait), "{wait}");
        gateway.accounts.expect(0, 5);
        assert_eq!(gateway.upstream.calls(), 2);
    }
}

#[test]
fn ranges_are_not_for_requests_with_keys() {
    for writes in Writes::BOTH {
        let gateway = Gateway::start(writes, echo(), &json!({}));
        let with_key = [
            ("Idempotency-Key", "k"),
            ("Range", "bytes=0-1"),
            ("X-Between", "1"),
            ("Range", "bytes=2-3"),
            ("If-Range", "\"e\""),
        ];
        let first = gateway.ask("POST", "/pay", &with_key, b"hello");
        assert_eq!((first.status, first.text().as_str()), (200, "hello"), "{writes:?}");
        let received = gateway.upstream.received();
        assert_eq!((received[0].header("range"), received[0].header("if-range")), (None, None));
        assert_eq!(received[0].header("x-between"), Some("1"));
        // Without a key they are the upstream's business.
        let without = gateway.ask("GET", "/read", &[("Range", "bytes=0-1")], b"");
        assert_eq!(without.header("x-range"), Some("bytes=0-1"));
    }
}

#[test]
fn requests_on_one_connection_are_decided_one_by_one() {
    for writes in Writes::BOTH {
        let gateway = Gateway::start(writes, echo(), &json!({}));
        let mut client = Client::connect(gateway.envoy.port());
        let mut ask = |method: &str, target: &str, headers: &str, body: &str| {
            let length = body.len();
            client.write(format!("{method} {target} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {length}\r\n\r\n{body}").as_bytes());
            client.read(method).unwrap()
        };
        let token = format!("Authorization: Bearer {TOKEN}\r\n");
        for round in 0..3 {
            for key in ["a", "b"] {
                let headers = format!("{token}Idempotency-Key: {key}\r\n");
                let answer = ask("POST", "/pay", &headers, "hi");
                assert_eq!((answer.status, answer.text().as_str()), (200, "hi"), "{writes:?}");
                assert_eq!(answer.header("idempotent-replayed").is_some(), round > 0);
            }
            assert_eq!(ask("GET", "/read", "", "").code(), "missing_token");
            assert_eq!(ask("HEAD", "/paid", &token, "").status, 200);
            assert_eq!(ask("GET", "/nowhere", &token, "").code(), "insufficient_scope");
        }
        gateway.accounts.expect(0, 19);
        assert_eq!(gateway.upstream.calls(), 5);
    }
}

#[test]
fn logs_say_what_was_decided() {
    for writes in Writes::BOTH {
        let gateway = Gateway::start(writes, echo(), &json!({}));
        let _ = gateway.ask("POST", "/pay", &[("Idempotency-Key", "k"), ("X-Id", "1")], b"a");
        let _ = gateway.ask("POST", "/pay", &[("Idempotency-Key", "k"), ("X-Id", "2")], b"a");
        let _ = gateway.envoy.send("GET", "/read", &[("X-Id", "3")], b"");
        let _ = gateway.ask("GET", "/nowhere", &[("X-Id", "4")], b"");
        // A line is written after the client has its answer, by either worker.
        let end = Instant::now() + Duration::from_secs(5);
        let mut log = String::new();
        while log.lines().count() < 4 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
            log = gateway.envoy.access_log();
        }
        let mut lines: Vec<_> = log.lines().collect();
        lines.sort_unstable();
        assert_eq!(
            lines,
            [
                "1|200|allow|allowed|0|acme|POST /pay|5|5|-",
                "2|200|replay|replayed|1|acme|POST /pay|-|-|-",
                "3|401|deny|missing_token|10|-|-|-|-|-",
                "4|403|deny|insufficient_scope|21|acme|-|-|-|-",
            ],
            "{writes:?}"
        );
    }
}
