//! Fixed and sliding windows, in whole milliseconds.

use core::array;

use serde::{Deserialize, Serialize};

use super::{Cell, Check, Left, Quota, Refused};

/// Sub-windows of a sliding window: what is taken counts for up to 1/16 of the window too long.
const PARTS: u64 = 16;
/// A window that begins inside a sub-window touches one more of them.
const COUNTERS: usize = 17;

/// The units a quota ever admits; a quota without a burst admits nothing at once, so nothing.
fn capacity(quota: &Quota) -> u64 {
    if quota.burst == 0 { 0 } else { quota.units }
}

/// What was taken in one aligned window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedCell {
    /// Its start, in Unix milliseconds.
    pub start_ms: u64,
    /// Units.
    pub used: u64,
}

impl FixedCell {
    /// The cell of an absent key.
    pub(crate) const EMPTY: FixedCell = FixedCell { start_ms: 0, used: 0 };

    /// The cell as it stands at `now_ms`. It is realigned to the present window length, so that
    /// after a reload its units count if they were taken in the present window or, because the
    /// clock ran backwards, in a later one.
    fn at(self, window_ms: u64, now_ms: u64) -> FixedCell {
        let present = FixedCell { start_ms: floor(now_ms, window_ms), used: 0 };
        let own = FixedCell { start_ms: floor(self.start_ms, window_ms), used: self.used };
        if own.used > 0 && own.start_ms >= present.start_ms { own } else { present }
    }

    fn left(self, quota: &Quota, now_ms: u64) -> Left {
        let reset_ms = if self.used == 0 { now_ms } else { self.end_ms(quota) };
        Left { remaining: capacity(quota).saturating_sub(self.used), reset_ms }
    }

    fn end_ms(self, quota: &Quota) -> u64 {
        self.start_ms.saturating_add(quota.window_ms.max(1))
    }
}

fn floor(ms: u64, window_ms: u64) -> u64 {
    ms.saturating_sub(ms.checked_rem(window_ms).unwrap_or(0))
}

pub(super) fn check_fixed(quota: &Quota, stored: FixedCell, now_ms: u64, cost: u64) -> Check {
    let cell = stored.at(quota.window_ms.max(1), now_ms);
    let before = cell.left(quota, now_ms);
    if cost == 0 {
        return Check { verdict: Ok(Cell::FixedWindow(stored)), before, after: before };
    }
    if cost > before.remaining {
        let refused = if cost > capacity(quota) {
            Refused { retry_at_ms: None }
        } else {
            Refused::until(cell.end_ms(quota))
        };
        return Check { verdict: Err(refused), before, after: before };
    }
    let next = FixedCell { used: cell.used.saturating_add(cost), ..cell };
    Check { verdict: Ok(Cell::FixedWindow(next)), before, after: next.left(quota, now_ms) }
}

/// The cell without `cost` units that the change to `taken` counted, if its window still runs.
pub(super) fn give_back_fixed(stored: FixedCell, taken: FixedCell, cost: u64) -> FixedCell {
    if stored.start_ms != taken.start_ms {
        return stored;
    }
    FixedCell { used: stored.used.saturating_sub(cost), ..stored }
}

pub(super) fn fixed_expires_ms(quota: &Quota, cell: FixedCell) -> u64 {
    if cell.used == 0 {
        return 0;
    }
    let start_ms = floor(cell.start_ms, quota.window_ms.max(1));
    FixedCell { start_ms, ..cell }.end_ms(quota)
}

