//! Stores over an ordered map of the host's own.

use core::ffi::c_void;
use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

use tollgate::StoreError;
use tollgate_kv::{KvEntry, KvError, KvMap, KvOpenError, KvOptions, KvRead, KvStore, KvWrite};

use crate::error::{Error, tollgate_result_t};
use crate::ffi::{Sized_, call, out, read, read_optional};
use crate::store::{or_default, tollgate_store_t};

/// What a function of a host's map came to: one of `enum tollgate_host_result`.
pub type tollgate_host_result_t = u32;

/// What a function of a host's map came to.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum tollgate_host_result {
    /// It was done.
    TOLLGATE_HOST_OK = 0,
    /// There is no such entry. From `get`, `first` and `remove` only.
    TOLLGATE_HOST_NOT_FOUND = 1,
    /// Another transaction came between: the command begins again, in a new one.
    TOLLGATE_HOST_CONFLICT = 2,
    /// There is no room.
    TOLLGATE_HOST_FULL = 3,
    /// It does not answer, or not in time.
    TOLLGATE_HOST_UNAVAILABLE = 4,
    /// What is stored is damaged.
    TOLLGATE_HOST_CORRUPT = 5,
}

/// An ordered map of bytes to bytes with transactions, of the host's own. Set `struct_size`, zero the rest, fill in the functions.
///
/// Transactions that are committed are as if they had run one after the other, in the order of their commits, and each is made as a whole or not
/// at all. Whether the map lets one writer begin at a time, or refuses with `TOLLGATE_HOST_CONFLICT`, is its own matter. Keys are ordered by their
/// bytes, as unsigned numbers; one that another begins with comes before it. Keys have at most 300 bytes.
///
/// Threads: `begin` comes from any thread, several at once; a transaction stays on its thread, has no other beside it there, and ends before the call of the
/// library that needed it returns. Pointers that a function gives are read before the next call on the same transaction. A function must not
/// leave by an exception or `longjmp`, nor call the library. After any result but `TOLLGATE_HOST_OK` and `TOLLGATE_HOST_NOT_FOUND` the transaction is
/// rolled back.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tollgate_host_map_t {
    /// `sizeof(tollgate_host_map_t)`.
    pub struct_size: usize,
    /// Begins a transaction; `writes`: it may change. `*transaction` is handed to the other functions.
    pub begin: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            writes: bool,
            transaction: *mut *mut c_void,
        ) -> tollgate_host_result_t,
    >,
    /// Gives what is under a key, also what this transaction put there.
    pub get: Option<
        unsafe extern "C" fn(
            transaction: *mut c_void,
            key: *const u8,
            key_len: usize,
            value: *mut *const u8,
            value_len: *mut usize,
        ) -> tollgate_host_result_t,
    >,
    /// Gives the first entry whose key is `key` or comes after it.
    pub first: Option<
        unsafe extern "C" fn(
            transaction: *mut c_void,
            key: *const u8,
            key_len: usize,
            found: *mut *const u8,
            found_len: *mut usize,
            value: *mut *const u8,
            value_len: *mut usize,
        ) -> tollgate_host_result_t,
    >,
    /// Puts a value under a key, in place of the one that is there.
    pub put: Option<
        unsafe extern "C" fn(
            transaction: *mut c_void,
            key: *const u8,
            key_len: usize,
            value: *const u8,
            value_len: usize,
        ) -> tollgate_host_result_t,
    >,
    /// Removes a key; `TOLLGATE_HOST_NOT_FOUND`: it was not there.
    pub remove: Option<
        unsafe extern "C" fn(
            transaction: *mut c_void,
            key: *const u8,
            key_len: usize,
        ) -> tollgate_host_result_t,
    >,
    /// Makes all changes or none, and ends the transaction either way.
    pub commit: Option<unsafe extern "C" fn(transaction: *mut c_void) -> tollgate_host_result_t>,
    /// Ends the transaction without a change; also how one that reads ends.
    pub rollback: Option<unsafe extern "C" fn(transaction: *mut c_void)>,
    /// Asked before new records are put, and not before what settles, expires or removes; null: there is always room. A map that is nearly full
    /// says `TOLLGATE_HOST_FULL` here, so that it keeps room for those.
    pub check_room:
        Option<unsafe extern "C" fn(transaction: *mut c_void) -> tollgate_host_result_t>,
    /// Called once when the store is gone, from whatever thread; null: nothing is.
    pub release: Option<unsafe extern "C" fn(user: *mut c_void)>,
}

// SAFETY: `repr(C)`, optional functions and a number, and it begins with its size.
unsafe impl Sized_ for tollgate_host_map_t {}

