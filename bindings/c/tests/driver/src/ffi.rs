//! The functions of the driver, as C has them.

use core::ffi::{c_char, c_void};

/// `driver_t`.
#[repr(C)]
pub(crate) struct CDriver {
    _opaque: [u8; 0],
}

/// `tollgate_decision_t`.
#[repr(C)]
pub(crate) struct CDecision {
    _opaque: [u8; 0],
}

#[repr(C)]
pub(crate) struct CTexts {
    pub(crate) data: *const *const c_char,
    pub(crate) len: *const usize,
    pub(crate) count: usize,
}

#[repr(C)]
pub(crate) struct CCaps {
    pub(crate) per: *const u32,
    pub(crate) amounts: *const u64,
    pub(crate) shadow: *const u8,
    pub(crate) count: usize,
}

#[repr(C)]
pub(crate) struct CResponse {
    pub(crate) status: u32,
    pub(crate) names: *const CTexts,
    pub(crate) values: *const CTexts,
    pub(crate) body: *const u8,
    pub(crate) body_len: usize,
}

pub(crate) type HeaderFn =
    unsafe extern "C" fn(*mut c_void, *const c_char, usize, *const c_char, usize);
pub(crate) type BytesFn = unsafe extern "C" fn(*mut c_void, *const c_char, usize);

