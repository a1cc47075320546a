//! Generic cell rate algorithm (ITU-T I.371, annex A: virtual scheduling), in whole nanoseconds.
//!
//! A cell is one number, the theoretical arrival time: when the bucket will be full again. Each
//! unit moves it on by the emission interval; it may run ahead of the clock by the tolerance.
//! Everything that is rounded is rounded towards admitting less, and what does not fit in 64 bits
//! of nanoseconds is refused, so no input admits more than the quota.

use serde::{Deserialize, Serialize};

use super::{Cell, Check, GIVEN_BACK_WITHIN_MS, Left, Quota, Refused};

const NS_PER_MS: u64 = 1_000_000;

/// Theoretical arrival time of the next unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcraCell {
    /// Unix nanoseconds.
    pub tat_ns: u64,
}

impl GcraCell {
    /// The cell of an absent key: full since the epoch.
    pub(crate) const EMPTY: GcraCell = GcraCell { tat_ns: 0 };
}

/// A quota in the algorithm's own terms, to be worked out once per quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Emission interval: nanoseconds in which one unit refills, at least 1.
    pub(crate) interval_ns: u64,
    /// How far the theoretical arrival time may run ahead of the clock: nanoseconds in which the
    /// whole burst refills; 0 when nothing is ever admitted.
    pub(crate) tolerance_ns: u64,
}

impl Rate {
    /// The rate of `quota`. The interval is rounded up to a whole nanosecond, so the sustained rate
    /// is never above the quota's.
    #[must_use]
    pub(crate) fn of(quota: &Quota) -> Self {
        if quota.units == 0 {
            return Rate { interval_ns: 1, tolerance_ns: 0 };
        }
        let interval_ns = match quota.window_ms.max(1).checked_mul(NS_PER_MS) {
            Some(window_ns) => window_ns.div_ceil(quota.units),
            // Above 584 years: rounding down to u64::MAX admits nothing extra, because an interval
            // of that length fits behind no time but the epoch itself.
            None => {
                let window_ns = u128::from(quota.window_ms).saturating_mul(u128::from(NS_PER_MS));
                u64::try_from(window_ns.div_ceil(u128::from(quota.units))).unwrap_or(u64::MAX)
            }
        };
        Rate { interval_ns, tolerance_ns: quota.burst.saturating_mul(interval_ns) }
    }
}

/// The theoretical arrival time to store after `cost` units at `now_ms`, or a refusal. Costs
/// two multiplications and no division unless refused; ask [`left`] only for what is reported.
#[cfg_attr(not(feature = "small"), inline(always))]
pub(crate) fn admit(rate: Rate, tat_ns: u64, now_ms: u64, cost: u64) -> Result<u64, Refused> {
    if cost == 0 {
        return Ok(tat_ns);
    }
    let now_ns = now_ms.saturating_mul(NS_PER_MS);
    let taken =
        rate.interval_ns.checked_mul(cost).and_then(|ns| tat_ns.max(now_ns).checked_add(ns));
    match taken {
        Some(next_ns) if next_ns.saturating_sub(now_ns) <= rate.tolerance_ns => Ok(next_ns),
        _ => Err(refuse(rate, tat_ns, now_ns, cost)),
    }
}

/// When the refused cost would be admitted: the first whole millisecond that is not before
/// `tat + cost × interval − tolerance`.
#[cold]
fn refuse(rate: Rate, tat_ns: u64, now_ns: u64, cost: u64) -> Refused {
    const NEVER: Refused = Refused { retry_at_ms: None };
    let Some(cost_ns) = rate.interval_ns.checked_mul(cost) else { return NEVER };
    let Some(slack_ns) = rate.tolerance_ns.checked_sub(cost_ns) else { return NEVER };
    let retry_at_ms = tat_ns.saturating_sub(slack_ns).div_ceil(NS_PER_MS);
    // What was refused because the arrival time would not fit, or would not then, never passes.
    let retry_ns = retry_at_ms.saturating_mul(NS_PER_MS);
    match tat_ns.max(now_ns).max(retry_ns).checked_add(cost_ns) {
        Some(_) => Refused::until(retry_at_ms),
        None => NEVER,
    }
}

