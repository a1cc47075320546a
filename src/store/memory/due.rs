//! What falls due when: a queue for times that mostly come in order.

use alloc::collections::{BinaryHeap, VecDeque};
use core::cmp::Reverse;

/// Entries by the time at which they fall due, the earliest first.
///
/// Leases and retentions are the same for request after request, so their ends come in as many rising
/// sequences as there are lengths. Each gets a run of its own, where adding and taking is one step; what
/// fits no run goes to a heap.
#[derive(Debug)]
pub(super) struct DueQueue<T> {
    /// No entry falls due before this: most questions end here.
    earliest_ms: u64,
    runs: [VecDeque<(u64, T)>; 3],
    rest: BinaryHeap<Reverse<(u64, T)>>,
}

impl<T: Ord> Default for DueQueue<T> {
    fn default() -> Self {
        DueQueue { earliest_ms: u64::MAX, runs: Default::default(), rest: BinaryHeap::new() }
    }
}

impl<T: Ord + Copy> DueQueue<T> {
    pub(super) fn len(&self) -> usize {
        self.runs.iter().map(VecDeque::len).fold(self.rest.len(), usize::saturating_add)
    }

    /// A time before which no entry falls due.
    #[inline]
    pub(super) fn earliest_ms(&self) -> u64 {
        self.earliest_ms
    }

    pub(super) fn push(&mut self, due_ms: u64, entry: T) {
        self.earliest_ms = self.earliest_ms.min(due_ms);
        // The run that ends the latest, of those that this entry can follow.
        let end = |run: &VecDeque<(u64, T)>| run.back().map_or(0, |(last_ms, _)| *last_ms);
        match self.runs.iter_mut().filter(|run| end(run) <= due_ms).max_by_key(|run| end(run)) {
            Some(run) => run.push_back((due_ms, entry)),
            None => self.rest.push(Reverse((due_ms, entry))),
        }
    }

    /// The earliest entry.
    pub(super) fn first(&self) -> Option<(u64, T)> {
        let rest = self.rest.peek().map(|Reverse(entry)| *entry);
        self.runs.iter().filter_map(|run| run.front().copied()).chain(rest).min()
    }

    /// Takes the earliest entry away.
    pub(super) fn pop(&mut self) {
        let Some(first) = self.first() else { return };
        match self.runs.iter_mut().find(|run| run.front() == Some(&first)) {
            Some(run) => {
                run.pop_front();
            }
            None => {
                self.rest.pop();
            }
        }
        self.earliest_ms = self.first().map_or(u64::MAX, |(due_ms, _)| due_ms);
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&(u64, T)) -> bool) {
        for run in &mut self.runs {
            run.retain(&keep);
        }
        self.rest.retain(|Reverse(entry)| keep(entry));
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_gives_the_earliest_first(
            steps in prop::collection::vec(prop::option::weighted(0.7, 0_u64..50), 0..300),
        ) {
            let mut queue = DueQueue::default();
            let mut model = Vec::new();
            for (number, step) in (0_u64..).zip(steps) {
                match step {
                    Some(due_ms) => {
                        // Later on the whole, in no order nearby.
                        let due_ms = due_ms.saturating_add(number / 4);
                        queue.push(due_ms, number);
                        model.push((due_ms, number));
                    }
                    None => {
                        queue.pop();
                        let first = model.iter().min().copied();
                        model.retain(|entry| Some(*entry) != first);
                    }
                }
                prop_assert_eq!(queue.first(), model.iter().min().copied());
                prop_assert_eq!(queue.len(), model.len());
                let earliest_ms = model.iter().min().map_or(u64::MAX, |(due_ms, _)| *due_ms);
                prop_assert!(queue.earliest_ms() <= earliest_ms);
            }
            queue.retain(|(due_ms, _)| due_ms % 3 == 0);
            model.retain(|(due_ms, _)| due_ms % 3 == 0);
            prop_assert_eq!(queue.len(), model.len());
            prop_assert_eq!(queue.first(), model.iter().min().copied());
        }
    }
}
