//! What every store of limits does: what [`check`](tollgate::check) says on a map, exact under threads.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestError, TestRunner};
use tollgate::{
    AccountRef, Algorithm, Cell, CellKey, Check, GcraCell, Limit, LimitStore, MAX_NOW_MS,
    Partition, Quota, StoreError, check, expires_ms, give_back,
};

use crate::model::KEPT_MS;
use crate::suite::bounds::MAX_TRIES;
use crate::world::{ALGORITHMS, NOW_MS, account, address, limit_of, named, per_token, token, with};

/// How long a random story is at most.
const STEPS: usize = 80;
const CASES: u32 = 192;
/// How far the clock runs back at most: five seconds less than a cell counts after it expired, for its time
/// was that of the quota it was taken under.
const BACK_MS: u64 = 55_000;

fn key(limit: &Limit, number: u64) -> CellKey {
    limit.cell_key(&token(number), &AccountRef::Id(account(number)), Some(address(number)))
}

/// The obvious store of limits.
#[derive(Default)]
struct Map {
    cells: BTreeMap<CellKey, (Cell, u64)>,
}

impl Map {
    fn cell(&self, key: &CellKey, now_ms: u64) -> Option<&Cell> {
        let kept = |expires_ms: u64| expires_ms.saturating_add(KEPT_MS) > now_ms;
        self.cells.get(key).filter(|(_, expires_ms)| kept(*expires_ms)).map(|(cell, _)| cell)
    }

    fn check(&self, key: &CellKey, limit: &Limit, quota: &Quota, now_ms: u64) -> Check {
        check(limit.algorithm, quota, self.cell(key, now_ms), now_ms, limit.cost)
    }

    fn put(&mut self, key: &CellKey, limit: &Limit, quota: &Quota, cell: Cell) {
        self.cells.insert(*key, (cell, expires_ms(limit.algorithm, quota, &cell)));
    }
}

/// One thing to do.
#[derive(Clone, Debug)]
enum Step {
    Clock(i64),
    Take(usize, u64, usize),
    Peek(usize, u64, usize),
    /// Gives back what was taken so many takes ago.
    GiveBack(usize),
    Expire,
}

fn step() -> impl Strategy<Value = Step> {
    let what = || (0..6_usize, 0..2_u64, 0..4_usize);
    prop_oneof![
        2 => (1..30_i64).prop_map(Step::Clock),
        3 => (100..2_500_i64).prop_map(Step::Clock),
        1 => select(vec![30_000_i64, 60_000, 300_000]).prop_map(Step::Clock),
        1 => (-55_000..0_i64).prop_map(Step::Clock),
        8 => what().prop_map(|(limit, number, quota)| Step::Take(limit, number, quota)),
        2 => what().prop_map(|(limit, number, quota)| Step::Peek(limit, number, quota)),
        4 => (0..6_usize).prop_map(Step::GiveBack),
        1 => Just(Step::Expire),
    ]
}

fn limits() -> Vec<Limit> {
    let of = |name: &str, cost, algorithm| {
        with(named(name, per_token(algorithm, 5, 1_000)), |limit| limit.cost = cost)
    };
    let one = ALGORITHMS.map(|algorithm| of("one", 1, algorithm));
    let two = ALGORITHMS.map(|algorithm| of("two", 2, algorithm));
    [one, two].concat()
}

fn quotas() -> [Quota; 4] {
    [
        Quota::new(5, 1_000),
        Quota { units: 2, window_ms: 500, burst: 6 },
        Quota::new(3, 1_600),
        Quota { units: 7, window_ms: 900, burst: 2 },
    ]
}

