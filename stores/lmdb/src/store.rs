//! The store: opens the file, and gives each command the kind of transaction that it needs.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use heed::types::Bytes;
use heed::{CommitOrAbort, Env, WithTls};
use tollgate::{
    Administration, Admission, Admit, Command, LookedUp, Lookup, MAX_NOW_MS, Outcome, Refusal,
    Store, StoreError,
};
use tollgate_kv::format::{self, FORMAT, Found};
use tollgate_kv::run::{self, execute, perform_in};
use tollgate_kv::{KvOptions, KvWrite as _};

use crate::combine::{Combiner, Job, Transactions};
use crate::environment;
use crate::error::{Fault, LmdbError, map_error, unavailable};
use crate::flush::Flusher;
use crate::known::KnownTokens;
use crate::operate::{DATA_FILE, reserve_lock_file};
use crate::options::{LmdbOptions, SyncPolicy};
use crate::owned::Owned;
use crate::view::{Change, Shared, Snapshot, View, Writing};

/// A durable store in an LMDB file, which the processes of one host share.
///
/// Each command is one transaction; commands that come at once share one. Look-ups and what operators
/// look at read a snapshot and never wait for a writer.
pub struct LmdbStore {
    combiner: Combiner,
    pub(crate) known: KnownTokens,
    pub(crate) shared: Arc<Shared>,
    pub(crate) commits: AtomicU64,
    /// Before the environment, which its thread uses.
    flusher: Option<Flusher>,
    pub(crate) env: Env<WithTls>,
}

impl fmt::Debug for LmdbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LmdbStore")
            .field("path", &self.env.path())
            .field("options", &self.shared.options)
            .finish_non_exhaustive()
    }
}

impl LmdbStore {
    /// Opens the store in a directory, which must exist, and creates it where there is none yet.
    ///
    /// Several processes may open the same directory, also at the same time. Within one process, share
    /// one store.
    ///
    /// # Errors
    /// [`LmdbError`] says why it cannot be opened, and what to do.
    pub fn open(path: impl AsRef<Path>, options: &LmdbOptions) -> Result<Self, LmdbError> {
        let path = path.as_ref();
        check_directory(path, options.read_only)?;
        if !options.read_only {
            reserve_lock_file(path, options.max_readers)?;
        }
        let env = environment::open(path, options)?;
        let lmdb = |error| LmdbError::of(error, "open", path);
        // A process that was killed leaves its readers behind, and they hold on to old pages.
        env.clear_stale_readers().map_err(lmdb)?;
        let reading = env.read_txn().map_err(lmdb)?;
        let opened = env.open_databases_and_commit(reading, |opener, reading| {
            let database = opener.open_database::<Bytes, Bytes>(reading, None)?;
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(database))
        });
        let CommitOrAbort::Commit(Some(database)) = opened.map_err(lmdb)? else {
            return Err(LmdbError::NotAStore { path: path.to_path_buf() });
        };
        let shared = Shared {
            database,
            bytes_for_growth: bytes_for_growth(environment::map_bytes(options)),
            bounds: options.bounds(),
            options: options.clone(),
        };
        prepare(&env, &shared, path)?;
        let flusher = match options.sync {
            SyncPolicy::IntervalMs(every_ms) if !options.read_only => {
                let started = Flusher::start(env.clone(), every_ms);
                let io = |source| LmdbError::Io {
                    doing: "start the thread that syncs",
                    path: path.to_path_buf(),
                    source,
                };
                Some(started.map_err(io)?)
            }
            _ => None,
        };
        Ok(LmdbStore {
            combiner: Combiner::default(),
            known: KnownTokens::new(options.cached_tokens),
            shared: Arc::new(shared),
            commits: AtomicU64::new(0),
            flusher,
            env,
        })
    }

    pub(crate) fn reading(&self) -> Result<Snapshot<'_>, Fault> {
        let txn = match self.env.read_txn() {
            Err(heed::Error::Mdb(heed::MdbError::ReadersFull)) => {
                // Perhaps of processes that are gone.
                self.env.clear_stale_readers().map_err(map_error)?;
                self.env.read_txn()
            }
            reading => reading,
        };
        let reading = Snapshot { txn: txn.map_err(map_error)?, shared: &self.shared };
        format::is_present(&reading)?;
        Ok(reading)
    }
}

impl run::Transactions for LmdbStore {
    fn options(&self) -> &KvOptions {
        &self.shared.bounds
    }

    fn read(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        let reading = self.reading()?;
        Ok(perform_in(&mut View::read(&reading, now_ms), command, now_ms)?)
    }

