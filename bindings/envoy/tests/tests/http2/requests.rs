//! Decisions and replays over HTTP/2.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tollgate_envoy_tests::{Gateway, Writes};
use tollgate_gateway_tests::{POLICY, Upstream};

use crate::client::{Http2, as_account};
use crate::options;

const DONE: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\nX-Own: 1\r\n\r\ndone";

/// Answers with the body that it was sent.
fn echo() -> Upstream {
    Upstream::start(|request, mut stream| {
        let length = request.body.len();
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        let _ = stream.write_all(&request.body);
    })
}

#[test]
fn verdicts_have_their_headers() {
    for writes in Writes::BOTH {
        let upstream = Upstream::answering(DONE);
        let mut options = options(writes, upstream.port(), &json!({"max_request_body": 1000}));
        let policy = POLICY.replace("\"quota\": 1000000", "\"quota\": 8");
        options.files[0].1 = policy.replace("60000", "3600000000");
        let gateway = Gateway::with(options, upstream);
        gateway.accounts.add("poor", "t-poor", 1, &["all"]);
        let client = Http2::connect(gateway.envoy.port());

        let missing = client.ask("GET", "/read", &[], b"");
        assert_eq!(missing.verdict(), (401, "missing_token".to_owned()), "{writes:?}");
        assert!(missing.header("www-authenticate").unwrap().starts_with("Bearer"));
        assert_eq!(missing.header("content-type"), Some("application/json"));
        assert_eq!(missing.header("x-ratelimit-limit"), None);
        let wrong = client.ask("GET", "/read", &[("authorization", "Bearer nobody")], b"");
        assert_eq!(wrong.verdict(), (401, "invalid_token".to_owned()));
        let scope = client.ask_as_account("GET", "/nowhere", &[], b"");
        assert_eq!(scope.verdict(), (403, "insufficient_scope".to_owned()));
        assert!(scope.header("www-authenticate").unwrap().contains("insufficient_scope"));
        assert_eq!(scope.header("x-ratelimit-remaining"), Some("8"));
        let poor = client.ask("POST", "/pay", &[("authorization", "Bearer t-poor")], b"");
        assert_eq!(poor.verdict(), (402, "insufficient_balance".to_owned()));
        let key = [("idempotency-key", "k")];
        let long = client.ask_as_account("POST", "/pay", &key, &[b'x'; 1001]);
        assert_eq!(long.verdict(), (413, "body_too_long".to_owned()));

        let first = client.pay("k");
        assert_eq!((first.status, first.text().as_str(), first.is_replay()), (200, "done", false));
        assert_eq!(first.header("x-ratelimit-remaining"), Some("7"));
        // It is settled when the client has the end of it: no waiting here.
        let money = gateway.accounts.money("acme");
        assert_eq!((money.held, money.posted), (0, 5), "{writes:?}");
        let again = client.pay("k");
        assert_eq!((again.status, again.text().as_str(), again.is_replay()), (200, "done", true));
        assert_eq!(again.header("x-ratelimit-remaining"), Some("6"));
        assert_eq!(again.header("content-type"), Some("text/plain"));
        assert_eq!(again.header("content-length"), Some("4"));
        assert_eq!(again.header("x-own"), None);
        // The same key over HTTP/1.1 is the same key.
        assert_eq!(gateway.pay("k").header("idempotent-replayed"), Some("true"));
        let reused = client.ask_as_account("POST", "/pay", &key, b"other");
        assert_eq!(reused.verdict(), (422, "idempotency_key_reused".to_owned()));
        let bad = client.ask_as_account("POST", "/pay", &[("idempotency-key", "a b")], b"");
        assert_eq!(bad.verdict(), (422, "idempotency_key_invalid".to_owned()));
        for _ in 0..3 {
            assert_eq!(client.ask_as_account("GET", "/read", &[], b"").status, 200);
        }
        let limited = client.ask_as_account("GET", "/read", &[], b"");
        assert_eq!(limited.verdict(), (429, "rate_limited".to_owned()));
        assert_eq!(limited.header("x-ratelimit-remaining"), Some("0"));
        assert!(limited.header("retry-after").is_some());
        gateway.accounts.expect(0, 5);
        assert_eq!(gateway.upstream.calls(), 4);
    }
}

