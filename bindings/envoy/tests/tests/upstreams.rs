//! What upstreams over HTTP/1.1 do beside answering: reset, stop, send nonsense, hints and trailers.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use serde_json::json;
use tollgate_envoy_tests::{Gateway, Options, Writes};
use tollgate_gateway_tests::{Client, TOKEN, Upstream};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";

fn options(writes: Writes, upstream: u16) -> Options {
    Gateway::options(writes, upstream, &json!({}))
}

/// The first payment under a key ends like that, is held, and is in flight from then on.
fn is_unknown(gateway: &Gateway, how: &str, status: Option<u16>) {
    let mut client = gateway.begin_to_pay("k");
    let first = client.read("POST").unwrap();
    match status {
        Some(status) => assert_eq!((first.status, first.code().as_str()), (status, ""), "{how}"),
        None => assert_eq!((first.status, first.whole), (200, false), "{how}"),
    }
    gateway.accounts.expect(5, 0);
    assert_eq!(gateway.envoy.stat("dynamicmodulescustom.tollgate.unknown"), 1, "{how}");
    let again = gateway.pay("k");
    assert_eq!((again.status, again.code().as_str()), (409, "idempotency_in_flight"), "{how}");
    gateway.accounts.expect(5, 0);
}

/// A server that reads only the beginning of a request, writes this, and resets the connection.
fn resetting(answer: &'static str) -> (u16, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        // What was read of the answer is on its way; what was not read of the request makes it a reset.
        std::thread::sleep(Duration::from_millis(100));
    });
    (port, server)
}

/// An upstream that writes this, and then nothing until the test is over.
fn silent(answer: &'static str) -> (Upstream, mpsc::Sender<()>) {
    let (end, ended) = mpsc::channel::<()>();
    let ended = Mutex::new(ended);
    let upstream = Upstream::start(move |_, mut stream| {
        let _ = stream.write_all(answer.as_bytes());
        let _ = ended.lock().unwrap().recv();
    });
    (upstream, end)
}

#[test]
fn connections_that_are_reset() {
    for writes in Writes::BOTH {
        for (answer, status) in [
            ("", Some(503)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nbegin", None),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n", None),
        ] {
            let (port, server) = resetting(answer);
            let gateway = Gateway::with(options(writes, port), Upstream::answering(OK));
            is_unknown(&gateway, answer, status);
            server.join().unwrap();
        }
    }
}

#[test]
fn nonsense_instead_of_an_answer() {
    for writes in Writes::BOTH {
        for nonsense in ["\0\u{1}\u{2}\r\n\r\n", "SSH-2.0-x\r\n", "HTTP/1.1 abc\r\n\r\n"] {
            let gateway = Gateway::start(writes, Upstream::answering(nonsense), &json!({}));
            is_unknown(&gateway, nonsense, Some(502));
        }
        // A head that is good, and a body that is not.
        let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbeg\r\nmore\r\n";
        let gateway = Gateway::start(writes, Upstream::answering(chunks), &json!({}));
        is_unknown(&gateway, chunks, None);
    }
}

#[test]
fn silence_until_one_of_envoys_timeouts() {
    const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nbegin";
    for writes in Writes::BOTH {
        for timeout in [
            "timeout: 0.3s",
            "idle_timeout: 0.3s, timeout: 0s",
            "max_stream_duration: { max_stream_duration: 0.3s }, timeout: 0s",
        ] {
            for (answer, status) in [("", Some(504)), (HALF, None)] {
                let (upstream, _end) = silent(answer);
                let mut options = options(writes, upstream.port());
                options.routes = format!(
                    "{{ match: {{ path: /pay }}, route: {{ cluster: upstream, {timeout} }} }}, "
                );
                let gateway = Gateway::with(options, upstream);
                is_unknown(&gateway, timeout, status);
            }
        }
        // Of the whole connection manager.
        for (answer, status) in [("", Some(504)), (HALF, None)] {
            let (upstream, _end) = silent(answer);
            let mut options = options(writes, upstream.port());
            options.edit("stream_idle_timeout: 0s", "stream_idle_timeout: 0.3s");
            let gateway = Gateway::with(options, upstream);
            is_unknown(&gateway, "stream_idle_timeout", status);
        }
    }
}

#[test]
fn a_body_that_ends_with_its_connection() {
    for writes in Writes::BOTH {
        let upstream =
            Upstream::answering("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\ndone");
        let gateway = Gateway::start(writes, upstream, &json!({}));
        let first = gateway.pay("k");
        assert_eq!((first.status, first.text().as_str(), first.whole), (200, "done", true));
        let money = gateway.accounts.money("acme");
        assert_eq!((money.held, money.posted), (0, 5), "{writes:?}");
        let again = gateway.pay("k");
        assert_eq!(
            (again.text().as_str(), again.header("idempotent-replayed")),
            ("done", Some("true"))
        );
        assert_eq!(gateway.upstream.calls(), 1);
    }
}