/// What is left at `now_ms`.
#[must_use]
#[cfg_attr(not(feature = "small"), inline(always))]
pub(crate) fn left(rate: Rate, tat_ns: u64, now_ms: u64) -> Left {
    let now_ns = now_ms.saturating_mul(NS_PER_MS);
    let ahead_ns = tat_ns.saturating_sub(now_ns);
    // What is admitted must also fit behind the present in 64 bits, as in `admit`.
    let room_ns =
        rate.tolerance_ns.saturating_sub(ahead_ns).min(u64::MAX.saturating_sub(tat_ns.max(now_ns)));
    Left {
        remaining: room_ns.checked_div(rate.interval_ns).unwrap_or(0),
        reset_ms: tat_ns.div_ceil(NS_PER_MS).max(now_ms),
    }
}

pub(super) fn check(quota: &Quota, cell: GcraCell, now_ms: u64, cost: u64) -> Check {
    let rate = Rate::of(quota);
    let before = left(rate, cell.tat_ns, now_ms);
    match admit(rate, cell.tat_ns, now_ms, cost) {
        Ok(tat_ns) => Check {
            verdict: Ok(Cell::Gcra(GcraCell { tat_ns })),
            before,
            after: left(rate, tat_ns, now_ms),
        },
        Err(refused) => Check { verdict: Err(refused), before, after: before },
    }
}

/// The cell without `cost` units that were counted at `now_ms` by storing `taken`.
///
/// Where others counted meanwhile, the bucket may have been empty of all but these units for a while,
/// and what refilled then must not come back: it would be more than the quota. How long that was
/// nobody can tell, but not longer than [`GIVEN_BACK_WITHIN_MS`]: what could have refilled until then is kept.
pub(super) fn give_back(
    quota: &Quota,
    stored: GcraCell,
    taken: GcraCell,
    cost: u64,
    now_ms: u64,
) -> GcraCell {
    let cost_ns = Rate::of(quota).interval_ns.saturating_mul(cost);
    let back_ns = if stored == taken {
        cost_ns
    } else {
        let latest_ns = now_ms.saturating_add(GIVEN_BACK_WITHIN_MS).saturating_mul(NS_PER_MS);
        taken.tat_ns.saturating_sub(latest_ns).min(cost_ns)
    };
    GcraCell { tat_ns: stored.tat_ns.saturating_sub(back_ns) }
}

pub(super) fn expires_ms(cell: GcraCell) -> u64 {
    cell.tat_ns.div_ceil(NS_PER_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_unit_per_interval() {
        let rate = Rate::of(&Quota { units: 120, window_ms: 60_000, burst: 3 });
        assert_eq!(rate, Rate { interval_ns: 500_000_000, tolerance_ns: 1_500_000_000 });
        let mut tat_ns = 0;
        for remaining in [2, 1, 0] {
            tat_ns = admit(rate, tat_ns, 1_000, 1).unwrap();
            assert_eq!(left(rate, tat_ns, 1_000).remaining, remaining);
        }
        assert_eq!(admit(rate, tat_ns, 1_000, 1), Err(Refused { retry_at_ms: Some(1_500) }));
        assert!(admit(rate, tat_ns, 1_499, 1).is_err());
        assert!(admit(rate, tat_ns, 1_500, 1).is_ok());
        assert_eq!(left(rate, tat_ns, 1_000), Left { remaining: 0, reset_ms: 2_500 });
        assert_eq!(admit(rate, tat_ns, 1_000, 4), Err(Refused { retry_at_ms: None }));
    }

    #[test]
    fn an_interval_that_is_no_whole_number_is_rounded_up() {
        let rate = Rate::of(&Quota { units: 7, window_ms: 1, burst: 1 });
        assert_eq!(rate.interval_ns, 142_858);
        assert_eq!(Rate::of(&Quota::new(u64::MAX, 1)).interval_ns, 1);
    }
}
