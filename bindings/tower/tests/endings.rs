//! However a request ends, it is settled once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "helpers of tests may fail as tests do"
)]

mod common;

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::*;
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tollgate::*;
use tollgate_tower::Settlement;

const START: u64 = 1_000_000;

fn raw(call: &Call) -> Vec<u8> {
    let mut text = format!("{} {} HTTP/1.1\r\nhost: gateway\r\n", call.method, call.target);
    for (name, value) in &call.headers {
        text += &format!("{name}: {}\r\n", std::str::from_utf8(value).unwrap());
    }
    text += &format!("content-length: {}\r\n\r\n", call.body.len());
    [text.as_bytes(), &call.body].concat()
}

#[tokio::test]
async fn a_client_that_leaves_mid_response_finds_it_whole_later() {
    let gateway = Gateway::start().await;
    let chunks = gateway.upstream.stream();
    let call = Call::sms().key("order-1").mode("stream");
    let mut socket = TcpStream::connect(gateway.address).await.unwrap();
    socket.write_all(&raw(&call)).await.unwrap();
    chunks.send(Ok("first ")).unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"first \r\n") {
        assert!(within(socket.read_buf(&mut seen)).await.unwrap() > 0);
    }
    drop(socket);
    // Until the gateway has noticed, the request is in flight; afterwards too.
    let duplicate = gateway.send(call.clone()).await;
    assert_eq!(duplicate.status, 409);
    chunks.send(Ok("second ")).unwrap();
    chunks.send(Ok("third")).unwrap();
    drop(chunks);
    let (_, finish) = gateway.settled().await;
    assert!(matches!(finish, Finish::Settle { amount: None, response: Some(_) }));
    let again = gateway.send(call).await;
    assert!(again.is_replay());
    assert_eq!(&again.body[..], b"first second third");
    assert_eq!((gateway.executions(), gateway.finishes()), (1, 1));
    assert_eq!(gateway.money("acme"), (START - PRICE, 0));
}

#[tokio::test]
async fn a_client_that_leaves_before_the_response_finds_it_later() {
    let gateway = Gateway::start().await;
    let call = Call::sms().key("order-1").mode("slow");
    let mut socket = TcpStream::connect(gateway.address).await.unwrap();
    socket.write_all(&raw(&call)).await.unwrap();
    gateway.upstream.next_call().await;
    drop(socket);
    gateway.upstream.release.add_permits(1);
    let (_, finish) = gateway.settled().await;
    assert!(matches!(finish, Finish::Settle { .. }));
    let again = gateway.send(call).await;
    assert!(again.is_replay());
    assert_eq!((again.status, &again.body[..]), (201, &b"{\"id\":1}"[..]));
    assert_eq!((gateway.executions(), gateway.finishes()), (1, 1));
}

#[tokio::test]
async fn without_carrying_on_a_client_that_leaves_makes_the_end_unknown() {
    let gateway = Gateway::with(policy(), |b| b.carry_on(Duration::ZERO)).await;
    let call = Call::sms().key("order-1").mode("slow");
    let mut socket = TcpStream::connect(gateway.address).await.unwrap();
    socket.write_all(&raw(&call)).await.unwrap();
    gateway.upstream.next_call().await;
    drop(socket);
    assert_eq!(gateway.settled().await.1, Finish::Unknown);
    assert_eq!(gateway.send(call.clone()).await.status, 409);
    assert_eq!(gateway.money("acme"), (START, PRICE));
    // The money is free once the lease ends; the key stays in flight.
    gateway.now_ms.fetch_add(300_001, Ordering::SeqCst);
    assert_eq!(gateway.send(call).await.status, 409);
    let wallet = gateway
        .admin()
        .account(&AccountId::new("acme").unwrap(), gateway.now_ms.load(Ordering::SeqCst))
        .unwrap()
        .wallet;
    assert_eq!((wallet.balance.0, wallet.held.0), (START, 0));
    assert_eq!(gateway.executions(), 1);
}

#[tokio::test]
async fn an_upstream_that_hangs_is_a_504_of_unknown_end() {
    let gateway = Gateway::with(policy(), |b| b.upstream_timeout(Duration::from_millis(50))).await;
    let call = Call::sms().key("order-1").mode("hang");
    let reply = gateway.send(call.clone()).await;
    assert_eq!((reply.status, reply.code().as_str()), (504, "upstream_timeout"));
    assert!(reply.header("x-ratelimit-limit").is_some());
    assert_eq!(gateway.settled().await.1, Finish::Unknown);
    assert_eq!(gateway.send(call).await.code(), "idempotency_in_flight");
    assert_eq!((gateway.executions(), gateway.finishes()), (1, 1));
    // Also where nothing is to be settled.
    assert_eq!(gateway.send(Call::new("GET", "/balance").mode("hang")).await.status, 504);
    assert_eq!(gateway.finishes(), 1);
}

