//! The driver with Rust's types. All unsafe code of the package is here.
//!
//! What every call relies on: pointers that are handed over are references or parts of slices and texts that outlive the
//! call, next to their own lengths; out-parameters are this function's; handles come from the driver and are freed when the
//! last owner goes. Driver and decisions may be used by any number of threads, as the header says of what they hold.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_char, c_void};
use core::ptr;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tollgate::{Amount, Finish, Period, SpendCap, StoredResponse};
use tollgate_scenario::{
    AccountStep, Header, Money, RequestStep, RevokeStep, RotateStep, StepError, TokenStep,
};

use crate::ffi::*;

type Result<T> = core::result::Result<T, StepError>;

/// An engine with its store, in C.
pub struct Driver(*mut CDriver);

// SAFETY: see the head of the file.
unsafe impl Send for Driver {}
// SAFETY: as above.
unsafe impl Sync for Driver {}

/// A decision, in C.
pub struct Decision {
    pointer: *mut CDecision,
    /// The memory of a region must outlive what looks at it.
    _driver: Arc<Driver>,
}

// SAFETY: see the head of the file.
unsafe impl Send for Decision {}
// SAFETY: as above.
unsafe impl Sync for Decision {}

/// What C says of a result that is not 0. The text is this thread's.
fn checked(result: u32) -> Result<()> {
    if result == 0 {
        return Ok(());
    }
    // SAFETY: it is never null, ends with a NUL, and lives until the next call of this thread fails.
    let text = unsafe { CStr::from_ptr(driver_last_error()) };
    Err(StepError::new(text.to_string_lossy()))
}

/// A text of C's that is static.
fn fixed(text: *const c_char) -> String {
    // SAFETY: the driver gives only literals, and the library's codes, which are static and never null.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// Texts in two rows; they are borrowed.
struct Texts {
    data: Vec<*const c_char>,
    len: Vec<usize>,
}

impl Texts {
    fn new<'t>(texts: impl IntoIterator<Item = &'t [u8]>) -> Self {
        let (data, len) = texts.into_iter().map(|text| (text.as_ptr().cast(), text.len())).unzip();
        Texts { data, len }
    }

    fn view(&self) -> CTexts {
        CTexts { data: self.data.as_ptr(), len: self.len.as_ptr(), count: self.data.len() }
    }
}

struct Caps {
    per: Vec<u32>,
    amounts: Vec<u64>,
    shadow: Vec<u8>,
}

impl Caps {
    fn new(caps: &[SpendCap]) -> Self {
        let per = |cap: &SpendCap| match cap.per {
            Period::Day => b'd'.into(),
            Period::Month => b'm'.into(),
            Period::Lifetime => b'l'.into(),
        };
        Caps {
            per: caps.iter().map(per).collect(),
            amounts: caps.iter().map(|cap| cap.amount.0).collect(),
            shadow: caps.iter().map(|cap| cap.shadow.into()).collect(),
        }
    }

    fn view(&self) -> CCaps {
        CCaps {
            per: self.per.as_ptr(),
            amounts: self.amounts.as_ptr(),
            shadow: self.shadow.as_ptr(),
            count: self.per.len(),
        }
    }
}

/// The address of what is there, or null.
fn or_null<T>(value: Option<&T>) -> *const T {
    value.map_or(ptr::null(), ptr::from_ref)
}

fn text_or_null(text: Option<&str>) -> (*const u8, usize) {
    text.map_or((ptr::null(), 0), |text| (text.as_ptr(), text.len()))
}

fn as_bytes(texts: &[impl AsRef<str>]) -> impl Iterator<Item = &[u8]> {
    texts.iter().map(|text| text.as_ref().as_bytes())
}

impl Driver {
    /// An engine for a policy, without a store yet.
    pub(crate) fn new(policy_json: &str, steps: bool) -> Result<Self> {
        let mut driver = ptr::null_mut();
        // SAFETY: see the head of the file.
        checked(unsafe {
            driver_new(policy_json.as_ptr(), policy_json.len(), steps, &raw mut driver)
        })?;
        Ok(Driver(driver))
    }

    pub(crate) fn open_memory(&mut self) -> Result<()> {
        // SAFETY: see the head of the file; nobody else has the driver.
        checked(unsafe { driver_store_memory(self.0) })
    }

    pub(crate) fn open_host(&mut self) -> Result<()> {
        // SAFETY: as above.
        checked(unsafe { driver_store_host(self.0) })
    }

    pub(crate) fn open_lmdb(&mut self, directory: &str) -> Result<()> {
        // SAFETY: as above.
        checked(unsafe { driver_store_lmdb(self.0, directory.as_ptr(), directory.len()) })
    }

