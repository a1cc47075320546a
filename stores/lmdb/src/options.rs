//! How a store is opened.

use tollgate_kv::KvOptions;

/// When a commit reaches the disk. No policy loses anything, or damages the file, when a process
/// crashes or is killed: what was committed is the operating system's by then.
///
/// Where processes that share a store have different policies, none has more than the weakest of them: a
/// commit that is not synced may reach the disk in part, over one that was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncPolicy {
    /// Before the caller gets its answer. Power loss loses nothing that was answered. Callers that
    /// come at once share one sync.
    #[default]
    EveryCommit,
    /// At most so many milliseconds later, by a thread of the store's, and when the store is dropped.
    ///
    /// Power loss, or a crash of the operating system, loses what was answered since the last sync;
    /// and on a file system that does not write in order, it can damage the file, which must then be
    /// restored from a backup.
    IntervalMs(u64),
    /// When the operating system sees fit. As `IntervalMs`, without a bound on the time.
    Never,
}

/// Options of an [`LmdbStore`](crate::LmdbStore).
///
/// At a bound, new entries are refused with [`StoreError::Full`](tollgate::StoreError::Full) after what
/// has expired was reclaimed; a live entry is never dropped. All processes that use a store should
/// give the same options: each keeps to its own bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LmdbOptions {
    /// Most bytes of the file. They are reserved as address space, not on the disk: the file grows as it
    /// is needed. Near the end only what settles, expires or removes goes through. Rounded up to whole
    /// pages, and to a mebibyte at least.
    pub map_bytes: usize,
    /// Threads of all processes that may read at a time.
    pub max_readers: u32,
    /// When a commit reaches the disk.
    pub sync: SyncPolicy,
    /// Whether to open for reading only: every change is refused with
    /// [`StoreError::Unavailable`](tollgate::StoreError::Unavailable).
    pub read_only: bool,
    /// Accounts.
    pub max_accounts: u64,
    /// Tokens, revoked and expired ones included until they are reclaimed.
    pub max_tokens: u64,
    /// Limiter cells.
    pub max_cells: u64,
    /// Idempotency claims, open and completed.
    pub max_claims: u64,
    /// Reservations, open and finished.
    pub max_reservations: u64,
    /// Claims of one account, and reservations of one account: no customer fills the store for all.
    pub max_per_account: u64,
    /// How many tokens' credentials are kept in this process's memory, so that one that comes again is not
    /// read again; 0: none. Nothing is decided by one that is not in force.
    pub cached_tokens: usize,
}

impl Default for LmdbOptions {
    fn default() -> Self {
        LmdbOptions {
            map_bytes: if cfg!(target_pointer_width = "64") { 1 << 36 } else { 1 << 30 },
            max_readers: 1022,
            sync: SyncPolicy::EveryCommit,
            read_only: false,
            max_accounts: 1 << 24,
            max_tokens: 1 << 26,
            max_cells: 1 << 22,
            max_claims: 1 << 24,
            max_reservations: 1 << 24,
            max_per_account: 1 << 20,
            cached_tokens: 1 << 16,
        }
    }
}

impl LmdbOptions {
    /// The bounds of what is in the records.
    pub(crate) fn bounds(&self) -> KvOptions {
        let mut bounds = KvOptions::default();
        bounds.max_accounts = self.max_accounts;
        bounds.max_tokens = self.max_tokens;
        bounds.max_cells = self.max_cells;
        bounds.max_claims = self.max_claims;
        bounds.max_reservations = self.max_reservations;
        bounds.max_per_account = self.max_per_account;
        bounds
    }
}
