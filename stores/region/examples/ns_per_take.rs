//! Nanoseconds a take, beside the cells of the memory store:
//! `cargo run --release -p tollgate-region --example ns_per_take [KEYS…]`; without, for 1,000 and for 1,000,000 keys.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![allow(
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    missing_docs,
    dead_code
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::env;
use std::process::Command;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use common::{ALGORITHMS, KEY, NOW_MS, key, limit, region};
use tollgate::{CellKey, Limit, LimitStore, MemoryOptions, MemoryStore, Quota};
use tollgate_region::{Region, RegionOptions};

const TAKES: u64 = 2_000_000;
const ROUNDS: usize = 7;

fn main() {
    if let Ok(path) = env::var("TOLLGATE_REGION_PATH") {
        return child(&path);
    }
    println!(
        "{:<14} {:>9} {:>14} {:>8} {:>8} {:>6}",
        "algorithm", "keys", "", "region", "memory", "ratio"
    );
    let mut counts: Vec<u64> = env::args().skip(1).map(|keys| keys.parse().unwrap()).collect();
    if counts.is_empty() {
        counts = vec![1_000, 1_000_000];
    }
    for algorithm in ALGORITHMS {
        for keys in counts.iter().copied() {
            let limit = limit(algorithm, 1);
            let mut options = MemoryOptions::default();
            options.max_cells = 4 * keys as usize;
            let memory = MemoryStore::new(options);
            let region = region(keys as usize, keys as usize);
            for threads in [1, 2] {
                let (mut ours, mut theirs) = (Vec::new(), Vec::new());
                for _ in 0..ROUNDS {
                    theirs.push(measure(&memory, &limit, keys, threads));
                    ours.push(measure(&region, &limit, keys, threads));
                }
                let (ours, theirs) = (median(ours), median(theirs));
                let what = format!("{threads} threads");
                println!(
                    "{:<14} {keys:>9} {what:>14} {ours:>8.1} {theirs:>8.1} {:>6.2}",
                    format!("{algorithm:?}"),
                    ours / theirs
                );
            }
            drop(region);
            let ours = median((0..3).map(|_| two_processes(keys, algorithm as u8)).collect());
            println!(
                "{:<14} {keys:>9} {:>14} {ours:>8.1}",
                format!("{algorithm:?}"),
                "2 processes"
            );
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Nanoseconds a take and thread; the keys are in no order that a cache could guess.
fn measure<S: LimitStore>(store: &S, limit: &Limit, keys: u64, threads: u64) -> f64 {
    let barrier = Barrier::new(threads as usize);
    let (barrier, keys_of) = (&barrier, &make_keys(limit, keys));
    thread::scope(|scope| {
        let run = |thread: u64| {
            takes(store, limit, keys_of, 17 * thread, keys); // fills and warms up
            barrier.wait();
            let start = Instant::now();
            takes(store, limit, keys_of, thread, TAKES);
            start.elapsed().as_nanos() as f64 / TAKES as f64
        };
        let handles: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        let sum: f64 = handles.into_iter().map(|handle| handle.join().unwrap()).sum();
        sum / threads as f64
    })
}

fn make_keys(limit: &Limit, keys: u64) -> Vec<CellKey> {
    (0..keys).map(|number| key(limit, number)).collect()
}

fn takes<S: LimitStore>(store: &S, limit: &Limit, keys: &[CellKey], seed: u64, count: u64) {
    let quota = Quota::new(1 << 40, 60_000);
    let mut at = seed;
    for _ in 0..count {
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let key = keys[((at >> 33) % keys.len() as u64) as usize];
        let check = store.take(&key, limit, &quota, NOW_MS).unwrap();
        assert!(check.verdict.is_ok());
    }
}

fn two_processes(keys: u64, algorithm: u8) -> f64 {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = directory.path().join("region");
    let start = |_| {
        Command::new(env::current_exe().unwrap())
            .env("TOLLGATE_REGION_PATH", &path)
            .env("TOLLGATE_REGION_KEYS", keys.to_string())
            .env("TOLLGATE_REGION_ALGORITHM", algorithm.to_string())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..2).map(start).collect();
    let ns = children.into_iter().map(|child| {
        let output = child.wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse::<f64>().unwrap()
    });
    ns.sum::<f64>() / 2.0
}

fn child(path: &str) {
    let number = |name: &str| env::var(name).unwrap().parse::<u64>().unwrap();
    let keys = number("TOLLGATE_REGION_KEYS");
    let algorithm = ALGORITHMS[number("TOLLGATE_REGION_ALGORITHM") as usize];
    let options = RegionOptions { cells: keys as usize, windows: keys as usize };
    let region = Region::open(path, &options, &KEY).unwrap();
    println!("{}", measure(&region, &limit(algorithm, 1), keys, 1));
}