/// Bounds of a store over a host's map; 0: the default. At a bound new entries are refused, live ones never dropped.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tollgate_host_options_t {
    /// `sizeof(tollgate_host_options_t)`.
    pub struct_size: usize,
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
    /// How often a command is begun that meets conflicts.
    pub max_attempts: u32,
}

// SAFETY: `repr(C)`, numbers, and it begins with its size.
unsafe impl Sized_ for tollgate_host_options_t {}

/// The functions that must be there, taken out of their options.
#[derive(Clone, Copy)]
struct Functions {
    begin: unsafe extern "C" fn(*mut c_void, bool, *mut *mut c_void) -> u32,
    get: unsafe extern "C" fn(*mut c_void, *const u8, usize, *mut *const u8, *mut usize) -> u32,
    first: FirstFn,
    put: unsafe extern "C" fn(*mut c_void, *const u8, usize, *const u8, usize) -> u32,
    remove: unsafe extern "C" fn(*mut c_void, *const u8, usize) -> u32,
    commit: unsafe extern "C" fn(*mut c_void) -> u32,
    rollback: unsafe extern "C" fn(*mut c_void),
    check_room: Option<unsafe extern "C" fn(*mut c_void) -> u32>,
}

type FirstFn = unsafe extern "C" fn(
    *mut c_void,
    *const u8,
    usize,
    *mut *const u8,
    *mut usize,
    *mut *const u8,
    *mut usize,
) -> u32;

struct HostMap {
    functions: Functions,
    user: *mut c_void,
    release: Option<unsafe extern "C" fn(*mut c_void)>,
    /// Whether the map is the store's, so that its end is the map's.
    is_kept: AtomicBool,
}

// SAFETY: `user` is only handed back to the functions that came with it, which the caller says may be called from any
// thread.
unsafe impl Send for HostMap {}
// SAFETY: as above.
unsafe impl Sync for HostMap {}

impl HostMap {
    fn new(map: &tollgate_host_map_t, user: *mut c_void) -> Result<Self, Error> {
        let missing = |what: &'static str| move || Error::null(what);
        let functions = Functions {
            begin: map.begin.ok_or_else(missing("map.begin"))?,
            get: map.get.ok_or_else(missing("map.get"))?,
            first: map.first.ok_or_else(missing("map.first"))?,
            put: map.put.ok_or_else(missing("map.put"))?,
            remove: map.remove.ok_or_else(missing("map.remove"))?,
            commit: map.commit.ok_or_else(missing("map.commit"))?,
            rollback: map.rollback.ok_or_else(missing("map.rollback"))?,
            check_room: map.check_room,
        };
        Ok(HostMap { functions, user, release: map.release, is_kept: AtomicBool::new(false) })
    }

    fn begin(&self, writes: bool) -> Result<Transaction, KvError> {
        let mut handle = core::ptr::null_mut();
        // SAFETY: the caller gave the function and its argument to be called so; the out-parameter lives here.
        done(unsafe { (self.functions.begin)(self.user, writes, &raw mut handle) })?;
        Ok(Transaction { functions: self.functions, handle, open: true })
    }
}

impl Drop for HostMap {
    fn drop(&mut self) {
        if let (Some(release), true) = (self.release, *self.is_kept.get_mut()) {
            // SAFETY: the caller gave the function and its argument to be called so, once.
            unsafe { release(self.user) }
        }
    }
}

/// A transaction of the host's, which ends with it.
struct Transaction {
    functions: Functions,
    handle: *mut c_void,
    open: bool,
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.open {
            // SAFETY: the handle came from `begin`, and this is its last use.
            unsafe { (self.functions.rollback)(self.handle) }
        }
    }
}

fn failed(result: u32) -> KvError {
    const CONFLICT: u32 = tollgate_host_result::TOLLGATE_HOST_CONFLICT as u32;
    const FULL: u32 = tollgate_host_result::TOLLGATE_HOST_FULL as u32;
    const CORRUPT: u32 = tollgate_host_result::TOLLGATE_HOST_CORRUPT as u32;
    const UNAVAILABLE: u32 = tollgate_host_result::TOLLGATE_HOST_UNAVAILABLE as u32;
    KvError::Store(match result {
        CONFLICT => return KvError::Conflict,
        FULL => StoreError::Full { what: "data: the host's map has no room" },
        CORRUPT => StoreError::Corrupt { what: "the host's map" },
        UNAVAILABLE => StoreError::Unavailable { reason: "the host's map does not answer".into() },
        other => {
            let reason =
                format!("the host's map gave {other}, which is no result of this function");
            StoreError::Unavailable { reason: reason.into() }
        }
    })
}

fn done(result: u32) -> Result<(), KvError> {
    if result == tollgate_host_result::TOLLGATE_HOST_OK as u32 {
        Ok(())
    } else {
        Err(failed(result))
    }
}

