//! Processes that share a region over a file, and are killed at any instruction.
//!
//! The test starts itself again as its workers; a worker writes one byte per unit that it took to its standard
//! output, which is a pipe. `TOLLGATE_KILL_SECONDS` says for how long workers are killed.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

mod common;

use std::collections::HashSet;
use std::env;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{ALGORITHMS, KEY, NOW_MS, key, limit};
use tempfile::TempDir;
use tollgate::{Limit, LimitStore, Quota, StoreError};
use tollgate_region::{Region, RegionOptions};

const PATH: &str = "TOLLGATE_REGION_PATH";
const START_MS: &str = "TOLLGATE_REGION_START_MS";
const WORKERS: usize = 4;
const THREADS: u64 = 2;
const KEYS: u64 = 3;
const OPTIONS: RegionOptions = RegionOptions { cells: 200, windows: 100 };
const WINDOW_MS: u64 = 1 << 43;

/// What a worker reports: an algorithm and a key.
fn byte(algorithm: usize, key: u64) -> u8 {
    u8::try_from(algorithm as u64 * KEYS + key).unwrap()
}

/// For how long workers are killed.
fn seconds() -> u64 {
    env::var("TOLLGATE_KILL_SECONDS").map_or(3, |seconds| seconds.parse().unwrap())
}

/// Hard to use up before the end; none of it refills meanwhile.
fn quota() -> Quota {
    Quota::new(30_000 * seconds(), WINDOW_MS)
}

fn wall_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Not a test of its own: what a worker does, when the variable is there.
#[test]
fn worker() {
    let Ok(path) = env::var(PATH) else { return };
    let region = Region::open(path, &OPTIONS, &KEY).unwrap();
    let limits = ALGORITHMS.map(|algorithm| limit(algorithm, 1));
    let start_ms: u64 = env::var(START_MS).unwrap().parse().unwrap();
    let quota = &quota();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (region, limits) = (&region, &limits);
            scope.spawn(move || {
                let mut fresh = u64::from(std::process::id()) << 32 | thread << 31;
                let mut open = [[true; KEYS as usize]; 3];
                while open.iter().flatten().any(|open| *open) {
                    for (algorithm, limit) in limits.iter().enumerate() {
                        for number in 0..KEYS {
                            let open = &mut open[algorithm][number as usize];
                            *open = *open && take(region, limit, quota, algorithm, number);
                        }
                        // Keys that come and go: slots and blocks change hands all the while.
                        fresh += 1;
                        churn(region, limit, fresh, NOW_MS + wall_ms() - start_ms);
                    }
                }
            });
        }
    });
}

fn take(region: &Region, limit: &Limit, quota: &Quota, algorithm: usize, number: u64) -> bool {
    let check = region.take(&key(limit, number), limit, quota, NOW_MS).unwrap();
    let taken = check.verdict.is_ok();
    if taken {
        // One byte and one call: it is there as a whole or not at all.
        std::io::stdout().lock().write_all(&[byte(algorithm, number)]).unwrap();
        std::io::stdout().flush().unwrap();
    }
    taken
}

/// Counts under a key that soon makes room for others.
fn churn(region: &Region, limit: &Limit, number: u64, now_ms: u64) {
    for number in [number, number / 16] {
        match region.take(&key(limit, number), limit, &Quota::new(8, 1), now_ms) {
            Ok(_) | Err(StoreError::Full { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

struct Worker {
    child: Child,
    reader: JoinHandle<[u64; 9]>,
}

fn start(path: &Path, start_ms: u64) -> Worker {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["worker", "--exact", "--nocapture", "--test-threads=1"])
        .env(PATH, path)
        .env(START_MS, start_ms.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    Worker { child, reader: thread::spawn(move || count(stdout)) }
}

/// How often each byte came; the test harness prints text, which has none of them but line ends (10).
fn count(mut from: ChildStdout) -> [u64; 9] {
    let (mut counts, mut buffer) = ([0; 9], [0; 1 << 16]);
    loop {
        match from.read(&mut buffer).unwrap() {
            0 => return counts,
            read => {
                for byte in &buffer[..read] {
                    if let Some(count) = counts.get_mut(usize::from(*byte)) {
                        *count += 1;
                    }
                }
            }
        }
    }
}

#[test]
fn no_quota_is_overrun_and_nobody_is_stuck_when_workers_are_killed() {
    let directory = TempDir::new_in(if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "." });
    let directory = directory.unwrap();
    let path = directory.path().join("region");
    let region = Region::open(&path, &OPTIONS, &KEY).unwrap();
    let (start_ms, quota) = (wall_ms(), quota());
    let mut workers: Vec<Worker> = (0..WORKERS).map(|_| start(&path, start_ms)).collect();
    let (mut totals, mut kills) = ([0_u64; 9], 0_u64);
    let mut add = |counts: [u64; 9]| {
        totals.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
    };
    let end = Instant::now() + Duration::from_secs(seconds());
    while Instant::now() < end {
        thread::sleep(Duration::from_millis(100));
        let mut worker = workers.remove(0);
        worker.child.kill().unwrap();
        let status = worker.child.wait().unwrap();
        kills += u64::from(!status.success());
        add(worker.reader.join().unwrap());
        let alive: HashSet<u32> = workers.iter().map(|worker| worker.child.id()).collect();
        let own = std::process::id();
        region.reclaim_dead(NOW_MS, |id| id == own || alive.contains(&id)).unwrap();
        workers.push(start(&path, start_ms));
    }
    let deadline = Instant::now() + Duration::from_secs(300);
    for mut worker in workers {
        while worker.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "a worker is stuck");
            thread::sleep(Duration::from_millis(10));
        }
        assert!(worker.child.wait().unwrap().success());
        add(worker.reader.join().unwrap());
    }
    println!("{kills} kills, taken: {totals:?}");
    for total in totals {
        assert!(total <= quota.units, "{total} of {} were taken", quota.units);
        // A thread that is killed may have taken one unit that it had no time to report.
        assert!(total + kills * THREADS >= quota.units, "{total} and {kills} kills");
    }
    // Nothing was lost for good: all blocks that the options promise can be linked.
    region.reclaim_dead(NOW_MS, |id| id == std::process::id()).unwrap();
    let later_ms = NOW_MS + WINDOW_MS + WINDOW_MS / 8;
    region.expire(later_ms).unwrap();
    let sliding = limit(ALGORITHMS[2], 1);
    for number in 0..OPTIONS.windows as u64 {
        let fresh = key(&sliding, u64::MAX - number);
        assert!(region.take(&fresh, &sliding, &Quota::new(1, 1_000), later_ms).is_ok());
    }
}

#[test]
fn threads_that_open_a_file_at_once_share_one_region() {
    for _ in 0..20 {
        let directory = TempDir::new().unwrap();
        let path = Arc::new(directory.path().join("region"));
        let barrier = Arc::new(Barrier::new(8));
        let limit = limit(ALGORITHMS[0], 1);
        let handles: Vec<_> = (0..8)
            .map(|_| {
                let (path, barrier, limit) = (path.clone(), barrier.clone(), limit.clone());
                thread::spawn(move || {
                    barrier.wait();
                    let region = Region::open(&*path, &OPTIONS, &KEY).unwrap();
                    let quota = Quota::new(5, 60_000);
                    region.take(&key(&limit, 1), &limit, &quota, NOW_MS).unwrap().verdict.is_ok()
                })
            })
            .collect();
        let taken = handles.into_iter().map(|handle| handle.join().unwrap());
        assert_eq!(taken.filter(|taken| *taken).count(), 5);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "a file was left over");
    }
}