fn replay<L: LimitStore>(store: &L, steps: &[Step]) -> Result<(), String> {
    let (limits, quotas) = (limits(), quotas());
    let mut map = Map::default();
    let (mut now_ms, mut latest_ms) = (NOW_MS, NOW_MS);
    let mut taken: Vec<(CellKey, usize, Quota, Cell)> = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let (found, expected) = match *step {
            Step::Clock(by_ms) => {
                now_ms = now_ms.saturating_add_signed(by_ms).max(latest_ms - BACK_MS);
                latest_ms = latest_ms.max(now_ms);
                continue;
            }
            Step::Expire => {
                store.expire(now_ms).map_err(|error| error.to_string())?;
                continue;
            }
            Step::GiveBack(ago) => {
                let Some(place) = taken.len().checked_sub(ago + 1) else { continue };
                let (key, place, quota, cell) = taken.remove(place);
                let limit = &limits[place];
                store.give_back(&key, limit, &quota, &cell, now_ms).map_err(|e| e.to_string())?;
                if let Some(stored) = map.cell(&key, now_ms).copied() {
                    map.put(
                        &key,
                        limit,
                        &quota,
                        give_back(&quota, &stored, &cell, limit.cost, now_ms),
                    );
                }
                (store.peek(&key, limit, &quota, now_ms), map.check(&key, limit, &quota, now_ms))
            }
            Step::Peek(place, subject, quota) => {
                let (limit, quota) = (&limits[place], &quotas[quota]);
                let key = key(limit, subject);
                (store.peek(&key, limit, quota, now_ms), map.check(&key, limit, quota, now_ms))
            }
            Step::Take(place, subject, quota) => {
                let (limit, quota) = (&limits[place], quotas[quota]);
                let key = key(limit, subject);
                let expected = map.check(&key, limit, &quota, now_ms);
                if let Ok(cell) = expected.verdict {
                    map.put(&key, limit, &quota, cell);
                    taken.push((key, place, quota, cell));
                }
                (store.take(&key, limit, &quota, now_ms), expected)
            }
        };
        if found != Ok(expected) {
            return Err(format!(
                "at {now_ms} step {number} differs: {step:?}\n  the store: {found:?}\n  the model: {expected:?}"
            ));
        }
    }
    Ok(())
}

/// Random takes, looks, returns and sweeps are answered as on a map.
pub fn every_check_is_that_of_the_model<L: LimitStore>(make: &dyn Fn() -> L) {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    let config =
        Config { cases: cases.unwrap_or(CASES), failure_persistence: None, ..Config::default() };
    let played = TestRunner::new(config).run(&prop::collection::vec(step(), 1..STEPS), |steps| {
        replay(&make(), &steps).map_err(TestCaseError::fail)
    });
    if let Err(TestError::Fail(reason, steps)) = played {
        panic!("{}\nwith these steps: {steps:#?}", reason.message());
    }
}

/// Looking counts nothing, however often.
pub fn looking_counts_nothing<L: LimitStore>(make: &dyn Fn() -> L) {
    let store = make();
    for algorithm in ALGORITHMS {
        let limit = per_token(algorithm, 3, 1_000);
        let key = key(&limit, 1);
        for left in [3, 2, 1] {
            for _ in 0..4 {
                let peeked = store.peek(&key, &limit, &limit.quota, NOW_MS).unwrap();
                assert_eq!(peeked.before.remaining, left);
            }
            assert!(store.take(&key, &limit, &limit.quota, NOW_MS).unwrap().verdict.is_ok());
        }
        assert!(store.peek(&key, &limit, &limit.quota, NOW_MS).unwrap().verdict.is_err());
    }
}

/// Cells of other keys and other limits are not touched.
pub fn partitions_and_limits_are_apart<L: LimitStore>(make: &dyn Fn() -> L) {
    let store = make();
    let partitions = [
        Partition::Token,
        Partition::Account,
        Partition::SourceIp,
        Partition::TokenSourceIp,
        Partition::AccountSourceIp,
    ];
    for algorithm in ALGORITHMS {
        for (place, partition) in partitions.into_iter().enumerate() {
            let limit = named(&format!("limit {place}"), limit_of(partition, algorithm, 1, 60_000));
            for number in 0..50 {
                let key = key(&limit, number);
                let taken = store.take(&key, &limit, &limit.quota, NOW_MS).unwrap();
                assert!(taken.verdict.is_ok(), "{partition:?}, {number}");
                let taken = store.take(&key, &limit, &limit.quota, NOW_MS).unwrap();
                assert!(taken.verdict.is_err());
            }
        }
    }
}