/// What was taken in each of the latest sub-windows.
///
/// Every unit counts as if it had been taken in the last millisecond of its sub-window, and for one
/// window from then on. So a unit taken at `u` counts at every time before `u + window`, at
/// least. Let `t` be the last admission inside any window: all that was taken earlier
/// inside it was taken after `t − window`, hence was counted at `t`, when the sum was found to be
/// within the quota. And no unit counts at `u + window + sub-window` or later.
///
/// A counted unit is at most `window + sub-window − 2` ms old and a window is at most 16
/// sub-windows, so it is in one of the latest 17 sub-windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlidingCell {
    /// Length of a sub-window in milliseconds; tells a cell of another window length.
    pub part_ms: u64,
    /// Number of the newest sub-window, counted from the Unix epoch.
    pub newest: u64,
    /// Units per sub-window, the newest first.
    pub counts: [u32; COUNTERS],
}

/// A cell as it stands at one time, under one quota.
struct Sliding {
    cell: SlidingCell,
    window_ms: u64,
    capacity: u64,
    /// The present, or the start of the newest sub-window if the clock ran backwards.
    at_ms: u64,
}

impl SlidingCell {
    /// The cell of an absent key.
    pub(crate) const EMPTY: SlidingCell =
        SlidingCell { part_ms: 0, newest: 0, counts: [0; COUNTERS] };

    fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }

    /// The same units in sub-windows of `part_ms`. When the length differs, all of them count as
    /// taken at the last moment when any of them can have been.
    fn in_parts_of(self, part_ms: u64) -> SlidingCell {
        if self.part_ms == part_ms {
            return self;
        }
        let last_ms = self.newest.saturating_add(1).saturating_mul(self.part_ms).saturating_sub(1);
        let mut cell = SlidingCell {
            part_ms,
            newest: last_ms.checked_div(part_ms).unwrap_or(0),
            counts: [0; COUNTERS],
        };
        if let Some(count) = cell.counts.first_mut() {
            *count = self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count));
        }
        cell
    }

    /// The same units, the newest sub-window being `newest` if that is later.
    fn advanced_to(self, newest: u64) -> SlidingCell {
        let Some(by) = newest.checked_sub(self.newest).filter(|by| *by > 0) else { return self };
        let by = usize::try_from(by).unwrap_or(usize::MAX);
        let older = |place: usize| place.checked_sub(by).and_then(|old| self.counts.get(old));
        let counts = array::from_fn(|place| older(place).copied().unwrap_or(0));
        SlidingCell { newest, counts, ..self }
    }

    /// When the units of the sub-window `place` places before the newest stop to count.
    fn leaves_ms(&self, place: usize, window_ms: u64) -> u64 {
        let number = self.newest.saturating_sub(place as u64);
        let last_ms = number.saturating_add(1).saturating_mul(self.part_ms).saturating_sub(1);
        last_ms.saturating_add(window_ms)
    }
}

impl Sliding {
    fn new(quota: &Quota, cell: SlidingCell, now_ms: u64) -> Sliding {
        let window_ms = quota.window_ms.max(1);
        let part_ms = window_ms.div_ceil(PARTS);
        let present = now_ms.checked_div(part_ms).unwrap_or(0);
        let cell = if cell.is_empty() {
            SlidingCell { part_ms, newest: present, counts: [0; COUNTERS] }
        } else {
            cell.in_parts_of(part_ms).advanced_to(present)
        };
        // One below the maximum: a time of leaving that does not fit is never reached.
        let at_ms = now_ms.max(cell.newest.saturating_mul(part_ms)).min(u64::MAX.saturating_sub(1));
        // A counter never has to hold more than the capacity.
        Sliding { cell, window_ms, capacity: capacity(quota).min(u64::from(u32::MAX)), at_ms }
    }

    /// Units that count and when they stop to, the oldest first.
    fn counted(&self) -> impl Iterator<Item = (u64, u64)> {
        let leaves = |place| self.cell.leaves_ms(place, self.window_ms);
        self.cell
            .counts
            .iter()
            .enumerate()
            .rev()
            .map(move |(place, count)| (u64::from(*count), leaves(place)))
            .filter(|(count, leaves_ms)| *count > 0 && *leaves_ms > self.at_ms)
    }

