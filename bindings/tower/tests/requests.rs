//! Request bodies, odd requests, HTTP/1.1 pipelines and HTTP/2.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "helpers of tests may fail as tests do"
)]

mod common;

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use common::*;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tollgate::*;
use tollgate_tower::{Facts, PeerAddr, RequestBody, Settlement};
use tower::{Layer, Service, ServiceExt, service_fn};

#[tokio::test]
async fn the_upstream_sees_the_original_body() {
    let gateway = Gateway::start().await;
    let long = "x".repeat(1 << 20);
    for body in ["", "{}", &long] {
        for call in
            [Call::sms().mode("echo"), Call::sms().mode("echo").key(&body.len().to_string())]
        {
            let reply = gateway.send(call.body(body.to_owned())).await;
            assert_eq!(reply.status, 201);
            assert!(reply.body == format!("{body}|0").as_bytes(), "{}", body.len());
        }
    }
    // More than is ever read before deciding, where nobody needs to read it.
    let longer = "x".repeat(3 << 20);
    let reply = gateway.send(Call::sms().mode("echo").body(longer.clone())).await;
    assert!(reply.body == format!("{longer}|0").as_bytes());
}

#[tokio::test]
async fn a_keyed_body_over_the_bound_is_refused_and_never_forwarded() {
    let gateway = Gateway::with(policy(), |b| b.max_request_body(1000)).await;
    let call = Call::sms().key("order-1");
    let reply = gateway.send(call.clone().body("x".repeat(1001))).await;
    assert_eq!((reply.status, reply.code().as_str()), (422, "validation_failed"));
    assert!(String::from_utf8_lossy(&reply.body).contains("over 1000 bytes"));
    assert_eq!((gateway.executions(), gateway.money("acme")), (0, (1_000_000, 0)));
    // The key is still free, and a completed one is no replay for a body that was not read.
    assert_eq!(gateway.send(call.clone().body("x".repeat(1000))).await.status, 201);
    let reply = gateway.send(call.body("x".repeat(1001))).await;
    assert_eq!(reply.code(), "idempotency_key_reused");
    // Not even for one that had no body.
    let call = Call::sms().key("order-2");
    assert_eq!(gateway.send(call.clone().body("")).await.status, 201);
    let reply = gateway.send(call.body("x".repeat(1001))).await;
    assert_eq!(reply.code(), "idempotency_key_reused");
    assert_eq!(gateway.executions(), 2);
}

#[tokio::test]
async fn a_body_is_not_read_for_a_request_that_is_denied_anyway() {
    denied_without_a_body(Gateway::start().await).await;
    let hook = |b: Builder| b.facts_with_body(|_, _| Facts::default());
    denied_without_a_body(Gateway::with(policy(), hook).await).await;
}

async fn denied_without_a_body(gateway: Gateway) {
    gateway.token(
        3,
        "acme",
        TokenPatch { scopes: Some(vec!["reports".into()]), ..TokenPatch::default() },
    );
    let head = |call: Call| {
        let mut text = String::from("POST /sms/send HTTP/1.1\r\nhost: g\r\ncontent-length: 9\r\n");
        for (name, value) in &call.headers {
            text += &format!("{name}: {}\r\n", std::str::from_utf8(value).unwrap());
        }
        text + "idempotency-key: k\r\n\r\n"
    };
    for (call, status) in [
        (Call::sms().without("authorization"), "401"),
        (Call::sms().token(9), "401"),
        (Call::sms().token(3), "403"),
    ] {
        let mut socket = TcpStream::connect(gateway.address).await.unwrap();
        // Its body never comes.
        socket.write_all(head(call).as_bytes()).await.unwrap();
        let mut seen = Vec::new();
        while !seen.windows(4).any(|w| w == b"\r\n\r\n") {
            assert!(within(socket.read_buf(&mut seen)).await.unwrap() > 0);
        }
        assert!(seen.starts_with(format!("HTTP/1.1 {status}").as_bytes()));
    }
}

