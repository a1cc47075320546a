//! A cluster that changes under the store: slots that move, and a node that is lost.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects, reason = "small numbers")]

mod common;

use std::time::{Duration, Instant};

use common::limits::any_limit;
use common::world::*;
use common::{Cluster, Server, options};
use tollgate::*;
use tollgate_redis::RedisStore;
use tollgate_redis::redis::{self, FromRedisValue};

fn ask<T: FromRedisValue>(node: &Server, words: &[&str]) -> T {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query(&mut node.connection()).unwrap()
}

/// The node that serves a slot, and another one.
fn owner(cluster: &Cluster, slot: u16) -> (&Server, &Server) {
    let place = match slot {
        0..=5_460 => 0,
        5_461..=10_922 => 1,
        _ => 2,
    };
    (&cluster.nodes[place], &cluster.nodes[(place + 1) % 3])
}

fn slot_of(cluster: &Cluster, key: &str) -> u16 {
    ask(&cluster.nodes[0], &["CLUSTER", "KEYSLOT", key])
}

fn id_of(node: &Server) -> String {
    ask(node, &["CLUSTER", "MYID"])
}

fn migrate(from: &Server, to: &Server, keys: &[String]) {
    let mut migrate = redis::cmd("MIGRATE");
    migrate.arg("127.0.0.1").arg(to.port).arg("").arg(0).arg(5_000).arg("KEYS").arg(keys);
    let () = migrate.query(&mut from.connection()).unwrap();
}

#[test]
fn a_slot_that_moves_takes_its_account_along() {
    let cluster = Cluster::start();
    let options = options(&cluster.url());
    let store = RedisStore::new(&options).unwrap();
    set_up(&store, 100);
    let mut limit = any_limit();
    limit.quota = Quota::new(10, 86_400_000);
    let limits = [limit];
    admitted(charge(&store, 1, 5, &limits));

    let slot = slot_of(&cluster, &format!("{}:{{acme}}:a", options.protocol.prefix));
    let (from, to) = owner(&cluster, slot);
    let (slot, from_id, to_id) = (slot.to_string(), id_of(from), id_of(to));
    let () = ask(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
    let () = ask(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
    let keys: Vec<String> = ask(from, &["CLUSTER", "GETKEYSINSLOT", &slot, "1000"]);
    assert!(keys.len() > 4, "{keys:?}");
    // Half way, the account's keys are on two nodes: it cannot be served, and nothing else is said.
    migrate(from, to, &keys[..keys.len() / 2]);
    let text = reason(charge(&store, 2, 5, &limits));
    assert!(text.contains("cluster"), "{text}");
    migrate(from, to, &keys[keys.len() / 2..]);
    for node in [to, from] {
        let () = ask(node, &["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
    }
    let admission = charge(&store, 3, 5, &limits).unwrap();
    assert_eq!(admission.tightest.unwrap().left.remaining, 8);
    let wallet = inspect(&store);
    assert_eq!((wallet.held, wallet.open_reservations), (Amount(10), 2));
}

#[test]
fn a_cluster_that_lost_a_node_is_unavailable() {
    let mut cluster = Cluster::start();
    let options = options(&cluster.url());
    let store = RedisStore::new(&options).unwrap();
    set_up(&store, 100);
    admitted(charge(&store, 1, 5, &[]));
    let slot = slot_of(&cluster, &format!("{}:{{acme}}:a", options.protocol.prefix));
    let port = owner(&cluster, slot).0.port;
    cluster.nodes.iter_mut().find(|node| node.port == port).unwrap().kill();
    let start = Instant::now();
    let text = reason(charge(&store, 2, 5, &[]));
    assert!(!text.is_empty() && start.elapsed() < Duration::from_secs(30), "{text}");
}

#[test]
fn a_node_asked_as_if_it_were_alone_says_that_it_is_not() {
    let cluster = Cluster::start();
    let said: Vec<String> = cluster
        .nodes
        .iter()
        .map(|node| {
            let store = RedisStore::new(&options(&node.url())).unwrap();
            let account = &acme();
            let inspect = Administration::Inspect { account };
            match store.perform(&Command::Administer(&inspect), NOW_MS) {
                Err(StoreError::Unavailable { reason }) => reason.into(),
                _ => String::new(),
            }
        })
        .collect();
    let of_cluster = said.iter().filter(|text| text.contains("node of a cluster")).count();
    assert!(of_cluster >= 1, "{said:?}");
}
