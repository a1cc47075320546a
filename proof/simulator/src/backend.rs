//! The store of a simulation: the one in memory, or one over a map that outlives its process and may refuse commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tollgate::{Command, MemoryOptions, MemoryStore, Outcome, Store, StoreError};
use tollgate_kv::{KvEntry, KvError, KvMap, KvOptions, KvRead, KvStore, KvWrite};
use tollgate_kv::{MemoryMap, MemoryRead, MemoryWrite};

use crate::model::Bounds;

/// What the next commit meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commit {
    /// It is refused for good.
    Refused = 1,
    /// Another transaction came between; the store begins again.
    Conflict = 2,
}

/// A map that survives its store, and refuses one commit when it is told to.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    map: MemoryMap,
    next: AtomicU8,
}

/// A transaction of a [`Disk`] that changes.
pub(crate) struct DiskWrite<'m> {
    write: MemoryWrite<'m>,
    next: &'m AtomicU8,
}

impl KvMap for Disk {
    type Read<'m> = MemoryRead;
    type Write<'m> = DiskWrite<'m>;

    fn read(&self) -> Result<MemoryRead, KvError> {
        self.map.read()
    }

    fn write(&self) -> Result<DiskWrite<'_>, KvError> {
        Ok(DiskWrite { write: self.map.write()?, next: &self.next })
    }
}

impl KvRead for DiskWrite<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<std::borrow::Cow<'_, [u8]>>, KvError> {
        self.write.get(key)
    }

    fn first_at_or_after(&self, key: &[u8]) -> Result<Option<KvEntry<'_>>, KvError> {
        self.write.first_at_or_after(key)
    }
}

impl KvWrite for DiskWrite<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        self.write.put(key, value)
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool, KvError> {
        self.write.remove(key)
    }

    fn commit(self) -> Result<(), KvError> {
        match self.next.swap(0, Ordering::Relaxed) {
            0 => self.write.commit(),
            2 => Err(KvError::Conflict),
            _ => Err(StoreError::Unavailable { reason: "the disk failed".into() }.into()),
        }
    }
}

/// The store.
pub(crate) enum Backend {
    Memory(Box<MemoryStore>),
    Durable { disk: Arc<Disk>, store: KvStore<Arc<Disk>> },
}

impl Backend {
    pub(crate) fn memory(bounds: Bounds) -> Backend {
        let mut options = MemoryOptions::default();
        options.max_accounts = 16; // room that is set aside at once
        options.max_claims = bounds.claims;
        options.max_reservations = bounds.reservations;
        options.max_per_account = bounds.per_account;
        Backend::Memory(Box::new(MemoryStore::new(options)))
    }

    pub(crate) fn durable() -> Backend {
        let disk = Arc::new(Disk::default());
        let store = KvStore::open(Arc::clone(&disk), &KvOptions::default()).unwrap();
        Backend::Durable { disk, store }
    }

    pub(crate) fn is_durable(&self) -> bool {
        matches!(self, Backend::Durable { .. })
    }

    pub(crate) fn perform(
        &self,
        command: &Command<'_>,
        now_ms: u64,
    ) -> Result<Outcome, StoreError> {
        match self {
            Backend::Memory(store) => store.perform(command, now_ms),
            Backend::Durable { store, .. } => store.perform(command, now_ms),
        }
    }

    /// The same, but the first commit fails; gives also whether it did.
    pub(crate) fn perform_failing(
        &self,
        command: &Command<'_>,
        now_ms: u64,
        commit: Commit,
    ) -> (Result<Outcome, StoreError>, bool) {
        let Backend::Durable { disk, store } = self else {
            return (self.perform(command, now_ms), false);
        };
        disk.next.store(commit as u8, Ordering::Relaxed);
        let outcome = store.perform(command, now_ms);
        let failed = disk.next.swap(0, Ordering::Relaxed) == 0;
        (outcome, failed)
    }

    /// The process ends, and another opens what is on the disk.
    pub(crate) fn restart(&mut self) {
        if let Backend::Durable { disk, store } = self {
            *store = KvStore::open(Arc::clone(disk), &KvOptions::default()).unwrap();
        }
    }

    /// What a durable store finds when it checks its own records.
    pub(crate) fn verify(&self) -> Result<(), StoreError> {
        match self {
            Backend::Memory(_) => Ok(()),
            Backend::Durable { store, .. } => store.verify().map(|_| ()),
        }
    }
}
