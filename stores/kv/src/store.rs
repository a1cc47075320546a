//! A store over a map: each command in the kind of transaction that it needs.

use std::fmt;

use parking_lot::RwLock;
use tollgate::{Command, Outcome, Store, StoreError};

use crate::fault::Fault;
use crate::format::{self, FORMAT, Found};
use crate::map::{KvMap, KvWrite};
use crate::options::KvOptions;
use crate::record::Totals;
use crate::run::{Transactions, execute, perform_in};
use crate::sweep;
use crate::verify::verify;
use crate::view::{View, Writing, totals};

/// Why a map could not be opened as a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KvOpenError {
    /// Something is in the map that is not of a store.
    #[error("the map holds something that is not a tollgate store; give a map of its own")]
    NotAStore,
    /// What every store may say: damage, a newer format, a map that does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A store over an ordered map of bytes with transactions.
///
/// Each command is one transaction: it is done as a whole or not at all. Look-ups and what operators look
/// at need one that reads.
pub struct KvStore<M> {
    map: M,
    options: KvOptions,
    /// Shared by commands at their first attempt. One that met a conflict has it alone for the next ones,
    /// so that no command of this process can come between again.
    turns: RwLock<()>,
}

impl<M> fmt::Debug for KvStore<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KvStore").field("options", &self.options).finish_non_exhaustive()
    }
}

impl<M: KvMap> KvStore<M> {
    /// Opens the store that is in a map. An empty map becomes a store, and a store of an older format one of
    /// the present format.
    ///
    /// # Errors
    /// [`KvOpenError`] says why it cannot be opened, and what to do. The map is as it was then.
    pub fn open(map: M, options: &KvOptions) -> Result<Self, KvOpenError> {
        let store = KvStore { map, options: options.clone(), turns: RwLock::new(()) };
        let found = store.repeat(options.max_attempts, |store| format::found(&store.map.read()?));
        match found.map_err(StoreError::from)? {
            Found::Format(FORMAT) => return Ok(store),
            Found::Foreign => return Err(KvOpenError::NotAStore),
            Found::Empty | Found::Format(_) => {}
        }
        let prepared = store.repeat(options.max_attempts, |store| {
            let mut txn = store.map.write()?;
            format::bring_up_to_date(&mut txn)?;
            Ok(txn.commit()?)
        });
        prepared.map_err(StoreError::from)?;
        Ok(store)
    }

    /// The map.
    pub fn map(&self) -> &M {
        &self.map
    }

    /// Reads every record, checks it, and checks what records say of each other: sums of money, counts, and
    /// the lists of what falls due. Gives how many there are.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] says what is damaged first.
    pub fn verify(&self) -> Result<u64, StoreError> {
        let verified = self.repeat(self.options.max_attempts, |store| {
            let txn = store.map.read()?;
            format::is_present(&txn)?;
            verify(&mut View::read(&txn, &store.options, 0))
        });
        Ok(verified?)
    }

    /// When [`Admin::expire`](tollgate::Admin::expire) will find something to do next, in Unix milliseconds:
    /// a lease, a claim, a record past its retention, or a cell. It may find that this was put off. `None`:
    /// as long as nothing new comes, never.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn next_due_ms(&self) -> Result<Option<u64>, StoreError> {
        self.look(0, |view| sweep::next_due_ms(view.txn()))
    }

    /// Whether the store holds nothing at all, so that its map may be cleared.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn is_empty(&self) -> Result<bool, StoreError> {
        let held = self.look(0, |view| totals(view.txn()))?;
        Ok(held == Totals::default())
    }

    /// Looks at records in one transaction, in another one if it met a conflict. For `tollgate-objects`.
    ///
    /// # Errors
    /// [`StoreError`].
    #[doc(hidden)]
    pub fn look<T>(
        &self,
        now_ms: u64,
        mut work: impl FnMut(&mut View<'_, '_>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let found = self.repeat(self.options.max_attempts, |store| {
            let txn = store.map.read()?;
            format::is_present(&txn)?;
            work(&mut View::read(&txn, &store.options, now_ms))
        });
        Ok(found?)
    }

    /// One attempt of a change.
    fn attempt(&self, work: Work<'_>) -> Result<Result<Outcome, StoreError>, Fault> {
        let mut txn = self.map.write()?;
        format::is_present(&txn)?;
        let mut writing = Writing::new(&mut txn)?;
        let outcome = Fault::keep_bounds(work(&mut writing))?;
        writing.finish()?;
        txn.commit()?;
        Ok(outcome)
    }

    /// Attempts, until there is no conflict or there were `at_most`.
    fn repeat<T>(
        &self,
        at_most: u32,
        mut attempt: impl FnMut(&Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        for _ in 1..at_most {
            match attempt(self) {
                Err(Fault::Conflict) => {}
                done => return done,
            }
        }
        attempt(self)
    }
}

type Work<'w> = &'w mut dyn FnMut(&mut Writing<'_>) -> Result<Outcome, Fault>;

impl<M: KvMap> Transactions for KvStore<M> {
    fn options(&self) -> &KvOptions {
        &self.options
    }

    fn read(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        self.look(now_ms, |view| perform_in(view, command, now_ms))
    }

    fn write(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        self.step(&mut |writing| {
            perform_in(&mut View::write(writing, &self.options, now_ms), command, now_ms)
        })
    }

    fn step(&self, work: Work<'_>) -> Result<Outcome, StoreError> {
        let shared = self.turns.read();
        let first = self.attempt(work);
        drop(shared);
        match first {
            Err(Fault::Conflict) if self.options.max_attempts > 1 => {
                let _alone = self.turns.write();
                self.repeat(self.options.max_attempts.saturating_sub(1), |store| {
                    store.attempt(work)
                })?
            }
            done => done?,
        }
    }
}

impl<M: KvMap> Store for KvStore<M> {
    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        execute(self, command, now_ms)
    }
}
