use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Serialize;
use tempfile::TempDir;
use tollgate::{
    AccountRef, Admin, AdminError, Amount, Cell, CellKey, Finish, FixedCell, GcraCell, Idempotency,
    LimitId, Settle, SlidingCell, Store, StoreError, StoredResponse, Wallet,
};

use super::{LEASE_MS, NOW_MS, charge, id, money, open, put_account, put_raw, raw};
use crate::combine::Transactions;
use crate::error::LmdbError;
use crate::format::FORMAT;
use crate::view::View;
use crate::{LmdbOptions, LmdbStore, key};

/// A record as format 1 wrote it, in code of its own: a version, postcard, CRC-32 over key and both.
fn sealed(key: &[u8], record: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![1];
    bytes.extend(postcard::to_allocvec(record).unwrap());
    let checksum = crc32fast::hash(&[key, &bytes].concat());
    bytes.extend(checksum.to_le_bytes());
    bytes
}

fn format(number: u32) -> Vec<u8> {
    [b"tollgate".as_slice(), &number.to_le_bytes()].concat()
}

/// Makes the store one of format 1, in which the record of an account's money was the wallet alone, and
/// no list of accounts with something due.
fn to_format_1(store: &LmdbStore, wallets: &[Wallet]) {
    for (wallet, number) in wallets.iter().zip(0..) {
        let key = key::purse(number);
        put_raw(store, &key, &sealed(&key, wallet));
    }
    let mut writing = store.env.write_txn().unwrap();
    for (key, _) in raw(store) {
        if key[0] == key::ACCOUNT_DUE {
            store.shared.database.delete(&mut writing, &key).unwrap();
        }
    }
    writing.commit().unwrap();
    put_raw(store, key::FORMAT, &format(1));
}

#[test]
fn format_1_becomes_the_present_one() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    for name in ["busy", "idle"] {
        put_account(&store, name, 100);
    }
    for _ in 0..3 {
        charge(&store, 0, 10, &Idempotency::Absent).unwrap();
    }
    let present = raw(&store);
    let wallets =
        ["busy", "idle"].map(|name| Admin::new(&store).account(&id(name), NOW_MS).unwrap().wallet);
    to_format_1(&store, &wallets);
    assert!(store.verify().is_err());
    drop(store);

    let read_only = LmdbOptions { read_only: true, ..LmdbOptions::default() };
    let error = LmdbStore::open(directory.path(), &read_only).unwrap_err();
    let expected = LmdbError::OlderFormat { found: 1, known: FORMAT };
    assert_eq!(error.to_string(), expected.to_string());

    let store = open(&directory);
    store.verify().unwrap();
    assert_eq!(raw(&store), present);
    assert_eq!(store.statistics().unwrap().format, FORMAT);
    assert_eq!(money(&store, "busy"), (100, 30, 0));
    assert_eq!(Admin::new(&store).expire(NOW_MS + LEASE_MS).unwrap(), 3);
    assert_eq!(money(&store, "busy"), (100, 0, 0));
    drop(store);
    open(&directory).verify().unwrap();
}

#[test]
fn an_upgrade_that_fails_leaves_the_store_as_it_was() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    for name in ["busy", "idle"] {
        put_account(&store, name, 100);
    }
    let wallet = Admin::new(&store).account(&id("busy"), NOW_MS).unwrap().wallet;
    to_format_1(&store, &[wallet, wallet]);
    let purse = key::purse(1);
    let mut bytes = sealed(&purse, &wallet);
    bytes[2] ^= 1;
    put_raw(&store, &purse, &bytes);
    let before = raw(&store);
    drop(store);
    for _ in 0..2 {
        let error = LmdbStore::open(directory.path(), &LmdbOptions::default()).unwrap_err();
        let LmdbError::Store(error) = error else { panic!("{error}") };
        assert_eq!(error, StoreError::Corrupt { what: "an account's money" });
    }
    // With the damage mended, it goes on from where it was.
    let options = heed_open(&directory);
    let reading = options.read_txn().unwrap();
    let database = options
        .open_databases_and_commit(reading, |opener, reading| {
            let database =
                opener.open_database::<heed::types::Bytes, heed::types::Bytes>(reading, None)?;
            Ok::<_, heed::Error>(heed::CommitOrAbort::<_, ()>::Commit(database))
        })
        .unwrap();
    let heed::CommitOrAbort::Commit(Some(database)) = database else { panic!() };
    let reading = options.read_txn().unwrap();
    let all = database.iter(&reading).unwrap();
    let after: Vec<_> = all
        .map(|entry| entry.map(|(key, bytes)| (key.to_vec(), bytes.to_vec())).unwrap())
        .collect();
    assert_eq!(after, before);
}

fn heed_open(directory: &TempDir) -> heed::Env<heed::WithTls> {
    crate::environment::open(directory.path(), &LmdbOptions::default()).unwrap()
}

const UPGRADED: &str = "TOLLGATE_LMDB_UPGRADED";

/// Not a test of its own: opens, and so upgrades, the store that the variable names.
#[test]
fn upgrader() {
    let Some(path) = std::env::var_os(UPGRADED) else { return };
    LmdbStore::open(path, &LmdbOptions::default()).unwrap();
}

