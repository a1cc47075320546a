//! What operators do with the file: copy it, look at it, list what is in it.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use heed::CompactionOption;
use tollgate::StoreError;
use tollgate_kv::format::FORMAT;
use tollgate_kv::view::totals;

use crate::error::{LmdbError, store_error};
use crate::store::LmdbStore;

/// The file that LMDB keeps in a store's directory.
pub(crate) const DATA_FILE: &str = "data.mdb";

/// How a store stands. It is a snapshot, but for readers and bytes of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Format of the store.
    pub format: u32,
    /// Accounts.
    pub accounts: u64,
    /// Tokens, revoked and expired ones included.
    pub tokens: u64,
    /// Limiter cells.
    pub cells: u64,
    /// Idempotency claims, open and completed.
    pub claims: u64,
    /// Reservations, open and finished.
    pub reservations: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Most bytes of the file: [`LmdbOptions::map_bytes`](crate::LmdbOptions::map_bytes) in whole pages.
    pub map_bytes: u64,
    /// Bytes of a page.
    pub page_bytes: u64,
    /// Pages that hold records.
    pub used_pages: u64,
    /// Pages of the file that hold none: they are used again before the file grows. LMDB's own list of
    /// them is among these.
    pub free_pages: u64,
    /// Slots for readers that have been taken at the same time, by threads of all processes, at most.
    pub readers: u32,
    /// Slots for readers.
    pub max_readers: u32,
    /// Number of the last transaction that changed something.
    pub last_transaction: u64,
    /// Transactions that this store committed since it was opened. One may hold many commands.
    pub commits: u64,
}

impl LmdbStore {
    /// Writes a copy of the store into the directory `to`, which is created if it is not there. The store
    /// may be in use meanwhile; the copy is as it was at one moment. `compact` leaves free pages
    /// out, which takes longer. The copy is synced before it gets its name, and only its owner may read it.
    /// Until then it is called `data.mdb.0.partial`, or with another number. If the process is killed, that may be removed.
    ///
    /// # Errors
    /// [`LmdbError::BackupExists`] when there is a store already, and [`LmdbError::Io`].
    pub fn backup(&self, to: impl AsRef<Path>, compact: bool) -> Result<(), LmdbError> {
        let to = to.as_ref();
        let failed = |source| LmdbError::Io { doing: "write", path: to.to_path_buf(), source };
        fs::create_dir_all(to).map_err(failed)?;
        let file = to.join(DATA_FILE);
        if file.exists() {
            return Err(LmdbError::BackupExists { path: to.to_path_buf() });
        }
        let (partial, mut copy) = partial_file(to).map_err(failed)?;
        let written = self.copy_to(&partial, &mut copy, compact).and_then(|()| {
            // Does not replace a backup that came meanwhile, as a new name would.
            match fs::hard_link(&partial, &file) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    Err(LmdbError::BackupExists { path: to.to_path_buf() })
                }
                Err(_) => fs::rename(&partial, &file).map_err(failed), // a file system without links
                Ok(()) => Ok(()),
            }
        });
        let removed = fs::remove_file(&partial);
        written?;
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        sync_directory(to).map_err(failed)
    }

    fn copy_to(&self, partial: &Path, file: &mut File, compact: bool) -> Result<(), LmdbError> {
        let io = |source| LmdbError::Io { doing: "write", path: partial.to_path_buf(), source };
        let option = if compact { CompactionOption::Enabled } else { CompactionOption::Disabled };
        let copied = self.env.copy_to_file(file, option);
        copied.map_err(|error| LmdbError::of(error, "write", partial))?;
        file.sync_all().map_err(io)
    }

    /// How the store stands.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn statistics(&self) -> Result<Statistics, StoreError> {
        let lmdb = |error: heed::Error| store_error(&error);
        let reading = self.reading()?;
        let totals = totals(&reading)?;
        let used = self.shared.database.stat(&reading.txn).map_err(lmdb)?;
        let used_pages = used.branch_pages.saturating_add(used.leaf_pages);
        let used_pages = wide(used_pages.saturating_add(used.overflow_pages));
        let info = self.env.info();
        // Pages are counted from 0; the first two are headers.
        let all_pages = wide(info.last_page_number).saturating_add(1);
        Ok(Statistics {
            format: FORMAT,
            accounts: u64::from(totals.accounts),
            tokens: totals.tokens,
            cells: totals.cells,
            claims: totals.claims,
            reservations: totals.reservations,
            file_bytes: self.env.real_disk_size().map_err(lmdb)?,
            map_bytes: wide(info.map_size),
            page_bytes: u64::from(used.page_size),
            used_pages,
            free_pages: all_pages.saturating_sub(2).saturating_sub(used_pages),
            readers: info.number_of_readers,
            max_readers: info.maximum_number_of_readers,
            last_transaction: wide(info.last_txn_id),
            commits: self.commits.load(std::sync::atomic::Ordering::Relaxed),
        })
    }
}

/// A file for a copy, under a name that nobody else has: two that wrote the same would spoil both.
fn partial_file(directory: &Path) -> std::io::Result<(PathBuf, File)> {
    let mut open = fs::OpenOptions::new();
    open.write(true).read(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
    let mut number = 0_u32;
    loop {
        let path = directory.join(format!("{DATA_FILE}.{number}.partial"));
        match open.open(&path) {
            // Another one is at work, or was killed.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && number < u32::MAX => {
                number = number.saturating_add(1);
            }
            opened => return opened.map(|file| (path, file)),
        }
    }
}

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Writes LMDB's lock file in full before LMDB makes one with holes in it. It is mapped for writing, so
/// where a hole cannot be filled because the disk is full, the process would be killed by a signal. The
/// file comes under its name at once, whole and empty, which LMDB takes for one to be set up.
pub(crate) fn reserve_lock_file(path: &Path, max_readers: u32) -> Result<(), LmdbError> {
    let name = path.join("lock.mdb");
    if name.exists() {
        return Ok(());
    }
    let partial = path.join(format!("lock.mdb.{}.partial", std::process::id()));
    let mut open = fs::OpenOptions::new();
    open.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
    let Ok(mut file) = open.open(&partial) else {
        return Ok(()); // what keeps this one from being written, LMDB will say of its own
    };
    // A line of the cache for each reader, and three for the rest.
    let bytes = usize::try_from(max_readers).unwrap_or(0).saturating_add(2).saturating_mul(64);
    let written = file.write_all(&vec![0; bytes]);
    if written.is_ok() {
        // Another process may have been quicker, or there are no links: then it is LMDB's own.
        let _ = fs::hard_link(&partial, &name);
    }
    let _ = fs::remove_file(&partial);
    written.map_err(|source| LmdbError::Io { doing: "write", path: name, source })
}

/// So that the file's name outlives a loss of power too.
fn sync_directory(path: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}
