//! Stores over a map that a host brings: the whole suite of stores, through functions as C hands them in.
#![cfg(test)]
#![allow(unsafe_code)] // the host's side of the interface

use std::borrow::Cow;
use std::ffi::{CStr, c_void};
use std::mem::{size_of, zeroed};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tollgate::{Store, StoreError};
use tollgate_c::tollgate_host_result::*;
use tollgate_c::*;
use tollgate_kv::{KvError, KvMap, KvRead, KvWrite, MemoryMap, MemoryRead, MemoryWrite};
use tollgate_scenario::Backend;

/// A host's map and what happened to it.
struct Host {
    map: MemoryMap,
    open: AtomicU32,
    released: AtomicU32,
    begins_with: AtomicU32,
}

impl Host {
    fn new() -> Arc<Host> {
        Arc::new(Host {
            map: MemoryMap::optimistic(),
            open: AtomicU32::new(0),
            released: AtomicU32::new(0),
            begins_with: AtomicU32::new(TOLLGATE_HOST_OK as u32),
        })
    }
}

enum Kind {
    Reads(MemoryRead),
    Writes(MemoryWrite<'static>),
}

struct Txn {
    kind: Kind,
    host: &'static Host,
    /// What was given out last.
    found: (Vec<u8>, Vec<u8>),
}

fn result(error: &KvError) -> u32 {
    match error {
        KvError::Conflict => TOLLGATE_HOST_CONFLICT as u32,
        _ => TOLLGATE_HOST_UNAVAILABLE as u32,
    }
}

unsafe fn txn<'a>(transaction: *mut c_void) -> &'a mut Txn {
    unsafe { &mut *transaction.cast() }
}

unsafe fn bytes<'a>(data: *const u8, len: usize) -> &'a [u8] {
    unsafe { std::slice::from_raw_parts(data, len) }
}

unsafe extern "C" fn begin(user: *mut c_void, writes: bool, out: *mut *mut c_void) -> u32 {
    // The host outlives its transactions: the test holds it.
    let host: &'static Host = unsafe { &*user.cast_const().cast() };
    let refused = host.begins_with.load(Ordering::Relaxed);
    if refused != TOLLGATE_HOST_OK as u32 {
        return refused;
    }
    let kind =
        if writes { host.map.write().map(Kind::Writes) } else { host.map.read().map(Kind::Reads) };
    match kind {
        Err(error) => result(&error),
        Ok(kind) => {
            host.open.fetch_add(1, Ordering::Relaxed);
            let txn = Box::new(Txn { kind, host, found: Default::default() });
            unsafe { out.write(Box::into_raw(txn).cast()) };
            TOLLGATE_HOST_OK as u32
        }
    }
}

unsafe extern "C" fn get(
    transaction: *mut c_void,
    key: *const u8,
    key_len: usize,
    value: *mut *const u8,
    value_len: *mut usize,
) -> u32 {
    let (txn, key) = unsafe { (txn(transaction), bytes(key, key_len)) };
    let found = match &txn.kind {
        Kind::Reads(reads) => reads.get(key),
        Kind::Writes(writes) => writes.get(key),
    };
    match found.map(|found| found.map(Cow::into_owned)) {
        Err(error) => result(&error),
        Ok(None) => TOLLGATE_HOST_NOT_FOUND as u32,
        Ok(Some(bytes)) => {
            txn.found.1 = bytes;
            unsafe {
                value.write(txn.found.1.as_ptr());
                value_len.write(txn.found.1.len());
            }
            TOLLGATE_HOST_OK as u32
        }
    }
}

unsafe extern "C" fn first(
    transaction: *mut c_void,
    key: *const u8,
    key_len: usize,
    found_key: *mut *const u8,
    found_key_len: *mut usize,
    value: *mut *const u8,
    value_len: *mut usize,
) -> u32 {
    let (txn, key) = unsafe { (txn(transaction), bytes(key, key_len)) };
    let found = match &txn.kind {
        Kind::Reads(reads) => reads.first_at_or_after(key),
        Kind::Writes(writes) => writes.first_at_or_after(key),
    };
    match found.map(|found| found.map(|(key, value)| (key.into_owned(), value.into_owned()))) {
        Err(error) => result(&error),
        Ok(None) => TOLLGATE_HOST_NOT_FOUND as u32,
        Ok(Some(entry)) => {
            txn.found = entry;
            unsafe {
                found_key.write(txn.found.0.as_ptr());
                found_key_len.write(txn.found.0.len());
                value.write(txn.found.1.as_ptr());
                value_len.write(txn.found.1.len());
            }
            TOLLGATE_HOST_OK as u32
        }
    }
}

unsafe extern "C" fn put(
    transaction: *mut c_void,
    key: *const u8,
    key_len: usize,
    value: *const u8,
    value_len: usize,
) -> u32 {
    let (txn, key, value) =
        unsafe { (txn(transaction), bytes(key, key_len), bytes(value, value_len)) };
    let Kind::Writes(writes) = &mut txn.kind else { return TOLLGATE_HOST_UNAVAILABLE as u32 };
    writes.put(key, value).map_or_else(|error| result(&error), |()| TOLLGATE_HOST_OK as u32)
}

unsafe extern "C" fn remove(transaction: *mut c_void, key: *const u8, key_len: usize) -> u32 {
    let (txn, key) = unsafe { (txn(transaction), bytes(key, key_len)) };
    let Kind::Writes(writes) = &mut txn.kind else { return TOLLGATE_HOST_UNAVAILABLE as u32 };
    match writes.remove(key) {
        Err(error) => result(&error),
        Ok(true) => TOLLGATE_HOST_OK as u32,
        Ok(false) => TOLLGATE_HOST_NOT_FOUND as u32,
    }
}

unsafe extern "C" fn commit(transaction: *mut c_void) -> u32 {
    let txn = unsafe { Box::from_raw(transaction.cast::<Txn>()) };
    txn.host.open.fetch_sub(1, Ordering::Relaxed);
    match txn.kind {
        Kind::Reads(_) => TOLLGATE_HOST_OK as u32,
        Kind::Writes(writes) => {
            writes.commit().map_or_else(|error| result(&error), |()| TOLLGATE_HOST_OK as u32)
        }
    }
}

unsafe extern "C" fn rollback(transaction: *mut c_void) {
    let txn = unsafe { Box::from_raw(transaction.cast::<Txn>()) };
    txn.host.open.fetch_sub(1, Ordering::Relaxed);
}

unsafe extern "C" fn release(user: *mut c_void) {
    let host: &Host = unsafe { &*user.cast_const().cast() };
    host.released.fetch_add(1, Ordering::Relaxed);
}

fn functions() -> tollgate_host_map_t {
    tollgate_host_map_t {
        struct_size: size_of::<tollgate_host_map_t>(),
        begin: Some(begin),
        get: Some(get),
        first: Some(first),
        put: Some(put),
        remove: Some(remove),
        commit: Some(commit),
        rollback: Some(rollback),
        check_room: None,
        release: Some(release),
    }
}

fn try_open(
    host: &Arc<Host>,
    functions: &tollgate_host_map_t,
) -> Result<*mut tollgate_store_t, u32> {
    let mut store = ptr::null_mut();
    let user = Arc::as_ptr(host).cast_mut().cast();
    let opened = unsafe { tollgate_store_host_open(functions, user, ptr::null(), &raw mut store) };
    if opened == tollgate_result::TOLLGATE_OK as u32 { Ok(store) } else { Err(opened) }
}

/// The store in a host's map, which lives as long as it does.
struct OnHost {
    store: Arc<dyn Store>,
    host: Arc<Host>,
}

impl Store for OnHost {
    fn perform(
        &self,
        command: &tollgate::Command<'_>,
        now_ms: u64,
    ) -> Result<tollgate::Outcome, StoreError> {
        let outcome = self.store.perform(command, now_ms);
        drop(Arc::clone(&self.host));
        outcome
    }
}

#[derive(Clone, Copy)]
struct HostBackend;

impl Backend for HostBackend {
    fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
        let host = Host::new();
        let handle = try_open(&host, &functions()).unwrap();
        let store = unsafe { &*handle }.share();
        unsafe { tollgate_store_free(handle) };
        Ok(Arc::new(OnHost { store, host }))
    }

