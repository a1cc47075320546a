//! Every documented answer, over a real socket.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "helpers of tests may fail as tests do"
)]

mod common;

use common::*;
use tollgate::*;

fn patch() -> TokenPatch {
    TokenPatch::default()
}

#[tokio::test]
async fn allowed_requests_get_the_limit_headers_and_are_charged() {
    let gateway = Gateway::start().await;
    let reply = gateway.send(Call::sms()).await;
    assert_eq!((reply.status, &reply.body[..]), (201, &b"{\"id\":1}"[..]));
    assert_eq!(reply.header("x-ratelimit-limit"), Some("120"));
    assert_eq!(reply.header("x-ratelimit-remaining"), Some("119"));
    assert!(reply.header("x-ratelimit-reset").is_some());
    assert_eq!(reply.header("set-cookie"), Some("session=secret"));
    assert_eq!(gateway.money("acme"), (1_000_000 - PRICE, 0));
    let told = gateway.upstream.admitted.lock().unwrap().clone();
    assert_eq!(told, Some((Some("POST /sms/send".into()), PRICE)));

    // Nothing to settle, and the headers all the same.
    let reply = gateway.send(Call::new("GET", "/balance")).await;
    assert_eq!((reply.status, reply.header("x-ratelimit-remaining")), (201, Some("118")));
    assert_eq!(gateway.finishes(), 1);
    let told = gateway.upstream.admitted.lock().unwrap().clone();
    assert_eq!(told, Some((Some("GET /balance".into()), 0)));
}

#[tokio::test]
async fn unauthorized_401() {
    let gateway = Gateway::start().await;
    let missing = gateway.send(Call::sms().without("authorization")).await;
    assert_eq!((missing.status, missing.code().as_str()), (401, "missing_token"));
    assert_eq!(missing.header("www-authenticate"), Some("Bearer realm=\"api\""));
    gateway.token(2, "acme", patch());
    let digest = gateway.live.load().digest(&token(2));
    gateway.admin().revoke_token(&digest, NOW_MS).unwrap();
    let unknown = Call::sms().token(9);
    let revoked = Call::sms().token(2);
    let malformed =
        Call::sms().without("authorization").header("authorization", "Bearer tg_live_x");
    let doubled = Call::sms().header("authorization", "Bearer x");
    for call in [unknown, revoked, malformed, doubled] {
        let reply = gateway.send(call).await;
        assert_eq!((reply.status, reply.code().as_str()), (401, "invalid_token"));
        let challenge = reply.header("www-authenticate").unwrap();
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    }
    assert_eq!(gateway.executions(), 0);
}

#[tokio::test]
async fn payment_402_and_forbidden_403() {
    let gateway = Gateway::start().await;
    gateway.account("poor", PRICE - 1, AccountPatch::default());
    gateway.token(2, "poor", patch());
    gateway.token(3, "acme", TokenPatch { scopes: Some(vec!["reports".into()]), ..patch() });
    let elsewhere = Some(vec![parse_network("203.0.113.0/24").unwrap()]);
    gateway.token(4, "acme", TokenPatch { networks: elsewhere, ..patch() });
    let cap = SpendCap { per: Period::Day, amount: Amount(PRICE - 1), shadow: false };
    gateway.token(5, "acme", TokenPatch { spend_caps: Some(vec![cap]), ..patch() });
    let here = Some(vec![parse_network("127.0.0.1").unwrap()]);
    gateway.token(6, "acme", TokenPatch { networks: here, ..patch() });

    let table = [
        (2, 402, "insufficient_balance"),
        (3, 403, "insufficient_scope"),
        (4, 403, "ip_not_allowed"),
        (5, 403, "spend_cap_exceeded"),
    ];
    for (seed, status, code) in table {
        let reply = gateway.send(Call::sms().token(seed)).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code));
        assert!(reply.header("x-ratelimit-remaining").is_some(), "{code}");
        assert_eq!(reply.header("content-type"), Some("application/json"));
    }
    assert_eq!(gateway.executions(), 0);
    assert_eq!(gateway.send(Call::sms().token(6)).await.status, 201);
    assert_eq!(gateway.money("poor"), (PRICE - 1, 0));
}