#[test]
fn an_upgrade_that_is_killed_is_done_by_the_next() {
    const ACCOUNTS: u32 = 2_000;
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    for number in 0..ACCOUNTS {
        put_account(&store, &format!("account-{number}"), 100);
    }
    charge(&store, 0, 10, &Idempotency::Absent).unwrap();
    let all = store.verify().unwrap();
    let wallet = |name| Admin::new(&store).account(&id(name), NOW_MS).unwrap().wallet;
    let (busy, idle) = (wallet("account-0"), wallet("account-1"));
    let mut writing = store.env.write_txn().unwrap();
    for number in 0..ACCOUNTS {
        let key = key::purse(number);
        let bytes = sealed(&key, if number == 0 { &busy } else { &idle });
        store.shared.database.put(&mut writing, &key, &bytes).unwrap();
    }
    let due = key::account_due(NOW_MS.saturating_add(LEASE_MS), 0);
    assert!(store.shared.database.delete(&mut writing, &due).unwrap());
    store.shared.database.put(&mut writing, key::FORMAT, &format(1)).unwrap();
    writing.commit().unwrap();
    for after_ms in [0, 5, 10, 15, 20, 30, 40, 60] {
        let copy = TempDir::new().unwrap();
        std::fs::copy(directory.path().join("data.mdb"), copy.path().join("data.mdb")).unwrap();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::upgrade::upgrader"])
            .env(UPGRADED, copy.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(after_ms));
        process.kill().unwrap();
        let killed = !process.wait().unwrap().success();
        let store = open(&copy);
        assert_eq!(store.verify().unwrap(), all, "killed after {after_ms} ms: {killed}");
        assert_eq!(Admin::new(&store).expire(NOW_MS.saturating_add(LEASE_MS)).unwrap(), 1);
    }
}

#[test]
fn a_later_format_is_refused_and_left_alone() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    put_account(&store, "acme", 1);
    put_raw(&store, key::FORMAT, &format(FORMAT + 1));
    drop(store);
    for read_only in [false, true] {
        let options = LmdbOptions { read_only, ..LmdbOptions::default() };
        let error = LmdbStore::open(directory.path(), &options).unwrap_err();
        let LmdbError::Store(error) = error else { panic!("{error}") };
        assert_eq!(error, StoreError::NewerFormat { found: FORMAT + 1, known: FORMAT });
    }
}

/// A later version has upgraded it meanwhile: what this one would write, that one could not read.
#[test]
fn a_store_that_is_upgraded_while_it_is_open_is_left_alone() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    put_account(&store, "acme", 100);
    put_raw(&store, key::FORMAT, &format(FORMAT + 1));
    let before = raw(&store);
    let newer = StoreError::NewerFormat { found: FORMAT + 1, known: FORMAT };
    assert_eq!(charge(&store, 0, 1, &Idempotency::Absent).unwrap_err(), newer);
    let error = Admin::new(&store).account(&id("acme"), NOW_MS).unwrap_err();
    assert_eq!(error, AdminError::Store(newer.clone()));
    assert_eq!(Admin::new(&store).expire(NOW_MS).unwrap_err(), AdminError::Store(newer.clone()));
    assert_eq!(store.statistics().unwrap_err(), newer);
    assert_eq!(raw(&store), before);
}

/// What is in a file today, byte for byte. When this fails, the layout of a record has changed: that is
/// another format, and needs a step in `format.rs`.
#[test]
fn the_present_format_is_this() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    put_account(&store, "acme", 1_000);
    super::put_token(&store, 1, "acme");
    let reservation = charge(&store, 0, 300, &super::damage::with_key(2)).unwrap();
    let response = StoredResponse {
        status: 201,
        headers: Box::new([("content-type".into(), b"text/plain"[..].into())]),
        body: Some(b"hello"[..].into()),
    };
    let finish = Finish::Settle { amount: Some(Amount(200)), response: Some(response.into()) };
    let account = &AccountRef::Slot(0);
    let settle = tollgate::Command::Settle(Settle { account, reservation, finish: &finish });
    store.perform(&settle, NOW_MS).unwrap();
    Admin::new(&store).refund(account, reservation, Amount(7), "r-1", NOW_MS).unwrap();
    let cell = CellKey { limit: LimitId(9), partition: [8; 32] };
    for cell_kind in [
        Cell::Gcra(GcraCell { tat_ns: 1 << 60 }),
        Cell::FixedWindow(FixedCell { start_ms: 1 << 40, used: 300 }),
        Cell::SlidingWindow(SlidingCell { part_ms: 1_000, newest: 1 << 30, counts: [3; 17] }),
    ] {
        let key = CellKey { limit: LimitId(cell.limit.0 + kind_of(&cell_kind)), ..cell };
        store
            .transact(&mut |writing| {
                View::write(writing, &store.shared, NOW_MS).put_cell(&key, &cell_kind, NOW_MS)
            })
            .unwrap();
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut text = String::new();
    for (key, bytes) in raw(&store) {
        text += &format!("{} {}\n", hex(&key), hex(&bytes));
    }
    assert_eq!(text, include_str!("format_2.txt"));
}

fn kind_of(cell: &Cell) -> u64 {
    match cell {
        Cell::Gcra(_) => 0,
        Cell::FixedWindow(_) => 1,
        _ => 2,
    }
}
