//! Regions beside an obvious model, and exact quotas under threads.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use common::{ALGORITHMS, NOW_MS, key, limit, region};
use proptest::prelude::*;
use tollgate::{
    Cell, Check, Left, Limit, LimitStore, Quota, Refused, check, expires_ms, give_back,
};

const KEPT_MS: u64 = 60_000;

/// A cell with the time at which it expires, by key and algorithm.
type Model = BTreeMap<(u64, u8), (Cell, u64)>;

#[derive(Clone, Debug)]
struct Call {
    what: u8,
    key: u64,
    algorithm: usize,
    cost: u64,
    quota: Quota,
    step_ms: i64,
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let quota = prop_oneof![
        Just(Quota::new(5, 1_000)),
        Just(Quota::new(20, 1_000)),
        Just(Quota { units: 7, window_ms: 3_000, burst: 2 }),
        Just(Quota::new(3, 90_000)),
        Just(Quota::new(0, 10)),
        Just(Quota::new(u64::MAX, 50)),
    ];
    let step_ms = prop_oneof![
        8 => 0..400_i64,
        2 => -2_000..2_000_i64,
        1 => -70_000..200_000_i64,
    ];
    let call = (0..10_u8, 0..6_u64, 0..3_usize, 0..4_u64, quota, step_ms).prop_map(
        |(what, key, algorithm, cost, quota, step_ms)| Call {
            what,
            key,
            algorithm,
            cost,
            quota,
            step_ms,
        },
    );
    prop::collection::vec(call, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_region_answers_as_a_map_of_cells_does(calls in calls()) {
        let region = region(100, 100);
        let mut model = Model::new();
        let mut taken: BTreeMap<(u64, u8), Cell> = BTreeMap::new();
        let (mut now_ms, mut latest_ms) = (NOW_MS, NOW_MS);
        for call in calls {
            // A clock may be behind another by as long as an expired cell is kept.
            now_ms = now_ms.saturating_add_signed(call.step_ms).max(latest_ms - KEPT_MS);
            if now_ms > latest_ms {
                latest_ms = now_ms;
                // Which expired windows are still kept is up to a region; so both drop all they may.
                region.expire(now_ms).unwrap();
                model.retain(|_, (_, expires_ms)| *expires_ms + KEPT_MS > now_ms);
            }
            let mut limit = limit_of(call.algorithm);
            limit.cost = call.cost;
            let id = (call.key, call.algorithm as u8);
            let cell_key = key(&limit, call.key);
            let stored = model.get(&id).filter(|(_, expires_ms)| expires_ms + KEPT_MS > now_ms);
            let stored = stored.map(|(cell, _)| *cell);
            let expected = check(limit.algorithm, &call.quota, stored.as_ref(), now_ms, limit.cost);
            let with_expiry = |cell: Cell| (cell, expires_ms(limit.algorithm, &call.quota, &cell));
            match call.what {
                0..=5 => {
                    let answered = region.take(&cell_key, &limit, &call.quota, now_ms).unwrap();
                    prop_assert_eq!(said(&answered), said(&expected));
                    if let (Ok(cell), 1..) = (expected.verdict, limit.cost) {
                        model.insert(id, with_expiry(cell));
                        taken.insert(id, cell);
                    }
                }
                6..=7 => {
                    let answered = region.peek(&cell_key, &limit, &call.quota, now_ms).unwrap();
                    prop_assert_eq!(said(&answered), said(&expected));
                }
                8 => {
                    let Some(taken) = taken.get(&id) else { continue };
                    region.give_back(&cell_key, &limit, &call.quota, taken, now_ms).unwrap();
                    if let Some(stored) = stored {
                        let cell = give_back(&call.quota, &stored, taken, limit.cost, now_ms);
                        model.insert(id, with_expiry(cell));
                    }
                }
                _ => region.expire(now_ms).unwrap(), // at or before the last one: nothing more
            }
        }
    }
}

/// All but the cell: an expired one and none lead to cells that say the same, and may look different.
fn said(check: &Check) -> (Result<(), Refused>, Left, Left) {
    (check.verdict.map(|_| ()), check.before, check.after)
}

fn limit_of(algorithm: usize) -> Limit {
    thread_local! {
        static LIMITS: [Limit; 3] = ALGORITHMS.map(|algorithm| limit(algorithm, 1));
    }
    LIMITS.with(|limits| limits[algorithm].clone())
}

#[test]
fn a_quota_is_exact_under_eight_threads() {
    for algorithm in ALGORITHMS {
        let region = region(1_000, 1_000);
        let limit = limit(algorithm, 1);
        let quota = Quota::new(10_000, 3_600_000);
        let taken: Vec<AtomicU64> = (0..4).map(|_| AtomicU64::new(0)).collect();
        thread::scope(|scope| {
            for thread in 0..8_u64 {
                let (region, limit, taken) = (&region, &limit, &taken);
                scope.spawn(move || {
                    for number in 0..12_000_u64 {
                        let which = (number + thread) % 4;
                        let check = region.take(&key(limit, which), limit, &quota, NOW_MS).unwrap();
                        if check.verdict.is_ok() {
                            taken[which as usize].fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        for count in &taken {
            assert_eq!(count.load(Ordering::Relaxed), 10_000, "{algorithm:?}");
        }
    }
}

#[test]
fn what_is_given_back_can_be_taken_again_under_threads() {
    for algorithm in ALGORITHMS {
        let region = region(1_000, 1_000);
        let limit = limit(algorithm, 1);
        let quota = Quota::new(100, 3_600_000);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..5_000 {
                        let key = key(&limit, number % 2);
                        let check = region.take(&key, &limit, &quota, NOW_MS).unwrap();
                        let cell = check.verdict.unwrap();
                        region.give_back(&key, &limit, &quota, &cell, NOW_MS).unwrap();
                    }
                });
            }
        });
        // What GCRA keeps back refills within a second.
        let check = region.peek(&key(&limit, 0), &limit, &quota, NOW_MS + 1_000).unwrap();
        assert_eq!(check.before.remaining, 100, "{algorithm:?}");
    }
}
