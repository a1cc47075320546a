//! How streams end.

use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Response};
use serde_json::json;
use tollgate_envoy_tests::{Gateway, Writes};
use tollgate_gateway_tests::{POLICY, Upstream};

use crate::client::{Http2, as_account};
use crate::options;
use crate::upstream::{Http2Upstream, speaks_http2};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";

#[test]
fn streams_that_are_reset() {
    for writes in Writes::BOTH {
        let parts = &["HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf", "more"];
        let (upstream, arrival, go) = Upstream::waiting(parts.iter().copied());
        let gateway = Gateway::with(options(writes, upstream.port(), &json!({})), upstream);
        // All on one connection, which none of it may harm.
        let client = Http2::connect(gateway.envoy.port());

        // While the body is awaited: nothing is reserved.
        let headers = as_account(&[("idempotency-key", "body")]);
        let mut call = client.begin("POST", "/pay", &headers, false);
        call.write(b"half", false);
        std::thread::sleep(Duration::from_millis(50));
        call.reset();
        gateway.accounts.expect(0, 0);

        // While the module asks: voided, and nothing is sent on.
        if writes == Writes::Threads {
            gateway.envoy.disk_waits(true);
            let call = client.begin_to_pay("asking");
            std::thread::sleep(Duration::from_millis(150));
            call.reset();
            std::thread::sleep(Duration::from_millis(50));
            gateway.envoy.disk_waits(false);
            std::thread::sleep(Duration::from_millis(200));
            gateway.accounts.expect(0, 0);
        }
        assert_eq!(gateway.upstream.calls(), 0);

        // Before the answer: nobody knows.
        let call = client.begin_to_pay("before");
        arrival.recv().unwrap();
        call.reset();
        gateway.ended("unknown", 1);
        gateway.accounts.expect(5, 0);
        assert_eq!(client.pay("before").verdict(), (409, "idempotency_in_flight".to_owned()));
        go.send(()).unwrap();
        go.send(()).unwrap();

        // Amid the answer: as its head says, and without its body.
        let call = client.begin_to_pay("amid");
        arrival.recv().unwrap();
        go.send(()).unwrap();
        let (call, status) = call.until_body();
        assert_eq!(status, 200, "{writes:?}");
        call.reset();
        gateway.ended("settled", 1);
        go.send(()).unwrap();
        gateway.accounts.expect(5, 5);
        let again = client.pay("amid");
        assert_eq!((again.status, again.body.len(), again.is_replay()), (200, 0, true));

        // While its settlement is awaited: as if it had stayed.
        if writes == Writes::Threads {
            let call = client.begin_to_pay("settling");
            arrival.recv().unwrap();
            gateway.envoy.disk_waits(true);
            go.send(()).unwrap();
            go.send(()).unwrap();
            std::thread::sleep(Duration::from_millis(150));
            call.reset();
            std::thread::sleep(Duration::from_millis(50));
            gateway.envoy.disk_waits(false);
            gateway.accounts.expect(5, 10);
            let again = client.pay("settling");
            assert_eq!((again.text().as_str(), again.is_replay()), ("halfmore", true));
        }
        // Those of the first two are free.
        for key in ["body", "asking"] {
            let call = client.begin_to_pay(key);
            arrival.recv().unwrap();
            go.send(()).unwrap();
            go.send(()).unwrap();
            let answer = call.answer().unwrap();
            assert_eq!((answer.text().as_str(), answer.is_replay()), ("halfmore", false), "{key}");
        }
    }
}

#[test]
fn a_connection_that_is_closed_amid_the_answer() {
    for writes in Writes::BOTH {
        let parts = &["HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf", "more"];
        let (upstream, arrival, go) = Upstream::waiting(parts.iter().copied());
        let gateway = Gateway::with(options(writes, upstream.port(), &json!({})), upstream);
        let client = Http2::connect(gateway.envoy.port());
        let call = client.begin_to_pay("k");
        arrival.recv().unwrap();
        go.send(()).unwrap();
        let (call, _) = call.until_body();
        // With its runtime the socket is closed.
        drop((call, client));
        gateway.ended("settled", 1);
        go.send(()).unwrap();
        gateway.accounts.expect(0, 5);
        let again = gateway.pay("k");
        assert_eq!((again.status, again.body.len()), (200, 0), "{writes:?}");
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
    }
}

