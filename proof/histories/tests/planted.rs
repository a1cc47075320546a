//! Stores with a fault, used by real threads: each fault is found within a bounded number of histories.
#![allow(missing_docs, clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "tests")]

use std::thread;

use tollgate::{MemoryStore, Store};
use tollgate_histories::planted::{CheckThenAct, NoRevision, StaleReads};
use tollgate_histories::{LookUps, judge, record};

const BATCH: u64 = 100;
const MOST: u64 = 20_000;

/// The number of the first history that is not linearizable.
fn first_fault<S: Store>(open: impl Fn() -> S) -> Option<u64> {
    (0..MOST / BATCH).find_map(|batch| {
        let store = open();
        let numbers = batch * BATCH..(batch + 1) * BATCH;
        let histories = record(&store, numbers, 4).unwrap();
        let faulty = |history| judge(history, LookUps::Fresh).err();
        histories.iter().find_map(faulty).map(|violation| {
            assert!(violation.to_string().contains("is not linearizable"));
            violation.number
        })
    })
}

#[test]
fn a_check_before_the_act_is_found() {
    let store = || CheckThenAct { store: MemoryStore::default(), pause: thread::yield_now };
    assert!(first_fault(store).is_some());
}

#[test]
fn a_credential_that_is_not_compared_is_found() {
    assert!(first_fault(|| NoRevision(MemoryStore::default())).is_some());
}

#[test]
fn a_stale_read_is_found() {
    assert!(first_fault(|| StaleReads::new(MemoryStore::default())).is_some());
}
