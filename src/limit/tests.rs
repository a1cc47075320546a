//! The three algorithms against models that are written to be obvious.

#![allow(clippy::arithmetic_side_effects, reason = "models are plain sums of small numbers")]

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

const ALGORITHMS: [Algorithm; 3] =
    [Algorithm::Gcra, Algorithm::FixedWindow, Algorithm::SlidingWindow];

/// A request: how far the clock moves before it, and what it costs.
type Call = (i64, u64);

fn forwards() -> impl Strategy<Value = Vec<Call>> {
    prop::collection::vec((prop_oneof![0..5i64, 0..60i64, 0..400i64], 0..5u64), 1..120)
}

fn any_direction() -> impl Strategy<Value = Vec<Call>> {
    let step = prop_oneof![4 => 0..60i64, 1 => 0..400i64, 1 => -150..0i64];
    prop::collection::vec((step, 0..5u64), 1..120)
}

fn small_quota() -> impl Strategy<Value = Quota> {
    (1..12u64, prop_oneof![1..20u64, 1..300u64], 1..16u64)
        .prop_map(|(units, window_ms, burst)| Quota { units, window_ms, burst })
}

fn extreme() -> impl Strategy<Value = u64> {
    prop_oneof![
        prop::sample::select(vec![
            0,
            1,
            2,
            999,
            u64::from(u32::MAX),
            MAX_NOW_MS,
            u64::MAX - 1,
            u64::MAX
        ]),
        any::<u64>(),
        (0..64u32, any::<u64>()).prop_map(|(by, value)| value >> by),
    ]
}

fn any_cell() -> impl Strategy<Value = Cell> {
    let counts = prop::array::uniform17(prop_oneof![Just(0), 0..5u32, any::<u32>()]);
    prop_oneof![
        extreme().prop_map(|tat_ns| Cell::Gcra(GcraCell { tat_ns })),
        (extreme(), extreme())
            .prop_map(|(start_ms, used)| Cell::FixedWindow(FixedCell { start_ms, used })),
        (extreme(), extreme(), counts).prop_map(|(part_ms, newest, counts)| Cell::SlidingWindow(
            SlidingCell { part_ms, newest, counts }
        )),
    ]
}

/// Calls `visit` with the time, the cell before, the cost and the check of every call.
fn run(
    algorithm: Algorithm,
    quota: &Quota,
    start_ms: u64,
    calls: &[Call],
    mut visit: impl FnMut(u64, Option<&Cell>, u64, &Check),
) -> Option<Cell> {
    let (mut now_ms, mut cell) = (start_ms, None);
    for (dt, cost) in calls {
        now_ms = now_ms.saturating_add_signed(*dt);
        let checked = check(algorithm, quota, cell.as_ref(), now_ms, *cost);
        visit(now_ms, cell.as_ref(), *cost, &checked);
        cell = checked.verdict.ok().or(cell);
    }
    cell
}

/// A bucket that leaks `units` per `window_ns`; its level is in `1/window_ns` of a unit, exactly.
struct LeakyBucket {
    quota: Quota,
    window_ns: u128,
    level: u128,
    at_ms: u64,
}

impl LeakyBucket {
    fn new(quota: Quota, window_ns: u128) -> Self {
        LeakyBucket { quota, window_ns, level: 0, at_ms: 0 }
    }

    fn leak_to(&mut self, now_ms: u64) {
        let passed_ns = u128::from(now_ms.saturating_sub(self.at_ms)) * 1_000_000;
        self.level = self.level.saturating_sub(passed_ns * u128::from(self.quota.units));
        self.at_ms = self.at_ms.max(now_ms);
    }

    fn pour(&mut self, cost: u64) {
        self.level += u128::from(cost) * self.window_ns;
    }

    fn room(&self) -> Option<u128> {
        (u128::from(self.quota.burst) * self.window_ns).checked_sub(self.level)
    }
}