    pub(crate) fn open_composite(&mut self, directory: &str) -> Result<()> {
        // SAFETY: as above.
        checked(unsafe { driver_store_composite(self.0, directory.as_ptr(), directory.len()) })
    }

    pub(crate) fn open_redis(&mut self, port: u16, prefix: &str, cluster: bool) -> Result<()> {
        let url = format!("redis://127.0.0.1:{port}");
        // SAFETY: as above.
        checked(unsafe {
            driver_store_redis(
                self.0,
                port,
                url.as_ptr(),
                url.len(),
                prefix.as_ptr(),
                prefix.len(),
                cluster,
            )
        })
    }

    pub(crate) fn close_store(&mut self) {
        // SAFETY: as above.
        unsafe { driver_close_store(self.0) }
    }

    pub(crate) fn reload(&self, policy_json: &str) -> Result<()> {
        // SAFETY: see the head of the file.
        checked(unsafe { driver_reload(self.0, policy_json.as_ptr(), policy_json.len()) })
    }

    pub(crate) fn put_account(&self, step: &AccountStep, now_ms: u64) -> Result<()> {
        let networks = step.networks.as_deref().map(|texts| Texts::new(as_bytes(texts)));
        let senders = step.senders.as_deref().map(|texts| Texts::new(as_bytes(texts)));
        let caps = step.spend_caps.as_deref().map(Caps::new);
        let (networks, senders) =
            (networks.as_ref().map(Texts::view), senders.as_ref().map(Texts::view));
        // SAFETY: see the head of the file.
        checked(unsafe {
            driver_put_account(
                self.0,
                step.id.as_ptr(),
                step.id.len(),
                step.balance.unwrap_or_default().0,
                or_null(networks.as_ref()),
                or_null(caps.as_ref().map(Caps::view).as_ref()),
                or_null(senders.as_ref()),
                now_ms,
            )
        })
    }

    pub(crate) fn put_token(&self, step: &TokenStep, now_ms: u64) -> Result<()> {
        let token = step.token.expose();
        let scopes = Texts::new(as_bytes(&step.scopes));
        let scopes = scopes.view();
        let networks = step.networks.as_deref().map(|texts| Texts::new(as_bytes(texts)));
        let caps = step.spend_caps.as_deref().map(Caps::new);
        let quota = step.quota.flatten();
        // SAFETY: see the head of the file.
        checked(unsafe {
            driver_put_token(
                self.0,
                token.as_ptr(),
                token.len(),
                step.account.as_ptr(),
                step.account.len(),
                &raw const scopes,
                or_null(networks.as_ref().map(Texts::view).as_ref()),
                or_null(caps.as_ref().map(Caps::view).as_ref()),
                change(&step.quota),
                quota.map_or(0, |quota| quota.limit),
                quota.map_or(0, |quota| quota.window_ms),
                change(&step.expires_ms),
                step.expires_ms.flatten().unwrap_or(0),
                now_ms,
            )
        })
    }

    pub(crate) fn rotate(&self, step: &RotateStep, now_ms: u64) -> Result<()> {
        let (old, new) = (step.token.expose(), step.new_token.expose());
        // SAFETY: see the head of the file.
        checked(unsafe {
            driver_rotate(
                self.0,
                old.as_ptr(),
                old.len(),
                new.as_ptr(),
                new.len(),
                step.grace_ms,
                now_ms,
            )
        })
    }

    pub(crate) fn revoke(&self, step: &RevokeStep, now_ms: u64) -> Result<()> {
        let token = step.token.expose();
        // SAFETY: see the head of the file.
        checked(unsafe { driver_revoke(self.0, token.as_ptr(), token.len(), now_ms) })
    }

    pub(crate) fn deposit(&self, account: &str, amount: Amount, now_ms: u64) -> Result<()> {
        // SAFETY: see the head of the file.
        checked(unsafe {
            driver_deposit(self.0, account.as_ptr(), account.len(), amount.0, now_ms)
        })
    }

    pub(crate) fn inspect(&self, account: &str, now_ms: u64) -> Result<Money> {
        let mut money = [0; 5];
        // SAFETY: see the head of the file.
        checked(unsafe {
            driver_inspect(self.0, account.as_ptr(), account.len(), now_ms, &raw mut money)
        })?;
        let [balance, held, available, posted, reservations] = money;
        Ok(Money {
            balance: Amount(balance),
            held: Amount(held),
            available: Amount(available),
            posted: Amount(posted),
            reservations,
        })
    }

    pub(crate) fn expire(&self, now_ms: u64) -> Result<u64> {
        let mut expired = 0;
        // SAFETY: see the head of the file.
        checked(unsafe { driver_expire(self.0, now_ms, &raw mut expired) })?;
        Ok(expired)
    }

