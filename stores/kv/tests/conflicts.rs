//! Writers that do not wait for each other.
#![cfg(test)]

mod common;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use common::{NOW_MS, bounded, id, money, named, open, put_account};
use tollgate::{Admin, Amount};
use tollgate_kv::{KvError, KvMap, KvStore, MemoryMap, MemoryRead, MemoryWrite};

const THREADS: u64 = 16;
const EACH: u64 = 10;

/// A map whose transactions take so long that all which begin at once meet.
struct Slow(MemoryMap);

impl KvMap for Slow {
    type Read<'m> = MemoryRead;
    type Write<'m> = MemoryWrite<'m>;

    fn read(&self) -> Result<MemoryRead, KvError> {
        self.0.read()
    }

    fn write(&self) -> Result<MemoryWrite<'_>, KvError> {
        let begun = self.0.write();
        thread::sleep(Duration::from_millis(2));
        begun
    }
}

/// Of one process: the second attempt runs alone, and so succeeds.
#[test]
fn within_a_process_two_attempts_are_enough() {
    let options = bounded(|options| options.max_attempts = 2);
    let store = KvStore::open(Slow(MemoryMap::optimistic()), &options).unwrap();
    put_account(&store, "acme", 0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..EACH {
                    Admin::new(&store).deposit(&id("acme"), Amount(1), NOW_MS).unwrap();
                }
            });
        }
    });
    assert_eq!(money(&store, "acme"), (THREADS * EACH, 0, 0));
    store.verify().unwrap();
}

/// As of several processes, each with a store of its own: what fails did nothing, and the rest is exact.
#[test]
fn between_processes_what_fails_did_nothing() {
    let map = Arc::new(MemoryMap::optimistic());
    put_account(&open(Arc::clone(&map)), "acme", 0);
    let options = bounded(|options| options.max_attempts = 2);
    let done: u64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let store = KvStore::open(Arc::clone(&map), &options).unwrap();
                scope.spawn(move || {
                    let deposit = || Admin::new(&store).deposit(&id("acme"), Amount(1), NOW_MS);
                    (0..500).filter(|_| deposit().is_ok()).count() as u64
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let store = open(map);
    assert_eq!(money(&store, "acme"), (done, 0, 0));
    assert!(done > 0);
    store.verify().unwrap();
}

/// A wallet of 100 is emptied by 100 charges of 1, whoever comes first.
#[test]
fn nothing_is_held_twice() {
    let map = Arc::new(MemoryMap::optimistic());
    put_account(&open(Arc::clone(&map)), "acme", 100);
    let options = bounded(|options| options.max_attempts = 1_000);
    let held: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let store = KvStore::open(Arc::clone(&map), &options).unwrap();
                scope.spawn(move || {
                    let charge = || {
                        let absent = tollgate::Idempotency::Absent;
                        let admission =
                            common::admit(&store, &named("acme"), &[], 1, &absent, NOW_MS);
                        admission.unwrap().verdict
                    };
                    let admitted =
                        |verdict: &_| matches!(verdict, tollgate::AdmitVerdict::Admitted { .. });
                    (0..50).map(|_| charge()).filter(admitted).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(held, 100);
    assert_eq!(money(&open(map), "acme"), (100, 100, 0));
}
