//! Random commands, on this store and on the store in memory: both answer the same, step by step. Now and
//! then this one is opened again.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // of small numbers

mod common;

use common::{LEASE_MS, NOW_MS, RETENTION_MS, bytes, digest, id, limits, open, response};
use tempfile::TempDir;
use tollgate::{
    AccountPatch, AccountRef, Administration, Admit, Amount, ChargeRule, ClaimKey, Command,
    FailureMode, Fingerprint, Finish, Idempotency, IdempotencyRule, Limit, MemoryStore, Mode,
    OnExpiry, OnOrphan, Outcome, Period, ReservationId, Settle, SpendCap, Store, Token, TokenPatch,
};

struct Random(u64);

impl Random {
    /// xorshift64*
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

/// Steps of one run, and what they are about.
struct World {
    random: Random,
    limits: Vec<Limit>,
    now_ms: u64,
    /// The last number that a reservation was given.
    last: u64,
}

impl World {
    fn name(&mut self) -> String {
        format!("account-{}", self.random.below(3))
    }

    fn account(&mut self) -> AccountRef {
        AccountRef::Slot(u32::try_from(self.random.below(3)).unwrap())
    }

    fn reservation(&mut self) -> ReservationId {
        ReservationId(self.last.saturating_sub(self.random.below(6)).max(1))
    }

    fn finish(&mut self) -> Finish {
        let response = (!self.random.one_in(3)).then(|| response(10).into());
        match self.random.below(5) {
            0 => Finish::Unknown,
            1 | 2 => Finish::Void { response },
            _ => {
                let amount = (!self.random.one_in(3)).then(|| Amount(self.random.below(12)));
                Finish::Settle { amount, response }
            }
        }
    }

    fn pass_time(&mut self) {
        match self.random.below(12) {
            0 => self.now_ms += LEASE_MS,
            1 => self.now_ms -= 1_500,
            2 if self.random.one_in(4) => self.now_ms += RETENTION_MS / 2,
            _ => self.now_ms += self.random.below(2_000),
        }
    }

    /// Performs one random command on both, and compares.
    fn step(&mut self, stores: [&dyn Store; 2]) {
        self.pass_time();
        match self.random.below(14) {
            0..=5 => self.admit(stores),
            6..=8 => {
                let (account, reservation, finish) =
                    (self.account(), self.reservation(), self.finish());
                let settle = Settle { account: &account, reservation, finish: &finish };
                self.both(stores, &Command::Settle(settle));
            }
            _ => self.administer(stores),
        }
    }

    fn admit(&mut self, stores: [&dyn Store; 2]) {
        let key = self.random.below(8);
        let rule = IdempotencyRule {
            required: false,
            retention_ms: if self.random.one_in(3) { LEASE_MS / 2 } else { RETENTION_MS },
            on_orphan: if self.random.one_in(2) { OnOrphan::Rerun } else { OnOrphan::Conflict },
            on_store_failure: FailureMode::Closed,
        };
        let fingerprint = Fingerprint(bytes(key + u64::from(self.random.one_in(10))));
        let idempotency = match self.random.below(3) {
            0 => Idempotency::Absent,
            _ => Idempotency::Key { claim: ClaimKey(bytes(key)), fingerprint, rule },
        };
        let on_expiry = [OnExpiry::Void, OnExpiry::Settle, OnExpiry::Hold];
        let charge_rule = ChargeRule {
            price: None,
            lease_ms: LEASE_MS * self.random.below(2) + 1_000,
            on_expiry: on_expiry[usize::try_from(self.random.below(3)).unwrap()],
            retention_ms: if self.random.one_in(2) { 5_000 } else { RETENTION_MS },
        };
        let (token, account) = (digest(self.random.below(3)), self.account());
        let cap = SpendCap { per: Period::Month, amount: Amount(40), shadow: false };
        let record = Token { spend_caps: vec![cap], ..Token::plain(id("account-0"), Vec::new()) };
        let sender = self.random.one_in(6).then_some("sender");
        let limits = if self.random.one_in(3) { &[][..] } else { &self.limits.clone() };
        let admit = Admit {
            mode: if self.random.one_in(5) { Mode::Peek } else { Mode::Apply },
            token_record: self.random.one_in(2).then_some(&record),
            idempotency: &idempotency,
            charge: (!self.random.one_in(3)).then(|| Amount(1 + self.random.below(12))),
            charge_rule: &charge_rule,
            sender,
            detail: self.random.one_in(6),
            ..Admit::limits_only(&token, &account, limits)
        };
        if let Outcome::Admission(admission) = self.both(stores, &Command::Admit(admit))
            && let Some(ReservationId(number)) = common::reservation(&admission)
        {
            self.last = number;
        }
    }