proptest! {
    #[test]
    fn gcra_never_admits_what_a_leaky_bucket_would_not(quota in small_quota(), calls in any_direction()) {
        let mut bucket = LeakyBucket::new(quota, u128::from(quota.window_ms) * 1_000_000);
        run(Algorithm::Gcra, &quota, 500, &calls, |now_ms, _, cost, check| {
            if check.verdict.is_ok() && cost > 0 {
                bucket.leak_to(now_ms);
                bucket.pour(cost);
                assert!(bucket.room().is_some());
            }
        });
    }

    #[test]
    fn gcra_is_a_leaky_bucket_of_the_rounded_rate(quota in small_quota(), calls in forwards()) {
        let window_ns = (quota.window_ms * 1_000_000).next_multiple_of(quota.units);
        let mut bucket = LeakyBucket::new(quota, u128::from(window_ns));
        run(Algorithm::Gcra, &quota, 500, &calls, |now_ms, _, cost, check| {
            bucket.leak_to(now_ms);
            let room = bucket.room().unwrap();
            assert_eq!(u128::from(check.before.remaining), room / u128::from(window_ns));
            assert_eq!(check.verdict.is_ok(), u128::from(cost * window_ns) <= room);
            if check.verdict.is_ok() {
                bucket.pour(cost);
            }
        });
    }

    #[test]
    fn fixed_window_is_a_map_of_counters(quota in small_quota(), calls in any_direction()) {
        let mut used: BTreeMap<u64, u64> = BTreeMap::new();
        run(Algorithm::FixedWindow, &quota, 500, &calls, |now_ms, _, cost, check| {
            let latest = used.keys().next_back().copied().unwrap_or(0);
            let window = (now_ms / quota.window_ms).max(latest);
            let taken = used.get(&window).copied().unwrap_or(0);
            assert_eq!(check.before.remaining, quota.units - taken);
            assert_eq!(check.verdict.is_ok(), taken + cost <= quota.units);
            if check.verdict.is_ok() && cost > 0 {
                used.insert(window, taken + cost);
            }
        });
    }

    #[test]
    fn sliding_window_never_exceeds_the_quota_in_any_window(
        quota in small_quota(),
        calls in any_direction(),
    ) {
        let mut log: Vec<(u64, u64)> = Vec::new();
        run(Algorithm::SlidingWindow, &quota, 500, &calls, |now_ms, _, cost, check| {
            if check.verdict.is_ok() && cost > 0 {
                let latest = log.last().map_or(0, |(at, _)| *at);
                log.push((now_ms.max(latest), cost));
            }
        });
        for (start, _) in &log {
            let window = *start..*start + quota.window_ms;
            let taken: u64 = log.iter().filter(|(at, _)| window.contains(at)).map(|(_, cost)| cost).sum();
            prop_assert!(taken <= quota.units, "{taken} from {start}: {log:?}");
        }
    }

    #[test]
    fn sliding_window_is_strict_by_less_than_one_part(quota in small_quota(), calls in forwards()) {
        let mut log: Vec<(u64, u64)> = Vec::new();
        let long_ms = quota.window_ms + quota.window_ms.div_ceil(16);
        run(Algorithm::SlidingWindow, &quota, 500, &calls, |now_ms, _, cost, check| {
            let counted = |(at, _): &&(u64, u64)| at + long_ms > now_ms;
            let taken: u64 = log.iter().filter(counted).map(|(_, cost)| cost).sum();
            if taken + cost <= quota.units {
                assert!(check.verdict.is_ok());
            }
            if check.verdict.is_ok() {
                log.push((now_ms, cost));
            }
        });
    }

    #[test]
    fn a_refusal_tells_the_first_time_that_passes(quota in small_quota(), calls in any_direction()) {
        for algorithm in ALGORITHMS {
            run(algorithm, &quota, 500, &calls, |now_ms, cell, cost, checked| {
                let Err(refused) = checked.verdict else { return };
                assert_eq!(checked.before, checked.after);
                let most = if algorithm == Algorithm::Gcra { quota.burst } else { quota.units };
                assert_eq!(refused.retry_at_ms.is_none(), cost > most);
                if let Some(retry_at_ms) = refused.retry_at_ms {
                    assert!(retry_at_ms > now_ms);
                    assert!(check(algorithm, &quota, cell, retry_at_ms, cost).verdict.is_ok());
                    assert!(check(algorithm, &quota, cell, retry_at_ms - 1, cost).verdict.is_err());
                }
            });
        }
    }

    #[test]
    fn what_is_left_is_what_may_be_taken(quota in small_quota(), calls in any_direction()) {
        for algorithm in ALGORITHMS {
            run(algorithm, &quota, 500, &calls, |now_ms, cell, cost, checked| {
                let left = checked.before.remaining;
                assert!(check(algorithm, &quota, cell, now_ms, left).verdict.is_ok());
                assert!(check(algorithm, &quota, cell, now_ms, left + 1).verdict.is_err());
                if let Ok(next) = checked.verdict {
                    assert_eq!(checked.after.remaining, left - cost);
                    let again = check(algorithm, &quota, Some(&next), now_ms, 0);
                    assert_eq!((again.before, again.after), (checked.after, checked.after));
                }
                let whole = check(algorithm, &quota, cell, checked.before.reset_ms, 0);
                let fresh = check(algorithm, &quota, None, checked.before.reset_ms, 0);
                assert_eq!(whole.before.remaining, fresh.before.remaining);
            });
        }
    }

    #[test]
    fn an_expired_cell_is_an_absent_cell(
        quota in small_quota(),
        calls in any_direction(),
        cost in 0..20u64,
        later in 0..1_000u64,
    ) {
        for algorithm in ALGORITHMS {
            let Some(cell) = run(algorithm, &quota, 500, &calls, |_, _, _, _| {}) else { continue };
            let expires_ms = expires_ms(algorithm, &quota, &cell);
            let (with, without) = (
                check(algorithm, &quota, Some(&cell), expires_ms + later, cost),
                check(algorithm, &quota, None, expires_ms + later, cost),
            );
            prop_assert_eq!((with.before, with.after), (without.before, without.after));
            prop_assert_eq!(
                with.verdict.map_err(|refused| refused.retry_at_ms).err(),
                without.verdict.map_err(|refused| refused.retry_at_ms).err()
            );
            if expires_ms > 0 {
                let with = check(algorithm, &quota, Some(&cell), expires_ms - 1, cost);
                let without = check(algorithm, &quota, None, expires_ms - 1, cost);
                prop_assert_ne!(with.before, without.before);
            }
        }
    }

    #[test]
    fn extremes_neither_panic_nor_contradict_each_other(
        (units, window_ms, burst) in (extreme(), extreme(), extreme()),
        cell in prop::option::of(any_cell()),
        now_ms in extreme().prop_map(|now_ms| now_ms.min(MAX_NOW_MS)),
        cost in extreme(),
    ) {
        let quota = Quota { units, window_ms, burst };
        for algorithm in ALGORITHMS {
            let cell = cell.as_ref();
            let checked = check(algorithm, &quota, cell, now_ms, cost);
            prop_assert_eq!(checked.verdict.is_ok(), cost <= checked.before.remaining);
            prop_assert!(checked.before.reset_ms >= now_ms && checked.after.reset_ms >= now_ms);
            prop_assert!(checked.after.remaining <= checked.before.remaining);
            if units == 0 || burst == 0 {
                let never = Err(Refused { retry_at_ms: None });
                prop_assert!(cost == 0 || checked.verdict == never);
            }
            if let Some(cell) = cell {
                let expires_ms = expires_ms(algorithm, &quota, cell);
                if expires_ms <= now_ms {
                    let absent = check(algorithm, &quota, None, now_ms, cost);
                    prop_assert_eq!((absent.before, absent.after), (checked.before, checked.after));
                }
            }
            match checked.verdict {
                Ok(next) => {
                    prop_assert_eq!(checked.after.remaining, checked.before.remaining - cost);
                    let _ = expires_ms(algorithm, &quota, &next);
                }
                Err(Refused { retry_at_ms: Some(at_ms) }) => {
                    prop_assert!(at_ms > now_ms && at_ms <= MAX_NOW_MS);
                    let passes_at = |ms| check(algorithm, &quota, cell, ms, cost).verdict.is_ok();
                    prop_assert!(passes_at(at_ms) && !passes_at(at_ms - 1));
                }
                Err(_) => prop_assert_eq!(checked.before, checked.after),
            }
        }
    }
}

