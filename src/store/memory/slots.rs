//! An open-addressing table that goes straight to its entries: no control bytes beside them, so a
//! look-up in a large table is one cache miss, not two.

use alloc::vec::Vec;

/// What a [`Slots`] holds.
pub(super) trait Slot {
    /// A place that holds nothing.
    const EMPTY: Self;

    /// Whether this place holds nothing.
    fn is_empty(&self) -> bool;

    /// A uniform hash of the key. It must be so by its nature: the table does not mix it.
    fn hash(&self) -> u64;
}

/// Entries by hash, with linear probing.
#[derive(Debug)]
pub(super) struct Slots<S> {
    /// Its length is zero or a power of two, and at least one place is empty.
    places: Vec<S>,
    len: usize,
}

impl<S> Default for Slots<S> {
    fn default() -> Self {
        Slots { places: Vec::new(), len: 0 }
    }
}

impl<S: Slot> Slots<S> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &S> {
        self.places.iter().filter(|slot| !slot.is_empty())
    }

    /// The entry with this hash for which `is_it` holds.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(&S) -> bool) -> Option<&S> {
        self.places.get(self.position(hash, is_it)?)
    }

    /// The same, to be changed.
    #[inline]
    pub(super) fn find_mut(&mut self, hash: u64, is_it: impl Fn(&S) -> bool) -> Option<&mut S> {
        let at = self.position(hash, is_it)?;
        self.places.get_mut(at)
    }

    #[inline]
    fn position(&self, hash: u64, is_it: impl Fn(&S) -> bool) -> Option<usize> {
        let mask = self.places.len().wrapping_sub(1);
        let mut at = start(hash, mask);
        // An empty place ends the search, and there always is one; the bound is for the compiler.
        for _ in 0..self.places.len() {
            let slot = self.places.get(at)?;
            if slot.is_empty() {
                return None;
            }
            if is_it(slot) {
                return Some(at);
            }
            at = at.wrapping_add(1) & mask;
        }
        None
    }

    /// Adds an entry that is not there yet.
    pub(super) fn insert(&mut self, slot: S) {
        // At most four in five places are taken: probes stay short.
        if self.len.saturating_add(1).saturating_mul(5) > self.places.len().saturating_mul(4) {
            let size = self.places.len().saturating_mul(2).max(4);
            self.rebuild(size, |_| true);
        }
        self.place(slot);
    }

    /// Keeps the entries for which `keep` holds.
    pub(super) fn retain(&mut self, keep: impl Fn(&S) -> bool) {
        self.rebuild(self.places.len(), keep);
    }

    fn rebuild(&mut self, size: usize, keep: impl Fn(&S) -> bool) {
        let mut places = Vec::new();
        places.reserve_exact(size);
        places.resize_with(size, || S::EMPTY);
        let old = core::mem::replace(&mut self.places, places);
        self.len = 0;
        for slot in old {
            if !slot.is_empty() && keep(&slot) {
                self.place(slot);
            }
        }
    }

    fn place(&mut self, slot: S) {
        let mask = self.places.len().wrapping_sub(1);
        let mut at = start(slot.hash(), mask);
        for _ in 0..self.places.len() {
            match self.places.get_mut(at) {
                Some(place) if place.is_empty() => {
                    *place = slot;
                    self.len = self.len.saturating_add(1);
                    return;
                }
                _ => at = at.wrapping_add(1) & mask,
            }
        }
    }
}

#[inline]
#[allow(clippy::cast_possible_truncation)] // the mask keeps fewer bits than any usize has
fn start(hash: u64, mask: usize) -> usize {
    hash as usize & mask
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq)]
    struct Pair(u64, u64);

    impl Slot for Pair {
        const EMPTY: Self = Pair(0, 0);

        fn is_empty(&self) -> bool {
            self.0 == 0
        }

        fn hash(&self) -> u64 {
            self.0 % 7 // many meet
        }
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((1_u64..200, 0_u64..10), 0..400)) {
            let mut slots = Slots::<Pair>::default();
            let mut map = BTreeMap::new();
            for (key, value) in steps {
                if value == 0 {
                    slots.retain(|slot| slot.0 % 5 != key % 5);
                    map.retain(|known, _| known % 5 != key % 5);
                } else if let Some(slot) = slots.find_mut(key % 7, |slot| slot.0 == key) {
                    slot.1 = value;
                    prop_assert!(map.insert(key, value).is_some());
                } else {
                    slots.insert(Pair(key, value));
                    prop_assert!(map.insert(key, value).is_none());
                }
                prop_assert_eq!(slots.len(), map.len());
                let mut all: Vec<_> = slots.iter().map(|slot| (slot.0, slot.1)).collect();
                all.sort_unstable();
                prop_assert_eq!(all, map.clone().into_iter().collect::<Vec<_>>());
            }
        }
    }
}