#[allow(unsafe_code)] // what the driver in C promises is said in `driver.rs`
unsafe extern "C" {
    pub(crate) fn driver_last_error() -> *const c_char;
    pub(crate) fn driver_new(
        policy: *const u8,
        policy_len: usize,
        steps: bool,
        driver: *mut *mut CDriver,
    ) -> u32;
    pub(crate) fn driver_store_memory(driver: *mut CDriver) -> u32;
    pub(crate) fn driver_store_host(driver: *mut CDriver) -> u32;
    pub(crate) fn driver_store_lmdb(driver: *mut CDriver, dir: *const u8, dir_len: usize) -> u32;
    pub(crate) fn driver_store_composite(
        driver: *mut CDriver,
        dir: *const u8,
        dir_len: usize,
    ) -> u32;
    pub(crate) fn driver_store_redis(
        driver: *mut CDriver,
        port: u16,
        url: *const u8,
        url_len: usize,
        prefix: *const u8,
        prefix_len: usize,
        cluster: bool,
    ) -> u32;
    pub(crate) fn driver_close_store(driver: *mut CDriver);
    pub(crate) fn driver_free(driver: *mut CDriver);
    pub(crate) fn driver_reload(
        driver: *const CDriver,
        policy: *const u8,
        policy_len: usize,
    ) -> u32;
    pub(crate) fn driver_decide(
        driver: *const CDriver,
        now_ms: u64,
        method: *const u8,
        method_len: usize,
        target: *const u8,
        target_len: usize,
        names: *const CTexts,
        values: *const CTexts,
        peer: *const u8,
        peer_len: usize,
        body: *const u8,
        body_len: usize,
        body_sha256: *const u8,
        cost: *const u64,
        peek: bool,
        sender: *const u8,
        sender_len: usize,
        invalid: *const u8,
        invalid_len: usize,
        decision: *mut *mut CDecision,
    ) -> u32;
    pub(crate) fn driver_verdict(decision: *const CDecision) -> u32;
    pub(crate) fn driver_status(decision: *const CDecision) -> *const c_char;
    pub(crate) fn driver_code(decision: *const CDecision) -> *const c_char;
    pub(crate) fn driver_http_status(decision: *const CDecision) -> u32;
    pub(crate) fn driver_must_finish(decision: *const CDecision) -> bool;
    pub(crate) fn driver_reserved(decision: *const CDecision, amount: *mut u64) -> bool;
    pub(crate) fn driver_reservation(decision: *const CDecision, number: *mut u64) -> bool;
    pub(crate) fn driver_account(
        decision: *const CDecision,
        user: *mut c_void,
        each: BytesFn,
    ) -> u32;
    pub(crate) fn driver_route(decision: *const CDecision, user: *mut c_void, each: BytesFn)
    -> u32;
    pub(crate) fn driver_headers(
        decision: *const CDecision,
        user: *mut c_void,
        each: HeaderFn,
    ) -> u32;
    pub(crate) fn driver_body(decision: *const CDecision, user: *mut c_void, each: BytesFn) -> u32;
    pub(crate) fn driver_decision_free(decision: *mut CDecision);
    pub(crate) fn driver_put_account(
        driver: *const CDriver,
        account: *const u8,
        account_len: usize,
        balance: u64,
        networks: *const CTexts,
        caps: *const CCaps,
        senders: *const CTexts,
        now_ms: u64,
    ) -> u32;
    pub(crate) fn driver_put_token(
        driver: *const CDriver,
        token: *const u8,
        token_len: usize,
        account: *const u8,
        account_len: usize,
        scopes: *const CTexts,
        networks: *const CTexts,
        caps: *const CCaps,
        set_quota: u32,
        quota_limit: u64,
        quota_window_ms: u64,
        set_expires: u32,
        expires_ms: u64,
        now_ms: u64,
    ) -> u32;
    pub(crate) fn driver_rotate(
        driver: *const CDriver,
        old: *const u8,
        old_len: usize,
        new: *const u8,
        new_len: usize,
        grace_ms: u64,
        now_ms: u64,
    ) -> u32;
    pub(crate) fn driver_revoke(
        driver: *const CDriver,
        token: *const u8,
        token_len: usize,
        now_ms: u64,
    ) -> u32;
    pub(crate) fn driver_deposit(
        driver: *const CDriver,
        account: *const u8,
        account_len: usize,
        amount: u64,
        now_ms: u64,
    ) -> u32;
    pub(crate) fn driver_inspect(
        driver: *const CDriver,
        account: *const u8,
        account_len: usize,
        now_ms: u64,
        money: *mut [u64; 5],
    ) -> u32;
    pub(crate) fn driver_expire(driver: *const CDriver, now_ms: u64, expired: *mut u64) -> u32;
    pub(crate) fn driver_finish(
        driver: *const CDriver,
        decision: *const CDecision,
        outcome: u32,
        amount: *const u64,
        response: *const CResponse,
        now_ms: u64,
        has_posted: *mut bool,
        posted: *mut u64,
    ) -> u32;
    pub(crate) fn driver_resolve(
        driver: *const CDriver,
        account: *const u8,
        account_len: usize,
        number: u64,
        outcome: u32,
        amount: *const u64,
        response: *const CResponse,
        now_ms: u64,
        has_posted: *mut bool,
        posted: *mut u64,
    ) -> u32;
    pub(crate) fn driver_refund(
        driver: *const CDriver,
        account: *const u8,
        account_len: usize,
        number: u64,
        amount: u64,
        reference: *const u8,
        reference_len: usize,
        now_ms: u64,
    ) -> u32;
}

#[allow(unsafe_code)] // what the tests in C promise is said in `hostile.rs`
unsafe extern "C" {
    pub(crate) fn hostile_function(index: usize) -> *const c_char;
    pub(crate) fn hostile_probe(
        index: usize,
        directory: *const c_char,
        inject: extern "C" fn(),
        probes: *mut usize,
    ) -> *const c_char;
    pub(crate) fn hostile_panic(
        index: usize,
        directory: *const c_char,
        inject: extern "C" fn(),
    ) -> *const c_char;
    pub(crate) fn hostile_struct(index: usize) -> *const c_char;
    pub(crate) fn hostile_struct_size(index: usize, directory: *const c_char) -> *const c_char;
    pub(crate) fn hostile_misuse(index: usize) -> *const c_char;
    pub(crate) fn hostile_misuse_run(index: usize, directory: *const c_char) -> *const c_char;
    pub(crate) fn hostile_threads(directory: *const c_char) -> *const c_char;
}
