//! What is in a map, byte for byte, and what is not taken for a store.
#![cfg(test)]

mod common;

use std::sync::Arc;

use common::{NOW_MS, admit, named, open, put_account, put_raw, put_token, settle, with_key};
use tollgate::{
    Admin, AdmitVerdict, Amount, Cell, CellKey, FixedCell, GcraCell, LimitId, ReservationId,
    SlidingCell, StoreError,
};
use tollgate_kv::view::{View, Writing};
use tollgate_kv::{KvMap, KvOpenError, KvOptions, KvStore, KvWrite, MemoryMap, format, key};

/// When this fails, the layout of a record has changed: that is another format, and needs a step in
/// `format.rs`.
#[test]
fn the_present_format_is_this() {
    let map = Arc::new(MemoryMap::default());
    let store = open(Arc::clone(&map));
    put_account(&store, "acme", 1_000);
    put_token(&store, 1, "acme");
    let account = &tollgate::AccountRef::Slot(0);
    let admission = admit(&store, account, &[], 300, &with_key(2), NOW_MS).unwrap();
    let reservation = ReservationId(1);
    let admitted = AdmitVerdict::Admitted { reservation: Some(reservation) };
    assert_eq!(format!("{:?}", admission.verdict), format!("{admitted:?}"));
    settle(&store, account, reservation, 200).unwrap();
    Admin::new(&store).refund(account, reservation, Amount(7), "r-1", NOW_MS).unwrap();
    let options = KvOptions::default();
    let mut txn = map.write().unwrap();
    let mut writing = Writing::new(&mut txn).unwrap();
    for (limit, cell) in [
        (9, Cell::Gcra(GcraCell { tat_ns: 1 << 60 })),
        (10, Cell::FixedWindow(FixedCell { start_ms: 1 << 40, used: 300 })),
        (11, Cell::SlidingWindow(SlidingCell { part_ms: 1_000, newest: 1 << 30, counts: [3; 17] })),
    ] {
        let key = CellKey { limit: LimitId(limit), partition: [8; 32] };
        View::write(&mut writing, &options, NOW_MS).put_cell(&key, &cell, NOW_MS).unwrap();
    }
    writing.finish().unwrap();
    txn.commit().unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut text = String::new();
    for (key, bytes) in map.entries() {
        text += &format!("{} {}\n", hex(&key), hex(&bytes));
    }
    assert_eq!(text, include_str!("format_2.txt"));
    store.verify().unwrap();
}

#[test]
fn a_map_of_something_else_is_left_alone() {
    let map = Arc::new(MemoryMap::default());
    put_raw(&map, b"theirs", b"x");
    let before = map.entries();
    let error = KvStore::open(Arc::clone(&map), &KvOptions::default()).unwrap_err();
    assert_eq!(error, KvOpenError::NotAStore);
    assert_eq!(map.entries(), before);
}

#[test]
fn a_later_format_is_left_alone() {
    let map = Arc::new(MemoryMap::default());
    let store = open(Arc::clone(&map));
    put_account(&store, "acme", 1);
    let later = format::FORMAT + 1;
    put_raw(&map, key::FORMAT, &[b"tollgate".as_slice(), &later.to_le_bytes()].concat());
    let before = map.entries();
    let newer = StoreError::NewerFormat { found: later, known: format::FORMAT };
    let error = KvStore::open(Arc::clone(&map), &KvOptions::default()).unwrap_err();
    assert_eq!(error, newer.clone().into());
    // And by a store that was opened before.
    assert_eq!(settle(&store, &named("acme"), ReservationId(1), 1).unwrap_err(), newer);
    let error = Admin::new(&store).account(&common::id("acme"), NOW_MS).unwrap_err();
    assert_eq!(error, tollgate::AdminError::Store(newer.clone()));
    assert_eq!(store.verify().unwrap_err(), newer);
    assert_eq!(map.entries(), before);
}

#[test]
fn a_debug_text_tells_no_secret() {
    let store = open(MemoryMap::default());
    put_account(&store, "acme", 1);
    let text = format!("{store:?} {:?} {:?}", store.map(), store.map().write().unwrap());
    assert!(text.starts_with("KvStore") && !text.contains("acme"), "{text}");
}