    fn write(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        let shared = &*self.shared;
        let mut work = |writing: &mut Writing<'_>| {
            perform_in(&mut View::write(writing, shared, now_ms), command, now_ms)
        };
        let job = || -> Option<Job> {
            let owned = Owned::of(command)?;
            let shared = Arc::clone(&self.shared);
            Some(Box::new(move |writing: &mut Writing<'_>| {
                owned.lend(|command| {
                    perform_in(&mut View::write(writing, &shared, now_ms), command, now_ms)
                })
            }))
        };
        self.combiner.perform(self, &mut work, job)
    }

    fn step(
        &self,
        work: &mut dyn FnMut(&mut Writing<'_>) -> Result<Outcome, Fault>,
    ) -> Result<Outcome, StoreError> {
        self.combiner.perform(self, work, || None)
    }
}

impl Transactions for LmdbStore {
    fn transact(
        &self,
        work: &mut dyn FnMut(&mut Writing<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if self.shared.options.read_only {
            return Err(Fault::Broken(unavailable("it is open for reading only")));
        }
        if self.flusher.as_ref().is_some_and(Flusher::failed) {
            let reason = "the disk refused to sync what was written; see to it, and open it again";
            return Err(Fault::Broken(unavailable(reason)));
        }
        let txn = self.env.write_txn().map_err(map_error)?;
        let mut change = Change { txn, shared: &self.shared };
        format::is_present(&change)?;
        let mut writing = Writing::new(&mut change)?;
        work(&mut writing)?;
        writing.finish()?;
        change.commit()?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        if let Some(flusher) = &self.flusher {
            flusher.committed();
        }
        Ok(())
    }
}

impl Store for LmdbStore {
    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        match command {
            Command::Lookup(_) if now_ms > MAX_NOW_MS => {
                Ok(Outcome::Refused(Refusal::ClockOutOfRange))
            }
            Command::Lookup(lookup) => self.look_up(lookup, now_ms).map(Outcome::LookedUp),
            Command::Administer(Administration::Expire) => {
                self.env.clear_stale_readers().map_err(map_error).map_err(Fault::from)?;
                execute(self, command, now_ms)
            }
            _ => execute(self, command, now_ms),
        }
    }

    fn look_up(&self, lookup: &Lookup<'_>, now_ms: u64) -> Result<LookedUp, StoreError> {
        if now_ms > MAX_NOW_MS {
            return Err(StoreError::WrongOutcome);
        }
        Ok(self.credential_of(lookup, now_ms)?)
    }

    fn admit(&self, admit: &Admit<'_>, now_ms: u64) -> Result<Admission, StoreError> {
        if let Some(admission) = self.admitted_at_once(admit)
            && now_ms <= MAX_NOW_MS
        {
            return Ok(admission);
        }
        match execute(self, &Command::Admit(*admit), now_ms)? {
            Outcome::Admission(admission) => Ok(admission),
            _ => Err(StoreError::WrongOutcome),
        }
    }
}

fn check_directory(path: &Path, read_only: bool) -> Result<(), LmdbError> {
    let named = path.to_path_buf();
    match path.metadata() {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(LmdbError::NoDirectory { path: named }),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
            return Err(LmdbError::NoDirectory { path: named });
        }
        Err(source) => return Err(LmdbError::Io { doing: "open", path: named, source }),
    }
    if read_only && !path.join(DATA_FILE).exists() {
        return Err(LmdbError::NoStore { path: named });
    }
    Ok(())
}

/// Makes the file a store of the present format, where it is not.
fn prepare(env: &Env<WithTls>, shared: &Shared, path: &Path) -> Result<(), LmdbError> {
    let fault = |fault: Fault| LmdbError::Store(fault.into());
    let lmdb = |error| LmdbError::of(error, "open", path);
    let reading = Snapshot { txn: env.read_txn().map_err(lmdb)?, shared };
    let found = format::found(&reading).map_err(fault)?;
    drop(reading);
    let path = path.to_path_buf();
    match found {
        Found::Format(FORMAT) => return Ok(()),
        Found::Format(found) if found > FORMAT => {
            return Err(LmdbError::Store(StoreError::NewerFormat { found, known: FORMAT }));
        }
        Found::Foreign => return Err(LmdbError::NotAStore { path }),
        Found::Empty if shared.options.read_only => return Err(LmdbError::NoStore { path }),
        Found::Format(found) if shared.options.read_only => {
            return Err(LmdbError::OlderFormat { found, known: FORMAT });
        }
        Found::Empty | Found::Format(_) => {}
    }
    let mut change = Change { txn: env.write_txn().map_err(lmdb)?, shared };
    format::bring_up_to_date(&mut change).map_err(fault)?;
    change.commit().map_err(|error| fault(error.into()))
}

/// All of the map but a sixteenth, and at least 64 pages of the usual size: what settles and expires must
/// find pages when nothing new does.
fn bytes_for_growth(map_bytes: usize) -> usize {
    map_bytes.saturating_sub((map_bytes / 16).max(64 * 4096))
}
