//! Kills processes, and compares what they were told with what is in the store.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use tollgate::{Admin, Amount, Reservation, ReservationId, ReservationState, Wallet};

use crate::common::{NOW_MS, id, open, put_account};
use crate::driver::{ACCOUNTS, OPENING, Random, account};
use crate::start;

const KILLS: u64 = 60;

/// What processes were told, and so must be true of an account.
#[derive(Default)]
struct Told {
    /// Deposits and refunds, and those of which nobody knows.
    deposited: u64,
    deposited_perhaps: u64,
    refunded: u64,
    refunded_perhaps: u64,
    /// Reservations that were made, settled (for how much) and voided.
    reserved: Vec<u64>,
    settled: Vec<(u64, u64)>,
    voided: Vec<u64>,
}

pub(crate) fn a_killed_process_loses_nothing() {
    let kills = env::var("TOLLGATE_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store");
    fs::create_dir(&path).unwrap();
    {
        let store = open(&path);
        (0..ACCOUNTS).for_each(|number| put_account(&store, &account(number), OPENING));
    }
    let mut checker = Checker::default();
    for round in 0..kills / 2 {
        let mut random = Random(round.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let names = ["a", "b"];
        let mut processes =
            names.map(|name| start("driver", directory.path(), &format!("{round} {name}")));
        for (process, name) in processes.iter_mut().zip(names) {
            wait_for_work(process, &directory.path().join(format!("log-{round}-{name}-0")));
        }
        for mut process in processes {
            thread::sleep(Duration::from_micros(random.below(30_000)));
            kill(&mut process);
        }
        checker.read_logs(directory.path(), round);
        checker.check(&path, round);
    }
    let Checker { executions, told, posts, .. } = checker;
    let settled: usize = told.iter().map(|told| told.settled.len()).sum();
    println!(
        "{kills} kills: {posts} executions, {} of them with a key, {settled} settlements",
        executions.len()
    );
    assert!(executions.len() as u64 > kills && settled as u64 > kills, "too little was done");
}

fn wait_for_work(process: &mut Child, log: &Path) {
    while !fs::metadata(log).is_ok_and(|found| found.len() > 0) {
        assert!(process.try_wait().unwrap().is_none(), "it ended by itself");
        thread::sleep(Duration::from_micros(200));
    }
}

fn kill(process: &mut Child) {
    assert!(process.try_wait().unwrap().is_none(), "it ended by itself");
    process.kill().unwrap(); // SIGKILL
    process.wait().unwrap();
}

#[derive(Default)]
struct Checker {
    /// By account and key.
    executions: HashMap<(usize, u64), u64>,
    told: [Told; 3],
    wallets: [Option<Wallet>; 3],
    posts: u64,
}

impl Checker {
    fn read_logs(&mut self, directory: &Path, round: u64) {
        for name in ["a", "b"] {
            for thread in 0..4 {
                let path = directory.join(format!("log-{round}-{name}-{thread}"));
                let Ok(text) = fs::read_to_string(&path) else { continue };
                for line in text.lines() {
                    self.read(line);
                }
                fs::remove_file(path).unwrap();
            }
        }
    }

    fn read(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |place: usize| words[place].parse::<u64>().unwrap();
        let account = |place: usize| usize::try_from(number(place)).unwrap();
        match words[..2] {
            ["begin", "deposit"] => self.told[account(2)].deposited_perhaps += number(3),
            ["done", "deposit"] => {
                let told = &mut self.told[account(2)];
                told.deposited += number(3);
                told.deposited_perhaps -= number(3);
            }
            ["begin", "refund"] => self.told[account(2)].refunded_perhaps += number(3),
            ["never", "refund"] => self.told[account(2)].refunded_perhaps -= number(3),
            ["done", "refund"] => {
                let told = &mut self.told[account(2)];
                told.refunded += number(3);
                told.refunded_perhaps -= number(3);
            }
            ["done", "post"] => {
                self.posts += 1;
                self.told[account(2)].reserved.push(number(3));
                if words[4] != "none" {
                    let executions = self.executions.entry((account(2), number(4))).or_default();
                    *executions += 1;
                    assert_eq!(*executions, 1, "a key was executed twice: {line}");
                }
            }
            ["done", "settle"] => self.told[account(3)].settled.push((number(4), number(2))),
            ["done", "void"] => self.told[account(3)].voided.push(number(4)),
            ["done", "unknown"] => {}
            _ => panic!("a process was told: {line}"),
        }
    }

    fn check(&mut self, path: &Path, round: u64) {
        let store = open(path);
        // Sums of money, counts, checksums, and what falls due.
        store.verify().unwrap_or_else(|error| panic!("round {round}: {error}"));
        let admin = Admin::new(&store);
        for (number, told) in self.told.iter_mut().enumerate() {
            let account = id(&account(number as u64));
            let wallet = admin.account(&account, NOW_MS).unwrap().wallet;
            let before = self.wallets[number]
                .unwrap_or(Wallet { deposited: Amount(OPENING), ..Wallet::default() });
            for (now, before, sure, perhaps) in [
                (
                    wallet.deposited,
                    before.deposited,
                    &mut told.deposited,
                    &mut told.deposited_perhaps,
                ),
                (wallet.refunded, before.refunded, &mut told.refunded, &mut told.refunded_perhaps),
            ] {
                let least = before.0 + *sure;
                assert!(
                    (least..=least + *perhaps).contains(&now.0),
                    "round {round}: {now} {least}"
                );
                (*sure, *perhaps) = (0, 0);
            }
            let all: HashMap<ReservationId, Reservation> =
                admin.reservations(&account, NOW_MS).unwrap().into_iter().collect();
            let state = |id: &u64| &all[&ReservationId(*id)].state;
            told.reserved.drain(..).for_each(|id| assert!(all.contains_key(&ReservationId(id))));
            for (id, settled) in &told.settled {
                match state(id) {
                    ReservationState::Posted { amount, by_expiry: false, .. } => {
                        assert_eq!(amount.0, *settled);
                    }
                    other => panic!("round {round}: {id} was settled, and is {other:?}"),
                }
            }
            for id in told.voided.drain(..) {
                assert_eq!(*state(&id), ReservationState::Voided { by_expiry: false });
            }
            // And it goes on.
            admin.deposit(&account, Amount(1), NOW_MS).unwrap();
            self.wallets[number] = Some(admin.account(&account, NOW_MS).unwrap().wallet);
        }
    }
}