#[tokio::test]
async fn chunked_bodies_and_their_trailers_pass() {
    let gateway = Gateway::start().await;
    for key in ["", "idempotency-key: chunked\r\n"] {
        let mut socket = TcpStream::connect(gateway.address).await.unwrap();
        let request = format!(
            "POST /sms/send HTTP/1.1\r\nhost: g\r\nconnection: close\r\nx-mode: echo\r\n\
             authorization: Bearer {}\r\n{key}transfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
             5\r\nhello\r\n6\r\n world\r\n0\r\nx-sum: 1\r\n\r\n",
            token(1).expose()
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        within(socket.read_to_string(&mut reply)).await.unwrap();
        assert!(reply.starts_with("HTTP/1.1 201"), "{reply}");
        assert!(reply.ends_with("hello world|1"), "{reply}");
    }
    // The framing is not part of the request: the same bytes at once are the same request.
    let call = Call::sms().key("chunked").mode("echo").body("hello world");
    assert!(gateway.send(call).await.is_replay());
}

#[tokio::test]
async fn facts_may_come_from_the_body() {
    let gateway = Gateway::with(policy(), |b| {
        b.facts_with_body(|_, body| {
            let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
            Facts {
                cost: Some(Amount(json["parts"].as_u64().unwrap_or(1))),
                sender: json["sender"].as_str().map(str::to_owned),
                invalid: json["to"].is_null().then(|| "Say who it is for: 'to'.".to_owned()),
            }
        })
    })
    .await;
    let reply = gateway.send(Call::sms().body("{\"to\":\"+1\",\"parts\":3}")).await;
    assert_eq!((reply.status, gateway.money("acme")), (201, (1_000_000 - 3, 0)));
    let reply = gateway.send(Call::sms().body("{\"to\":\"+1\",\"sender\":\"EVIL\"}")).await;
    assert_eq!(reply.code(), "sender_not_approved");
    for body in ["{\"parts\":3}", ""] {
        let reply = gateway.send(Call::sms().body(body)).await;
        assert_eq!(reply.code(), "validation_failed");
        assert!(String::from_utf8_lossy(&reply.body).contains("Say who it is for"));
    }
    assert_eq!(gateway.send(Call::sms().without("authorization")).await.status, 401);
}

#[tokio::test]
async fn head_and_empty_responses_are_settled_and_replayed() {
    let mut policy = policy();
    let settings = || RouteConfig { price: Some(Amount(1)), ..RouteConfig::default() };
    policy.routes.insert(
        "GET /balance".into(),
        RouteConfig { idempotency: Some(RouteIdempotency::Switch(true)), ..settings() },
    );
    let gateway = Gateway::with(policy, |b| b).await;
    let head = Call::new("HEAD", "/balance").key("h");
    let first = gateway.send(head.clone()).await;
    assert_eq!((first.status, first.body.len(), gateway.finishes()), (201, 0, 1));
    let again = gateway.send(head).await;
    assert!(again.is_replay());
    assert_eq!(again.header("content-length"), first.header("content-length"));
    let empty = Call::sms().key("e").mode("empty").header("x-status", "204");
    assert_eq!(gateway.send(empty.clone()).await.status, 204);
    let again = gateway.send(empty).await;
    assert!(again.is_replay());
    assert_eq!((again.status, again.body.len()), (204, 0));
    assert_eq!(gateway.money("acme"), (1_000_000 - 1 - PRICE, 0));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let gateway = Gateway::start().await;
    let mut socket = TcpStream::connect(gateway.address).await.unwrap();
    let bearer = format!("authorization: Bearer {}\r\n", token(1).expose());
    let mut text = String::new();
    for n in 0..10 {
        let auth = if n % 2 == 0 { &bearer[..] } else { "" };
        let close = if n == 9 { "connection: close\r\n" } else { "" };
        text += &format!(
            "POST /sms/send HTTP/1.1\r\nhost: g\r\n{auth}{close}idempotency-key: {n}\r\n\
             content-length: 2\r\n\r\n{{}}"
        );
    }
    socket.write_all(text.as_bytes()).await.unwrap();
    let mut reply = String::new();
    within(socket.read_to_string(&mut reply)).await.unwrap();
    let statuses: Vec<_> = reply
        .match_indices("HTTP/1.1 ")
        .map(|(at, found)| &reply[at + found.len()..at + found.len() + 3])
        .collect();
    assert_eq!(statuses, ["201", "401"].repeat(5));
    assert_eq!((gateway.executions(), gateway.finishes()), (5, 5));
}

#[tokio::test]
async fn http2_with_many_streams_on_one_connection() {
    let gateway = Gateway::start().await;
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..20 {
        let mut sender = sender.clone();
        let mut call = Call::sms().key(&format!("order-{}", n % 10));
        call.target = format!("http://{}/sms/send", gateway.address);
        tasks.spawn(async move {
            let body = Full::new(call.body.clone());
            let response = sender.send_request(call.request(body)).await.unwrap();
            client::reply(response).await.unwrap()
        });
    }
    let replies = within(tasks.join_all()).await;
    assert!(replies.iter().all(|reply| matches!(reply.status, 201 | 409)));
    let first = replies.iter().filter(|r| r.status == 201 && !r.is_replay()).count();
    assert_eq!((first, gateway.executions()), (10, 10));
    assert_eq!(gateway.money("acme"), (1_000_000 - 10 * PRICE, 0));
    connection.abort();
}

/// Any upstream, called without a socket.
async fn direct<B>(parts: Parts, request: Request<B>) -> Result<Reply, std::io::Error>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let layer = parts.builder.error_settlement(|error| {
        match error.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
            Some(std::io::ErrorKind::ConnectionRefused) => Settlement::Release,
            _ => Settlement::Unknown,
        }
    });
    let service = service_fn(|request: Request<RequestBody<B>>| async move {
        match request.headers().get("x-mode").map(HeaderValue::as_bytes) {
            Some(b"refused") => Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)),
            Some(b"broken") => Err(std::io::ErrorKind::BrokenPipe.into()),
            _ => Ok(Response::new(Full::new(Bytes::from_static(b"done")))),
        }
    });
    let response = layer.build().layer(service).oneshot(request).await?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
}

