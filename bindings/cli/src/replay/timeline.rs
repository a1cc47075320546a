//! Decisions over time, in as many steps as a chart has room for.

use std::collections::BTreeMap;

use tollgate::Status;

use super::meters::{STATUSES, add_one};

/// The most steps.
pub(crate) const MAX_STEPS: u64 = 120;

/// Lengths of a step in milliseconds; each is a multiple of the one before, so that steps can be joined.
const WIDTHS_MS: &[u64] = &[
    1_000, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000, 3_600_000, 10_800_000,
    21_600_000, 43_200_000, 86_400_000,
];

/// One step: the decisions of policy A and of policy B by status.
pub(crate) type Step = [[u64; STATUSES]; 2];

/// Counts by time. Time only goes on, and steps are joined when there are too many.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    pub(crate) width_ms: u64,
    /// By number since the epoch; steps without a request are absent.
    steps: BTreeMap<u64, Step>,
}

impl Default for Timeline {
    fn default() -> Self {
        Timeline { width_ms: WIDTHS_MS.first().copied().unwrap_or(1), steps: BTreeMap::new() }
    }
}

impl Timeline {
    pub(crate) fn add(&mut self, now_ms: u64, policy: usize, status: Status) {
        let mut number = self.number(now_ms);
        while self.first().is_some_and(|first| number.saturating_sub(first) >= MAX_STEPS) {
            self.widen();
            number = self.number(now_ms);
        }
        let step = self.steps.entry(number).or_insert([[0; STATUSES]; 2]);
        if let Some(counts) = step.get_mut(policy) {
            add_one(counts, status);
        }
    }

    /// All steps from the first to the last, with their begin.
    pub(crate) fn steps(&self) -> Vec<(u64, Step)> {
        let (Some(first), Some((last, _))) = (self.first(), self.steps.last_key_value()) else {
            return Vec::new();
        };
        let step = |number| {
            let step = self.steps.get(&number).copied().unwrap_or([[0; STATUSES]; 2]);
            (number.saturating_mul(self.width_ms), step)
        };
        (first..=*last).map(step).collect()
    }

    fn first(&self) -> Option<u64> {
        self.steps.first_key_value().map(|(number, _)| *number)
    }

    fn number(&self, now_ms: u64) -> u64 {
        now_ms.checked_div(self.width_ms).unwrap_or(0)
    }

    fn widen(&mut self) {
        let next = WIDTHS_MS.iter().copied().find(|width| *width > self.width_ms);
        let width_ms = next.unwrap_or(self.width_ms.saturating_mul(2));
        let factor = width_ms.checked_div(self.width_ms).unwrap_or(1).max(1);
        let mut joined: BTreeMap<u64, Step> = BTreeMap::new();
        for (number, step) in std::mem::take(&mut self.steps) {
            let number = number.checked_div(factor).unwrap_or(0);
            let sums = joined.entry(number).or_insert([[0; STATUSES]; 2]);
            for (sum, count) in sums.iter_mut().flatten().zip(step.iter().flatten()) {
                *sum = sum.saturating_add(*count);
            }
        }
        (self.width_ms, self.steps) = (width_ms, joined);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::meters::row_of;
    use super::*;

    #[test]
    fn each_width_is_a_multiple_of_the_one_before() {
        for pair in WIDTHS_MS.windows(2) {
            assert!(pair[1] > pair[0] && pair[1].is_multiple_of(pair[0]), "{pair:?}");
        }
    }

    #[test]
    fn steps_without_requests_are_there() {
        let mut timeline = Timeline::default();
        timeline.add(2_500, 0, Status::Allowed);
        timeline.add(5_000, 1, Status::RateLimited);
        let steps = timeline.steps();
        let begins: Vec<u64> = steps.iter().map(|(begin, _)| *begin).collect();
        assert_eq!(begins, [2_000, 3_000, 4_000, 5_000]);
        assert_eq!(steps[3].1[1][row_of(Status::RateLimited)], 1);
    }

    #[test]
    fn joined_steps_keep_their_counts_at_their_time() {
        let mut timeline = Timeline::default();
        for now_ms in (1_000_000_000_000..1_000_000_600_000).step_by(1_000) {
            timeline.add(now_ms, 0, Status::Allowed);
        }
        assert_eq!(timeline.width_ms, 5_000);
        let counts: Vec<(u64, u64)> =
            timeline.steps().iter().map(|(begin, step)| (*begin, step[0][0])).collect();
        assert_eq!(counts.len(), 120);
        assert!(counts.iter().all(|(_, count)| *count == 5), "{counts:?}");
        assert_eq!(counts[0].0, 1_000_000_000_000);
    }

    proptest! {
        #[test]
        fn no_decision_is_lost_and_steps_are_bounded(
            mut times in proptest::collection::vec(prop_oneof![0..100_000_u64, 0..=tollgate::MAX_NOW_MS], 1..200),
        ) {
            times.sort_unstable();
            let mut timeline = Timeline::default();
            for now_ms in &times {
                timeline.add(*now_ms, 0, Status::Allowed);
            }
            let steps = timeline.steps();
            let sum: u64 = steps.iter().map(|(_, step)| step[0][0]).sum();
            prop_assert_eq!(sum, times.len() as u64);
            prop_assert!(steps.len() as u64 <= MAX_STEPS);
            let (begin, _) = steps[0];
            prop_assert!(begin <= times[0] && times[0].abs_diff(begin) < timeline.width_ms);
        }
    }
}
