//! What cannot be opened, and what a store says when it cannot do as it is told.
#![cfg(test)]

mod common;

use std::fs;
use std::sync::Barrier;
use std::thread;

use common::{Ask, NOW_MS, id, money, open, open_with, put_account};
use tempfile::TempDir;
use tollgate::{AccountPatch, Admin, AdminError, Amount, StoreError};
use tollgate_lmdb::{LmdbError, LmdbOptions, LmdbStore};

fn read_only() -> LmdbOptions {
    let mut options = LmdbOptions::default();
    options.read_only = true;
    options
}

#[test]
fn what_is_no_directory_is_said() {
    let directory = TempDir::new().unwrap();
    let missing = directory.path().join("missing");
    let error = LmdbStore::open(&missing, &LmdbOptions::default()).unwrap_err();
    assert!(matches!(error, LmdbError::NoDirectory { .. }), "{error}");
    assert!(error.to_string().contains("create it first"), "{error}");
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = LmdbStore::open(&file, &LmdbOptions::default()).unwrap_err();
    assert!(matches!(error, LmdbError::NoDirectory { .. }), "{error}");
    let error = LmdbStore::open("with\0nul", &LmdbOptions::default()).unwrap_err();
    assert!(matches!(error, LmdbError::Io { .. }), "{error}");
}

#[test]
fn what_is_no_lmdb_file_is_left_alone() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("data.mdb");
    let content = vec![b'x'; 20_000];
    fs::write(&file, &content).unwrap();
    for options in [LmdbOptions::default(), read_only()] {
        let error = LmdbStore::open(directory.path(), &options).unwrap_err();
        assert!(matches!(error, LmdbError::NotLmdb { .. }), "{error}");
    }
    assert_eq!(fs::read(&file).unwrap(), content);
}

#[test]
fn what_cannot_be_opened_as_a_file_is_said() {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("data.mdb")).unwrap();
    let error = LmdbStore::open(directory.path(), &LmdbOptions::default()).unwrap_err();
    assert!(matches!(error, LmdbError::Io { doing: "open", .. }), "{error}");
}

#[test]
fn a_second_opening_in_one_process_is_refused_until_the_first_is_dropped() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path());
    let error = LmdbStore::open(directory.path(), &LmdbOptions::default()).unwrap_err();
    assert!(matches!(error, LmdbError::AlreadyOpen { .. }), "{error}");
    put_account(&store, "acme", 1);
    drop(store);
    assert_eq!(money(&open(directory.path()), "acme"), (1, 0, 0));
}

#[test]
fn for_reading_only() {
    let directory = TempDir::new().unwrap();
    let error = LmdbStore::open(directory.path(), &read_only()).unwrap_err();
    assert!(matches!(error, LmdbError::NoStore { .. }), "{error}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing was created");
    put_account(&open(directory.path()), "acme", 100);

    let store = LmdbStore::open(directory.path(), &read_only()).unwrap();
    assert_eq!(money(&store, "acme"), (100, 0, 0));
    store.verify().unwrap();
    let admin = Admin::new(&store);
    let refused = [
        admin.deposit(&id("acme"), Amount(1), NOW_MS).map(|()| 0),
        admin.put_account(&id("new"), Amount(1), AccountPatch::default(), NOW_MS).map(|()| 0),
        admin.expire(NOW_MS),
    ];
    for outcome in refused {
        let Err(AdminError::Store(StoreError::Unavailable { reason })) = outcome else {
            panic!("{outcome:?}")
        };
        assert!(reason.contains("reading only"), "{reason}");
    }
    assert!(Ask { charge: 1, ..Ask::of("acme") }.send(&store).is_err());
    let to = directory.path().join("copy");
    store.backup(&to, true).unwrap();
    assert_eq!(money(&open(&to), "acme"), (100, 0, 0));
}

#[test]
fn too_many_readers_are_told_so_and_pass() {
    let directory = TempDir::new().unwrap();
    let store = open_with(directory.path(), |options| options.max_readers = 3);
    put_account(&store, "acme", 1);
    let (all_read, go_home) = (Barrier::new(7), Barrier::new(7));
    let errors = thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    // A thread keeps its slot until it ends.
                    let read = Admin::new(&store).account(&id("acme"), NOW_MS);
                    all_read.wait();
                    go_home.wait();
                    read.err()
                })
            })
            .collect();
        all_read.wait();
        go_home.wait();
        threads.into_iter().filter_map(|one| one.join().unwrap()).collect::<Vec<_>>()
    });
    assert!((3..6).contains(&errors.len()), "{errors:?}");
    for error in errors {
        let AdminError::Store(StoreError::Unavailable { reason }) = error else {
            panic!("{error:?}")
        };
        assert!(reason.contains("max_readers"), "{reason}");
    }
    // Writing needs no slot, and theirs are free again.
    Ask { charge: 1, ..Ask::of("acme") }.reserve(&store);
    assert_eq!(money(&store, "acme"), (1, 1, 0));
}

#[test]
fn a_debug_text_tells_no_secret() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path());
    put_account(&store, "acme", 1);
    let text = format!("{store:?}");
    assert!(text.starts_with("LmdbStore") && !text.contains("acme"), "{text}");
}