/// Whether it was found.
fn found(result: u32) -> Result<bool, KvError> {
    if result == tollgate_host_result::TOLLGATE_HOST_NOT_FOUND as u32 {
        return Ok(false);
    }
    done(result).map(|()| true)
}

/// Copies what the host gave, before it is asked again.
fn copied(data: *const u8, len: usize) -> Result<Cow<'static, [u8]>, KvError> {
    match crate::ffi::many(data, len, "value") {
        Ok(bytes) => Ok(Cow::Owned(bytes.to_vec())),
        Err(_) => Err(failed(u32::MAX)),
    }
}

impl KvRead for Transaction {
    fn get(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, KvError> {
        let (mut value, mut len) = (core::ptr::null(), 0);
        let get = self.functions.get;
        // SAFETY: the handle came from `begin` and has not ended; the out-parameters live here.
        let result =
            unsafe { get(self.handle, key.as_ptr(), key.len(), &raw mut value, &raw mut len) };
        if found(result)? { copied(value, len).map(Some) } else { Ok(None) }
    }

    fn first_at_or_after(&self, key: &[u8]) -> Result<Option<KvEntry<'_>>, KvError> {
        let (mut at, mut at_len) = (core::ptr::null(), 0);
        let (mut value, mut len) = (core::ptr::null(), 0);
        let first = self.functions.first;
        // SAFETY: as in `get`.
        let result = unsafe {
            first(
                self.handle,
                key.as_ptr(),
                key.len(),
                &raw mut at,
                &raw mut at_len,
                &raw mut value,
                &raw mut len,
            )
        };
        if !found(result)? {
            return Ok(None);
        }
        Ok(Some((copied(at, at_len)?, copied(value, len)?)))
    }
}

impl KvWrite for Transaction {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        let put = self.functions.put;
        // SAFETY: as in `get`.
        done(unsafe { put(self.handle, key.as_ptr(), key.len(), value.as_ptr(), value.len()) })
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool, KvError> {
        // SAFETY: as in `get`.
        found(unsafe { (self.functions.remove)(self.handle, key.as_ptr(), key.len()) })
    }

    fn check_room(&self) -> Result<(), KvError> {
        match self.functions.check_room {
            // SAFETY: as in `get`.
            Some(check_room) => done(unsafe { check_room(self.handle) }),
            None => Ok(()),
        }
    }

    fn commit(mut self) -> Result<(), KvError> {
        self.open = false;
        // SAFETY: as in `get`; it is not used after this.
        done(unsafe { (self.functions.commit)(self.handle) })
    }
}

impl KvMap for HostMap {
    type Read<'m> = Transaction;
    type Write<'m> = Transaction;

    fn read(&self) -> Result<Transaction, KvError> {
        self.begin(false)
    }

    fn write(&self) -> Result<Transaction, KvError> {
        self.begin(true)
    }
}

/// Opens the store in a map of the host's own, and makes it if the map is empty: accounts, tokens, limits, money and idempotency with all the rules
/// of the library, over whatever keeps bytes in order and has transactions. The map is the store's alone.
///
/// `map` is copied; `user` is handed to its functions, and to `release` once the store, and all that was made of it, is gone. After an error nothing
/// of either is kept, and `release` is not called. `options` may be null. `*store` is the caller's, to be freed. Errors: `TOLLGATE_NULL_POINTER` for
/// a function that is missing; `TOLLGATE_STORE_NOT_OPENED` when the map holds something else; what the map says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_store_host_open(
    map: *const tollgate_host_map_t,
    user: *mut c_void,
    options: *const tollgate_host_options_t,
    store: *mut *mut tollgate_store_t,
) -> tollgate_result_t {
    call(|| {
        let store = out(store, "store")?;
        let mut bounds = KvOptions::default();
        if let Some(given) = read_optional(options, "options")? {
            given.write(&mut bounds);
        }
        let map = HostMap::new(&read(map, "map")?, user)?;
        let opened = KvStore::open(map, &bounds).map_err(|error| match error {
            KvOpenError::Store(error) => Error::from(error),
            error => Error::not_opened(error),
        })?;
        opened.map().is_kept.store(true, Ordering::Relaxed);
        store.give(tollgate_store_t::new(opened));
        Ok(())
    })
}

impl tollgate_host_options_t {
    fn write(&self, options: &mut KvOptions) {
        or_default(self.max_accounts, &mut options.max_accounts);
        or_default(self.max_tokens, &mut options.max_tokens);
        or_default(self.max_cells, &mut options.max_cells);
        or_default(self.max_claims, &mut options.max_claims);
        or_default(self.max_reservations, &mut options.max_reservations);
        or_default(self.max_per_account, &mut options.max_per_account);
        or_default(self.max_attempts, &mut options.max_attempts);
    }
}
