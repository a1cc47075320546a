//! Two processes with eight threads each on one store: limits let exactly their quota through, a key runs
//! once, and a wallet is never overdrawn.
//!
//! This program is its own workers: with arguments it works, without it starts two and counts.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::indexing_slicing
)]

mod common;

use std::collections::BTreeMap;
use std::process::{Command as Process, Stdio};
use std::sync::Arc;

use common::limits::any_limit;
use common::world::*;
use common::{Cluster, Server, fresh_prefix, options};
use tollgate::*;
use tollgate_redis::RedisStore;

const THREADS: u64 = 8;
const QUOTA: u64 = 300;
const KEYS: u64 = 200;
const BALANCE: u64 = 120;

fn limit(algorithm: Algorithm, partition: Partition) -> Limit {
    let mut limit = any_limit();
    limit.algorithm = algorithm;
    limit.id = LimitId::of("contended", algorithm);
    limit.partition = partition;
    limit.quota = Quota::new(QUOTA, 86_400_000_000);
    limit
}

/// The three limits that are contended, one after the other.
fn limits() -> [Limit; 3] {
    [
        limit(Algorithm::Gcra, Partition::Token),
        limit(Algorithm::FixedWindow, Partition::Global),
        limit(Algorithm::SlidingWindow, Partition::SourceIp),
    ]
}

fn open(url: &str, prefix: &str) -> RedisStore {
    let mut options = options(url);
    options.protocol.prefix = prefix.into();
    RedisStore::new(&options).unwrap()
}

/// Prints `limit N` for each request that a limit let through, and `key N` for each that ran.
fn work(url: &str, prefix: &str) {
    let store = Arc::new(open(url, prefix));
    let thread = |number: u64| {
        let store = Arc::clone(&store);
        std::thread::spawn(move || {
            let mut lines = String::new();
            for (place, limit) in limits().into_iter().enumerate() {
                for _ in 0..QUOTA / THREADS {
                    let admission = plain(&*store, std::slice::from_ref(&limit)).unwrap();
                    if matches!(admission.verdict, AdmitVerdict::Admitted { .. }) {
                        lines.push_str(&format!("limit {place}\n"));
                    }
                }
            }
            for key in 0..KEYS {
                let key = (key + number * 7) % KEYS;
                let verdict = charge(&*store, key, 1, &[]).unwrap().verdict;
                if let AdmitVerdict::Admitted { reservation } = verdict {
                    lines.push_str(&format!("key {key}\n"));
                    settle(&*store, reservation.unwrap(), &answer("done")).unwrap();
                }
            }
            lines
        })
    };
    let threads: Vec<_> = (0..THREADS).map(thread).collect();
    for thread in threads {
        print!("{}", thread.join().unwrap());
    }
}

fn contend(url: &str) {
    let prefix = fresh_prefix();
    let store = open(url, &prefix);
    set_up(&store, BALANCE);
    let start = |_| {
        let mut process = Process::new(std::env::current_exe().unwrap());
        process.args(["work", url, &prefix]).stdout(Stdio::piped());
        process.spawn().unwrap()
    };
    let workers: Vec<_> = (0..2).map(start).collect();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for worker in workers {
        let output = worker.wait_with_output().unwrap();
        assert!(output.status.success());
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            *counts.entry(line.to_owned()).or_default() += 1;
        }
    }
    for place in 0..limits().len() {
        // The two asked for more than the quota together, each for less.
        let most = (QUOTA / THREADS * THREADS * 2).min(QUOTA);
        assert_eq!(counts.get(&format!("limit {place}")), Some(&most), "limit {place}");
    }
    let runs: Vec<u64> =
        counts.iter().filter(|(line, _)| line.starts_with("key")).map(|(_, runs)| *runs).collect();
    assert!(runs.iter().all(|runs| *runs == 1), "a key ran twice");
    assert_eq!(u64::try_from(runs.len()).unwrap(), BALANCE);
    let wallet = inspect(&store);
    conserved(&wallet);
    assert_eq!((wallet.balance, wallet.posted), (Amount::ZERO, Amount(BALANCE)));
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [work_word, url, prefix] = &arguments[..]
        && work_word == "work"
    {
        return work(url, prefix);
    }
    let server = Server::start(&[]);
    contend(&server.url());
    println!("test two_processes_share_a_server ... ok");
    let cluster = Cluster::start();
    contend(&cluster.url());
    println!("test two_processes_share_a_cluster ... ok");
}
