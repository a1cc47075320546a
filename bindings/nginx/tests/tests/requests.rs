//! What goes through the gateway, and what it makes of it.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use tollgate_gateway_tests::{Client, TOKEN, Upstream};
use tollgate_nginx_tests::{Gateway, Writes};

/// Answers with what it was asked.
fn echo() -> Upstream {
    Upstream::start(|request, mut stream| {
        let range = request.header("range").unwrap_or("none").to_owned();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Range: {range}\r\nContent-Length: {}\r\nAccept-Ranges: bytes\r\n\r\n",
            request.body.len()
        );
        let _ = stream.write_all(head.as_bytes());
        if request.method != "HEAD" {
            let _ = stream.write_all(&request.body);
        }
    })
}

fn quota_policy(gateway: &str, quota: u32) -> String {
    gateway.replace("\"quota\": 1000000", &format!("\"quota\": {quota}"))
}

#[test]
fn a_quota_is_exact_over_two_workers() {
    for writes in Writes::BOTH {
        let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let mut options = Gateway::options(writes, upstream.port(), "", "");
        // An hour's window: nothing refills meanwhile that would matter.
        options.files[0].1 = quota_policy(&options.files[0].1, 100).replace("60000", "3600000000");
        let gateway = Arc::new(Gateway::with(options, upstream));
        let start = Arc::new(Barrier::new(40));
        let threads: Vec<_> = (0..40)
            .map(|_| {
                let (gateway, start) = (Arc::clone(&gateway), Arc::clone(&start));
                std::thread::spawn(move || {
                    start.wait();
                    (0..10)
                        .map(|_| gateway.ask("GET", "/read", &[], b"").status)
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let mut counts = HashMap::new();
        for status in threads.into_iter().flat_map(|thread| thread.join().unwrap()) {
            *counts.entry(status).or_insert(0) += 1;
        }
        assert_eq!(counts, [(200, 100), (429, 300)].into(), "{writes:?}");
        assert_eq!(gateway.upstream.calls(), 100);
        assert_eq!(gateway.nginx.workers().len(), 2);
    }
}

#[test]
fn sixty_four_duplicates_of_one_key_are_one_call() {
    for writes in Writes::BOTH {
        let upstream = Upstream::start(|_, mut stream| {
            std::thread::sleep(Duration::from_millis(100));
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
        });
        let gateway = Arc::new(Gateway::start(writes, upstream, "", ""));
        let start = Arc::new(Barrier::new(64));
        let threads: Vec<_> = (0..64)
            .map(|_| {
                let (gateway, start) = (Arc::clone(&gateway), Arc::clone(&start));
                std::thread::spawn(move || {
                    start.wait();
                    gateway.pay("one")
                })
            })
            .collect();
        let answers: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!(gateway.upstream.calls(), 1, "{writes:?}");
        let first = |answer: &&tollgate_gateway_tests::Response| {
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
        for location in [
            "client_body_buffer_size 8k;",
            "client_body_buffer_size 2m;",
            "client_body_in_file_only clean;",
        ] {
            let location = format!(
                "{location} client_max_body_size 4m; proxy_request_buffering off; proxy_buffers 16 64k;"
            );
            let gateway = Gateway::start(writes, echo(), "", &location);
            let body: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
            let first = gateway.ask("POST", "/pay", &[("Idempotency-Key", "k")], &body);
            assert_eq!((first.status, first.body == body), (200, true), "{writes:?} {location}");
            let again = gateway.ask("POST", "/pay", &[("Idempotency-Key", "k")], &body);
            assert_eq!((again.status, again.body == body), (200, true));
            assert_eq!(again.header("idempotent-replayed"), Some("true"));
            // The same in chunks is the same.
            let mut chunks = Vec::new();
            for part in body.chunks(70_000) {
                chunks.extend(format!("{:x}\r\n", part.len()).into_bytes());
                chunks.extend(part);
                chunks.extend(b"\r\n");
            }
            chunks.extend(b"0\r\n\r\n");
            let headers = [("Idempotency-Key", "k"), ("Transfer-Encoding", "chunked")];
            let chunked = gateway.ask("POST", "/pay", &headers, &chunks);
            assert_eq!(chunked.header("idempotent-replayed"), Some("true"), "{}", chunked.text());
            let mut other = body.clone();
            *other.last_mut().unwrap() ^= 1;
            let other = gateway.ask("POST", "/pay", &[("Idempotency-Key", "k")], &other);
            assert_eq!((other.status, other.code().as_str()), (422, "idempotency_key_reused"));
            assert_eq!(gateway.upstream.calls(), 1);
        }
    }
}

#[test]
fn a_body_without_a_key_is_streamed() {
    let gateway = Gateway::start(
        Writes::Inline,
        Upstream::start(|_, _| {}),
        "",
        "proxy_request_buffering off; proxy_http_version 1.1;",
    );
    // The upstream of this test reads whole requests only; what is streamed reaches a socket before its end.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut options = Gateway::options(
        Writes::Inline,
        port,
        "",
        "proxy_request_buffering off; proxy_http_version 1.1;",
    );
    options.upstream = port;
    let gateway = Gateway::with(options, gateway.upstream);
    let mut client = Client::connect(gateway.nginx.port());
    client.write(format!("POST /pay HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 9\r\n\r\nhalf").as_bytes());
    let (mut upstream, _) = listener.accept().unwrap();
    let mut seen = String::new();
    while !seen.ends_with("half") {
        let mut byte = [0];
        std::io::Read::read_exact(&mut upstream, &mut byte).unwrap();
        seen.push(char::from(byte[0]));
    }
    client.write(b" more");
    upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    assert_eq!(client.read("POST").unwrap().text(), "ok");
}

#[test]
fn long_answers_are_kept_whole_or_not_at_all() {
    for writes in Writes::BOTH {
        let answer = |size: usize, chunked: bool| {
            Upstream::start(move |_, mut stream| {
                let body = vec![b'z'; size];
                if chunked {
                    let _ = stream.write_all(
                        b"HTTP/1.1 200 OK\r\nETag: \"e\"\r\nTransfer-Encoding: chunked\r\n\r\n",
                    );
                    for part in body.chunks(50_000) {
                        let _ = stream.write_all(format!("{:x}\r\n", part.len()).as_bytes());
                        let _ = stream.write_all(part);
                        let _ = stream.write_all(b"\r\n");
                    }
                    let _ = stream.write_all(b"0\r\n\r\n");
                } else {
                    let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
                    let _ = stream.write_all(&body);
                }
            })
        };
        for chunked in [false, true] {
            for buffers in [
                "",
                "proxy_buffering off;",
                "proxy_buffers 2 4k; proxy_busy_buffers_size 4k; sendfile on;",
            ] {
                for (size, kept) in [(1_000_000, 1_000_000), (1_500_000, 0)] {
                    let location = format!("proxy_http_version 1.1; {buffers}");
                    let gateway = Gateway::start(writes, answer(size, chunked), "", &location);
                    let first = gateway.pay("k");
                    assert_eq!(
                        (first.body.len(), first.whole),
                        (size, true),
                        "{writes:?} {chunked} {buffers}"
                    );
                    assert_eq!(gateway.accounts.money("acme").posted, 5);
                    let again = gateway.pay("k");
                    assert_eq!(
                        (again.status, again.body.len()),
                        (200, kept),
                        "{writes:?} {chunked} {buffers}"
                    );
                    assert_eq!(gateway.upstream.calls(), 1);
                }
            }
        }
    }
}

#[test]
fn gzip_is_the_clients_and_not_kept() {
    for writes in Writes::BOTH {
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 400\r\n\r\n";
        let upstream = Upstream::start(move |_, mut stream| {
            let _ = stream.write_all(answer.as_bytes());
            let _ = stream.write_all(&[b'g'; 400]);
        });
        let server = "gzip on; gzip_types text/plain; gzip_min_length 1; gzip_proxied any;";
        let gateway = Gateway::start(writes, upstream, server, "");
        let headers = [("Idempotency-Key", "k"), ("Accept-Encoding", "gzip")];
        let first = gateway.ask("POST", "/pay", &headers, b"x");
        assert_eq!(first.header("content-encoding"), Some("gzip"), "{writes:?}");
        assert!(first.body.len() < 100);
        let plain = gateway.ask("POST", "/pay", &[("Idempotency-Key", "k")], b"x");
        assert_eq!((plain.header("content-encoding"), plain.text()), (None, "g".repeat(400)));
        assert_eq!(plain.header("idempotent-replayed"), Some("true"));
    }
}

#[test]
fn ranges_are_not_for_requests_with_keys() {
    for writes in Writes::BOTH {
        let server = "location /file.txt { tollgate on; root DIR/files; }";
        let mut options = Gateway::options(writes, 0, server, "");
        let upstream = echo();
        options.upstream = upstream.port();
        let gateway = Gateway::with(options, upstream);
        let with_key = [
            ("Idempotency-Key", "k"),
            ("Range", "bytes=0-1"),
            ("X-Between", "1"),
            ("If-Range", "\"e\""),
        ];
        let first = gateway.ask("POST", "/pay", &with_key, b"hello");
        assert_eq!((first.status, first.text().as_str()), (200, "hello"), "{writes:?}");
        assert_eq!(first.header("x-range"), Some("none"));
        let received = gateway.upstream.received();
        assert_eq!(received[0].header("if-range"), None);
        assert_eq!(received[0].header("x-between"), Some("1"));
        assert_eq!(received[0].header("content-length"), Some("5"));
        let again = gateway.ask("POST", "/pay", &with_key, b"hello");
        assert_eq!((again.status, again.text().as_str()), (200, "hello"));
        // Without a key they are the upstream's business.
        let without = gateway.ask("GET", "/read", &[("Range", "bytes=0-1")], b"");
        assert_eq!(without.header("x-range"), Some("bytes=0-1"));
    }
}

/// Wherever they stand among few or many headers, and however often, they go, and nothing else does.
#[test]
fn ranges_are_removed_from_any_place() {
    let gateway = Gateway::start(Writes::Inline, echo(), "", "");
    let bearer = format!("Bearer {TOKEN}");
    for others in [0_usize, 1, 18, 19, 20, 21, 40] {
        for (nth, place) in
            [0, 1, others / 2, others, others + 1, others + 2].into_iter().enumerate()
        {
            let key = format!("{others}-{nth}");
            let names: Vec<String> = (0..others).map(|at| format!("X-Other-{at}")).collect();
            let mut headers =
                vec![("Authorization", bearer.as_str()), ("Idempotency-Key", key.as_str())];
            headers.extend(names.iter().map(|name| (name.as_str(), "here")));
            let place = place.min(headers.len());
            headers.insert(place, ("Range", "bytes=0-1"));
            headers.insert(place, ("Range", "bytes=2-3"));
            headers.insert(headers.len() / 2, ("If-Range", "x"));
            let answer = gateway.nginx.send("POST", "/pay", &headers, b"hello");
            assert_eq!((answer.status, answer.text().as_str()), (200, "hello"), "{others} {place}");
            let received = gateway.upstream.received().pop().unwrap();
            assert_eq!((received.header("range"), received.header("if-range")), (None, None));
            let arrived =
                received.headers.iter().filter(|(name, _)| name.starts_with("X-Other-")).count();
            assert_eq!(arrived, others, "{others} {place}");
            assert_eq!(received.header("idempotency-key"), Some(key.as_str()));
        }
    }
}

#[test]
fn internal_redirects_and_subrequests_are_counted_once() {
    for writes in Writes::BOTH {
        let server = "
            location = /auth { internal; return 204; }
            location /read { tollgate on; auth_request /auth; try_files /no /nor @up; }
            location @up { tollgate on; proxy_pass http://UPSTREAM; }
            location /file.txt { tollgate on; rewrite ^ /moved last; }
            location /moved { tollgate on; error_page 404 = /quota; root /nonexistent; }
            location /quota { tollgate on; proxy_pass http://UPSTREAM; }";
        let upstream = echo();
        let mut options = Gateway::options(writes, upstream.port(), server, "");
        options.files[0].1 = quota_policy(&options.files[0].1, 10).replace("60000", "3600000000");
        let gateway = Gateway::with(options, upstream);
        for (target, left) in [("/read", "9"), ("/file.txt", "8"), ("/read", "7"), ("/quota", "6")]
        {
            let answer = gateway.ask("GET", target, &[], b"");
            assert_eq!(
                (answer.status, answer.header("x-ratelimit-remaining")),
                (200, Some(left)),
                "{writes:?} {target}"
            );
        }
        assert_eq!(gateway.upstream.calls(), 4);
    }
}

#[test]
fn an_accelerated_file_settles_the_upstreams_answer() {
    for writes in Writes::BOTH {
        let server = "location /files/ { internal; alias DIR/; }";
        let upstream = Upstream::answering(
            "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /files/policy.json\r\nContent-Length: 0\r\n\r\n",
        );
        let gateway = Gateway::start(writes, upstream, server, "");
        let first = gateway.pay("k");
        assert!(first.text().contains("\"scopes\""), "{writes:?} {}", first.status);
        assert_eq!(gateway.accounts.money("acme").posted, 5);
        let again = gateway.pay("k");
        assert_eq!(
            (again.body == first.body, again.header("idempotent-replayed")),
            (true, Some("true"))
        );
        assert_eq!(gateway.upstream.calls(), 1);
    }
}

#[test]
fn files_are_captured_as_they_are() {
    for writes in Writes::BOTH {
        let server = "location /free { tollgate on; sendfile on; tcp_nopush on; error_page 405 =200 /got; root /; } location = /got { default_type text/x; alias DIR/policy.json; sendfile on; }";
        let gateway = Gateway::start(writes, echo(), server, "");
        let first = gateway.ask("POST", "/free", &[("Idempotency-Key", "k")], b"x");
        let again = gateway.ask("POST", "/free", &[("Idempotency-Key", "k")], b"x");
        assert_eq!(
            again.header("idempotent-replayed"),
            Some("true"),
            "{writes:?} {}",
            first.status
        );
        assert_eq!((first.status, first.body), (again.status, again.body));
    }
}

#[test]
fn old_clients_and_pipelines() {
    for writes in Writes::BOTH {
        let gateway = Gateway::start(writes, echo(), "", "");
        let mut old = Client::connect(gateway.nginx.port());
        old.write(format!("POST /pay HTTP/1.0\r\nAuthorization: Bearer {TOKEN}\r\nIdempotency-Key: k\r\nContent-Length: 2\r\n\r\nhi").as_bytes());
        let answer = old.read("POST").unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "hi"), "{writes:?}");
        let mut client = Client::connect(gateway.nginx.port());
        let one = |key: &str| {
            format!(
                "POST /pay HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nIdempotency-Key: {key}\r\nContent-Length: 2\r\n\r\nhi"
            )
        };
        let denied = "GET /read HTTP/1.1\r\nHost: x\r\n\r\n";
        let head =
            format!("HEAD /paid HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
        client.write([one("a"), one("k"), denied.to_owned(), head, one("a")].concat().as_bytes());
        let answers: Vec<_> = ["POST", "POST", "GET", "HEAD", "POST"]
            .map(|method| client.read(method).unwrap())
            .into();
        assert_eq!(
            answers.iter().map(|answer| answer.status).collect::<Vec<_>>(),
            [200, 200, 401, 200, 200]
        );
        assert_eq!(answers[1].header("idempotent-replayed"), Some("true"));
        assert_eq!(answers[4].header("idempotent-replayed"), Some("true"));
        assert_eq!(gateway.upstream.calls(), 3);
        assert_eq!(gateway.accounts.money("acme").posted, 5 + 5 + 3);
    }
}

#[test]
fn satisfy_any_and_all() {
    for writes in Writes::BOTH {
        let server = "
            location /read { tollgate on; satisfy any; allow 127.0.0.1; deny all; proxy_pass http://UPSTREAM; }
            location /quota { tollgate on; satisfy all; deny all; proxy_pass http://UPSTREAM; }";
        let gateway = Gateway::start(writes, echo(), server, "");
        assert_eq!(
            gateway.nginx.send("GET", "/read", &[], b"").status,
            200,
            "{writes:?}: the address is enough"
        );
        assert_eq!(gateway.ask("GET", "/read", &[], b"").status, 200);
        assert_eq!(gateway.ask("GET", "/quota", &[], b"").status, 403);
        let server =
            "location /read { tollgate on; satisfy any; deny all; proxy_pass http://UPSTREAM; }";
        let gateway = Gateway::start(writes, echo(), server, "");
        let denied = gateway.nginx.send("GET", "/read", &[], b"");
        assert_eq!(denied.status, 401, "{writes:?}");
        assert_eq!(gateway.ask("GET", "/read", &[], b"").status, 200, "the token is enough");
    }
}

#[test]
fn logs_say_what_was_decided() {
    for writes in Writes::BOTH {
        let gateway = Gateway::start(writes, echo(), "", "");
        let _ = gateway.ask("POST", "/pay", &[("Idempotency-Key", "k"), ("X-Id", "1")], b"a");
        let _ = gateway.ask("POST", "/pay", &[("Idempotency-Key", "k"), ("X-Id", "2")], b"a");
        let _ = gateway.nginx.send("GET", "/read", &[("X-Id", "3")], b"");
        let _ = gateway.ask("GET", "/nowhere", &[("X-Id", "4")], b"");
        // A line is written after the client has its answer, by either worker.
        let end = Instant::now() + Duration::from_secs(5);
        let mut log = String::new();
        while log.lines().count() < 4 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
            log = gateway.nginx.access_log();
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
