//! A file that may not grow: the process runs under a limit of the operating system (`ulimit -f`), which
//! fails a write as a full disk does.

use std::env;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tollgate::{Admin, Amount, StoreError};

use crate::common::{
    Ask, LEASE_MS, NOW_MS, id, money, named, open, put_account, reservation, settle,
};
use crate::{ARGUMENT, DIRECTORY, ROLE};

const BALANCE: u64 = 1_000_000;

pub(crate) fn a_full_disk_loses_nothing() {
    let directory = TempDir::new().unwrap();
    // In blocks of 512 bytes: a mebibyte. Without the trap, the signal would end the process.
    let script = r#"trap '' XFSZ; ulimit -f 2048; exec "$0""#;
    let mut process = Command::new("sh")
        .args(["-c", script])
        .arg(env::current_exe().unwrap())
        .env(ROLE, "disk_full")
        .env(DIRECTORY, directory.path())
        .env(ARGUMENT, "")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    process.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(process.wait().unwrap().success());
    let held: u64 = text.trim().parse().unwrap();
    // On a disk with room, all that was answered is there, and it goes on.
    let store = open(directory.path());
    store.verify().unwrap();
    assert_eq!(money(&store, "acme"), (BALANCE - 1, held - 1, 1));
    Ask { charge: 1, key: Some(BALANCE), ..Ask::of("acme") }.reserve(&store);
    assert_eq!(Admin::new(&store).expire(NOW_MS + LEASE_MS).unwrap(), held);
    store.verify().unwrap();
}

/// The process whose disk is full: prints how many charges were admitted.
pub(crate) fn part(directory: &Path) {
    let store = open(directory);
    put_account(&store, "acme", BALANCE);
    let ask = |key| Ask { charge: 1, key: Some(key), ..Ask::of("acme") };
    let first = ask(0).reserve(&store);
    let (mut held, mut refused) = (1_u64, 0);
    // Threads at once, so that batches fail too.
    while refused < 10 {
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let store = &store;
            let threads: Vec<_> = (0..8)
                .map(|part| scope.spawn(move || ask(held * 8 + part + 1).send(store)))
                .collect();
            threads.into_iter().map(|one| one.join().unwrap()).collect()
        });
        for outcome in outcomes {
            match outcome {
                Ok(admission) => held += u64::from(reservation(&admission).is_some()),
                Err(StoreError::Full { what }) => {
                    assert!(what.contains("disk"), "{what}");
                    refused += 1;
                }
                // A write that was cut short: the next one says why.
                Err(StoreError::Unavailable { reason }) => {
                    assert!(reason.contains("Input/output"), "{reason}");
                    refused += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    // Reading goes on, and nothing is half there.
    assert_eq!(money(&store, "acme"), (BALANCE, held, 0));
    store.verify().unwrap();
    // So does what finds pages that are free: as soon as it need not grow.
    settle(&store, &named("acme"), first).unwrap();
    assert_eq!(money(&store, "acme"), (BALANCE - 1, held - 1, 1));
    assert!(Admin::new(&store).deposit(&id("acme"), Amount(0), NOW_MS).is_ok());
    println!("{held}");
}
