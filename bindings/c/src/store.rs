//! Stores: where state lives.

use core::ffi::c_char;
use std::sync::Arc;
use std::time::Duration;

use tollgate::{Admin, CompositeStore, MemoryOptions, MemoryStore, Store};
use tollgate_lmdb::{LmdbOptions, LmdbStore, SyncPolicy};
use tollgate_redis::RedisStore;

use crate::error::{Error, tollgate_result_t};
use crate::ffi::{Sized_, borrow, call, free, out, read_optional, text};
use crate::limits::tollgate_limits_t;
use crate::redis::tollgate_redis_options_t;

/// Where accounts, tokens, limits, money and idempotency keys are kept.
///
/// Ownership: made by `tollgate_store_…`, freed by `tollgate_store_free`; composites, decisions and operations
/// keep what they need of it, so it is closed when the last of them is gone. Threads: any number may use it at once.
pub struct tollgate_store_t(Arc<dyn Store>);

impl tollgate_store_t {
    pub(crate) fn new(store: impl Store + 'static) -> Self {
        tollgate_store_t(Arc::new(store))
    }

    /// The store itself, for tests of this workspace.
    #[doc(hidden)]
    #[must_use]
    pub fn share(&self) -> Arc<dyn Store> {
        Arc::clone(&self.0)
    }

    pub(crate) fn admin(&self) -> Admin<'_, dyn Store> {
        Admin::new(&*self.0)
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.0
    }
}

/// Bounds of a store in memory; 0: the default. At a bound new entries are refused, live ones never dropped.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tollgate_memory_options_t {
    /// `sizeof(tollgate_memory_options_t)`.
    pub struct_size: usize,
    /// Accounts.
    pub max_accounts: usize,
    /// Tokens, revoked and expired ones included until they are reclaimed.
    pub max_tokens: usize,
    /// Limits' counts beside the one that every token carries.
    pub max_cells: usize,
    /// Idempotency claims, open and completed.
    pub max_claims: usize,
    /// Reservations, open and finished.
    pub max_reservations: usize,
    /// Claims of one account, and reservations of one account.
    pub max_per_account: usize,
}

// SAFETY: `repr(C)`, numbers, and it begins with its size.
unsafe impl Sized_ for tollgate_memory_options_t {}

/// When a commit of LMDB reaches the disk: one of `enum tollgate_sync`. A killed process loses nothing under any of them.
pub type tollgate_sync_t = u32;

/// When a commit of LMDB reaches the disk.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum tollgate_sync {
    /// Before the caller gets its answer.
    TOLLGATE_SYNC_EVERY_COMMIT = 0,
    /// At most `sync_interval_ms` later, by a thread of the store's.
    TOLLGATE_SYNC_INTERVAL = 1,
    /// When the operating system sees fit.
    TOLLGATE_SYNC_NEVER = 2,
}

/// Options of a store on disk; 0: the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tollgate_lmdb_options_t {
    /// `sizeof(tollgate_lmdb_options_t)`.
    pub struct_size: usize,
    /// Most bytes of the file.
    pub map_bytes: usize,
    /// Interval of `TOLLGATE_SYNC_INTERVAL`; 0 is 200 ms.
    pub sync_interval_ms: u64,
    /// Accounts.
    pub max_accounts: u64,
    /// Tokens.
    pub max_tokens: u64,
    /// Limits' counts.
    pub max_cells: u64,
    /// Idempotency claims.
    pub max_claims: u64,
    /// Reservations.
    pub max_reservations: u64,
    /// Claims of one account, and reservations of one account.
    pub max_per_account: u64,
    /// Threads of all processes that may read at a time.
    pub max_readers: u32,
    /// When a commit reaches the disk.
    pub sync: tollgate_sync_t,
    /// 1: for reading only.
    pub read_only: u8,
}

// SAFETY: `repr(C)`, numbers, and it begins with its size.
unsafe impl Sized_ for tollgate_lmdb_options_t {}

/// Makes an empty store in this process's memory. `options` may be null.
///
/// `*store` is the caller's, to be freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_store_memory_new(
    options: *const tollgate_memory_options_t,
    store: *mut *mut tollgate_store_t,
) -> tollgate_result_t {
    call(|| {
        let store = out(store, "store")?;
        let mut bounds = MemoryOptions::default();
        if let Some(given) = read_optional(options, "options")? {
            or_default(given.max_accounts, &mut bounds.max_accounts);
            or_default(given.max_tokens, &mut bounds.max_tokens);
            or_default(given.max_cells, &mut bounds.max_cells);
            or_default(given.max_claims, &mut bounds.max_claims);
            or_default(given.max_reservations, &mut bounds.max_reservations);
            or_default(given.max_per_account, &mut bounds.max_per_account);
        }
        store.give(tollgate_store_t::new(MemoryStore::new(bounds)));
        Ok(())
    })
}

/// Sets an option that is given: 0 stands for its default.
pub(crate) fn or_default<T: PartialEq + Default>(given: T, option: &mut T) {
    if given != T::default() {
        *option = given;
    }
}

