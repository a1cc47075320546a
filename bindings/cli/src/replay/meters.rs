//! What one policy did, in numbers: decisions, how close callers came to limits, and money against caps.

use std::collections::BTreeMap;

use tollgate::{
    Algorithm, CapHolder, Decision, Denial, Limit, LimitReport, Partition, Period, STATUS_TABLE,
    SpendCap, Status,
};

use super::sent::Sent;
use super::world::Decided;

/// How many statuses there are.
pub(crate) const STATUSES: usize = STATUS_TABLE.len();

/// The row of a status in the table.
pub(crate) fn row_of(status: Status) -> usize {
    STATUS_TABLE.iter().position(|row| row.status == status).unwrap_or(0)
}

/// Adds one to a count by status.
pub(crate) fn add_one(counts: &mut [u64; STATUSES], status: Status) {
    if let Some(count) = counts.get_mut(row_of(status)) {
        *count = count.saturating_add(1);
    }
}

/// How close a caller came to a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peak {
    pub(crate) used: u64,
    pub(crate) capacity: u64,
    /// Number of the limit.
    pub(crate) limit: u16,
    pub(crate) at_ms: u64,
}

impl Peak {
    /// The used part, in thousandths.
    pub(crate) fn permille(&self) -> u64 {
        permille(self.used, self.capacity)
    }
}

/// A part of a whole in thousandths, rounded down; more than the whole is told as such.
pub(crate) fn permille(part: u64, whole: u64) -> u64 {
    let thousandths = u128::from(part).saturating_mul(1_000);
    let permille = thousandths.checked_div(u128::from(whole)).unwrap_or(0);
    u64::try_from(permille).unwrap_or(u64::MAX)
}

/// What became of one caller's requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallerMeter {
    pub(crate) requests: u64,
    /// Those that a limit refused.
    pub(crate) limited: u64,
    pub(crate) peak: Peak,
}

/// What became of one account's money.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AccountMeter {
    pub(crate) posted: u64,
    /// Requests that a cap refused.
    pub(crate) capped: u64,
    /// Requests that the wallet refused.
    pub(crate) unfunded: u64,
}

/// Whose cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CapOf {
    Account(usize),
    Caller(usize),
}

/// What was spent against one cap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CapMeter {
    pub(crate) of: CapOf,
    pub(crate) cap: SpendCap,
    period: u64,
    spent: u64,
    /// The most that was spent in one period, and when it was reached.
    pub(crate) peak: u64,
    pub(crate) peak_ms: u64,
    /// Requests that it refused.
    pub(crate) refused: u64,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Meters {
    pub(crate) by_status: [u64; STATUSES],
    pub(crate) reserved: u64,
    pub(crate) posted: u64,
    /// The limits by name, sorted, and whose units they count.
    pub(crate) limits: Vec<(Box<str>, Partition)>,
    pub(crate) callers: Vec<CallerMeter>,
    pub(crate) accounts: Vec<AccountMeter>,
    pub(crate) caps: Vec<CapMeter>,
    /// Where in `caps` those of an account or caller are.
    caps_of: BTreeMap<CapOf, Vec<usize>>,
}

impl Meters {
    /// `limits` are sorted by name.
    pub(crate) fn new(limits: Vec<(Box<str>, Partition)>) -> Self {
        Meters {
            by_status: [0; STATUSES],
            reserved: 0,
            posted: 0,
            limits,
            callers: Vec::new(),
            accounts: Vec::new(),
            caps: Vec::new(),
            caps_of: BTreeMap::new(),
        }
    }

    /// Makes room for so many callers and accounts.
    pub(crate) fn make_room(&mut self, callers: usize, accounts: usize) {
        self.callers.resize(callers, CallerMeter::default());
        self.accounts.resize(accounts, AccountMeter::default());
    }

    pub(crate) fn add_caps(&mut self, of: CapOf, caps: &[SpendCap]) {
        for cap in caps {
            let meter =
                CapMeter { of, cap: *cap, period: 0, spent: 0, peak: 0, peak_ms: 0, refused: 0 };
            self.caps_of.entry(of).or_default().push(self.caps.len());
            self.caps.push(meter);
        }
    }