#[tokio::test]
async fn a_handler_that_panics_makes_the_end_unknown() {
    let gateway = Gateway::start().await;
    let call = Call::sms().key("order-1").mode("panic");
    let mut sender = client::connect(gateway.address).await;
    let sent = sender.send_request(call.request(Full::new(call.body.clone())));
    assert!(within(sent).await.is_err());
    assert_eq!(gateway.settled().await.1, Finish::Unknown);
    assert_eq!(gateway.send(call).await.status, 409);
    assert_eq!((gateway.executions(), gateway.finishes()), (1, 1));
}

#[tokio::test]
async fn a_response_that_breaks_off_makes_the_end_unknown() {
    for broken in [Err(std::io::Error::other("as the test wants")), Ok("panic")] {
        let gateway = Gateway::start().await;
        let chunks = gateway.upstream.stream();
        let call = Call::sms().key("order-1").mode("stream");
        chunks.send(Ok("first")).unwrap();
        chunks.send(broken).unwrap();
        let mut sender = client::connect(gateway.address).await;
        let sent = sender.send_request(call.request(Full::new(call.body.clone())));
        if let Ok(response) = within(sent).await {
            assert!(within(client::reply(response)).await.is_err());
        }
        assert_eq!(gateway.settled().await.1, Finish::Unknown);
        assert_eq!(gateway.send(call).await.status, 409);
        assert_eq!((gateway.executions(), gateway.finishes()), (1, 1));
    }
}

#[tokio::test]
async fn a_response_over_the_bound_is_replayed_without_its_body() {
    let gateway = Gateway::with(policy(), |b| b.max_response_body(1000)).await;
    for (size, whole) in [("992", true), ("993", false), ("100000", false)] {
        let call = Call::sms().key(size).header("x-size", size);
        let first = gateway.send(call.clone()).await;
        assert_eq!(first.body.len(), 8 + size.parse::<usize>().unwrap());
        let again = gateway.send(call).await;
        assert!(again.is_replay());
        assert_eq!((again.status, again.header("location")), (201, first.header("location")));
        assert_eq!(again.body.len(), if whole { first.body.len() } else { 0 });
    }
    assert_eq!((gateway.executions(), gateway.finishes()), (3, 3));
}

#[tokio::test]
async fn the_rule_of_the_host_decides() {
    let gateway = Gateway::with(policy(), |b| {
        b.settlement(|response| match response.status.as_u16() {
            503 => Settlement::Release,
            202 => Settlement::ChargeAmount(Amount(2)),
            _ => Settlement::Charge,
        })
    })
    .await;
    let unavailable = Call::sms().key("a").header("x-status", "503");
    assert_eq!(gateway.send(unavailable.clone()).await.status, 503);
    assert!(!gateway.send(unavailable).await.is_replay());
    assert_eq!(gateway.money("acme"), (START, 0));
    let cheaper = Call::sms().key("b").header("x-status", "202");
    assert_eq!(gateway.send(cheaper.clone()).await.status, 202);
    assert!(gateway.send(cheaper).await.is_replay());
    assert_eq!(gateway.money("acme"), (START - 2, 0));
}

#[tokio::test]
async fn a_settlement_is_tried_again_and_then_reported() {
    let reported = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let reports = std::sync::Arc::clone(&reported);
    let gateway = Gateway::with(policy(), |b| {
        b.on_finish_error(move |ticket, error| {
            reports.lock().unwrap().push((ticket.reserved, error.clone()));
        })
    })
    .await;
    gateway.store.failing.store(2, Ordering::SeqCst);
    assert_eq!(gateway.send(Call::sms()).await.status, 201);
    assert_eq!(gateway.money("acme"), (START - PRICE, 0));
    assert!(reported.lock().unwrap().is_empty());

    gateway.store.failing.store(3, Ordering::SeqCst);
    assert_eq!(gateway.send(Call::sms()).await.status, 201);
    let reported = reported.lock().unwrap();
    assert_eq!(reported.len(), 1);
    assert!(matches!(reported[0], (Amount(PRICE), FinishError::Store(_))));
    assert_eq!(gateway.money("acme"), (START - PRICE, PRICE));
}

#[tokio::test]
async fn an_unkeyed_request_that_is_abandoned_is_settled_by_its_status() {
    let gateway = Gateway::start().await;
    let chunks = gateway.upstream.stream();
    let mut sender = client::connect(gateway.address).await;
    let call = Call::sms().mode("stream");
    let sent = sender.send_request(call.request(Full::new(call.body.clone())));
    chunks.send(Ok("first")).unwrap();
    let mut response = within(sent).await.unwrap();
    assert!(within(response.frame()).await.is_some());
    assert_eq!(gateway.finishes(), 0);
    drop((response, sender));
    // The server notices when it writes.
    let (_, finish) = within(async {
        loop {
            let _ = chunks.send(Ok("more"));
            tokio::select! {
                settled = gateway.settled() => break settled,
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
            }
        }
    })
    .await;
    assert_eq!(finish, Finish::Settle { amount: None, response: None });
    assert_eq!(gateway.money("acme"), (START - PRICE, 0));
}
