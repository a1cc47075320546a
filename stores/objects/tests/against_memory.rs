//! Limits that span accounts, of any kind and number: whatever an admission says, the store in memory says
//! the same.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects, reason = "small numbers")]

mod common;

use std::sync::Arc;

use common::{Caller, World};
use tollgate::{
    Counts, Limit, MemoryOptions, MemoryStore, Mode, Partition, TokenPatch, TokenQuota,
};
use tollgate_conformance::world::*;
use tollgate_conformance::{Answer, Verdict};

struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = splitmix(self.0);
        self.0 % sides
    }

    fn one_of<T: Copy>(&mut self, some: &[T]) -> T {
        let place = self.below(some.len() as u64);
        some[usize::try_from(place).unwrap()]
    }
}

/// Some limits of a route, those that count requests first.
fn some_limits(dice: &mut Dice) -> Vec<Limit> {
    let mut limits = Vec::new();
    for number in 0..1 + dice.below(6) {
        let partition = dice.one_of(&[
            Partition::Global,
            Partition::Global,
            Partition::SourceIp,
            Partition::SourceIp,
            Partition::Account,
            Partition::Token,
            Partition::AccountSourceIp,
        ]);
        let (quota, window_ms) = (2 + dice.below(9), dice.one_of(&[700, 5_000, 60_000]));
        let limit = limit_of(partition, dice.one_of(&ALGORITHMS), quota, window_ms);
        limits.push(with(named(&format!("limit {number}"), limit), |limit| {
            limit.cost = dice.one_of(&[1, 1, 1, 2, 20]);
            limit.shadow = dice.below(4) == 0;
            limit.token_override = dice.below(4) == 0;
            limit.counts = dice.one_of(&[Counts::Requests, Counts::Executions]);
        }));
    }
    limits.sort_by_key(|limit| limit.counts);
    limits
}

#[test]
fn every_admission_is_that_of_the_store_in_memory() {
    let (mut admitted, mut refused, mut others) = (0, 0, 0);
    for seed in 0..250 {
        let mut dice = Dice(seed);
        let world = Arc::new(World::default());
        let ours = Caller::new(&world);
        let memory = MemoryStore::new(MemoryOptions::default());
        let desks = [Desk::new(&ours), Desk::new(&memory)];
        for desk in desks {
            (1..=3).for_each(|number| desk.open(number, 60));
            let quota = Some(Some(TokenQuota { limit: 5, window_ms: 4_000 }));
            desk.put_token(3, &account(3), TokenPatch { quota, ..TokenPatch::default() });
        }
        let limits = some_limits(&mut dice);
        let mut now_ms = NOW_MS;
        for _ in 0..60 {
            // Mostly on, sometimes far, and sometimes back.
            now_ms = now_ms - dice.one_of(&[0, 0, 0, 400]) + dice.one_of(&[0, 30, 200, 3_000]);
            let mode =
                dice.one_of(&[Mode::Apply, Mode::Apply, Mode::Apply, Mode::Peek, Mode::Observe]);
            let mut ask = Ask::new(token(1 + dice.below(3))).limits(&limits).mode(mode);
            ask.source = dice.one_of(&[None, Some(address(1)), Some(address(2))]);
            ask.detail = dice.below(3) == 0;
            ask.invalid = dice.below(9) == 0;
            if dice.below(2) == 0 {
                ask = ask.charge(1 + dice.below(9));
            }
            if dice.below(3) == 0 {
                ask = ask.key_with(dice.below(3), dice.below(5) / 4, RULE);
            }
            let [found, expected] = desks.map(|desk| desk.ask(&ask, now_ms));
            assert_eq!(found, expected, "seed {seed} at {now_ms}: {ask:?}");
            let Answer::Admission(found) = found else { panic!("{found:?}") };
            match found.verdict {
                Verdict::Admitted(_) => admitted += 1,
                Verdict::Denied(tollgate::Denial::RateLimited { .. }) => refused += 1,
                _ => others += 1,
            }
        }
        world.verify();
    }
    assert!(admitted > 3_000 && refused > 3_000 && others > 500, "{admitted} {refused} {others}");
}