/// What is given back can be taken again, once, and a second later at the latest (see
/// [`give_back`](tollgate::give_back)).
pub fn what_is_given_back_can_be_taken_again<L: LimitStore>(make: &dyn Fn() -> L) {
    let store = make();
    for algorithm in ALGORITHMS {
        let limit = with(per_token(algorithm, 6, 60_000), |limit| limit.cost = 2);
        let key = key(&limit, 1);
        let take = |now_ms| store.take(&key, &limit, &limit.quota, now_ms).unwrap().verdict;
        let taken = [take(NOW_MS), take(NOW_MS), take(NOW_MS)].map(|verdict| verdict.unwrap());
        assert!(take(NOW_MS).is_err());
        for cell in [taken[1], taken[0]] {
            store.give_back(&key, &limit, &limit.quota, &cell, NOW_MS).unwrap();
            assert!(take(NOW_MS + 1_000).is_ok(), "{algorithm:?}");
            assert!(take(NOW_MS + 1_000).is_err(), "{algorithm:?}");
        }
        // Of a cell that is not there, nothing comes back.
        let other = self::key(&limit, 2);
        store.give_back(&other, &limit, &limit.quota, &taken[0], NOW_MS).unwrap();
        let left = store.peek(&other, &limit, &limit.quota, NOW_MS).unwrap().before.remaining;
        assert_eq!(left, 6);
    }
}