    pub(crate) fn decide(self: &Arc<Self>, step: &RequestStep) -> Result<Decision> {
        let names = Texts::new(step.headers.0.iter().map(|(name, _)| name.as_ref()));
        let values = Texts::new(step.headers.0.iter().map(|(_, value)| value.as_ref()));
        let peer = step.to_request().peer.map(|peer| match peer {
            core::net::IpAddr::V4(v4) => v4.octets().to_vec(),
            core::net::IpAddr::V6(v6) => v6.octets().to_vec(),
        });
        let peer = peer.unwrap_or_default();
        let body = step.body.as_deref().unwrap_or_default();
        let (sender, sender_len) = text_or_null(step.sender.as_deref());
        let (invalid, invalid_len) = text_or_null(step.invalid.as_deref());
        let (method, target) = (step.method.as_ref(), step.target.as_ref());
        let (names, values) = (names.view(), values.view());
        let mut pointer = ptr::null_mut();
        // SAFETY: see the head of the file.
        checked(unsafe {
            driver_decide(
                self.0,
                step.now_ms,
                method.as_ptr(),
                method.len(),
                target.as_ptr(),
                target.len(),
                &raw const names,
                &raw const values,
                peer.as_ptr(),
                peer.len(),
                body.as_ptr(),
                body.len(),
                Sha256::digest(body).as_ptr(),
                or_null(step.cost.map(|Amount(cost)| cost).as_ref()),
                step.peek.unwrap_or(false),
                sender,
                sender_len,
                invalid,
                invalid_len,
                &raw mut pointer,
            )
        })?;
        Ok(Decision { pointer, _driver: Arc::clone(self) })
    }

    pub(crate) fn finish(
        &self,
        decision: &Decision,
        finish: &Finish,
        now_ms: u64,
    ) -> Result<Option<Amount>> {
        ended(finish, |outcome, amount, response, has_posted, posted| {
            // SAFETY: see the head of the file.
            unsafe {
                driver_finish(
                    self.0,
                    decision.pointer,
                    outcome,
                    amount,
                    response,
                    now_ms,
                    has_posted,
                    posted,
                )
            }
        })
    }

    pub(crate) fn resolve(
        &self,
        account: &str,
        number: u64,
        finish: &Finish,
        now_ms: u64,
    ) -> Result<Option<Amount>> {
        ended(finish, |outcome, amount, response, has_posted, posted| {
            // SAFETY: see the head of the file.
            unsafe {
                driver_resolve(
                    self.0,
                    account.as_ptr(),
                    account.len(),
                    number,
                    outcome,
                    amount,
                    response,
                    now_ms,
                    has_posted,
                    posted,
                )
            }
        })
    }

    pub(crate) fn refund(
        &self,
        account: &str,
        number: u64,
        Amount(amount): Amount,
        reference: &str,
        now_ms: u64,
    ) -> Result<()> {
        // SAFETY: see the head of the file.
        checked(unsafe {
            driver_refund(
                self.0,
                account.as_ptr(),
                account.len(),
                number,
                amount,
                reference.as_ptr(),
                reference.len(),
                now_ms,
            )
        })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // SAFETY: decisions hold the driver, so it is the last.
        unsafe { driver_free(self.0) }
    }
}

/// A setting that may be left, set or taken away.
fn change<T>(setting: &Option<Option<T>>) -> u32 {
    match setting {
        None => 0,
        Some(Some(_)) => b's'.into(),
        Some(None) => b'c'.into(),
    }
}

/// Hands over how a request ended, and reads what was posted.
fn ended(
    finish: &Finish,
    call: impl FnOnce(u32, *const u64, *const CResponse, *mut bool, *mut u64) -> u32,
) -> Result<Option<Amount>> {
    let (outcome, amount, response) = match finish {
        Finish::Settle { amount, response } => (b's', *amount, response.as_deref()),
        Finish::Void { response } => (b'v', None, response.as_deref()),
        Finish::Unknown => (b'u', None, None),
    };
    let headers: &[_] = response.map_or(&[], |response: &StoredResponse| &response.headers);
    let names = Texts::new(headers.iter().map(|(name, _)| name.as_bytes()));
    let values = Texts::new(headers.iter().map(|(_, value)| &value[..]));
    let (names, values) = (names.view(), values.view());
    let response = response.map(|response| {
        let body = response.body.as_deref();
        CResponse {
            status: response.status.into(),
            names: &raw const names,
            values: &raw const values,
            body: body.map_or(ptr::null(), <[u8]>::as_ptr),
            body_len: body.map_or(0, <[u8]>::len),
        }
    });
    let amount = amount.map(|Amount(amount)| amount);
    let (mut has_posted, mut posted) = (false, 0);
    checked(call(
        outcome.into(),
        or_null(amount.as_ref()),
        or_null(response.as_ref()),
        &raw mut has_posted,
        &raw mut posted,
    ))?;
    Ok(has_posted.then_some(Amount(posted)))
}

