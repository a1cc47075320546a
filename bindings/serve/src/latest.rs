//! The latest decisions, for the settings page: the last few hundred, as many traces a second as the server was told, and
//! how many there were in each of the last minutes.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tollgate::TraceStep;

use crate::record::DecisionRecord;

/// How many decisions are kept.
pub(crate) const KEPT: usize = 500;

/// How many minutes are counted.
const MINUTES: usize = 60;

/// A kept decision.
#[derive(Clone)]
pub(crate) struct Kept {
    pub number: u64,
    pub record: DecisionRecord,
    pub trace: Option<Vec<TraceStep>>,
}

/// Decisions by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub allow: u64,
    pub deny: u64,
    pub replay: u64,
}

impl Counts {
    pub(crate) fn sum(self) -> u64 {
        self.allow.saturating_add(self.deny).saturating_add(self.replay)
    }

    pub(crate) fn add(&mut self, more: Counts) {
        self.allow = self.allow.saturating_add(more.allow);
        self.deny = self.deny.saturating_add(more.deny);
        self.replay = self.replay.saturating_add(more.replay);
    }

    fn count(&mut self, verdict: &str) {
        let counted = match verdict {
            "allow" => &mut self.allow,
            "replay" => &mut self.replay,
            _ => &mut self.deny,
        };
        *counted = counted.saturating_add(1);
    }
}

/// The decisions of a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Minute {
    /// Minutes since the Unix epoch.
    pub number: u64,
    pub counts: Counts,
}

/// The latest decisions.
pub(crate) struct Latest {
    traces_per_second: u32,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    kept: VecDeque<Kept>,
    next: u64,
    /// The second in which traces are counted, and how many it has.
    second: u64,
    traced: u32,
    /// The latest last.
    minutes: VecDeque<Minute>,
}

impl Latest {
    pub(crate) fn new(traces_per_second: u32) -> Self {
        Latest { traces_per_second, inner: Mutex::default() }
    }

    /// Whether this decision's trace is to be kept: a trace costs more than a decision.
    pub(crate) fn wants_trace(&self, now_ms: u64) -> bool {
        if self.traces_per_second == 0 {
            return false;
        }
        let second = now_ms / 1000;
        let mut inner = self.inner.lock();
        if inner.second != second {
            inner.second = second;
            inner.traced = 0;
        }
        let wanted = inner.traced < self.traces_per_second;
        inner.traced = inner.traced.saturating_add(u32::from(wanted));
        wanted
    }

    pub(crate) fn keep(&self, record: DecisionRecord, trace: Option<Vec<TraceStep>>) {
        let mut inner = self.inner.lock();
        count(&mut inner.minutes, &record);
        let number = inner.next;
        inner.next = number.wrapping_add(1);
        // What falls out is dropped after the lock is free.
        let _old = if inner.kept.len() >= KEPT { inner.kept.pop_front() } else { None };
        inner.kept.push_back(Kept { number, record, trace });
        drop(inner);
    }

    /// The latest first, as far as `wanted` says, at most `at_most`.
    pub(crate) fn list(&self, at_most: usize, wanted: impl Fn(&Kept) -> bool) -> Vec<Kept> {
        let inner = self.inner.lock();
        inner.kept.iter().rev().filter(|kept| wanted(kept)).take(at_most).cloned().collect()
    }

    /// Shows each kept decision, the latest first.
    pub(crate) fn each(&self, mut see: impl FnMut(&Kept)) {
        self.inner.lock().kept.iter().rev().for_each(&mut see);
    }

    /// The last minutes in which there were decisions.
    pub(crate) fn minutes(&self) -> Vec<Minute> {
        self.inner.lock().minutes.iter().copied().collect()
    }

    /// The same, of the kept decisions that `wanted` names.
    pub(crate) fn minutes_of(&self, wanted: impl Fn(&Kept) -> bool) -> Vec<Minute> {
        let mut minutes = VecDeque::new();
        let inner = self.inner.lock();
        let kept = inner.kept.iter().filter(|kept| wanted(kept));
        kept.for_each(|kept| count(&mut minutes, &kept.record));
        minutes.into()
    }
}

/// Counts a decision in its minute. Clocks differ by little: a decision may be late by a few minutes, and is counted all the same.
fn count(minutes: &mut VecDeque<Minute>, record: &DecisionRecord) {
    let number = record.now_ms / 60_000;
    let place = minutes.iter().rposition(|minute| minute.number <= number);
    if let Some(minute) = place.and_then(|place| minutes.get_mut(place))
        && minute.number == number
    {
        minute.counts.count(record.verdict);
        return;
    }
    let mut counts = Counts::default();
    counts.count(record.verdict);
    let after = place.map_or(0, |place| place.saturating_add(1));
    minutes.insert(after, Minute { number, counts });
    if minutes.len() > MINUTES {
        minutes.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(now_ms: u64, verdict: &'static str) -> DecisionRecord {
        DecisionRecord {
            time: String::new(),
            now_ms,
            id: None,
            via: "api",
            method: "GET".into(),
            path: "/".into(),
            source: None,
            verdict,
            status: 200,
            code: "allowed",
            peek: false,
            account: None,
            token: None,
            route: None,
            reserved: None,
            key: None,
            limit: None,
            shadow: Vec::new(),
            store_error: None,
            duration_us: 1,
        }
    }

    #[test]
    fn the_latest_are_kept_and_no_more() {
        let latest = Latest::new(0);
        for number in 0..KEPT as u64 + 3 {
            latest.keep(record(number, "allow"), None);
        }
        let numbers: Vec<u64> =
            latest.list(2, |kept| kept.number % 2 == 0).iter().map(|kept| kept.number).collect();
        assert_eq!(numbers, [502, 500]);
        let mut seen = 0;
        latest.each(|_| seen += 1);
        assert_eq!(seen, KEPT);
    }

    #[test]
    fn minutes_count_all_decisions_also_late_ones() {
        let latest = Latest::new(0);
        for _ in 0..KEPT * 2 {
            latest.keep(record(60_000, "allow"), None);
        }
        latest.keep(record(180_000, "deny"), None);
        latest.keep(record(120_000, "replay"), None);
        latest.keep(record(60_001, "deny"), None);
        let minutes = latest.minutes();
        let counts = |allow, deny, replay| Counts { allow, deny, replay };
        assert_eq!(
            minutes,
            [
                Minute { number: 1, counts: counts(1_000, 1, 0) },
                Minute { number: 2, counts: counts(0, 0, 1) },
                Minute { number: 3, counts: counts(0, 1, 0) },
            ]
        );
        assert_eq!(latest.minutes_of(|kept| kept.record.verdict == "deny").len(), 2);
    }

    #[test]
    fn minutes_are_bounded() {
        let latest = Latest::new(0);
        for number in 0..100 {
            latest.keep(record(number * 60_000, "allow"), None);
        }
        let minutes = latest.minutes();
        assert_eq!((minutes.len(), minutes[0].number), (MINUTES, 40));
        latest.keep(record(0, "allow"), None);
        assert_eq!(latest.minutes().len(), MINUTES);
    }

    #[test]
    fn traces_are_wanted_so_often_a_second() {
        let latest = Latest::new(2);
        let wanted = [0, 1, 999, 1_000].map(|now_ms| latest.wants_trace(now_ms));
        assert_eq!(wanted, [true, true, false, true]);
        assert!(!Latest::new(0).wants_trace(0));
    }
}