/// Opens a store on disk in a directory that exists, and makes it if there is none. Processes may share it; within one
/// process it is opened once. Open it after `fork`.
///
/// `directory` is UTF-8; `options` may be null. `*store` is the caller's, to be freed. Commands may wait for the
/// disk, and for other processes that write. Errors: `TOLLGATE_STORE_NOT_OPENED`, `TOLLGATE_STORE_NEWER_FORMAT`,
/// `TOLLGATE_INVALID_ARGUMENT` for an unknown `sync`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_store_lmdb_open(
    directory: *const c_char,
    directory_len: usize,
    options: *const tollgate_lmdb_options_t,
    store: *mut *mut tollgate_store_t,
) -> tollgate_result_t {
    call(|| {
        let store = out(store, "store")?;
        let directory = text(directory, directory_len, "directory")?;
        let options = match read_optional(options, "options")? {
            Some(given) => lmdb_options(&given)?,
            None => LmdbOptions::default(),
        };
        let opened = LmdbStore::open(directory, &options).map_err(|error| match error {
            tollgate_lmdb::LmdbError::Store(error) => Error::from(error),
            error => Error::not_opened(error),
        })?;
        store.give(tollgate_store_t::new(opened));
        Ok(())
    })
}

fn lmdb_options(given: &tollgate_lmdb_options_t) -> Result<LmdbOptions, Error> {
    const EVERY_COMMIT: u32 = tollgate_sync::TOLLGATE_SYNC_EVERY_COMMIT as u32;
    const INTERVAL: u32 = tollgate_sync::TOLLGATE_SYNC_INTERVAL as u32;
    const NEVER: u32 = tollgate_sync::TOLLGATE_SYNC_NEVER as u32;
    let mut options = LmdbOptions::default();
    or_default(given.map_bytes, &mut options.map_bytes);
    or_default(given.max_readers, &mut options.max_readers);
    or_default(given.max_accounts, &mut options.max_accounts);
    or_default(given.max_tokens, &mut options.max_tokens);
    or_default(given.max_cells, &mut options.max_cells);
    or_default(given.max_claims, &mut options.max_claims);
    or_default(given.max_reservations, &mut options.max_reservations);
    or_default(given.max_per_account, &mut options.max_per_account);
    options.read_only = given.read_only != 0;
    options.sync = match given.sync {
        EVERY_COMMIT => SyncPolicy::EveryCommit,
        INTERVAL if given.sync_interval_ms == 0 => SyncPolicy::IntervalMs(200),
        INTERVAL => SyncPolicy::IntervalMs(given.sync_interval_ms),
        NEVER => SyncPolicy::Never,
        other => return Err(Error::invalid(format!("{other} is no `sync`"))),
    };
    Ok(options)
}

/// Opens a store on a Redis or Valkey server, `redis://[USER:PASSWORD@]HOST[:PORT][/DB]` or `rediss://` for TLS, or on a cluster,
/// `redis+cluster://HOST:PORT,HOST:PORT`. No connection is made before the first command. Commands wait for the network; a host that
/// must not wait carries the bytes itself, see `tollgate_redis_new`.
///
/// `options` may be null. `*store` is the caller's, to be freed. Errors: `TOLLGATE_STORE_NOT_OPENED` for a URL or an option that
/// cannot be used; it is not repeated, for it may have a password.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_store_redis_open(
    url: *const c_char,
    url_len: usize,
    options: *const tollgate_redis_options_t,
    store: *mut *mut tollgate_store_t,
) -> tollgate_result_t {
    call(|| {
        let store = out(store, "store")?;
        let mut redis = tollgate_redis::RedisOptions::new(text(url, url_len, "url")?);
        if let Some(given) = read_optional(options, "options")? {
            given.write(&mut redis.protocol)?;
            let millis = |given: u64, option: &mut Duration| {
                if given != 0 {
                    *option = Duration::from_millis(given);
                }
            };
            millis(given.connect_timeout_ms, &mut redis.connect_timeout);
            millis(given.response_timeout_ms, &mut redis.response_timeout);
            or_default(given.connections, &mut redis.connections);
            redis.root_certificates = given.certificates()?;
        }
        store.give(tollgate_store_t::new(RedisStore::new(&redis).map_err(Error::not_opened)?));
        Ok(())
    })
}

/// Makes a store that counts limits in `limits` and keeps everything else in `accounts`: limits in memory that worker processes share,
/// say, and a ledger on disk. Both are shared with it and may be freed.
///
/// `*store` is the caller's, to be freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_store_composite_new(
    limits: *const tollgate_limits_t,
    accounts: *const tollgate_store_t,
    store: *mut *mut tollgate_store_t,
) -> tollgate_result_t {
    call(|| {
        let store = out(store, "store")?;
        let limits = borrow(limits, "limits")?.region();
        let accounts = borrow(accounts, "accounts")?.share();
        store.give(tollgate_store_t::new(CompositeStore::new(limits, accounts)));
        Ok(())
    })
}

/// Reclaims what is due: leases that ended, keys past their retention, counts that say no more. Call it every few seconds, from one of
/// the processes that share a store. `*expired` is how many leases and keys ended. It may take long where much is due.
///
/// Errors: those of stores, `TOLLGATE_STORE_…`; `TOLLGATE_CLOCK_OUT_OF_RANGE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_store_expire(
    store: *const tollgate_store_t,
    now_ms: u64,
    expired: *mut u64,
) -> tollgate_result_t {
    call(|| {
        let (store, expired) = (borrow(store, "store")?, out(expired, "expired")?);
        expired.set(store.admin().expire(now_ms)?);
        Ok(())
    })
}

/// Frees a store; null is none. What other handles keep of it stays open until they are freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_store_free(store: *mut tollgate_store_t) {
    free(store);
}