    fn used(&self) -> u64 {
        self.counted().fold(0, |sum, (count, _)| sum.saturating_add(count))
    }

    fn left(&self, now_ms: u64) -> Left {
        Left {
            remaining: self.capacity.saturating_sub(self.used()),
            reset_ms: self.counted().last().map_or(now_ms, |(_, leaves_ms)| leaves_ms),
        }
    }

    fn refuse(&self, cost: u64) -> Refused {
        let mut used = self.used();
        let Some(limit) = self.capacity.checked_sub(cost) else {
            return Refused { retry_at_ms: None };
        };
        for (count, leaves_ms) in self.counted() {
            used = used.saturating_sub(count);
            if used <= limit {
                return Refused::until(leaves_ms);
            }
        }
        Refused { retry_at_ms: None }
    }

    /// Counts units that were found to be within what is left.
    fn take(&mut self, cost: u64) {
        if let Some(count) = self.cell.counts.first_mut() {
            *count = count.saturating_add(u32::try_from(cost).unwrap_or(u32::MAX));
        }
    }
}

pub(super) fn check_sliding(quota: &Quota, stored: SlidingCell, now_ms: u64, cost: u64) -> Check {
    let mut sliding = Sliding::new(quota, stored, now_ms);
    let before = sliding.left(now_ms);
    if cost == 0 {
        return Check { verdict: Ok(Cell::SlidingWindow(stored)), before, after: before };
    }
    if cost > before.remaining {
        return Check { verdict: Err(sliding.refuse(cost)), before, after: before };
    }
    sliding.take(cost);
    let after = sliding.left(now_ms);
    Check { verdict: Ok(Cell::SlidingWindow(sliding.cell)), before, after }
}

/// The cell without `cost` units that the change to `taken` counted, if their sub-window still counts.
pub(super) fn give_back_sliding(stored: SlidingCell, taken: SlidingCell, cost: u64) -> SlidingCell {
    let mut cell = stored;
    if stored.part_ms != taken.part_ms {
        return cell;
    }
    let place = stored.newest.checked_sub(taken.newest).and_then(|by| usize::try_from(by).ok());
    if let Some(count) = place.and_then(|place| cell.counts.get_mut(place)) {
        *count = count.saturating_sub(u32::try_from(cost).unwrap_or(u32::MAX));
    }
    cell
}

