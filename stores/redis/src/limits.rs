//! Limits as scripts read them: divisions and multiplications are done here, where 64 bits are exact.

use tollgate::transition::CheckedLimit;
use tollgate::{
    Admit, Algorithm, Cell, Check, Counts, GIVEN_BACK_WITHIN_MS, GcraCell, Limit, Quota, check,
};

/// The longest window that scripts are told of. A longer one (142,000 years) is the same to any clock
/// up to [`MAX_NOW_MS`](tollgate::MAX_NOW_MS), and sums with this one are exact in a double.
const LONGEST_WINDOW_MS: u64 = 1 << 52;

/// What is known of a limit before the account's script runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Nothing: the script itself looks at its cell.
    Nothing,
    /// It lets the request in.
    Passes,
    /// It refuses.
    Refuses,
}

/// Algorithm, what it counts, shadow, what was said, special case; then numbers of 8 bytes each.
pub(crate) fn describe(limit: &Limit, admit: &Admit<'_>, said: Said) -> Vec<u8> {
    let quota = limit.quota_for(admit.own_quota());
    let algorithm = match limit.algorithm {
        Algorithm::Gcra => b'g',
        Algorithm::FixedWindow => b'f',
        Algorithm::SlidingWindow => b's',
    };
    let counts = if limit.counts == Counts::Requests { b'r' } else { b'e' };
    let shadow = if limit.shadow { b'1' } else { b'0' };
    let said = match said {
        Said::Nothing => b'-',
        Said::Passes => b'p',
        Said::Refuses => b'r',
    };
    let (special, numbers) = numbers(limit.algorithm, &quota, limit.cost);
    let mut described = vec![algorithm, counts, shadow, said, special];
    described.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
    described
}

fn numbers(algorithm: Algorithm, quota: &Quota, cost: u64) -> (u8, [u64; 4]) {
    let capacity = if quota.burst == 0 { 0 } else { quota.units };
    let window_ms = window_ms(quota);
    match algorithm {
        _ if cost == 0 => (b'0', [0; 4]),
        Algorithm::Gcra => {
            let (interval_ns, tolerance_ns) = rate(quota);
            match interval_ns.checked_mul(cost) {
                Some(cost_ns) => (b'-', [cost_ns, tolerance_ns, 0, 0]),
                None => (b'x', [0; 4]),
            }
        }
        Algorithm::FixedWindow => (b'-', [window_ms, capacity, cost, 0]),
        Algorithm::SlidingWindow => {
            let capacity = capacity.min(u64::from(u32::MAX));
            (b'-', [window_ms, window_ms.div_ceil(16), capacity, cost])
        }
    }
}

fn window_ms(quota: &Quota) -> u64 {
    quota.window_ms.clamp(1, LONGEST_WINDOW_MS)
}

/// Emission interval and tolerance of GCRA in nanoseconds, as the core works them out.
fn rate(quota: &Quota) -> (u64, u64) {
    if quota.units == 0 {
        return (1, 0);
    }
    let window_ns = u128::from(quota.window_ms.max(1)).saturating_mul(1_000_000);
    let interval_ns = window_ns.div_ceil(u128::from(quota.units));
    let interval_ns = u64::try_from(interval_ns).unwrap_or(u64::MAX);
    (interval_ns, quota.burst.saturating_mul(interval_ns))
}

/// The cell that the script stored when it took a limit's units, and what to take out of it again where
/// others took some since. As in [`give_back`](tollgate::give_back), what GCRA may have refilled by then stays.
pub(crate) fn to_give_back(
    one: &CheckedLimit<'_>,
    before: Option<&Cell>,
    now_ms: u64,
) -> Option<(Cell, u64)> {
    let (limit, quota) = (one.limit, one.quota);
    let (quota, units) = match limit.algorithm {
        Algorithm::Gcra => (quota, rate(&quota).0.saturating_mul(limit.cost)),
        _ => (Quota { window_ms: window_ms(&quota), ..quota }, limit.cost),
    };
    let Check { verdict, .. } = check(limit.algorithm, &quota, before, now_ms, limit.cost);
    let taken = verdict.ok()?;
    let Cell::Gcra(GcraCell { tat_ns }) = taken else { return Some((taken, units)) };
    let latest_ns = now_ms.saturating_add(GIVEN_BACK_WITHIN_MS).saturating_mul(1_000_000);
    Some((taken, units.min(tat_ns.saturating_sub(latest_ns))))
}