    /// Counts a decision, and what was posted at once.
    pub(crate) fn count(
        &mut self,
        sent: &Sent<'_>,
        decided: &Decided,
        decision: &Decision,
        limits: &[Limit],
        posted: u64,
    ) {
        let now_ms = sent.record.now_ms;
        add_one(&mut self.by_status, decided.status);
        self.reserved = self.reserved.saturating_add(decided.reserved);
        self.posted = self.posted.saturating_add(posted);
        let (Some(caller), Some(account)) = (sent.caller, sent.account) else { return };
        let peak = decision.limit().and_then(|report| self.peak_of(report, limits, now_ms));
        if let Some(meter) = self.callers.get_mut(caller) {
            count_caller(meter, decided.status, peak);
        }
        if let Some(meter) = self.accounts.get_mut(account) {
            count_account(meter, decided.status, posted);
        }
        if posted > 0 {
            self.spend(CapOf::Account(account), posted, now_ms);
            self.spend(CapOf::Caller(caller), posted, now_ms);
        }
        if let Some(Denial::SpendCapExceeded { holder, per, .. }) = decision.denial() {
            let of = match holder {
                CapHolder::Account => CapOf::Account(account),
                CapHolder::Token => CapOf::Caller(caller),
            };
            self.refuse(of, *per);
        }
    }

    fn peak_of(&self, report: &LimitReport, limits: &[Limit], at_ms: u64) -> Option<Peak> {
        let limit = limits.get(usize::from(report.limit))?;
        let capacity = match limit.algorithm {
            Algorithm::Gcra => report.quota.burst,
            Algorithm::FixedWindow | Algorithm::SlidingWindow => report.quota.units,
        };
        let number = self.limits.binary_search_by(|(name, _)| name.cmp(&limit.name)).ok()?;
        let used = capacity.saturating_sub(report.left.remaining);
        Some(Peak { used, capacity, limit: u16::try_from(number).ok()?, at_ms })
    }

    fn spend(&mut self, of: CapOf, posted: u64, now_ms: u64) {
        for index in self.caps_of.get(&of).into_iter().flatten() {
            let Some(meter) = self.caps.get_mut(*index) else { continue };
            let period = meter.cap.per.number(now_ms);
            if period != meter.period {
                (meter.period, meter.spent) = (period, 0);
            }
            meter.spent = meter.spent.saturating_add(posted);
            if meter.spent > meter.peak {
                (meter.peak, meter.peak_ms) = (meter.spent, now_ms);
            }
        }
    }

    fn refuse(&mut self, of: CapOf, per: Period) {
        for index in self.caps_of.get(&of).into_iter().flatten() {
            let Some(meter) = self.caps.get_mut(*index) else { continue };
            if meter.cap.per == per && !meter.cap.shadow {
                meter.refused = meter.refused.saturating_add(1);
            }
        }
    }
}

fn count_caller(meter: &mut CallerMeter, status: Status, peak: Option<Peak>) {
    meter.requests = meter.requests.saturating_add(1);
    if status == Status::RateLimited {
        meter.limited = meter.limited.saturating_add(1);
    }
    if let Some(peak) = peak.filter(|peak| is_higher(peak, &meter.peak)) {
        meter.peak = peak;
    }
}

fn count_account(meter: &mut AccountMeter, status: Status, posted: u64) {
    meter.posted = meter.posted.saturating_add(posted);
    match status {
        Status::SpendCapExceeded => meter.capped = meter.capped.saturating_add(1),
        Status::InsufficientBalance => meter.unfunded = meter.unfunded.saturating_add(1),
        _ => {}
    }
}

/// Compares parts without dividing; anything is higher than a peak that is not there yet.
fn is_higher(one: &Peak, other: &Peak) -> bool {
    let cross = |part: u64, whole: u64| u128::from(part).saturating_mul(u128::from(whole));
    other.capacity == 0 || cross(one.used, other.capacity) > cross(other.used, one.capacity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_compared_and_shown() {
        let peak = |used, capacity| Peak { used, capacity, limit: 0, at_ms: 0 };
        assert!(is_higher(&peak(0, 10), &Peak::default()));
        assert!(is_higher(&peak(2, 3), &peak(60, 100)));
        assert!(!is_higher(&peak(3, 5), &peak(60, 100)));
        assert_eq!((peak(2, 3).permille(), peak(0, 0).permille()), (666, 0));
        assert_eq!(permille(u64::MAX, u64::MAX), 1_000);
    }

    #[test]
    fn a_cap_is_counted_by_its_period_and_keeps_its_peak() {
        let mut meters = Meters::new(Vec::new());
        let cap = |per| SpendCap { per, amount: tollgate::Amount(10), shadow: false };
        meters.add_caps(CapOf::Account(3), &[cap(Period::Day), cap(Period::Lifetime)]);
        meters.add_caps(CapOf::Caller(3), &[cap(Period::Day)]);
        let day = 86_400_000;
        for (posted, now_ms) in [(4, 1), (3, 2), (5, day)] {
            meters.spend(CapOf::Account(3), posted, now_ms);
        }
        meters.refuse(CapOf::Account(3), Period::Day);
        let seen: Vec<_> =
            meters.caps.iter().map(|cap| (cap.peak, cap.peak_ms, cap.refused)).collect();
        assert_eq!(seen, [(7, 2, 1), (12, day, 0), (0, 0, 0)]);
    }
}
