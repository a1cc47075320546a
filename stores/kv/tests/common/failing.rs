//! A map that fails at one call, whichever it is.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tollgate::StoreError;
use tollgate_kv::{KvEntry, KvError, KvMap, KvRead, KvWrite, MemoryMap, MemoryRead, MemoryWrite};

use super::Entries;

/// Counts every call of its own and of its transactions, and fails at those that it is told.
#[derive(Default)]
pub(crate) struct FailingMap {
    map: MemoryMap,
    calls: AtomicU64,
    plan: Mutex<Option<Plan>>,
    /// No room for new records.
    pub(crate) full: AtomicBool,
    /// The entries after each commit, where they are kept.
    commits: Mutex<Vec<Entries>>,
    keeps_commits: bool,
    begun: AtomicU64,
}

#[derive(Clone)]
pub(crate) struct Plan {
    /// The first call that fails, counted from 1.
    pub(crate) from: u64,
    /// The last one.
    pub(crate) to: u64,
    pub(crate) error: KvError,
}

impl FailingMap {
    /// Which keeps what each commit leaves.
    pub(crate) fn over(map: MemoryMap) -> Self {
        FailingMap { map, keeps_commits: true, ..FailingMap::default() }
    }

    /// Counts anew from here.
    pub(crate) fn fail(&self, plan: Option<Plan>) {
        self.calls.store(0, Ordering::SeqCst);
        self.begun.store(0, Ordering::SeqCst);
        self.commits.lock().clear();
        *self.plan.lock() = plan;
    }

    /// Calls since [`fail`](Self::fail).
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Transactions that changed and were begun since.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    pub(crate) fn commits(&self) -> Vec<Entries> {
        self.commits.lock().clone()
    }

    pub(crate) fn entries(&self) -> Entries {
        self.map.entries()
    }

    fn call(&self) -> Result<(), KvError> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
        match &*self.plan.lock() {
            Some(plan) if (plan.from..=plan.to).contains(&number) => Err(plan.error.clone()),
            _ => Ok(()),
        }
    }
}

pub(crate) struct Failing<'m, T> {
    map: &'m FailingMap,
    txn: T,
}

impl KvMap for FailingMap {
    type Read<'m> = Failing<'m, MemoryRead>;
    type Write<'m> = Failing<'m, MemoryWrite<'m>>;

    fn read(&self) -> Result<Self::Read<'_>, KvError> {
        self.call()?;
        Ok(Failing { map: self, txn: self.map.read()? })
    }

    fn write(&self) -> Result<Self::Write<'_>, KvError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.call()?;
        Ok(Failing { map: self, txn: self.map.write()? })
    }
}

impl<T: KvRead> KvRead for Failing<'_, T> {
    fn get(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, KvError> {
        self.map.call()?;
        self.txn.get(key)
    }

    fn first_at_or_after(&self, key: &[u8]) -> Result<Option<KvEntry<'_>>, KvError> {
        self.map.call()?;
        self.txn.first_at_or_after(key)
    }
}

impl KvWrite for Failing<'_, MemoryWrite<'_>> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        self.map.call()?;
        self.txn.put(key, value)
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool, KvError> {
        self.map.call()?;
        self.txn.remove(key)
    }

    fn check_room(&self) -> Result<(), KvError> {
        self.map.call()?;
        if self.map.full.load(Ordering::SeqCst) {
            return Err(StoreError::Full { what: "a test's map" }.into());
        }
        Ok(())
    }

    fn commit(self) -> Result<(), KvError> {
        self.map.call()?;
        let Failing { map, txn } = self;
        txn.commit()?;
        if map.keeps_commits {
            map.commits.lock().push(map.entries());
        }
        Ok(())
    }
}
