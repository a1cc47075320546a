use tempfile::TempDir;
use tollgate::{
    Admin, AdminError, Cell, CellKey, ClaimKey, FailureMode, Fingerprint, GcraCell, Idempotency,
    IdempotencyRule, LimitId, OnOrphan, StoreError,
};

use super::{LEASE_MS, NOW_MS, charge, id, money, open, put_account, put_raw, put_token, raw};
use crate::combine::Transactions;
use crate::error::Fault;
use crate::key;
use crate::view::View;

pub(super) fn with_key(number: u8) -> Idempotency {
    Idempotency::Key {
        claim: ClaimKey([number; 32]),
        fingerprint: Fingerprint([number; 32]),
        rule: IdempotencyRule {
            required: false,
            retention_ms: 1_000,
            on_orphan: OnOrphan::Conflict,
            on_store_failure: FailureMode::Closed,
        },
    }
}

/// Whatever byte of whatever record is flipped: the check of the whole store sees it.
#[test]
fn every_flipped_byte_is_seen() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    put_account(&store, "acme", 100);
    put_token(&store, 1, "acme");
    charge(&store, 0, 10, &with_key(1)).unwrap();
    let mut flipped = 0;
    for (key, bytes) in raw(&store) {
        if key == key::FORMAT {
            continue; // has its own check, when it is opened
        }
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x10;
            put_raw(&store, &key, &damaged);
            let found = store.verify();
            assert!(matches!(found, Err(StoreError::Corrupt { .. })), "{key:?} {place}: {found:?}");
            flipped += 1;
        }
        put_raw(&store, &key, &bytes);
    }
    assert!(flipped > 200, "{flipped}");
    store.verify().unwrap();
}

#[test]
fn a_record_under_the_key_of_another_is_seen() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    put_account(&store, "rich", 1_000_000);
    put_account(&store, "poor", 1);
    let records = raw(&store);
    let of = |wanted: &[u8]| records.iter().find(|(key, _)| key == wanted).unwrap().1.clone();
    put_raw(&store, &key::purse(1), &of(&key::purse(0)));
    let error = charge(&store, 1, 1_000, &Idempotency::Absent).unwrap_err();
    assert_eq!(error, StoreError::Corrupt { what: "an account's money" });
    let error = Admin::new(&store).account(&id("poor"), NOW_MS).unwrap_err();
    assert!(matches!(error, AdminError::Store(StoreError::Corrupt { .. })), "{error:?}");
    // The other account goes on.
    charge(&store, 0, 1_000, &Idempotency::Absent).unwrap();
}

#[test]
fn a_record_that_is_gone_is_no_empty_one() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    put_account(&store, "acme", 100);
    let mut writing = store.env.write_txn().unwrap();
    store.shared.database.delete(&mut writing, &key::purse(0)).unwrap();
    writing.commit().unwrap();
    let error = charge(&store, 0, 1, &Idempotency::Absent).unwrap_err();
    assert_eq!(error, StoreError::Corrupt { what: "an account's money" });
}

#[test]
fn a_sweep_passes_over_a_damaged_account_and_says_so() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    for name in ["first", "second", "third"] {
        put_account(&store, name, 100);
    }
    for number in 0..3 {
        charge(&store, number, 10, &Idempotency::Absent).unwrap();
    }
    let records = raw(&store);
    let prefix = key::reservations(1);
    let (key, mut bytes) = records.into_iter().find(|(key, _)| key.starts_with(&prefix)).unwrap();
    bytes[3] ^= 1;
    put_raw(&store, &key, &bytes);
    let error = Admin::new(&store).expire(NOW_MS + LEASE_MS).unwrap_err();
    assert_eq!(error, AdminError::Store(StoreError::Corrupt { what: "a reservation" }));
    let held = ["first", "second", "third"].map(|name| money(&store, name).1);
    assert_eq!(held, [0, 10, 0]);
}

/// Such an entry only says where to look: the cell itself says when it expires.
#[test]
fn a_damaged_entry_of_a_cell_keeps_nobody_out() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    put_account(&store, "acme", 100);
    charge(&store, 0, 10, &Idempotency::Absent).unwrap();
    put_cell(&store, 1, NOW_MS + 10).unwrap();
    let records = raw(&store);
    let (entry, mut bytes) = records.into_iter().find(|(key, _)| key[0] == key::CELL_DUE).unwrap();
    bytes[1] ^= 1;
    put_raw(&store, &entry, &bytes);
    // One that stands for nothing, and one that is no entry at all.
    put_raw(&store, &key::cell_due(NOW_MS, &cell_key(9)), &bytes);
    put_raw(&store, &[key::CELL_DUE, 0], &bytes);
    assert!(store.verify().is_err());
    put_cell(&store, 2, NOW_MS + 10).unwrap();
    let later_ms = NOW_MS + LEASE_MS + 100_000;
    assert_eq!(Admin::new(&store).expire(later_ms).unwrap(), 1);
    assert_eq!(store.statistics().unwrap().cells, 0);
    store.verify().unwrap();
}

fn cell_key(number: u8) -> CellKey {
    CellKey { limit: LimitId(1), partition: [number; 32] }
}

fn put_cell(store: &crate::LmdbStore, number: u8, expires_ms: u64) -> Result<(), Fault> {
    let cell = Cell::Gcra(GcraCell { tat_ns: expires_ms.saturating_mul(1_000_000) });
    store.transact(&mut |writing| {
        View::write(writing, &store.shared, NOW_MS).put_cell(&cell_key(number), &cell, expires_ms)
    })
}

#[test]
fn a_damaged_entry_of_an_account_keeps_no_sweep_from_the_others() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    for (name, number) in [("first", 0), ("second", 1)] {
        put_account(&store, name, 100);
        charge(&store, number, 10, &Idempotency::Absent).unwrap();
    }
    // One for an account that is not there; and the first account's, whose key is whole.
    let due_ms = NOW_MS + LEASE_MS;
    put_raw(&store, &key::account_due(due_ms - 1, 7), &[0]);
    put_raw(&store, &key::account_due(due_ms, 0), &[0]);
    let error = Admin::new(&store).expire(due_ms).unwrap_err();
    assert!(matches!(error, AdminError::Store(StoreError::Corrupt { .. })), "{error:?}");
    assert_eq!(["first", "second"].map(|name| money(&store, name).1), [0, 0]);
}

#[test]
fn a_file_of_something_else_is_refused() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    let records = raw(&store);
    let mut writing = store.env.write_txn().unwrap();
    for (key, _) in &records {
        store.shared.database.delete(&mut writing, key).unwrap();
    }
    store.shared.database.put(&mut writing, b"theirs", b"x").unwrap();
    writing.commit().unwrap();
    drop(store);
    let error = crate::LmdbStore::open(directory.path(), &crate::LmdbOptions::default());
    assert!(matches!(error, Err(crate::LmdbError::NotAStore { .. })), "{error:?}");
}