fn together(threads: usize, work: impl Fn(usize) -> u64 + Sync) -> u64 {
    let barrier = Barrier::new(threads);
    thread::scope(|scope| {
        let started: Vec<_> = (0..threads)
            .map(|number| {
                let (barrier, work) = (&barrier, &work);
                scope.spawn(move || {
                    barrier.wait();
                    work(number)
                })
            })
            .collect();
        started.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

/// Sixteen threads take what there is, and not a unit more.
pub fn threads_never_overshoot<L: LimitStore>(make: &dyn Fn() -> L) {
    let store = make();
    for (round, algorithm) in (0..6).zip(ALGORITHMS.into_iter().cycle()) {
        let limit = per_token(algorithm, 500, 3_600_000);
        let key = key(&limit, round);
        let taken = together(16, |_| {
            let take =
                |_: &i32| store.take(&key, &limit, &limit.quota, NOW_MS).unwrap().verdict.is_ok();
            (0..50).filter(take).count() as u64
        });
        assert_eq!(taken, 500, "{algorithm:?}");
    }
}

/// Threads that take and give back at once: what is left in the end is what was kept.
pub fn taking_and_giving_back_at_once_loses_nothing<L: LimitStore>(make: &dyn Fn() -> L) {
    let store = make();
    for algorithm in ALGORITHMS {
        let limit = per_token(algorithm, 1_000, 3_600_000);
        let key = key(&limit, 1);
        let kept = together(8, |thread| {
            let mut kept = 0;
            for round in 0..60 {
                let taken = store.take(&key, &limit, &limit.quota, NOW_MS).unwrap();
                match taken.verdict {
                    Ok(cell) if (round + thread) % 3 != 0 => {
                        store.give_back(&key, &limit, &limit.quota, &cell, NOW_MS).unwrap();
                    }
                    Ok(_) => kept += 1,
                    Err(_) => panic!("there are units for all"),
                }
            }
            kept
        });
        let later_ms = NOW_MS + 1_000;
        let left = store.peek(&key, &limit, &limit.quota, later_ms).unwrap().before.remaining;
        assert_eq!(left, 1_000 - kept, "{algorithm:?}");
    }
}

/// A clock that is set back by less than a minute gives no units twice, across sweeps too.
pub fn a_clock_set_back_gives_nothing_twice<L: LimitStore>(make: &dyn Fn() -> L) {
    for algorithm in ALGORITHMS {
        let store = make();
        let limit = per_token(algorithm, 2, 1_000);
        let key = key(&limit, 1);
        let late_ms = NOW_MS + 59_000;
        for round in 0..4 {
            let taken = store.take(&key, &limit, &limit.quota, NOW_MS).unwrap();
            assert_eq!(taken.verdict.is_ok(), round < 2, "{algorithm:?}, {round}");
            // What was taken counts until a minute after it refilled.
            if round >= 1 {
                let other = self::key(&limit, 2);
                store.take(&other, &limit, &limit.quota, late_ms).unwrap();
                store.expire(late_ms).unwrap();
            }
        }
        let mut passed = 0;
        for now_ms in [late_ms, late_ms - 59_000, late_ms, late_ms - 30_000, late_ms] {
            store.expire(late_ms).unwrap();
            let taken = store.take(&key, &limit, &limit.quota, now_ms).unwrap();
            passed += u32::from(taken.verdict.is_ok());
        }
        assert_eq!(passed, 2, "{algorithm:?}");
    }
}

/// A sweep drops what says no more than an absent cell, and nothing else.
pub fn expiry_forgets_only_what_says_nothing<L: LimitStore>(make: &dyn Fn() -> L) {
    let store = make();
    for algorithm in ALGORITHMS {
        let limit = per_token(algorithm, 1, 10_000);
        let key = key(&limit, 1);
        let cell = store.take(&key, &limit, &limit.quota, NOW_MS).unwrap().verdict.unwrap();
        let end_ms = expires_ms(algorithm, &limit.quota, &cell);
        for now_ms in [NOW_MS, end_ms - 1] {
            store.expire(now_ms).unwrap();
            let expected = check(algorithm, &limit.quota, Some(&cell), now_ms, 1);
            assert_eq!(store.peek(&key, &limit, &limit.quota, now_ms), Ok(expected));
        }
        store.expire(end_ms + KEPT_MS).unwrap();
        let expected = check(algorithm, &limit.quota, None, end_ms + KEPT_MS, 1);
        assert_eq!(store.peek(&key, &limit, &limit.quota, end_ms + KEPT_MS), Ok(expected));
    }
}

/// A store of one word a cell needs some of its values for itself: it may refuse what GCRA would note from
/// here on, in the year 2536, nine years after [`MAX_NOW_MS`].
const LAST_TAT_NS: u64 = 0xf8 << 56;

/// Whether a request is one that a store may refuse because of what it cannot note.
fn is_beyond(expected: &Check) -> bool {
    matches!(expected.verdict, Ok(Cell::Gcra(GcraCell { tat_ns })) if tat_ns >= LAST_TAT_NS)
}

/// Quotas, costs and times at both ends of their ranges.
pub fn extreme_quotas_and_times<L: LimitStore>(make: &dyn Fn() -> L) {
    let store = make();
    let mut number = 0;
    for algorithm in ALGORITHMS {
        for units in [0, 1, u64::from(u32::MAX), u64::MAX] {
            for window_ms in [1, 16, 86_400_000, u64::MAX] {
                for cost in [0, 1, u64::MAX] {
                    for now_ms in [0, NOW_MS, MAX_NOW_MS] {
                        number += 1;
                        let limit = with(per_token(algorithm, 1, 1_000), |limit| limit.cost = cost);
                        let quota = Quota::new(units, window_ms);
                        let key = key(&limit, number);
                        let mut cell = None;
                        for _ in 0..2 {
                            let expected = check(algorithm, &quota, cell.as_ref(), now_ms, cost);
                            let found = store.take(&key, &limit, &quota, now_ms);
                            if is_beyond(&expected)
                                && matches!(found, Ok(Check { verdict: Err(_), .. }))
                            {
                                continue;
                            }
                            assert_eq!(
                                found,
                                Ok(expected),
                                "{algorithm:?} {quota:?} {cost} {now_ms}"
                            );
                            cell = expected.verdict.ok().or(cell);
                        }
                    }
                }
            }
        }
    }
}

/// A store that is full says so, forgets no live cell, and has room once cells have expired.
pub fn a_full_store_forgets_nothing<L: LimitStore>(make: &dyn Fn() -> L) {
    let store = make();
    let limit = limit_of(Partition::SourceIp, Algorithm::FixedWindow, 1, 60_000);
    let take = |number, now_ms| store.take(&key(&limit, number), &limit, &limit.quota, now_ms);
    let mut taken = Vec::new();
    let full = (0..MAX_TRIES).any(|number| match take(number, NOW_MS) {
        Ok(check) => {
            assert!(check.verdict.is_ok());
            taken.push(number);
            false
        }
        Err(StoreError::Full { .. }) => true,
        Err(error) => panic!("full of cells, it should say so: {error}"),
    });
    assert!(full, "the store took {MAX_TRIES} cells; give the suite one with a tiny bound");
    assert!(!taken.is_empty());
    for number in &taken {
        assert!(take(*number, NOW_MS).unwrap().verdict.is_err(), "a live cell was forgotten");
    }
    let later_ms = NOW_MS + 200_000;
    store.expire(later_ms).unwrap();
    for number in &taken {
        assert!(take(*number, later_ms).unwrap().verdict.is_ok());
    }
}