    fn reopen(&self, _: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
        self.fresh()
    }

    fn keeps_state(&self) -> bool {
        false
    }
}

mod suite {
    tollgate_conformance::store_suite!(backend = super::HostBackend);
}

#[test]
fn a_map_without_a_function_is_no_map() {
    let holes: [fn(&mut tollgate_host_map_t); 7] = [
        |map| map.begin = None,
        |map| map.get = None,
        |map| map.first = None,
        |map| map.put = None,
        |map| map.remove = None,
        |map| map.commit = None,
        |map| map.rollback = None,
    ];
    let host = Host::new();
    for hole in holes {
        let mut functions = functions();
        hole(&mut functions);
        let refused = try_open(&host, &functions).err();
        assert_eq!(refused, Some(tollgate_result::TOLLGATE_NULL_POINTER as u32));
    }
    assert_eq!(host.released.load(Ordering::Relaxed), 0);
}

#[test]
fn every_transaction_ends_and_the_map_is_released_once() {
    let host = Host::new();
    let store = try_open(&host, &functions()).unwrap();
    let put = |name: &str| unsafe {
        tollgate_account_put(store, name.as_ptr().cast(), name.len(), 5, ptr::null(), 1)
    };
    assert_eq!(put("acme"), tollgate_result::TOLLGATE_OK as u32);
    // A name that is none opens no transaction; a refused command ends its own.
    assert_eq!(put(""), tollgate_result::TOLLGATE_INVALID_ARGUMENT as u32);
    let mut wallet: tollgate_wallet_t = unsafe { zeroed() };
    let unknown =
        unsafe { tollgate_account_wallet(store, c"other".as_ptr(), 5, 1, &raw mut wallet) };
    assert_eq!(unknown, tollgate_result::TOLLGATE_UNKNOWN_ACCOUNT as u32);
    assert_eq!(host.open.load(Ordering::Relaxed), 0);
    assert_eq!(host.released.load(Ordering::Relaxed), 0);
    unsafe { tollgate_store_free(store) };
    assert_eq!(host.released.load(Ordering::Relaxed), 1);
}