#[test]
fn an_upstream_that_speaks_http2() {
    for writes in Writes::BOTH {
        let upstream = Http2Upstream::start(|request, mut respond| async move {
            let how = request.headers()["x-how"].to_str().unwrap().to_owned();
            let mut body = request.into_body();
            if how == "refused" {
                return respond.send_reset(Reason::REFUSED_STREAM);
            }
            if how != "early" {
                while let Some(Ok(chunk)) = body.data().await {
                    let _ = body.flow_control().release_capacity(chunk.len());
                }
            }
            if how == "reset" {
                return respond.send_reset(Reason::INTERNAL_ERROR);
            }
            let head = Response::builder().status(200).header("content-type", "text/plain");
            let mut stream = respond.send_response(head.body(()).unwrap(), false).unwrap();
            let _ = stream.send_data(Bytes::from_static(b"some "), false);
            if how == "amid" {
                tokio::time::sleep(Duration::from_millis(50)).await;
                return stream.send_reset(Reason::INTERNAL_ERROR);
            }
            let _ = stream.send_data(Bytes::from_static(b"body"), how != "trailers");
            if how == "trailers" {
                let trailers = [(http::HeaderName::from_static("x-sum"), "9".parse().unwrap())];
                let _ = stream.send_trailers(HeaderMap::from_iter(trailers));
            }
        });
        let mut options = options(writes, upstream.port(), &json!({}));
        speaks_http2(&mut options);
        let gateway = Gateway::with(options, Upstream::answering(OK));
        let client = Http2::connect(gateway.envoy.port());
        let pay = |how: &str| {
            let headers = as_account(&[("idempotency-key", how), ("x-how", how)]);
            let mut call = client.begin("POST", "/pay", &headers, false);
            call.write(b"{}", true);
            call.answer()
        };
        let (mut held, mut posted) = (0, 0);
        for how in ["plain", "trailers", "early"] {
            let first = pay(how).unwrap();
            assert_eq!(
                (first.status, first.text().as_str()),
                (200, "some body"),
                "{writes:?} {how}"
            );
            assert_eq!(first.trailer("x-sum"), (how == "trailers").then_some("9"));
            posted += 5;
            // Whoever has the end of it finds it settled.
            let money = gateway.accounts.money("acme");
            assert_eq!((money.held, money.posted), (0, posted), "{writes:?} {how}");
            let again = pay(how).unwrap();
            assert_eq!((again.text().as_str(), again.is_replay()), ("some body", true));
            // What is kept is head and body.
            assert_eq!(again.trailer("x-sum"), None);
        }
        for how in ["reset", "refused"] {
            let first = pay(how).unwrap();
            assert_eq!(first.status, 503, "{writes:?} {how}");
            held += 5;
            gateway.accounts.expect(held, posted);
            assert_eq!(
                pay(how).unwrap().verdict(),
                (409, "idempotency_in_flight".to_owned()),
                "{how}"
            );
        }
        assert!(pay("amid").is_err(), "{writes:?}");
        held += 5;
        gateway.accounts.expect(held, posted);
        assert_eq!(pay("amid").unwrap().verdict(), (409, "idempotency_in_flight".to_owned()));
        assert_eq!(upstream.calls(), 6);
    }
}

