//! The store that answers later.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects, reason = "small numbers")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::limits::any_limit;
use common::proxy::Proxy;
use common::world::*;
use common::{Cluster, Server, options, store};
use tollgate::*;
use tollgate_redis::AsyncRedisStore;

const QUOTA: u64 = 40;

fn limits() -> [Limit; 2] {
    let mut limit = any_limit();
    limit.quota = Quota::new(QUOTA, 86_400_000_000);
    let mut global = limit.clone();
    global.partition = Partition::Global;
    global.id = LimitId::of("global", global.algorithm);
    [limit, global]
}

async fn ask(store: &AsyncRedisStore, number: u64) -> Result<Admission, StoreError> {
    let (token, account, idempotency, limits) = (token("t"), acme_ref(), key(number), limits());
    let plain = Admit::limits_only(&token, &account, &limits);
    let charge = Some(Amount(1));
    let admit = Admit { idempotency: &idempotency, charge, charge_rule: &RULE, ..plain };
    match store.perform_async(&Command::Admit(admit), NOW_MS).await? {
        Outcome::Admission(admission) => Ok(admission),
        _ => Err(StoreError::WrongOutcome),
    }
}

/// 64 tasks at once, of which as many go through as the quota has room for.
async fn exact(url: &str) {
    let options = options(url);
    set_up(&tollgate_redis::RedisStore::new(&options).unwrap(), 1_000);
    let store = Arc::new(AsyncRedisStore::new(&options).unwrap());
    let task = |number| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { ask(&store, number).await.unwrap().verdict })
    };
    let tasks: Vec<_> = (0..64).map(task).collect();
    let mut admitted = 0;
    for task in tasks {
        admitted += u64::from(matches!(task.await.unwrap(), AdmitVerdict::Admitted { .. }));
    }
    assert_eq!(admitted, QUOTA);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn limits_are_exact_among_tasks() {
    let server = Server::start(&[]);
    exact(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_taken_in_a_cluster_is_given_back_by_denials() {
    let cluster = Cluster::start();
    let options = options(&cluster.url());
    set_up(&tollgate_redis::RedisStore::new(&options).unwrap(), 5);
    let store = AsyncRedisStore::new(&options).unwrap();
    let mut left = 0;
    for number in 0..5 {
        let admission = ask(&store, number).await.unwrap();
        left = admission.tightest.unwrap().left.remaining;
        assert!(matches!(admission.verdict, AdmitVerdict::Admitted { .. }));
    }
    assert_eq!(left, QUOTA - 5);
    // Without money, but the request counts: its limits count requests.
    let denied = ask(&store, 5).await.unwrap();
    assert!(matches!(denied.verdict, AdmitVerdict::Denied(Denial::InsufficientBalance { .. })));
    assert_eq!(denied.tightest.unwrap().left.remaining, QUOTA - 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lost_reply_is_asked_for_again() {
    let server = Server::start(&[]);
    let proxy = Proxy::start(server.port);
    let options = options(&proxy.url());
    let operator = tollgate_redis::RedisStore::new(&options).unwrap();
    set_up(&operator, 100);
    let store = AsyncRedisStore::new(&options).unwrap();
    for number in 0..4 {
        proxy.cut_after(0);
        let admission = ask(&store, number).await.unwrap();
        assert!(matches!(admission.verdict, AdmitVerdict::Admitted { .. }));
        assert!(proxy.has_cut());
    }
    let wallet = inspect(&operator);
    assert_eq!((wallet.held, wallet.sequence), (Amount(4), 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_is_gone_is_unavailable_in_time_and_comes_back() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    set_up(&store(&server.url()), 1);
    let mut options = options(&server.url());
    options.response_timeout = Duration::from_millis(300);
    options.connect_timeout = Duration::from_millis(300);
    let store = Arc::new(AsyncRedisStore::new(&options).unwrap());
    assert!(ask(&store, 0).await.is_ok());
    server.signal("-STOP");
    let start = Instant::now();
    let task = |number| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { ask(&store, number).await })
    };
    let tasks: Vec<_> = (1..33).map(task).collect();
    for task in tasks {
        assert!(matches!(task.await.unwrap(), Err(StoreError::Unavailable { .. })));
    }
    let waited = start.elapsed();
    server.signal("-CONT");
    assert!(waited < Duration::from_secs(4), "{waited:?}");
    server.kill();
    assert!(reason(ask(&store, 40).await).contains("refused"));
    server.restart();
    assert!(ask(&store, 41).await.is_ok());
    assert!(!format!("{store:?}").contains("127.0.0.1"));
}