impl Decision {
    /// `a`, `d` or `r`.
    pub(crate) fn verdict(&self) -> char {
        // SAFETY: see the head of the file.
        char::from_u32(unsafe { driver_verdict(self.pointer) }).unwrap_or('?')
    }

    /// The status by the header's numbers.
    pub(crate) fn status(&self) -> String {
        // SAFETY: see the head of the file.
        fixed(unsafe { driver_status(self.pointer) })
    }

    /// The status as the library names it.
    pub(crate) fn code(&self) -> String {
        // SAFETY: see the head of the file.
        fixed(unsafe { driver_code(self.pointer) })
    }

    pub(crate) fn http_status(&self) -> Result<u16> {
        // SAFETY: see the head of the file.
        u16::try_from(unsafe { driver_http_status(self.pointer) }).map_err(StepError::of)
    }

    pub(crate) fn must_finish(&self) -> bool {
        // SAFETY: see the head of the file.
        unsafe { driver_must_finish(self.pointer) }
    }

    pub(crate) fn reserved(&self) -> Option<Amount> {
        let mut amount = 0;
        // SAFETY: see the head of the file.
        unsafe { driver_reserved(self.pointer, &raw mut amount) }.then_some(Amount(amount))
    }

    pub(crate) fn reservation(&self) -> Option<u64> {
        let mut number = 0;
        // SAFETY: see the head of the file.
        unsafe { driver_reservation(self.pointer, &raw mut number) }.then_some(number)
    }

    /// The account's name; empty when there is none.
    pub(crate) fn account(&self) -> Result<String> {
        self.text(driver_account)
    }

    /// The route's name; empty when there is none.
    pub(crate) fn route(&self) -> Result<String> {
        self.text(driver_route)
    }

    pub(crate) fn body(&self) -> Result<Vec<u8>> {
        self.bytes(driver_body)
    }

    pub(crate) fn headers(&self) -> Result<Vec<Header>> {
        let mut headers: Vec<Header> = Vec::new();
        let user: *mut Vec<Header> = &raw mut headers;
        // SAFETY: see the head of the file; `add_header` takes what `user` is.
        checked(unsafe { driver_headers(self.pointer, user.cast(), add_header) })?;
        Ok(headers)
    }

    fn text(
        &self,
        ask: unsafe extern "C" fn(*const CDecision, *mut c_void, BytesFn) -> u32,
    ) -> Result<String> {
        String::from_utf8(self.bytes(ask)?).map_err(StepError::of)
    }

    fn bytes(
        &self,
        ask: unsafe extern "C" fn(*const CDecision, *mut c_void, BytesFn) -> u32,
    ) -> Result<Vec<u8>> {
        let mut bytes: Vec<u8> = Vec::new();
        let user: *mut Vec<u8> = &raw mut bytes;
        // SAFETY: see the head of the file; `add_bytes` takes what `user` is.
        checked(unsafe { ask(self.pointer, user.cast(), add_bytes) })?;
        Ok(bytes)
    }
}

impl Drop for Decision {
    fn drop(&mut self) {
        // SAFETY: it is this one's, and nobody uses it any more.
        unsafe { driver_decision_free(self.pointer) }
    }
}

/// # Safety
/// `data` points to `len` bytes, which live as long as the caller says.
unsafe fn slice<'b>(data: *const c_char, len: usize) -> &'b [u8] {
    if len == 0 {
        return &[];
    }
    // SAFETY: as above.
    unsafe { core::slice::from_raw_parts(data.cast(), len) }
}

unsafe extern "C" fn add_bytes(user: *mut c_void, data: *const c_char, len: usize) {
    // SAFETY: the driver hands on what it was given, and bytes that live for the length of this call.
    unsafe { (*user.cast::<Vec<u8>>()).extend_from_slice(slice(data, len)) }
}

unsafe extern "C" fn add_header(
    user: *mut c_void,
    name: *const c_char,
    name_len: usize,
    value: *const c_char,
    value_len: usize,
) {
    // SAFETY: as above.
    unsafe {
        let name = String::from_utf8_lossy(slice(name, name_len)).into_owned();
        (*user.cast::<Vec<Header>>()).push((name, slice(value, value_len).to_vec()));
    }
}
