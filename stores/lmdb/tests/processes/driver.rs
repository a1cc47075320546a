//! The process that is killed: requests, settlements, deposits and refunds on several threads. Each
//! thread writes down what it is about to do, and then what it was told.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::thread;

use tollgate::{
    AccountRef, Admin, AdmitVerdict, Amount, Command, Denial, Finish, Limit, Outcome,
    ReservationId, Settle, Store,
};
use tollgate_lmdb::{LmdbStore, SyncPolicy};

use crate::common::{Ask, LEASE_MS, NOW_MS, id, limits, named, open_with, response};

pub(crate) const ACCOUNTS: u64 = 3;
pub(crate) const OPENING: u64 = 1_000_000_000;
const THREADS: u64 = 4;

pub(crate) fn account(number: u64) -> String {
    format!("account-{number}")
}

/// Numbers that look random and are the same for the same seed (xorshift64*).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

/// `argument` is the round and the name of the process.
pub(crate) fn run(directory: &Path, argument: &str) {
    let (round, name) = argument.split_once(' ').unwrap();
    let round: u64 = round.parse().unwrap();
    let store = open_with(&directory.join("store"), |options| {
        options.sync =
            if round.is_multiple_of(4) { SyncPolicy::EveryCommit } else { SyncPolicy::Never };
    });
    let limits = limits(1_000_000);
    thread::scope(|scope| {
        for number in 0..THREADS {
            let log = OpenOptions::new()
                .create(true)
                .append(true)
                .open(directory.join(format!("log-{round}-{name}-{number}")))
                .unwrap();
            let seed = (round * 1_000 + number * 10 + u64::from(name == "b") + 1) * 0x9e37_79b9;
            let thread = Thread {
                store: &store,
                limits: &limits,
                log,
                random: Random(seed),
                round,
                // Leases of rounds before this one end.
                now_ms: NOW_MS + round * (LEASE_MS / 4),
            };
            scope.spawn(move || thread.run());
        }
    });
}

struct Thread<'s> {
    store: &'s LmdbStore,
    limits: &'s [Limit],
    log: File,
    random: Random,
    round: u64,
    now_ms: u64,
}

impl Thread<'_> {
    fn run(mut self) {
        loop {
            let number = self.random.below(ACCOUNTS);
            match self.random.below(10) {
                0 => self.deposit(number),
                1..=3 => self.get(number),
                4..=6 => self.post(number, true),
                7..=8 => self.post(number, false),
                _ => self.expire(),
            }
        }
    }

    /// One write, so that a line is there as a whole or not at all.
    fn write(&mut self, line: String) {
        self.log.write_all((line + "\n").as_bytes()).unwrap();
    }

    fn failed(&mut self, error: impl std::fmt::Display) {
        self.write(format!("error {error}"));
    }

    fn deposit(&mut self, number: u64) {
        let amount = 1 + self.random.below(100);
        self.write(format!("begin deposit {number} {amount}"));
        let admin = Admin::new(self.store);
        match admin.deposit(&id(&account(number)), Amount(amount), self.now_ms) {
            Ok(()) => self.write(format!("done deposit {number} {amount}")),
            Err(error) => self.failed(error),
        }
    }

    fn get(&mut self, number: u64) {
        let token = self.random.below(50);
        let now_ms = self.now_ms;
        let ask = Ask { limits: self.limits.to_vec(), token, now_ms, ..Ask::of(&account(number)) };
        if let Err(error) = ask.send(self.store) {
            self.failed(error);
        }
    }

    fn post(&mut self, number: u64, keyed: bool) {
        // Of this round, or of all rounds before: duplicates are likely.
        let key = match self.random.below(3) {
            0 => self.random.below((self.round + 1) * 64),
            _ => self.round * 64 + self.random.below(64),
        };
        let charge = 1 + self.random.below(20);
        let ask = Ask {
            key: keyed.then_some(key),
            charge,
            limits: self.limits.to_vec(),
            token: self.random.below(5),
            now_ms: self.now_ms,
            ..Ask::of(&account(number))
        };
        match ask.send(self.store).map(|admission| admission.verdict) {
            Ok(AdmitVerdict::Admitted { reservation: Some(reservation) }) => {
                let key = if keyed { format!("{key}") } else { "none".into() };
                self.write(format!("done post {number} {} {key}", reservation.0));
                self.finish(number, reservation, charge, keyed);
            }
            Ok(AdmitVerdict::Replay(_) | AdmitVerdict::Denied(Denial::InFlight)) if keyed => {}
            // The same key with another price is the same request: the price is not in its fingerprint.
            Ok(other) => self.failed(format!("{other:?}")),
            Err(error) => self.failed(error),
        }
    }

    fn finish(&mut self, number: u64, reservation: ReservationId, charge: u64, keyed: bool) {
        let stored = || Some(response(50).into());
        let (word, finish) = match self.random.below(10) {
            0..=5 => {
                let amount = self.random.below(charge + 1);
                let finish = Finish::Settle { amount: Some(Amount(amount)), response: stored() };
                (format!("settle {amount}"), finish)
            }
            // With a response, so that the key stays taken.
            6..=7 if keyed => ("void 0".into(), Finish::Void { response: stored() }),
            6..=7 => ("void 0".into(), Finish::Void { response: None }),
            _ => ("unknown 0".into(), Finish::Unknown),
        };
        let account = &named(&account(number));
        let settle = Command::Settle(Settle { account, reservation, finish: &finish });
        match self.store.perform(&settle, self.now_ms) {
            Ok(Outcome::Settled(_)) => {
                self.write(format!("done {word} {number} {}", reservation.0))
            }
            // The sweep of a process that is a round further.
            Ok(Outcome::Refused(tollgate::Refusal::LeaseEnded)) => return,
            Ok(other) => return self.failed(format!("{other:?}")),
            Err(error) => return self.failed(error),
        }
        if let ("settle", true) = (word.split(' ').next().unwrap(), self.random.below(3) == 0) {
            self.refund(number, reservation);
        }
    }

    fn refund(&mut self, number: u64, reservation: ReservationId) {
        self.write(format!("begin refund {number} 1"));
        let account: AccountRef = named(&account(number));
        let admin = Admin::new(self.store);
        match admin.refund(&account, reservation, Amount(1), "once", self.now_ms) {
            Ok(()) => self.write(format!("done refund {number} 1")),
            // It was settled for nothing.
            Err(tollgate::AdminError::Refused(tollgate::Refusal::MoreThanPosted)) => {
                self.write(format!("never refund {number} 1"));
            }
            Err(error) => self.failed(error),
        }
    }

    fn expire(&mut self) {
        if let Err(error) = Admin::new(self.store).expire(self.now_ms) {
            self.failed(error);
        }
    }
}
