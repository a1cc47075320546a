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
use tollgate::AdmitVerdict;

use crate::common::{Ask, NOW_MS, admitted, id, limits, money, open, put_account};
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