    fn administer(&mut self, stores: [&dyn Store; 2]) {
        let (name, token) = (id(&self.name()), digest(self.random.below(3)));
        let (account, other) = (self.account(), digest(self.random.below(6)));
        let amount = Amount(self.random.below(20));
        let finish = self.finish();
        let caps = self.random.one_in(3).then(|| {
            let (per, shadow) = (Period::Day, self.random.one_in(2));
            vec![SpendCap { per, amount: Amount(self.random.below(60)), shadow }]
        });
        let senders = self.random.one_in(3).then(|| vec!["sender".into()]);
        let scopes = Some(vec!["all".into()]);
        let administration = match self.random.below(11) {
            0 => Administration::PutAccount {
                account: &name,
                opening_balance: Amount(100),
                settings: AccountPatch { spend_caps: caps, senders, networks: None },
            },
            1 => Administration::PutToken {
                digest: &token,
                account: &name,
                settings: TokenPatch { scopes, ..TokenPatch::default() },
            },
            2 => Administration::Deposit { account: &name, amount },
            3 | 4 => Administration::Refund {
                account: &account,
                reservation: self.reservation(),
                amount: Amount(amount.0 / 6),
                reference: if self.random.one_in(2) { "a" } else { "b" },
            },
            5 => {
                Administration::Resolve { account: &name, reservation: self.reservation(), finish }
            }
            6 => Administration::Inspect { account: &name },
            7 => Administration::ListTokens { account: &name },
            8 => Administration::ListReservations { account: &name },
            9 if self.random.one_in(3) => {
                Administration::RotateToken { old: &token, new: &other, grace_ms: 5_000 }
            }
            9 if self.random.one_in(3) => Administration::RevokeToken { digest: &token },
            _ => Administration::Expire,
        };
        self.both(stores, &Command::Administer(&administration));
    }

    fn both(&self, stores: [&dyn Store; 2], command: &Command<'_>) -> Outcome {
        let [ours, memory] = stores.map(|store| store.perform(command, self.now_ms));
        let (ours_text, memory_text) = (format!("{ours:?}"), format!("{memory:?}"));
        assert_eq!(ours_text, memory_text, "{command:?} at {}", self.now_ms);
        ours.unwrap()
    }
}

#[test]
fn both_answer_the_same() {
    for seed in 1..=60_u64 {
        let directory = TempDir::new().unwrap();
        let mut store = open(directory.path());
        let memory = MemoryStore::default();
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut world = World { random, limits: limits(7), now_ms: NOW_MS, last: 1 };
        for number in 0..3 {
            let account = &id(&format!("account-{number}"));
            let settings = AccountPatch::default();
            let opening_balance = Amount(100);
            let put = Administration::PutAccount { account, opening_balance, settings };
            world.both([&store, &memory], &Command::Administer(&put));
            // Before anything is counted for it: the store in memory counts in the token itself.
            let settings = TokenPatch { scopes: Some(vec!["all".into()]), ..TokenPatch::default() };
            let put = Administration::PutToken { digest: &digest(number), account, settings };
            world.both([&store, &memory], &Command::Administer(&put));
        }
        for _ in 0..400 {
            world.step([&store, &memory]);
            if world.random.one_in(100) {
                drop(store);
                store = open(directory.path());
            }
        }
        store.verify().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}
