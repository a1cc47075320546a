//! What falls due when: a queue for times that mostly come in order.

use alloc::collections::{BinaryHeap, VecDeque};
use core::cmp::Reverse;

/// Leases of two lengths, say, the retention of claims and that of reservations.
const RUNS: usize = 4;

/// Entries by the time at which they fall due, the earliest first.
///
/// Leases and retentions are the same for request after request, so their ends come in as many rising
/// sequences as there are lengths. Each gets a run of its own, where adding and taking is one step; what
/// fits no run goes to a heap. First and last times stand together, apart from the entries: to choose a
/// run touches none of them.
#[derive(Debug)]
pub(super) struct DueQueue<T> {
    len: usize,
    earliest_ms: u64,
    /// Where the earliest is: a run, or [`RUNS`] for the heap.
    earliest: usize,
    /// The first time of each run, and of the heap; of what is empty `u64::MAX`.
    firsts_ms: [u64; RUNS + 1],
    /// The last time of each run; of an empty one 0.
    lasts_ms: [u64; RUNS],
    runs: [VecDeque<(u64, T)>; RUNS],
    rest: BinaryHeap<Reverse<(u64, T)>>,
}

impl<T: Ord> Default for DueQueue<T> {
    fn default() -> Self {
        DueQueue {
            len: 0,
            earliest_ms: u64::MAX,
            earliest: RUNS,
            firsts_ms: [u64::MAX; RUNS + 1],
            lasts_ms: [0; RUNS],
            runs: Default::default(),
            rest: BinaryHeap::new(),
        }
    }
}

impl<T: Ord + Copy> DueQueue<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// When the earliest entry falls due; `u64::MAX` when there is none.
    #[inline]
    pub(super) fn earliest_ms(&self) -> u64 {
        self.earliest_ms
    }

    /// Adds an entry; `due_ms` is less than `u64::MAX`.
    #[inline]
    pub(super) fn push(&mut self, due_ms: u64, entry: T) {
        // The run that ends the latest, of those that this entry can follow.
        let mut best = RUNS;
        let mut best_ms = 0;
        for (index, last_ms) in self.lasts_ms.iter().enumerate() {
            if *last_ms <= due_ms && (best == RUNS || *last_ms > best_ms) {
                (best, best_ms) = (index, *last_ms);
            }
        }
        match (self.runs.get_mut(best), self.lasts_ms.get_mut(best)) {
            (Some(run), Some(last_ms)) => {
                run.push_back((due_ms, entry));
                *last_ms = due_ms;
            }
            _ => self.rest.push(Reverse((due_ms, entry))),
        }
        self.len = self.len.saturating_add(1);
        if let Some(first_ms) = self.firsts_ms.get_mut(best) {
            *first_ms = due_ms.min(*first_ms);
        }
        if due_ms < self.earliest_ms {
            self.earliest_ms = due_ms;
            self.earliest = best;
        }
    }

    /// The earliest entry.
    #[inline]
    pub(super) fn first(&self) -> Option<(u64, T)> {
        match self.runs.get(self.earliest) {
            Some(run) => run.front().copied(),
            None => self.rest.peek().map(|Reverse(entry)| *entry),
        }
    }

    /// Takes the earliest entry away, if there is one.
    #[inline]
    pub(super) fn pop(&mut self) {
        self.len = self.len.saturating_sub(1);
        let first = match self.runs.get_mut(self.earliest) {
            Some(run) => {
                run.pop_front();
                run.front().copied()
            }
            None => {
                self.rest.pop();
                self.rest.peek().map(|Reverse(entry)| *entry)
            }
        };
        if let Some(first_ms) = self.firsts_ms.get_mut(self.earliest) {
            *first_ms = first.map_or(u64::MAX, |(due_ms, _)| due_ms);
        }
        if let (None, Some(last_ms)) = (first, self.lasts_ms.get_mut(self.earliest)) {
            *last_ms = 0;
        }
        self.earliest_ms = u64::MAX;
        self.earliest = RUNS;
        for (index, first_ms) in self.firsts_ms.iter().enumerate() {
            if *first_ms < self.earliest_ms {
                (self.earliest, self.earliest_ms) = (index, *first_ms);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)] // small numbers
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_gives_the_earliest_first(
            steps in prop::collection::vec(prop::option::weighted(0.7, 0_u64..50), 0..300),
            parts in 1_u64..8,
        ) {
            let mut queue = DueQueue::default();
            let mut model = Vec::new();
            for (number, step) in (0_u64..).zip(steps) {
                match step {
                    Some(due_ms) => {
                        // Later on the whole, in no order nearby; or in as many sequences as there are parts.
                        let due_ms = due_ms / parts * 7 + number / 4;
                        queue.push(due_ms, number);
                        model.push((due_ms, number));
                    }
                    None => {
                        if let Some(first) = queue.first() {
                            queue.pop();
                            model.retain(|entry| *entry != first);
                        }
                    }
                }
                let earliest_ms = model.iter().min().map(|(due_ms, _)| *due_ms);
                prop_assert_eq!(queue.first().map(|(due_ms, _)| due_ms), earliest_ms);
                prop_assert!(queue.first().is_none_or(|first| model.contains(&first)));
                prop_assert_eq!(queue.earliest_ms(), earliest_ms.unwrap_or(u64::MAX));
                prop_assert_eq!(queue.len(), model.len());
            }
            let mut rest = Vec::new();
            while let Some(first) = queue.first() {
                queue.pop();
                rest.push(first);
            }
            prop_assert!(rest.is_sorted_by_key(|(due_ms, _)| *due_ms));
            rest.sort_unstable();
            model.sort_unstable();
            prop_assert_eq!(rest, model);
        }
    }
}
