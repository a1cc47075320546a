//! The store: opens the file, and gives each command the kind of transaction that it needs.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use heed::types::Bytes;
use heed::{AnyTls, CommitOrAbort, Env, RoTxn, WithTls};
use tollgate::transition::perform;
use tollgate::{
    AccountRef, Administration, Admit, Command, LookedUp, Lookup, MAX_NOW_MS, Mode, Outcome,
    Refusal, Settle, Store, StoreError,
};

use crate::combine::{Combiner, Job, Transactions};
use crate::environment;
use crate::error::{Fault, LmdbError, unavailable};
use crate::flush::Flusher;
use crate::format::{self, FORMAT, Found};
use crate::operate::{DATA_FILE, reserve_lock_file};
use crate::options::{LmdbOptions, SyncPolicy};
use crate::owned::Owned;
use crate::sweep::{SMALLEST_STEP, STEP, Swept};
use crate::view::{Shared, View, Writing};

/// A durable store in an LMDB file, which the processes of one host share.
///
/// Each command is one transaction; commands that come at once share one. Look-ups and what operators
/// look at read a snapshot and never wait for a writer.
pub struct LmdbStore {
    combiner: Combiner,
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
            shared: Arc::new(shared),
            commits: AtomicU64::new(0),
            flusher,
            env,
        })
    }

    pub(crate) fn reading(&self) -> Result<RoTxn<'_, WithTls>, Fault> {
        let reading = match self.env.read_txn() {
            Err(heed::Error::Mdb(heed::MdbError::ReadersFull)) => {
                // Perhaps of processes that are gone.
                self.env.clear_stale_readers()?;
                self.env.read_txn()?
            }
            reading => reading?,
        };
        format::is_present(&reading, &self.shared)?;
        Ok(reading)
    }

    /// Runs a command that changes nothing.
    fn read(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        let reading = self.reading()?;
        let txn: &RoTxn<'_, AnyTls> = &reading;
        Ok(perform_in(&mut View::read(txn, &self.shared, now_ms), command, now_ms)?)
    }

    /// Runs a command that may change something.
    fn write(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        match self.write_once(command, now_ms) {
            // What is due in other accounts makes room too; or there is more due in this one than one
            // transaction deals with.
            Err(full @ StoreError::Full { .. }) => {
                let made_room = self.sweep(now_ms).is_ok_and(|swept| swept.seen > 0);
                if made_room { self.write_once(command, now_ms) } else { Err(full) }
            }
            outcome => outcome,
        }
    }

    fn write_once(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
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

    /// Ends what is due, in steps. An account with a damaged record is passed over, and is the error in
    /// the end.
    fn sweep(&self, now_ms: u64) -> Result<Swept, StoreError> {
        let (mut skipped, mut damage, mut all) = (Vec::new(), None, Swept::default());
        let mut step = STEP;
        loop {
            let known = skipped.len();
            let mut swept = Swept::default();
            let mut work = |writing: &mut Writing<'_>| {
                swept = View::write(writing, &self.shared, now_ms).sweep(step, &mut skipped)?;
                Ok(Outcome::Expired(swept.ended))
            };
            match self.combiner.perform(self, &mut work, || None) {
                Ok(_) => {
                    all.ended = all.ended.saturating_add(swept.ended);
                    all.seen = all.seen.saturating_add(swept.seen);
                    if !swept.more {
                        break;
                    }
                }
                Err(error @ StoreError::Corrupt { .. }) if skipped.len() > known => {
                    damage = Some(error);
                }
                // Where there are hardly any pages left, few must do.
                Err(StoreError::Full { .. }) if step > SMALLEST_STEP => step /= 5,
                Err(error) => return Err(error),
            }
        }
        damage.map_or(Ok(all), Err)
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
        let txn = self.env.write_txn()?;
        format::is_present(&txn, &self.shared)?;
        let mut writing = Writing::new(txn, &self.shared)?;
        work(&mut writing)?;
        writing.commit(&self.shared)?;
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
            Command::Lookup(lookup) => {
                self.read(&Command::Lookup(Lookup { plain: None, ..*lookup }), now_ms)
            }
            // Nothing but the revision is compared: no need to wait for a writer.
            Command::Admit(admit) if admit.limits.is_empty() && admit.asks_limits_only() => {
                self.read(&Command::Admit(Admit { mode: Mode::Peek, ..*admit }), now_ms)
            }
            Command::Administer(Administration::Expire) if now_ms > MAX_NOW_MS => {
                Ok(Outcome::Refused(Refusal::ClockOutOfRange))
            }
            Command::Administer(Administration::Expire) => {
                self.env.clear_stale_readers().map_err(Fault::from)?;
                self.sweep(now_ms).map(|swept| Outcome::Expired(swept.ended))
            }
            command if changes_nothing(command) => self.read(command, now_ms),
            command => self.write(command, now_ms),
        }
    }

    /// Leaves [`LookedUp::admission`] out: [`Command::Admit`] follows. So the many requests that end at
    /// their token, network or scope never wait for a writer.
    fn look_up(&self, lookup: &Lookup<'_>, now_ms: u64) -> Result<LookedUp, StoreError> {
        match self.perform(&Command::Lookup(*lookup), now_ms)? {
            Outcome::LookedUp(found) => Ok(found),
            _ => Err(StoreError::WrongOutcome),
        }
    }
}

fn changes_nothing(command: &Command<'_>) -> bool {
    match command {
        Command::Lookup(_) => true,
        Command::Admit(admit) => admit.mode != Mode::Apply,
        Command::Administer(administration) => matches!(
            administration,
            Administration::Inspect { .. }
                | Administration::ListAccounts { .. }
                | Administration::ListTokens { .. }
                | Administration::ListReservations { .. }
                | Administration::NameAccount { .. }
        ),
        _ => false,
    }
}

/// Performs a command on the records. An account is counted and kept by its number, also when the
/// command names it.
fn perform_in(
    view: &mut View<'_, '_>,
    command: &Command<'_>,
    now_ms: u64,
) -> Result<Outcome, Fault> {
    let named = match command {
        Command::Admit(Admit { account: named @ AccountRef::Id(_), .. })
        | Command::Settle(Settle { account: named @ AccountRef::Id(_), .. }) => named,
        _ => return perform(view, command, now_ms),
    };
    let Some(number) = view.number(named)? else { return perform(view, command, now_ms) };
    let account = &AccountRef::Slot(number);
    match command {
        Command::Admit(admit) => {
            perform(view, &Command::Admit(Admit { account, ..*admit }), now_ms)
        }
        Command::Settle(settle) => {
            perform(view, &Command::Settle(Settle { account, ..*settle }), now_ms)
        }
        _ => perform(view, command, now_ms),
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
    let reading = env.read_txn().map_err(lmdb)?;
    let found = format::found(&reading, shared).map_err(fault)?;
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
    let writing = env.write_txn().map_err(lmdb)?;
    format::bring_up_to_date(writing, shared).map_err(fault)
}

/// All of the map but a sixteenth, and at least 64 pages of the usual size: what settles and expires must
/// find pages when nothing new does.
fn bytes_for_growth(map_bytes: usize) -> usize {
    map_bytes.saturating_sub((map_bytes / 16).max(64 * 4096))
}
