//! When there is something to expire: whoever asks, and then waits, misses nothing.
#![cfg(test)]

mod common;

use common::{
    LEASE_MS, NOW_MS, RETENTION_MS, admit, digest, limits, named, open, put_account, with_key,
};
use tollgate::{Admin, Admit, Idempotency, Store};
use tollgate_kv::MemoryMap;

#[test]
fn an_empty_store_has_nothing_due() {
    let store = open(MemoryMap::default());
    assert_eq!(store.next_due_ms(), Ok(None));
    assert_eq!(store.is_empty(), Ok(true));
    put_account(&store, "acme", 100);
    assert_eq!(store.next_due_ms(), Ok(None));
    assert_eq!(store.is_empty(), Ok(false));
}

#[test]
fn the_first_of_leases_claims_and_cells() {
    let store = open(MemoryMap::default());
    put_account(&store, "acme", 100);
    let (token, account, limits) = (digest(1), named("acme"), limits(1));
    store.admit(&Admit::limits_only(&token, &account, &limits), NOW_MS).unwrap();
    let cell_ms = store.next_due_ms().unwrap().unwrap();
    assert!(cell_ms > NOW_MS + LEASE_MS, "it is kept for a minute after it is whole again");

    admit(&store, &named("acme"), &[], 10, &Idempotency::Absent, NOW_MS).unwrap();
    assert_eq!(store.next_due_ms(), Ok(Some(NOW_MS + LEASE_MS)));
    admit(&store, &named("acme"), &[], 10, &with_key(1), NOW_MS).unwrap();
    assert_eq!(store.next_due_ms(), Ok(Some(NOW_MS + RETENTION_MS)));
}

#[test]
fn an_alarm_at_that_time_ends_everything() {
    let store = open(MemoryMap::default());
    put_account(&store, "acme", 100);
    for (number, now_ms) in (0_u8..).zip([NOW_MS, NOW_MS + 7, NOW_MS + 900]) {
        admit(&store, &named("acme"), &limits(9), 1, &with_key(number), now_ms).unwrap();
    }
    let (mut alarms, mut ended, mut now_ms) = (0, 0, 0);
    while let Some(due_ms) = store.next_due_ms().unwrap() {
        assert!(due_ms > now_ms, "an alarm that went off left something to do then");
        now_ms = due_ms;
        ended += Admin::new(&store).expire(now_ms).unwrap();
        alarms += 1;
        assert!(alarms < 30);
    }
    assert_eq!(ended, 6);
    assert_eq!(Admin::new(&store).expire(now_ms + 1_000_000), Ok(0));
    assert_eq!(store.verify().unwrap(), 7, "format, totals, and five of the account");
}