#[test]
fn a_cell_of_another_algorithm_counts_as_absent() {
    let quota = Quota::new(1, 1_000);
    let cell = Cell::FixedWindow(FixedCell { start_ms: 0, used: 1 });
    assert!(check(Algorithm::FixedWindow, &quota, Some(&cell), 5, 1).verdict.is_err());
    assert!(check(Algorithm::Gcra, &quota, Some(&cell), 5, 1).verdict.is_ok());
    assert_eq!(expires_ms(Algorithm::Gcra, &quota, &cell), 0);
}

proptest! {
    /// Never is more left than if the units had not been taken, whatever others take in between; with
    /// windows never less either, and with GCRA no less than what refills within a second.
    #[test]
    fn what_is_given_back_was_never_taken(
        quota in small_quota(),
        slower in prop::sample::select(vec![1_u64, 100, 10_000]),
        algorithm in prop::sample::select(ALGORITHMS.to_vec()),
        before in forwards(),
        cost in 1..5u64,
        between in prop::collection::vec((0..160i64, 0..3u64), 0..6),
        after in forwards(),
    ) {
        let quota = Quota { window_ms: quota.window_ms * slower, ..quota };
        let cell = run(algorithm, &quota, 1_000_000, &before, |_, _, _, _| {});
        let taken_ms =
            before.iter().fold(1_000_000_u64, |now_ms, (dt, _)| now_ms.saturating_add_signed(*dt));
        let Ok(taken) = check(algorithm, &quota, cell.as_ref(), taken_ms, cost).verdict else {
            return Ok(());
        };
        // Others count only what fits beside what was taken, in both worlds.
        let mut worlds = (taken, cell);
        let mut now_ms = taken_ms;
        let others = |worlds: &mut (Cell, Option<Cell>), now_ms: &mut u64, (dt, cost): Call| {
            *now_ms = now_ms.saturating_add_signed(dt);
            let (a, b) = (
                check(algorithm, &quota, Some(&worlds.0), *now_ms, cost),
                check(algorithm, &quota, worlds.1.as_ref(), *now_ms, cost),
            );
            if let (Ok(a), Ok(b)) = (a.verdict, b.verdict) {
                *worlds = (a, Some(b));
            }
            (a.before.remaining, b.before.remaining)
        };
        for call in &between {
            others(&mut worlds, &mut now_ms, *call);
        }
        prop_assert!(now_ms - taken_ms <= GIVEN_BACK_WITHIN_MS);
        worlds.0 = give_back(&quota, &worlds.0, &taken, cost, taken_ms);
        let refilled_in_a_second = (GIVEN_BACK_WITHIN_MS * quota.units).div_ceil(quota.window_ms) + 1;
        for call in &after {
            let (with, without) = others(&mut worlds, &mut now_ms, *call);
            prop_assert!(with <= without, "{with} where {without} are left");
            if algorithm == Algorithm::Gcra {
                prop_assert!(with + refilled_in_a_second >= without, "{with} of {without}");
            } else {
                prop_assert_eq!(with, without);
            }
        }
    }

    /// At the same instant nothing is lost, in any algorithm.
    #[test]
    fn what_is_given_back_at_once_is_all_there(
        quota in small_quota(),
        algorithm in prop::sample::select(ALGORITHMS.to_vec()),
        before in forwards(),
        cost in 1..5u64,
    ) {
        let cell = run(algorithm, &quota, 1_000_000, &before, |_, _, _, _| {});
        let now_ms = before.iter().fold(1_000_000_u64, |now_ms, (dt, _)| now_ms.saturating_add_signed(*dt));
        let checked = check(algorithm, &quota, cell.as_ref(), now_ms, cost);
        let Ok(taken) = checked.verdict else { return Ok(()) };
        let back = give_back(&quota, &taken, &taken, cost, now_ms);
        let now = check(algorithm, &quota, Some(&back), now_ms, 0).before;
        prop_assert_eq!(now.remaining, checked.before.remaining);
    }

    #[test]
    fn giving_back_survives_any_cells(
        stored in any_cell(), taken in any_cell(), units in extreme(), window_ms in extreme(),
        cost in extreme(), now_ms in extreme(),
    ) {
        let quota = Quota::new(units, window_ms);
        let back = give_back(&quota, &stored, &taken, cost, now_ms);
        let used = |cell: &Cell| match cell {
            Cell::Gcra(cell) => cell.tat_ns,
            Cell::FixedWindow(cell) => cell.used,
            Cell::SlidingWindow(cell) => cell.counts.iter().map(|count| u64::from(*count)).sum(),
        };
        prop_assert!(used(&back) <= used(&stored));
    }
}
