//! Records by key, each in a place that is reached again without a search.

use alloc::vec::Vec;
use core::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// What records are found by.
pub(super) trait Key: Copy + Eq {
    /// A part of the key that differs between almost all keys.
    fn word(&self) -> u64;
}

/// Records by key.
///
/// The table holds nothing but places. The place that was freed last is filled first: a store in which
/// as much ends as begins goes on in the same memory, most of which is in a cache. What was asked for last
/// is remembered, whether it is there or not: a command asks for the same key again and again.
#[derive(Debug)]
pub(super) struct Kept<K, V> {
    /// Keyed, as clients choose keys.
    hasher: DefaultHashBuilder,
    places: HashTable<u32>,
    entries: Vec<Entry<K, V>>,
    free: Vec<u32>,
    last: Option<(K, Option<u32>)>,
}

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    /// `None` in a place that is free.
    value: Option<V>,
}

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Kept {
            hasher: DefaultHashBuilder::default(),
            places: HashTable::new(),
            entries: Vec::new(),
            free: Vec::new(),
            last: None,
        }
    }
}

impl<K: Key, V> Kept<K, V> {
    /// The most records; callers keep below it.
    pub(super) const MAX: usize = u32::MAX as usize / 2;

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Places, in their order, and what they hold.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &K, &V)> {
        let entries = (0..).zip(&self.entries);
        entries.filter_map(|(place, entry)| Some((place, &entry.key, entry.value.as_ref()?)))
    }

    /// The place of a key.
    #[inline]
    pub(super) fn place(&mut self, key: &K) -> Option<u32> {
        if let Some((last, place)) = &self.last
            && last == key
        {
            return *place;
        }
        let hash = self.hasher.hash_one(key.word());
        let Kept { places, entries, .. } = self;
        let place = places.find(hash, |place| is_at(entries, *place, key)).copied();
        self.last = Some((*key, place));
        place
    }

    /// What a place holds.
    #[inline]
    pub(super) fn at(&self, place: u32) -> Option<(&K, &V)> {
        let entry = self.entries.get(place as usize)?;
        Some((&entry.key, entry.value.as_ref()?))
    }

    /// The same, to be changed.
    #[inline]
    pub(super) fn at_mut(&mut self, place: u32) -> Option<&mut V> {
        self.entries.get_mut(place as usize)?.value.as_mut()
    }

    #[inline]
    pub(super) fn get(&mut self, key: &K) -> Option<&V> {
        let place = self.place(key)?;
        self.at(place).map(|(_, value)| value)
    }

    /// Adds a record whose key is not there.
    #[inline]
    pub(super) fn insert(&mut self, key: K, value: V) -> u32 {
        let place = match self.free.pop() {
            Some(place) => {
                if let Some(free) = self.entries.get_mut(place as usize) {
                    free.key = key;
                    free.value = Some(value);
                }
                place
            }
            None => {
                let place = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
                self.entries.push(Entry { key, value: Some(value) });
                place
            }
        };
        let Kept { hasher, places, entries, .. } = self;
        let hash_at = |place: &u32| {
            entries.get(*place as usize).map_or(0, |entry| hasher.hash_one(entry.key.word()))
        };
        places.insert_unique(hasher.hash_one(key.word()), place, hash_at);
        self.last = Some((key, Some(place)));
        place
    }

    /// Drops what a place holds, if anything. Gives whether it held something.
    #[inline]
    pub(super) fn remove_at(&mut self, place: u32) -> bool {
        let Some(entry) = self.entries.get_mut(place as usize) else { return false };
        if entry.value.is_none() {
            return false;
        }
        entry.value = None;
        let hash = self.hasher.hash_one(entry.key.word());
        if let Ok(found) = self.places.find_entry(hash, |at| *at == place) {
            found.remove();
        }
        if self.last.is_some_and(|(_, last)| last == Some(place)) {
            self.last = None;
        }
        self.free.push(place);
        true
    }
}

#[inline]
fn is_at<K: Key, V>(entries: &[Entry<K, V>], place: u32, key: &K) -> bool {
    entries.get(place as usize).is_some_and(|entry| entry.key == *key)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl Key for u16 {
        fn word(&self) -> u64 {
            u64::from(*self % 5) // many meet
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Put,
        Remove,
        Get,
    }

    proptest! {
        #[test]
        fn it_is_a_map(
            steps in prop::collection::vec(
                (0_u16..40, prop_oneof![Just(Step::Put), Just(Step::Remove), Just(Step::Get)]),
                0..400,
            ),
        ) {
            let mut kept = Kept::default();
            let mut map = BTreeMap::new();
            let mut most = 0;
            for (number, (key, step)) in steps.into_iter().enumerate() {
                match step {
                    Step::Put => {
                        match kept.place(&key) {
                            Some(place) => *kept.at_mut(place).unwrap() = number,
                            None => {
                                let place = kept.insert(key, number);
                                prop_assert_eq!(kept.at(place), Some((&key, &number)));
                            }
                        }
                        map.insert(key, number);
                    }
                    Step::Remove => {
                        let place = kept.place(&key);
                        prop_assert_eq!(place.is_some(), map.remove(&key).is_some());
                        prop_assert!(place.is_none_or(|place| kept.remove_at(place)));
                        prop_assert!(place.is_none_or(|place| !kept.remove_at(place)));
                        prop_assert_eq!(kept.place(&key), None);
                    }
                    Step::Get => prop_assert_eq!(kept.get(&key), map.get(&key)),
                }
                most = most.max(map.len());
                prop_assert_eq!(kept.len(), map.len());
                prop_assert_eq!(kept.entries.len(), most, "freed places are used first");
                prop_assert!(kept.iter().all(|(place, key, value)| kept.at(place) == Some((key, value))));
                let all = kept.iter().map(|(_, key, value)| (*key, *value));
                prop_assert_eq!(&all.collect::<BTreeMap<_, _>>(), &map);
            }
        }
    }
}