#[tokio::test]
async fn unprocessable_422() {
    let gateway = Gateway::start().await;
    assert_eq!(gateway.send(Call::sms().key("used")).await.status, 201);
    let table = [
        (Call::sms().header("x-sender", "EVIL"), "sender_not_approved"),
        (Call::sms().header("x-invalid", "no 'to'"), "validation_failed"),
        (Call::sms().key("used").body("other"), "idempotency_key_reused"),
        (Call::sms().key("two words"), "idempotency_key_invalid"),
        (Call::sms().key("a").key("b"), "idempotency_key_invalid"),
        (Call::sms().header("idempotency-key", b"\xff\xfe"), "idempotency_key_invalid"),
    ];
    for (call, code) in table {
        let reply = gateway.send(call).await;
        assert_eq!((reply.status, reply.code().as_str()), (422, code));
    }
    let reply = gateway.send(Call::sms().header("x-invalid", "no 'to'")).await;
    assert!(String::from_utf8_lossy(&reply.body).contains("no 'to'"));
    assert_eq!(gateway.send(Call::sms().header("x-sender", "ACME")).await.status, 201);
    assert_eq!(gateway.executions(), 2);
}

#[tokio::test]
async fn rate_limited_429() {
    let gateway = Gateway::start().await;
    let quota = Some(Some(TokenQuota { limit: 2, window_ms: 60_000 }));
    gateway.token(2, "acme", TokenPatch { quota, ..patch() });
    for _ in 0..2 {
        assert_eq!(gateway.send(Call::sms().token(2)).await.status, 201);
    }
    let reply = gateway.send(Call::sms().token(2)).await;
    assert_eq!((reply.status, reply.code().as_str()), (429, "rate_limited"));
    assert_eq!(reply.header("retry-after"), Some("30"));
    assert_eq!(reply.header("x-ratelimit-remaining"), Some("0"));
    gateway.now_ms.store(NOW_MS + 30_000, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(gateway.send(Call::sms().token(2)).await.status, 201);

    // One-time passwords also by source address, whatever the token.
    for n in 0..10 {
        let call = Call::new("POST", "/otp/send").body(format!("{n}"));
        assert_eq!(gateway.send(call).await.status, 201);
    }
    let reply = gateway.send(Call::new("POST", "/otp/send")).await;
    assert_eq!((reply.status, reply.code().as_str()), (429, "rate_limited"));
    assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
}

#[tokio::test]
async fn replays_are_byte_identical_and_free() {
    let gateway = Gateway::start().await;
    let call = Call::sms().key("order-1");
    let first = gateway.send(call.clone()).await;
    assert_eq!((first.status, first.is_replay()), (201, false));
    for _ in 0..3 {
        let again = gateway.send(call.clone()).await;
        assert!(again.is_replay());
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        for name in ["content-type", "location", "content-length"] {
            assert_eq!(again.header(name), first.header(name), "{name}");
        }
        assert_eq!(again.header("set-cookie"), None);
    }
    assert_eq!(gateway.executions(), 1);
    assert_eq!(gateway.money("acme"), (1_000_000 - PRICE, 0));
    // Another account's token never sees it.
    gateway.account("other", 100, AccountPatch::default());
    gateway.token(2, "other", patch());
    assert!(!gateway.send(call.token(2)).await.is_replay());
}

#[tokio::test]
async fn a_duplicate_of_a_running_request_is_a_409() {
    let gateway = Gateway::start().await;
    let call = Call::sms().key("order-1").mode("slow");
    let first = tokio::spawn(client::send(gateway.address, call.clone()));
    gateway.upstream.next_call().await;
    let second = gateway.send(call.clone()).await;
    assert_eq!((second.status, second.code().as_str()), (409, "idempotency_in_flight"));
    assert_eq!(second.header("retry-after"), Some("1"));
    gateway.upstream.release.add_permits(1);
    let first = within(first).await.unwrap();
    let third = gateway.send(call).await;
    assert!(third.is_replay());
    assert_eq!((third.status, third.body), (first.status, first.body));
    assert_eq!(gateway.executions(), 1);
}

#[tokio::test]
async fn what_a_status_means_for_money_and_key() {
    let gateway = Gateway::start().await;
    let mut balance = 1_000_000;
    for (status, price) in [("200", 5), ("204", 5), ("303", 5), ("404", 0), ("500", 0), ("503", 0)]
    {
        let call = Call::sms().key(status).header("x-status", status);
        let first = gateway.send(call.clone()).await;
        let again = gateway.send(call).await;
        assert_eq!(first.status.to_string(), status);
        assert!(again.is_replay(), "{status}");
        assert_eq!((again.status, again.body), (first.status, first.body));
        balance -= price;
        assert_eq!(gateway.money("acme"), (balance, 0), "{status}");
    }
    assert_eq!(gateway.executions(), 6);
}