/// All that comes on a connection, up to its end.
fn all_of(gateway: &Gateway, key: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.envoy.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = "POST /pay HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTE: trailers\r\nContent-Length: 2\r\n";
    write!(stream, "{head}Authorization: Bearer {TOKEN}\r\nIdempotency-Key: {key}\r\n\r\nhi")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn answers_end_with_trailers() {
    for writes in Writes::BOTH {
        for enabled in [true, false] {
            let upstream = Upstream::answering(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n4\r\ndone\r\n0\r\nX-Sum: 9\r\n\r\n",
            );
            let mut options = options(writes, upstream.port());
            if enabled {
                // Of the listener and of the cluster.
                options.edit(
                    "http_protocol_options: { allow_custom_methods: true }",
                    "http_protocol_options: { allow_custom_methods: true, enable_trailers: true }",
                );
            }
            let gateway = Gateway::with(options, upstream);
            let first = all_of(&gateway, "k");
            assert!(first.starts_with("HTTP/1.1 200"), "{writes:?} {first}");
            let end = if enabled {
                "4\r\ndone\r\n0\r\nx-sum: 9\r\n\r\n"
            } else {
                "4\r\ndone\r\n0\r\n\r\n"
            };
            assert!(first.ends_with(end), "{writes:?} {enabled} {first}");
            let money = gateway.accounts.money("acme");
            assert_eq!((money.held, money.posted), (0, 5), "{writes:?}");
            // What is kept is head and body.
            let again = all_of(&gateway, "k");
            assert!(again.contains("idempotent-replayed: true"), "{again}");
            assert!(again.ends_with("\r\n\r\ndone"), "{again}");
            assert_eq!(gateway.upstream.calls(), 1);
        }
    }
}

#[test]
fn hints_before_the_answer() {
    for writes in Writes::BOTH {
        for hint in ["103 Early Hints\r\nLink: </style.css>", "100 Continue", "102 Processing"] {
            let answer: &'static str = format!("HTTP/1.1 {hint}\r\n\r\n{OK}").leak();
            let gateway = Gateway::start(writes, Upstream::answering(answer), &json!({}));
            let first = all_of(&gateway, "k");
            assert!(first.starts_with("HTTP/1.1 200"), "no hint reaches the client: {first}");
            assert!(first.ends_with("\r\n\r\ndone"), "{writes:?} {hint} {first}");
            gateway.accounts.expect(0, 5);
            let again = all_of(&gateway, "k");
            assert!(again.contains("idempotent-replayed: true"), "{again}");
            assert!(again.ends_with("\r\n\r\ndone") && !again.contains("Link"), "{again}");
            assert_eq!(gateway.upstream.calls(), 1);
        }
    }
}

#[test]
fn clients_that_wait_to_be_told_to_continue() {
    for writes in Writes::BOTH {
        for proxied in [false, true] {
            let upstream = Upstream::start(|request, mut stream| {
                let hint = request.header("expect").map_or("", |_| "HTTP/1.1 100 Continue\r\n\r\n");
                let _ = write!(stream, "{hint}{OK}");
            });
            let mut options = options(writes, upstream.port());
            if proxied {
                options.edit(
                    "stream_idle_timeout: 0s",
                    "stream_idle_timeout: 0s\n        proxy_100_continue: true",
                );
            }
            let gateway = Gateway::with(options, upstream);
            for is_replay in [false, true] {
                let mut client = Client::connect(gateway.envoy.port());
                client.write(format!("POST /pay HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nAuthorization: Bearer {TOKEN}\r\nIdempotency-Key: k\r\nContent-Length: 2\r\n\r\n").as_bytes());
                // Where the upstream is to say it, a request with a key is not sent on before its body is there: the client must not wait for ever.
                if !proxied {
                    assert_eq!(client.read("HEAD").unwrap().status, 100, "{writes:?}");
                }
                client.write(b"hi");
                if proxied && !is_replay {
                    assert_eq!(client.read("HEAD").unwrap().status, 100, "{writes:?}");
                }
                let answer = client.read("POST").unwrap();
                assert_eq!((answer.status, answer.text().as_str()), (200, "done"), "{writes:?}");
                assert_eq!(answer.header("idempotent-replayed").is_some(), is_replay);
            }
            gateway.accounts.expect(0, 5);
            assert_eq!(gateway.upstream.calls(), 1);
        }
    }
}