#[test]
fn both_sides_of_a_stream_go_on_as_they_like() {
    for writes in Writes::BOTH {
        // It answers in full, and the request goes on.
        let upstream = Http2Upstream::start(|request, mut respond| async move {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            let _ = stream.send_data(Bytes::from_static(b"done"), true);
            let mut body = request.into_body();
            while let Some(Ok(chunk)) = body.data().await {
                let _ = body.flow_control().release_capacity(chunk.len());
            }
        });
        let mut options = options(writes, upstream.port(), &json!({}));
        speaks_http2(&mut options);
        let gateway = Gateway::with(options, Upstream::answering(OK));
        let client = Http2::connect(gateway.envoy.port());
        for posted in [5, 10] {
            let mut call = client.begin("POST", "/pay", &as_account(&[]), false);
            for _ in 0..3 {
                call.write(&[b'x'; 10_000], false);
                std::thread::sleep(Duration::from_millis(20));
            }
            let answer = call.answer().unwrap();
            assert_eq!((answer.status, answer.text().as_str()), (200, "done"), "{writes:?}");
            gateway.accounts.expect(0, posted);
        }
    }
}

#[test]
fn grpc_is_answered_in_its_own_way() {
    for writes in Writes::BOTH {
        let upstream = Http2Upstream::start(|request, mut respond| async move {
            let mut body = request.into_body();
            while let Some(Ok(chunk)) = body.data().await {
                let _ = body.flow_control().release_capacity(chunk.len());
            }
            let head = Response::builder().header("content-type", "application/grpc");
            let mut stream = respond.send_response(head.body(()).unwrap(), false).unwrap();
            let _ = stream.send_data(Bytes::from_static(b"\0\0\0\0\0"), false);
            let status = [(http::HeaderName::from_static("grpc-status"), "0".parse().unwrap())];
            let _ = stream.send_trailers(HeaderMap::from_iter(status));
        });
        let mut options = options(writes, upstream.port(), &json!({}));
        speaks_http2(&mut options);
        let policy = POLICY.replace("\"quota\": 1000000", "\"quota\": 3");
        options.files[0].1 = policy.replace("60000", "3600000000");
        let gateway = Gateway::with(options, Upstream::answering(OK));
        gateway.accounts.add("poor", "t-poor", 1, &["all"]);
        let client = Http2::connect(gateway.envoy.port());
        let call = |token: &str, more: &[(&str, &str)]| {
            let token = format!("Bearer {token}");
            let own = [
                ("authorization", token.as_str()),
                ("content-type", "application/grpc"),
                ("te", "trailers"),
            ];
            client.ask("POST", "/pay", &[&own, more].concat(), b"\0\0\0\0\0")
        };
        let key = [("idempotency-key", "k")];
        let first = call("t-acme", &key);
        assert_eq!((first.status, first.trailer("grpc-status")), (200, Some("0")), "{writes:?}");
        gateway.accounts.expect(0, 5);
        // What is kept is head and body: the status that gRPC has in trailers is missing.
        let again = call("t-acme", &key);
        assert!(again.is_replay());
        assert_eq!((again.body.len(), again.trailers.is_none()), (5, true));
        assert_eq!(call("t-acme", &[]).trailer("grpc-status"), Some("0"));
        // Denials have the status that gRPC maps theirs to, and say the rest as over HTTP.
        for (code, status, answer) in [
            ("invalid_token", "16", call("nobody", &[])),
            ("insufficient_balance", "2", call("t-poor", &[])),
            ("rate_limited", "14", call("t-acme", &[])),
        ] {
            assert_eq!(
                (answer.status, answer.header("content-type")),
                (200, Some("application/grpc"))
            );
            assert_eq!(answer.headers.get_all("grpc-status").iter().count(), 1, "{answer:?}");
            assert_eq!(answer.header("grpc-status"), Some(status), "{writes:?} {code}");
            let message = answer.header("grpc-message").unwrap();
            assert!(message.contains(code), "{message}");
            assert_eq!((answer.body.len(), answer.trailers.is_none()), (0, true));
            assert_eq!(answer.header("retry-after").is_some(), code == "rate_limited");
        }
        // Who does not speak gRPC is told nothing of it.
        let plain = client.ask("POST", "/pay", &[("content-type", "application/grpc-web")], b"x");
        assert_eq!((plain.status, plain.header("grpc-status")), (401, None));
        gateway.accounts.expect(0, 10);
    }
}