#[test]
fn heads_and_empty_answers() {
    for writes in Writes::BOTH {
        for (method, target, answer, status, length) in [
            ("HEAD", "/paid", "HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n", 200, Some("77")),
            ("POST", "/pay", "HTTP/1.1 204 No Content\r\n\r\n", 204, None),
            ("POST", "/pay", "HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\r\n", 304, None),
        ] {
            let upstream = Upstream::answering(answer);
            let gateway = Gateway::with(options(writes, upstream.port(), &json!({})), upstream);
            let client = Http2::connect(gateway.envoy.port());
            for is_replay in [false, true] {
                let key = [("idempotency-key", "k")];
                let answer = client.ask_as_account(method, target, &key, b"");
                assert_eq!((answer.status, answer.is_replay()), (status, is_replay), "{writes:?}");
                assert_eq!((answer.header("content-length"), answer.body.len()), (length, 0));
            }
            gateway.accounts.expect(0, if target == "/pay" { 5 } else { 3 });
            assert_eq!(gateway.upstream.calls(), 1);
        }
    }
}

#[test]
fn long_answers_are_replayed_whole() {
    let body: Arc<[u8]> = (0..=252_u8).cycle().take(4 << 20).collect();
    for writes in Writes::BOTH {
        let sent = Arc::clone(&body);
        let upstream = Upstream::start(move |_, mut stream| {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sent.len());
            let _ = stream.write_all(&sent);
        });
        let filter = json!({"max_response_body": 8 << 20});
        let gateway = Gateway::with(options(writes, upstream.port(), &filter), upstream);
        let client = Http2::connect(gateway.envoy.port());
        for is_replay in [false, true, true] {
            let answer = client.pay("k");
            assert_eq!((answer.status, answer.is_replay()), (200, is_replay), "{writes:?}");
            assert!(*answer.body == *body, "{} bytes", answer.body.len());
            assert_eq!(gateway.accounts.money("acme").posted, 5);
        }
        // Several at a time, over one window of the connection.
        let calls = (0..4).map(|_| client.begin_to_pay("k").spawn()).collect();
        for answer in client.join(calls) {
            assert!(answer.is_replay() && *answer.body == *body, "{} bytes", answer.body.len());
        }
        assert_eq!(gateway.upstream.calls(), 1);
    }
}

#[test]
fn bodies_come_in_frames_and_belong_to_their_keys() {
    for writes in Writes::BOTH {
        let filter = json!({"max_request_body": 4 << 20, "max_response_body": 4 << 20});
        let upstream = echo();
        let gateway = Gateway::with(options(writes, upstream.port(), &filter), upstream);
        let client = Http2::connect(gateway.envoy.port());
        let body: Vec<u8> = (0..=250_u8).cycle().take(700_000).collect();
        let in_frames = |key: &str, size: usize| {
            let headers = as_account(&[("idempotency-key", key)]);
            let mut call = client.begin("POST", "/pay", &headers, false);
            for part in body.chunks(size) {
                call.write(part, false);
            }
            call.write(b"", true);
            call.answer().unwrap()
        };
        for (size, is_replay) in [(977, false), (16_384, true), (700_000, true)] {
            let answer = in_frames("k", size);
            assert_eq!((answer.status, answer.is_replay()), (200, is_replay), "{writes:?} {size}");
            assert!(answer.body == body, "{} bytes", answer.body.len());
        }
        // The same over HTTP/1.1, and another body.
        let key = [("Idempotency-Key", "k")];
        let again = gateway.ask("POST", "/pay", &key, &body);
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        let other = client.ask_as_account(
            "POST",
            "/pay",
            &key.map(|(_, v)| ("idempotency-key", v)),
            &body[1..],
        );
        assert_eq!(other.verdict(), (422, "idempotency_key_reused".to_owned()));
        // Frames that come one by one.
        let headers = as_account(&[("idempotency-key", "slow")]);
        let mut call = client.begin("POST", "/pay", &headers, false);
        for part in [b"a", b"b", b"c"] {
            std::thread::sleep(Duration::from_millis(20));
            call.write(part, false);
        }
        gateway.accounts.expect(0, 5);
        call.write(b"d", true);
        assert_eq!(call.answer().unwrap().text(), "abcd");
        gateway.accounts.expect(0, 10);
        assert_eq!(gateway.upstream.calls(), 2);
    }
}

