//! What falls due, in steps: no transaction deals with more than 1,000 entries.
#![cfg(test)]

mod common;

use std::sync::Arc;

use common::failing::{FailingMap, Plan};
use common::{LEASE_MS, NOW_MS, admit, charge, money, named, open, put_account};
use tollgate::{Admin, AdminError, Idempotency, StoreError};
use tollgate_kv::KvStore;

const DUE_MS: u64 = NOW_MS + LEASE_MS;

/// A store with so many leases in each of two accounts.
fn with_leases(in_each: usize) -> (Arc<FailingMap>, KvStore<Arc<FailingMap>>) {
    let map = Arc::new(FailingMap::default());
    let store = open(Arc::clone(&map));
    for name in ["first", "second"] {
        put_account(&store, name, 10_000);
        for _ in 0..in_each {
            charge(&store, name, 1).unwrap();
        }
    }
    map.fail(None);
    (map, store)
}

#[test]
fn a_sweep_is_many_transactions() {
    let (map, store) = with_leases(1_250);
    assert_eq!(Admin::new(&store).expire(DUE_MS).unwrap(), 2_500);
    assert!(map.begun() >= 3, "{}", map.begun());
    assert_eq!(["first", "second"].map(|name| money(&store, name)), [(10_000, 0, 0); 2]);
    store.verify().unwrap();
}

#[test]
fn a_command_that_meets_too_much_waits_for_a_sweep() {
    let (map, store) = with_leases(1_250);
    admit(&store, &named("first"), &[], 1, &Idempotency::Absent, DUE_MS).unwrap();
    assert!(map.begun() >= 4, "{}", map.begun());
    assert_eq!(["first", "second"].map(|name| money(&store, name).1), [1, 0]);
    store.verify().unwrap();
}

/// What the steps before it did stays, and the next sweep goes on from there.
#[test]
fn a_sweep_that_fails_keeps_what_it_has_done() {
    let (map, store) = with_leases(600);
    let gone = StoreError::Unavailable { reason: "a test".into() };
    let (clean, clean_store) = with_leases(600);
    Admin::new(&clean_store).expire(DUE_MS).unwrap();
    let last = clean.calls();
    map.fail(Some(Plan { from: last, to: last, error: gone.clone().into() }));
    let error = Admin::new(&store).expire(DUE_MS).unwrap_err();
    assert_eq!(error, AdminError::Store(gone));
    let left = money(&store, "first").1 + money(&store, "second").1;
    assert!(left > 0 && left < 1_200, "{left}");
    store.verify().unwrap();
    assert_eq!(Admin::new(&store).expire(DUE_MS).unwrap(), left);
    assert_eq!(map.entries(), clean.entries());
}