#[test]
fn what_a_map_says_reaches_the_caller() {
    let host = Host::new();
    let store = try_open(&host, &functions()).unwrap();
    let mut wallet: tollgate_wallet_t = unsafe { zeroed() };
    for (says, expected, text) in [
        (
            TOLLGATE_HOST_UNAVAILABLE as u32,
            tollgate_result::TOLLGATE_STORE_UNAVAILABLE,
            "does not answer",
        ),
        (TOLLGATE_HOST_FULL as u32, tollgate_result::TOLLGATE_STORE_FULL, "no room"),
        (TOLLGATE_HOST_CORRUPT as u32, tollgate_result::TOLLGATE_STORE_CORRUPT, "damaged"),
        (TOLLGATE_HOST_CONFLICT as u32, tollgate_result::TOLLGATE_STORE_UNAVAILABLE, ""),
        (TOLLGATE_HOST_NOT_FOUND as u32, tollgate_result::TOLLGATE_STORE_UNAVAILABLE, "gave 1"),
        (77, tollgate_result::TOLLGATE_STORE_UNAVAILABLE, "gave 77"),
    ] {
        host.begins_with.store(says, Ordering::Relaxed);
        let told =
            unsafe { tollgate_account_wallet(store, c"acme".as_ptr(), 4, 1, &raw mut wallet) };
        assert_eq!(told, expected as u32, "{says}");
        let message = unsafe { CStr::from_ptr(tollgate_last_error()) }.to_str().unwrap();
        assert!(message.contains(text), "{says}: {message}");
    }
    let unopened = try_open(&host, &functions());
    assert_eq!(unopened.err(), Some(tollgate_result::TOLLGATE_STORE_UNAVAILABLE as u32));
    assert_eq!(host.released.load(Ordering::Relaxed), 0);
    unsafe { tollgate_store_free(store) };
}
