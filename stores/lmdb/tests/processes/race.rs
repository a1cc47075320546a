//! Two processes with eight threads each want the same units, the same key and the same money; they also
//! create the store at the same time.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use tollgate::{Admin, AdminError, AdmitVerdict, Amount, StoreError};

use crate::common::{Ask, NOW_MS, admitted, id, limits, money, open, open_with, put_account};
use crate::start;

const PROCESSES: usize = 2;
const THREADS: usize = 8;
const QUOTA: u64 = 100;
const BALANCE: u64 = 50;

pub(crate) fn two_processes_never_overshoot() {
    for _ in 0..5 {
        let directory = TempDir::new().unwrap();
        let parts: Vec<_> = (0..PROCESSES).map(|_| start("race", directory.path(), "")).collect();
        fs::write(directory.path().join("go"), "").unwrap();
        let mut sums = [0_u64; 3];
        for mut part in parts {
            assert!(part.wait().unwrap().success());
            let mut text = String::new();
            part.stdout.take().unwrap().read_to_string(&mut text).unwrap();
            for (sum, word) in sums.iter_mut().zip(text.split_whitespace()) {
                *sum += word.parse::<u64>().unwrap();
            }
        }
        assert_eq!(sums, [QUOTA, 1, BALANCE], "admissions, executions of one key, charges");
        let store = open(directory.path());
        assert_eq!(
            tollgate::Admin::new(&store).accounts(None, usize::MAX, NOW_MS).unwrap(),
            [id("acme")]
        );
        assert_eq!(money(&store, "acme"), (BALANCE, BALANCE, 0));
        store.verify().unwrap();
    }
}

/// One of the processes: prints how many of each were admitted.
pub(crate) fn part(directory: &Path) {
    while !directory.join("go").exists() {
        thread::sleep(Duration::from_millis(1));
    }
    let store = open(directory);
    put_account(&store, "acme", BALANCE);
    let barrier = Barrier::new(THREADS);
    let counts: [AtomicU64; 3] = Default::default();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                barrier.wait();
                let asks = [
                    Ask { limits: limits(QUOTA), ..Ask::of("acme") },
                    Ask { key: Some(1), ..Ask::of("acme") },
                    Ask { charge: 1, ..Ask::of("acme") },
                ];
                // 16 × 10 admissions, 16 × 4 duplicates, 16 × 10 charges.
                for (ask, (count, times)) in asks.iter().zip(counts.iter().zip([10, 4, 10])) {
                    for _ in 0..times {
                        let admission = ask.send(&store).unwrap();
                        match admission.verdict {
                            AdmitVerdict::Admitted { .. } | AdmitVerdict::Denied(_) => {}
                            other => panic!("{other:?} at {NOW_MS}"),
                        }
                        count.fetch_add(u64::from(admitted(&admission)), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let counts = counts.map(AtomicU64::into_inner);
    println!("{} {} {}", counts[0], counts[1], counts[2]);
}

pub(crate) fn a_map_that_another_process_outgrew() {
    let directory = TempDir::new().unwrap();
    let small = || open_with(directory.path(), |options| options.map_bytes = 1 << 20);
    let store = small();
    put_account(&store, "acme", 5);
    assert!(start("grow", directory.path(), "").wait().unwrap().success());
    let read = Admin::new(&store).account(&id("acme"), NOW_MS).map(|_| ());
    let written = Admin::new(&store).deposit(&id("acme"), Amount(1), NOW_MS);
    for outcome in [read, written] {
        let Err(AdminError::Store(StoreError::Unavailable { reason })) = outcome else {
            panic!("{outcome:?}")
        };
        assert!(reason.contains("map_bytes"), "{reason}");
    }
    drop(store);
    // A map that is too small for what is there is made as large as that.
    let store = small();
    assert_eq!(money(&store, "acme"), (5, 0, 0));
    store.verify().unwrap();
}

pub(crate) fn grow(directory: &Path) {
    let store = open(directory);
    for number in 0..8_000 {
        put_account(&store, &format!("account-{number}-{}", "x".repeat(100)), 1);
    }
}

/// A process that reads takes slots for readers, and keeps its snapshot; when it is killed, both are free.
pub(crate) fn slots_of_a_killed_process_are_free_again() {
    let directory = TempDir::new().unwrap();
    let store = open_with(directory.path(), |options| options.max_readers = READERS);
    put_account(&store, "acme", 5);
    let mut reader = start("read", directory.path(), "");
    while !directory.path().join("all-read").exists() {
        assert!(reader.try_wait().unwrap().is_none());
        thread::sleep(Duration::from_millis(1));
    }
    let read = || Admin::new(&store).account(&id("acme"), NOW_MS);
    // This thread has the one slot that is left, another gets none.
    read().unwrap();
    let other = || thread::scope(|scope| scope.spawn(read).join().unwrap());
    assert!(matches!(other(), Err(AdminError::Store(StoreError::Unavailable { .. }))));
    reader.kill().unwrap();
    reader.wait().unwrap();
    other().unwrap();
}

const READERS: u32 = 4;

pub(crate) fn read(directory: &Path) {
    let store = open_with(directory, |options| options.max_readers = READERS);
    // `open` has read on this thread already.
    let barrier = Barrier::new(usize::try_from(READERS - 1).unwrap());
    thread::scope(|scope| {
        for _ in 0..READERS - 2 {
            scope.spawn(|| {
                Admin::new(&store).account(&id("acme"), NOW_MS).unwrap();
                barrier.wait();
                thread::sleep(Duration::from_secs(600)); // it is killed long before
            });
        }
        barrier.wait();
        fs::write(directory.join("all-read"), "").unwrap();
    });
}