#[test]
fn requests_end_with_trailers() {
    for writes in Writes::BOTH {
        let upstream = echo();
        let gateway = Gateway::with(options(writes, upstream.port(), &json!({})), upstream);
        let client = Http2::connect(gateway.envoy.port());
        let mut posted = 0;
        for key in [&[][..], &[("idempotency-key", "k")]] {
            for disk_waits in [false, true] {
                if disk_waits && writes == Writes::Inline {
                    continue;
                }
                let mut headers = as_account(key);
                headers.push(("x-id", "1"));
                if disk_waits {
                    gateway.envoy.disk_waits(true);
                }
                let mut call = client.begin("POST", "/pay", &headers, false);
                call.write(b"hello ", false);
                call.write(b"world", false);
                call.end_with_trailers(&[("x-checksum", "7")]);
                if disk_waits {
                    std::thread::sleep(Duration::from_millis(150));
                    gateway.envoy.disk_waits(false);
                }
                let answer = call.answer().unwrap();
                assert_eq!(
                    (answer.status, answer.text().as_str()),
                    (200, "hello world"),
                    "{writes:?}"
                );
                // The second one with the key is a replay.
                let is_replay = disk_waits && !key.is_empty();
                assert_eq!(answer.is_replay(), is_replay);
                posted += if is_replay { 0 } else { 5 };
                gateway.accounts.expect(0, posted);
            }
        }
        // A body that ends with trailers is the same body.
        let plain =
            client.ask_as_account("POST", "/pay", &[("idempotency-key", "k")], b"hello world");
        assert!(plain.is_replay());
    }
}

#[test]
fn a_quota_is_exact_over_the_streams_of_one_connection() {
    for limits in ["store", "process"] {
        for writes in Writes::BOTH {
            let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            let mut options = options(writes, upstream.port(), &json!({"limits": limits}));
            let policy = POLICY.replace("\"quota\": 1000000", "\"quota\": 100");
            options.files[0].1 = policy.replace("60000", "3600000000");
            let gateway = Gateway::with(options, upstream);
            let client = Http2::connect(gateway.envoy.port());
            let (mut allowed, mut limited) = (0, 0);
            for _ in 0..5 {
                let begin = |_| client.begin("GET", "/read", &as_account(&[]), true).spawn();
                for answer in client.join((0..40).map(begin).collect()) {
                    match answer.status {
                        200 => allowed += 1,
                        429 => limited += 1,
                        other => panic!("{other}: {}", answer.text()),
                    }
                }
            }
            assert_eq!((allowed, limited), (100, 100), "{limits} {writes:?}");
            assert_eq!(gateway.upstream.calls(), 100);
        }
    }
}

#[test]
fn sixty_four_duplicates_as_streams_are_one_call() {
    for writes in Writes::BOTH {
        let upstream = Upstream::start(|_, mut stream| {
            std::thread::sleep(Duration::from_millis(200));
            let _ = stream.write_all(DONE.as_bytes());
        });
        let gateway = Gateway::with(options(writes, upstream.port(), &json!({})), upstream);
        let client = Http2::connect(gateway.envoy.port());
        let answers = client.join((0..64).map(|_| client.begin_to_pay("one").spawn()).collect());
        assert_eq!(gateway.upstream.calls(), 1, "{writes:?}");
        let first = answers.iter().filter(|answer| answer.status == 200 && !answer.is_replay());
        assert_eq!(first.count(), 1);
        for answer in &answers {
            match answer.status {
                200 => assert_eq!(answer.text(), "done"),
                _ => assert_eq!(answer.verdict(), (409, "idempotency_in_flight".to_owned())),
            }
        }
        gateway.accounts.expect(0, 5);
    }
}
