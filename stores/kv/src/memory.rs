//! A map in memory: for tests, and a pattern for other maps.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::map::{KvEntry, KvError, KvMap, KvRead, KvWrite};

type Entries = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// A `BTreeMap` with transactions. Readers see a snapshot and wait for nobody.
///
/// Writers come one after the other, or where the map is [`optimistic`](MemoryMap::optimistic), all at
/// once, and those who find at their commit that another came first are refused with a conflict.
#[derive(Default)]
pub struct MemoryMap {
    state: RwLock<State>,
    writer: Mutex<()>,
    optimistic: bool,
}

#[derive(Clone, Default)]
struct State {
    entries: Arc<Entries>,
    /// How many commits changed something.
    version: u64,
}

impl fmt::Debug for MemoryMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryMap").field("optimistic", &self.optimistic).finish_non_exhaustive()
    }
}

impl MemoryMap {
    /// An empty map whose writers do not wait for each other.
    #[must_use]
    pub fn optimistic() -> Self {
        MemoryMap { optimistic: true, ..MemoryMap::default() }
    }

    /// All that is in the map, in its order.
    #[must_use]
    pub fn entries(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let entries = Arc::clone(&self.state.read().entries);
        entries.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    }
}

impl KvMap for MemoryMap {
    type Read<'m> = MemoryRead;
    type Write<'m> = MemoryWrite<'m>;

    fn read(&self) -> Result<MemoryRead, KvError> {
        Ok(MemoryRead { entries: Arc::clone(&self.state.read().entries) })
    }

    fn write(&self) -> Result<MemoryWrite<'_>, KvError> {
        let turn = (!self.optimistic).then(|| self.writer.lock());
        let State { entries, version } = self.state.read().clone();
        let changes = BTreeMap::new();
        Ok(MemoryWrite { map: self, before: MemoryRead { entries }, version, changes, _turn: turn })
    }
}

/// A transaction of a [`MemoryMap`] that reads.
pub struct MemoryRead {
    entries: Arc<Entries>,
}

impl fmt::Debug for MemoryRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRead").finish_non_exhaustive()
    }
}

impl KvRead for MemoryRead {
    fn get(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, KvError> {
        Ok(self.entries.get(key).map(|value| Cow::Borrowed(&**value)))
    }

    fn first_at_or_after(&self, key: &[u8]) -> Result<Option<KvEntry<'_>>, KvError> {
        Ok(self.entries.range::<[u8], _>(from(key)).next().map(entry))
    }
}

/// A transaction of a [`MemoryMap`] that changes.
pub struct MemoryWrite<'m> {
    map: &'m MemoryMap,
    before: MemoryRead,
    version: u64,
    /// What becomes of keys; `None`: it is removed.
    changes: BTreeMap<Box<[u8]>, Option<Box<[u8]>>>,
    _turn: Option<MutexGuard<'m, ()>>,
}

impl fmt::Debug for MemoryWrite<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryWrite").finish_non_exhaustive()
    }
}

impl KvRead for MemoryWrite<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, KvError> {
        match self.changes.get(key) {
            Some(changed) => Ok(changed.as_deref().map(Cow::Borrowed)),
            None => self.before.get(key),
        }
    }

    fn first_at_or_after(&self, key: &[u8]) -> Result<Option<KvEntry<'_>>, KvError> {
        let mut unchanged = self.before.entries.range::<[u8], _>(from(key));
        let unchanged = unchanged.find(|(key, _)| !self.changes.contains_key(*key));
        let mut changed = self.changes.range::<[u8], _>(from(key));
        let changed = changed.find_map(|(key, value)| Some((key, value.as_ref()?)));
        let first = match (unchanged, changed) {
            (Some(unchanged), Some(changed)) => Some(unchanged.min(changed)),
            (unchanged, changed) => unchanged.or(changed),
        };
        Ok(first.map(entry))
    }
}

impl KvWrite for MemoryWrite<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        self.changes.insert(key.into(), Some(value.into()));
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool, KvError> {
        let there = self.get(key)?.is_some();
        if there {
            self.changes.insert(key.into(), None);
        }
        Ok(there)
    }

    fn commit(self) -> Result<(), KvError> {
        let mut state = self.map.state.write();
        if state.version != self.version {
            return Err(KvError::Conflict);
        }
        if self.changes.is_empty() {
            return Ok(());
        }
        // So that only a reader's snapshot makes it necessary to copy the map.
        drop(self.before);
        let entries = Arc::make_mut(&mut state.entries);
        for (key, value) in self.changes {
            match value {
                Some(value) => entries.insert(key, value),
                None => entries.remove(&key),
            };
        }
        state.version = state.version.wrapping_add(1);
        Ok(())
    }
}

fn from(key: &[u8]) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (Bound::Included(key), Bound::Unbounded)
}

fn entry<'m>((key, value): (&'m impl AsRef<[u8]>, &'m impl AsRef<[u8]>)) -> KvEntry<'m> {
    (Cow::Borrowed(key.as_ref()), Cow::Borrowed(value.as_ref()))
}