fn request(call: &Call) -> Request<Full<Bytes>> {
    call.request(Full::new(call.body.clone()))
}

#[tokio::test]
async fn an_error_of_the_service_is_passed_on_and_settled_by_the_rule() {
    for (mode, expected) in
        [("broken", Finish::Unknown), ("refused", Finish::Void { response: None })]
    {
        let parts = parts(policy());
        let store = Arc::clone(&parts.store);
        let error = direct(parts, request(&Call::sms().key("k").mode(mode))).await.unwrap_err();
        assert_eq!(error.kind() == std::io::ErrorKind::BrokenPipe, mode == "broken");
        let finishes = store.finishes.lock().unwrap();
        assert_eq!(
            finishes.iter().map(|(_, finish)| finish.clone()).collect::<Vec<_>>(),
            [expected]
        );
    }
}

#[tokio::test]
async fn a_hostile_head_is_answered_without_a_panic() {
    let megabyte = vec![b'a'; 1 << 20];
    let table: [(Call, u16); 6] = [
        (Call::sms().without("authorization").header("authorization", &megabyte), 401),
        (Call::sms().key("k").header("x-any", &megabyte), 200),
        (Call::sms().header("idempotency-key", &megabyte), 422),
        (Call::sms().header("x-forwarded-for", &megabyte), 200),
        (Call::sms().without("authorization").header("authorization", b"Bearer \xff\xfe"), 401),
        (Call::sms().header("x-any", b"\xff\xfe\x80"), 200),
    ];
    for (call, status) in table {
        let reply = direct(parts(policy()), request(&call)).await.unwrap();
        assert_eq!(reply.status, status, "{}", call.headers.len());
    }
    let mut many = request(&Call::sms());
    for n in 0..20_000 {
        let name = http::HeaderName::try_from(format!("x-{n}")).unwrap();
        many.headers_mut().append(name, HeaderValue::from_static("v"));
    }
    assert_eq!(direct(parts(policy()), many).await.unwrap().status, 200);
    for target in ["*", "http://other/sms/send", "/sms/send?x=%ff", "/sms//send", "/%2e/sms/send"] {
        let mut odd = request(&Call::sms());
        *odd.uri_mut() = target.parse().unwrap();
        let status = direct(parts(policy()), odd).await.unwrap().status;
        let known = target.ends_with("other/sms/send") || target.contains('?');
        assert_eq!(status, if known { 200 } else { 403 }, "{target}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_refused() {
    let frames = [Ok(http_body::Frame::data(Bytes::from_static(b"x"))), Err("as the test wants")];
    struct Frames<I>(I);
    impl<I: Iterator + Unpin> Frames<I> {
        fn poll(&mut self) -> std::task::Poll<Option<I::Item>> {
            std::task::Poll::Ready(self.0.next())
        }
    }
    struct Broken(Frames<std::array::IntoIter<Result<http_body::Frame<Bytes>, &'static str>, 2>>);
    impl http_body::Body for Broken {
        type Data = Bytes;
        type Error = &'static str;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, &'static str>>> {
            self.0.poll()
        }
    }
    let parts = parts(policy());
    let store = Arc::clone(&parts.store);
    let call = Call::sms().key("k");
    let reply = direct(parts, call.request(Broken(Frames(frames.into_iter())))).await.unwrap();
    assert_eq!((reply.status, reply.code().as_str()), (422, "validation_failed"));
    assert!(store.finishes.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_peer_comes_from_its_extension_or_a_hook() {
    let network = || TokenPatch {
        networks: Some(vec![parse_network("203.0.113.0/24").unwrap()]),
        ..TokenPatch::default()
    };
    let inside = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
    let outside = IpAddr::V4(Ipv4Addr::LOCALHOST);
    for (peer, status) in [(Some(inside), 200), (Some(outside), 403), (None, 403)] {
        let by_extension = parts(policy());
        by_extension.token(4, "acme", network());
        let mut call = request(&Call::sms().token(4));
        if let Some(peer) = peer {
            call.extensions_mut().insert(PeerAddr(peer));
        }
        assert_eq!(direct(by_extension, call).await.unwrap().status, status);

        let mut by_hook = parts(policy());
        by_hook.token(4, "acme", network());
        by_hook.builder = by_hook.builder.peer(move |_| peer);
        let mut call = request(&Call::sms().token(4));
        call.extensions_mut().insert(PeerAddr(inside));
        assert_eq!(direct(by_hook, call).await.unwrap().status, status);
    }
}

#[tokio::test]
async fn a_broken_clock_denies() {
    let parts = parts(policy());
    parts.now_ms.store(u64::MAX, Ordering::SeqCst);
    let reply = direct(parts, request(&Call::sms())).await.unwrap();
    assert_eq!((reply.status, reply.code().as_str()), (503, "store_unavailable"));
}

#[tokio::test]
async fn readiness_is_the_inner_services() {
    #[derive(Clone)]
    struct Never;
    impl Service<Request<RequestBody<Full<Bytes>>>> for Never {
        type Response = Response<Full<Bytes>>;
        type Error = Infallible;
        type Future = std::future::Pending<Result<Self::Response, Infallible>>;
        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Infallible>> {
            std::task::Poll::Pending
        }
        fn call(&mut self, _: Request<RequestBody<Full<Bytes>>>) -> Self::Future {
            std::future::pending()
        }
    }
    let mut service = parts(policy()).builder.build().layer(Never);
    let ready = std::future::poll_fn(|cx| {
        std::task::Poll::Ready(Service::<Request<Full<Bytes>>>::poll_ready(&mut service, cx))
    });
    assert!(ready.await.is_pending());
}
