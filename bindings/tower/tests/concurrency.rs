//! Many connections at once: limits hold, money is conserved, one key runs once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "helpers of tests may fail as tests do"
)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::*;
use tokio::task::JoinSet;
use tollgate::*;

/// Sends each connection's calls one after the other, all connections at once.
async fn storm(gateway: &Gateway, connections: Vec<Vec<Call>>) -> Vec<Reply> {
    let mut tasks = JoinSet::new();
    let barrier = Arc::new(tokio::sync::Barrier::new(connections.len()));
    for calls in connections {
        let (address, barrier) = (gateway.address, Arc::clone(&barrier));
        tasks.spawn(async move {
            let mut sender = client::connect(address).await;
            barrier.wait().await;
            let mut replies = Vec::new();
            for call in calls {
                replies.push(client::send_on(&mut sender, &call).await);
            }
            replies
        });
    }
    within(tasks.join_all()).await.concat()
}

fn count(replies: &[Reply], status: u16) -> usize {
    replies.iter().filter(|reply| reply.status == status).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_quota_of_120_admits_exactly_120() {
    let gateway = Gateway::start().await;
    let replies = storm(&gateway, vec![vec![Call::new("GET", "/balance"); 25]; 16]).await;
    assert_eq!((count(&replies, 201), count(&replies, 429)), (120, 280));
    assert_eq!(gateway.executions(), 120);
    let mut left: Vec<u32> = replies
        .iter()
        .filter(|reply| reply.status == 201)
        .map(|reply| reply.header("x-ratelimit-remaining").unwrap().parse().unwrap())
        .collect();
    left.sort_unstable();
    assert_eq!(left, (0..120).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_charges_never_overdraw_a_wallet() {
    let gateway = Gateway::start().await;
    gateway.account("small", 37 * PRICE + 2, AccountPatch::default());
    gateway.token(2, "small", TokenPatch::default());
    let replies = storm(&gateway, vec![vec![Call::sms().token(2); 7]; 16]).await;
    assert_eq!((count(&replies, 201), count(&replies, 402)), (37, 112 - 37));
    assert_eq!(gateway.executions(), 37);
    let wallet = gateway.admin().account(&AccountId::new("small").unwrap(), NOW_MS).unwrap().wallet;
    assert_eq!(
        (wallet.balance, wallet.held, wallet.posted),
        (Amount(2), Amount::ZERO, Amount(37 * PRICE))
    );
    assert_eq!(gateway.finishes(), 37);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_duplicates_at_once_run_once() {
    let gateway = Gateway::start().await;
    let call = Call::sms().key("order-1");
    let replies = storm(&gateway, vec![vec![call.clone()]; 64]).await;
    let original = gateway.send(call).await;
    let mut first = 0;
    for reply in &replies {
        match reply.status {
            201 => {
                assert_eq!(reply.body, original.body);
                first += usize::from(!reply.is_replay());
            }
            409 => assert_eq!(reply.code(), "idempotency_in_flight"),
            other => panic!("{other}"),
        }
    }
    assert_eq!((first, gateway.executions(), gateway.finishes()), (1, 1, 1));
    assert_eq!(gateway.money("acme"), (1_000_000 - PRICE, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reload_changes_the_next_request_and_no_running_one() {
    let gateway = Gateway::start().await;
    let call = Call::sms().key("order-1").mode("slow");
    let running = tokio::spawn(client::send(gateway.address, call.clone()));
    gateway.upstream.next_call().await;

    let mut stricter = policy();
    stricter.limits.get_mut("token").unwrap().quota = 7;
    stricter.scopes.remove("balance");
    gateway.live.reload(stricter.compile().unwrap());
    assert_eq!(gateway.send(Call::new("GET", "/balance")).await.status, 403);

    gateway.upstream.release.add_permits(1);
    let reply = within(running).await.unwrap();
    assert_eq!((reply.status, reply.header("x-ratelimit-limit")), (201, Some("120")));
    assert_eq!(gateway.money("acme"), (1_000_000 - PRICE, 0));
    let again = gateway.send(call).await;
    assert!(again.is_replay());
    assert_eq!(again.header("x-ratelimit-limit"), Some("7"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reloads_under_load_lose_no_settlement() {
    let gateway = Gateway::start().await;
    let quota = Some(Some(TokenQuota { limit: 1_000_000, window_ms: 60_000 }));
    gateway.token(1, "acme", TokenPatch { quota, ..TokenPatch::default() });
    let stop = Arc::new(AtomicUsize::new(0));
    let (live, stopped) = (Arc::clone(&gateway.live), Arc::clone(&stop));
    let reloads = tokio::task::spawn_blocking(move || {
        for n in 0..100_000 {
            if stopped.load(Ordering::SeqCst) == 1 {
                return n;
            }
            let mut policy = policy();
            policy.answers.ietf_ratelimit = n % 2 == 0;
            live.reload(policy.compile().unwrap());
        }
        100_000
    });
    let connections =
        (0..8).map(|c| (0..50).map(|n| Call::sms().key(&format!("{c}-{n}"))).collect()).collect();
    let replies = storm(&gateway, connections).await;
    stop.store(1, Ordering::SeqCst);
    assert!(within(reloads).await.unwrap() > 0);
    assert_eq!(count(&replies, 201), 400);
    assert_eq!(gateway.money("acme"), (1_000_000 - 400 * PRICE, 0));
}