pub(super) fn sliding_expires_ms(quota: &Quota, cell: SlidingCell) -> u64 {
    if cell.is_empty() {
        return 0;
    }
    let window_ms = quota.window_ms.max(1);
    let cell = cell.in_parts_of(window_ms.div_ceil(PARTS));
    let newest = cell.counts.iter().position(|count| *count > 0);
    newest.map_or(0, |place| cell.leaves_ms(place, window_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(check: Check) -> Cell {
        check.verdict.unwrap()
    }

    #[test]
    fn a_fixed_window_starts_anew_at_multiples_of_its_length() {
        let quota = Quota::new(3, 1_000);
        let Cell::FixedWindow(cell) = taken(check_fixed(&quota, FixedCell::EMPTY, 1_500, 2)) else {
            panic!()
        };
        assert_eq!(cell, FixedCell { start_ms: 1_000, used: 2 });
        let refused = check_fixed(&quota, cell, 1_999, 2);
        assert_eq!(refused.verdict, Err(Refused { retry_at_ms: Some(2_000) }));
        assert_eq!(refused.before, Left { remaining: 1, reset_ms: 2_000 });
        assert!(check_fixed(&quota, cell, 2_000, 3).verdict.is_ok());
        // The clock ran backwards: still the later window.
        assert!(check_fixed(&quota, cell, 10, 2).verdict.is_err());
    }

    #[test]
    fn a_fixed_cell_of_another_window_counts_if_it_starts_in_the_present_one() {
        let cell = FixedCell { start_ms: 90, used: 2 };
        assert!(check_fixed(&Quota::new(3, 60), cell, 110, 2).verdict.is_err());
        assert!(check_fixed(&Quota::new(3, 20), cell, 110, 2).verdict.is_ok());
        assert_eq!(fixed_expires_ms(&Quota::new(3, 60), cell), 120);
    }

    #[test]
    fn a_cell_from_which_all_was_given_back_is_an_empty_one() {
        let quota = Quota::new(3, 1_600);
        let fixed = FixedCell { start_ms: 8_000, used: 0 };
        assert_eq!(
            taken(check_fixed(&quota, fixed, 1_700, 1)),
            Cell::FixedWindow(FixedCell { start_ms: 1_600, used: 1 })
        );
        let sliding = SlidingCell { part_ms: 100, newest: 80, counts: [0; COUNTERS] };
        let Cell::SlidingWindow(cell) = taken(check_sliding(&quota, sliding, 1_700, 1)) else {
            panic!()
        };
        assert_eq!(cell.newest, 17);
        // The older of two parts is left: it alone says when the cell ends.
        let mut counts = [0; COUNTERS];
        counts[1] = 1;
        let cell = SlidingCell { part_ms: 100, newest: 20, counts };
        assert_eq!(sliding_expires_ms(&quota, cell), 3_599);
    }

    #[test]
    fn a_sliding_window_counts_all_of_its_parts() {
        let quota = Quota::new(17, 1_600);
        let mut cell = SlidingCell::EMPTY;
        for part in 0..17 {
            let check = check_sliding(&quota, cell, part * 100, 1);
            assert_eq!(check.before.remaining, 17 - part);
            let Cell::SlidingWindow(next) = taken(check) else { panic!() };
            cell = next;
        }
        assert!(check_sliding(&quota, cell, 1_698, 1).verdict.is_err());
        assert!(check_sliding(&quota, cell, 1_699, 1).verdict.is_ok());
    }

    #[test]
    fn a_sliding_window_gives_back_what_has_left() {
        let quota = Quota::new(3, 1_600);
        let Cell::SlidingWindow(cell) = taken(check_sliding(&quota, SlidingCell::EMPTY, 50, 2))
        else {
            panic!()
        };
        // Parts in which nothing was taken put off nothing.
        let left = check_sliding(&quota, cell, 420, 0).before;
        assert_eq!(left, Left { remaining: 1, reset_ms: 1_699 });
        let Cell::SlidingWindow(cell) = taken(check_sliding(&quota, cell, 420, 1)) else {
            panic!()
        };
        // Taken at 50, counted as taken at 99: gone at 1 699.
        let retry = |cost| check_sliding(&quota, cell, 430, cost).verdict.unwrap_err().retry_at_ms;
        assert_eq!(
            [retry(1), retry(2), retry(3), retry(4)],
            [Some(1_699), Some(1_699), Some(2_099), None]
        );
        assert_eq!(sliding_expires_ms(&quota, cell), 2_099);
    }

    #[test]
    fn a_sliding_window_shorter_than_its_parts_is_exact() {
        let quota = Quota::new(1, 5);
        let Cell::SlidingWindow(cell) = taken(check_sliding(&quota, SlidingCell::EMPTY, 7, 1))
        else {
            panic!()
        };
        let refused = check_sliding(&quota, cell, 8, 1).verdict.unwrap_err();
        assert_eq!(refused.retry_at_ms, Some(12));
    }

    #[test]
    fn a_sliding_cell_of_another_window_counts_as_taken_at_its_latest() {
        let quota = Quota::new(3, 1_600);
        let Cell::SlidingWindow(cell) = taken(check_sliding(&quota, SlidingCell::EMPTY, 50, 2))
        else {
            panic!()
        };
        let shorter = Quota::new(3, 160);
        let refused = check_sliding(&shorter, cell, 60, 2).verdict.unwrap_err();
        assert_eq!(refused.retry_at_ms, Some(259));
    }
}
