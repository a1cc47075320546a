//! Decisions, and what they look like on the wire.

use core::ffi::{CStr, c_char};
use std::sync::Arc;

use tollgate::{AccountRef, Admin, Amount, Decision, Engine, Store, Ticket, Verdict};

use crate::engine::tollgate_engine_t;
use crate::error::{Error, tollgate_result_t};
use crate::ffi::{
    Buffer, borrow, call, free, out, tollgate_header_t, tollgate_str_t, value, write_text,
};
use crate::log::{TOLLGATE_LOG_WARN, log};
use crate::request::{tollgate_request_t, with_request};
use crate::store::tollgate_store_t;

/// What is to be done with one request.
///
/// Ownership: given by `tollgate_decide` or `tollgate_operation_decision`, freed by `tollgate_decision_free`.
/// Threads: any number may read it at once. It belongs to the policy under which it was made, whatever is loaded since.
pub struct tollgate_decision_t {
    pub(crate) engine: Arc<Engine>,
    pub(crate) decision: Decision,
    /// The store that was asked, which knows the account's name.
    store: Option<Arc<dyn Store>>,
    now_ms: u64,
}

/// What is to be done: one of `enum tollgate_verdict`.
pub type tollgate_verdict_t = u32;

/// What is to be done.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum tollgate_verdict {
    /// There is no decision: the pointer was null.
    TOLLGATE_NO_VERDICT = 0,
    /// Pass it on, and finish it afterwards if `tollgate_decision_must_finish`.
    TOLLGATE_ALLOW = 1,
    /// Answer it with the denial.
    TOLLGATE_DENY = 2,
    /// Answer it with the stored response.
    TOLLGATE_REPLAY = 3,
}

/// Why: one of `enum tollgate_status`.
pub type tollgate_status_t = u32;

/// Why a decision came out as it did. The order is that of precedence. A number is never used again.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum tollgate_status {
    /// The request may pass.
    TOLLGATE_STATUS_ALLOWED = 0,
    /// An earlier response to the same idempotency key is given again.
    TOLLGATE_STATUS_REPLAYED = 1,
    /// No bearer token.
    TOLLGATE_STATUS_MISSING_TOKEN = 10,
    /// The token is malformed, unknown, revoked or expired.
    TOLLGATE_STATUS_INVALID_TOKEN = 11,
    /// The source address is outside the networks of account or token.
    TOLLGATE_STATUS_IP_NOT_ALLOWED = 20,
    /// The endpoint is outside the token's scopes.
    TOLLGATE_STATUS_INSUFFICIENT_SCOPE = 21,
    /// A limit is used up.
    TOLLGATE_STATUS_RATE_LIMITED = 30,
    /// A request with the same idempotency key is still running.
    TOLLGATE_STATUS_IDEMPOTENCY_IN_FLIGHT = 40,
    /// The idempotency key was used for another request.
    TOLLGATE_STATUS_IDEMPOTENCY_KEY_REUSED = 41,
    /// The idempotency key is malformed, or missing though required.
    TOLLGATE_STATUS_IDEMPOTENCY_KEY_INVALID = 42,
    /// The sender is not approved for the account.
    TOLLGATE_STATUS_SENDER_NOT_APPROVED = 50,
    /// The host's own validation refused the request.
    TOLLGATE_STATUS_VALIDATION_FAILED = 51,
    /// A spend cap would be exceeded.
    TOLLGATE_STATUS_SPEND_CAP_EXCEEDED = 60,
    /// The wallet is too low.
    TOLLGATE_STATUS_INSUFFICIENT_BALANCE = 61,
    /// The store did not answer, or is full.
    TOLLGATE_STATUS_STORE_UNAVAILABLE = 90,
}

/// Limits in shadow mode would have refused the request.
pub const TOLLGATE_SHADOW_LIMITS: u32 = 1;
/// A spend cap in shadow mode would have refused the request.
pub const TOLLGATE_SHADOW_SPEND_CAPS: u32 = 2;
/// Networks in shadow mode would have refused the request.
pub const TOLLGATE_SHADOW_NETWORKS: u32 = 4;

macro_rules! codes {
    ($($status:ident => $code:literal,)*) => {
        /// The code of a status with the NUL that C wants; a test compares it with the library's table.
        fn code(status: tollgate::Status) -> &'static CStr {
            match status {
                $(tollgate::Status::$status => $code,)*
                _ => c"unknown",
            }
        }
    };
}

codes! {
    Allowed => c"allowed",
    Replayed => c"replayed",
    MissingToken => c"missing_token",
    InvalidToken => c"invalid_token",
    IpNotAllowed => c"ip_not_allowed",
    InsufficientScope => c"insufficient_scope",
    RateLimited => c"rate_limited",
    IdempotencyInFlight => c"idempotency_in_flight",
    IdempotencyKeyReused => c"idempotency_key_reused",
    IdempotencyKeyInvalid => c"idempotency_key_invalid",
    SenderNotApproved => c"sender_not_approved",
    ValidationFailed => c"validation_failed",
    SpendCapExceeded => c"spend_cap_exceeded",
    InsufficientBalance => c"insufficient_balance",
    StoreUnavailable => c"store_unavailable",
}

impl tollgate_decision_t {
    pub(crate) fn new(
        engine: Arc<Engine>,
        decision: Decision,
        store: Option<Arc<dyn Store>>,
        now_ms: u64,
    ) -> Self {
        if let Some(error) = decision.store_error() {
            log(TOLLGATE_LOG_WARN, &error.to_string());
        }
        tollgate_decision_t { engine, decision, store, now_ms }
    }

    pub(crate) fn ticket(&self) -> Option<&Ticket> {
        self.decision.ticket()
    }
}

/// Decides a request on a store that answers at once. It takes as long as the store's one or two commands do.
///
/// `*decision` is the caller's, to be freed; a denial is a decision, also when the store fails. Errors: those of a request that is
/// malformed as a struct.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_decide(
    engine: *const tollgate_engine_t,
    store: *const tollgate_store_t,
    request: *const tollgate_request_t,
    decision: *mut *mut tollgate_decision_t,
) -> tollgate_result_t {
    call(|| {
        let engine = borrow(engine, "engine")?.load();
        let store = borrow(store, "store")?.share();
        let decision = out(decision, "decision")?;
        let (decided, now_ms) =
            with_request(request, |request| Ok((engine.decide(&*store, request), request.now_ms)))?;
        decision.give(tollgate_decision_t::new(engine, decided, Some(store), now_ms));
        Ok(())
    })
}

/// What is to be done. `TOLLGATE_NO_VERDICT` for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_decision_verdict(
    decision: *const tollgate_decision_t,
) -> tollgate_verdict_t {
    value(tollgate_verdict::TOLLGATE_NO_VERDICT as u32, || {
        Ok(match borrow(decision, "decision")?.decision.verdict() {
            Verdict::Allow => tollgate_verdict::TOLLGATE_ALLOW,
            Verdict::Deny => tollgate_verdict::TOLLGATE_DENY,
            Verdict::Replay => tollgate_verdict::TOLLGATE_REPLAY,
        } as u32)
    })
}

/// Why. `TOLLGATE_STATUS_STORE_UNAVAILABLE` for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_decision_status(
    decision: *const tollgate_decision_t,
) -> tollgate_status_t {
    value(tollgate_status::TOLLGATE_STATUS_STORE_UNAVAILABLE as u32, || {
        Ok(borrow(decision, "decision")?.decision.status().number().into())
    })
}

/// The HTTP status to answer with: 200 for an allowed request, the stored one for a replay. 503 for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_decision_http_status(
    decision: *const tollgate_decision_t,
) -> u32 {
    value(503, || {
        let decision = &borrow(decision, "decision")?.decision;
        let stored = decision.replay().map(|response| response.status);
        Ok(stored.unwrap_or_else(|| decision.status().http()).into())
    })
}

/// The status as the machine-readable code of the answer's body: `allowed`, `missing_token`, …. Static, ends with a NUL, never
/// null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_decision_code(
    decision: *const tollgate_decision_t,
) -> *const c_char {
    value(c"store_unavailable", || Ok(code(borrow(decision, "decision")?.decision.status())))
        .as_ptr()
}

/// Whether the request must be finished, by `tollgate_finish` or `tollgate_operation_finish`, once it is known how it went. False
/// for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_decision_must_finish(
    decision: *const tollgate_decision_t,
) -> bool {
    value(false, || Ok(borrow(decision, "decision")?.ticket().is_some()))
}

/// Whether the request holds an idempotency key, so that its response is to be captured for replays. False for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_decision_holds_key(decision: *const tollgate_decision_t) -> bool {
    value(false, || {
        Ok(borrow(decision, "decision")?.ticket().is_some_and(|ticket| ticket.holds_key))
    })
}

/// Gives what was reserved, and whether anything was. Nothing is written when nothing was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_decision_reserved(
    decision: *const tollgate_decision_t,
    amount: *mut u64,
) -> bool {
    value(false, || {
        let amount = out(amount, "amount")?;
        let Some(Amount(reserved)) = borrow(decision, "decision")?.decision.reserved() else {
            return Ok(false);
        };
        amount.set(reserved);
        Ok(true)
    })
}

/// Gives the number of the reservation within its account, for operators who resolve or refund it later, and whether there is one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_decision_reservation(
    decision: *const tollgate_decision_t,
    reservation: *mut u64,
) -> bool {
    value(false, || {
        let reservation = out(reservation, "reservation")?;
        let Some(ticket) = borrow(decision, "decision")?.ticket() else { return Ok(false) };
        reservation.set(ticket.reservation.0);
        Ok(true)
    })
}

/// Gives when the same request would pass as far as limits go, in Unix milliseconds, and whether that is known; on
/// `TOLLGATE_STATUS_RATE_LIMITED` only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_decision_retry_at(
    decision: *const tollgate_decision_t,
    retry_at_ms: *mut u64,
) -> bool {
    value(false, || {
        let retry_at_ms = out(retry_at_ms, "retry_at_ms")?;
        let Some(at_ms) = borrow(decision, "decision")?.decision.retry_at_ms() else {
            return Ok(false);
        };
        retry_at_ms.set(at_ms);
        Ok(true)
    })
}

/// Checks in shadow mode that would have refused the request: bits `TOLLGATE_SHADOW_…`. 0 for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_decision_shadows(decision: *const tollgate_decision_t) -> u32 {
    value(0, || {
        let shadows = borrow(decision, "decision")?.decision.shadows();
        let bit = |on: bool, bit: u32| if on { bit } else { 0 };
        Ok(bit(shadows.limits != 0, TOLLGATE_SHADOW_LIMITS)
            | bit(shadows.spend_caps, TOLLGATE_SHADOW_SPEND_CAPS)
            | bit(shadows.networks, TOLLGATE_SHADOW_NETWORKS))
    })
}

/// Gives the route that matched, as the policy names it: `POST /sms/send`; empty when there is none. Valid as long as the decision.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_decision_route(
    decision: *const tollgate_decision_t,
    route: *mut tollgate_str_t,
) -> tollgate_result_t {
    call(|| {
        let (decision, route) = (borrow(decision, "decision")?, out(route, "route")?);
        let found = decision.decision.route().and_then(|id| decision.engine.policy().route(id));
        route.set(tollgate_str_t::of(found.map_or("", |route| &route.name)));
        Ok(())
    })
}

/// Writes the account's name, UTF-8 without a NUL, and its length, 0 when the token is not known. It may ask the store for the name.
///
/// Names have at most 255 bytes. Errors: `TOLLGATE_BUFFER_TOO_SMALL` with the length that is needed; those of stores.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_decision_account(
    decision: *const tollgate_decision_t,
    buffer: *mut c_char,
    capacity: usize,
    len: *mut usize,
) -> tollgate_result_t {
    call(|| {
        let decision = borrow(decision, "decision")?;
        match (decision.decision.account(), &decision.store) {
            (None, _) => write_text(b"", buffer, capacity, len),
            (Some(AccountRef::Id(id)), _) => {
                write_text(id.as_str().as_bytes(), buffer, capacity, len)
            }
            (Some(_), None) => Err(Error::invalid("the account's name is its store's to tell")),
            (Some(account), Some(store)) => {
                let now_ms = decision.now_ms.min(tollgate::MAX_NOW_MS);
                let id = Admin::new(&**store).account_id(account, now_ms)?;
                write_text(id.as_str().as_bytes(), buffer, capacity, len)
            }
        }
    })
}

/// Writes why the store did not answer, where that decided, and its length; 0: it did. For the operator, not for the client.
///
/// Errors: `TOLLGATE_BUFFER_TOO_SMALL` with the length that is needed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_decision_store_error(
    decision: *const tollgate_decision_t,
    buffer: *mut c_char,
    capacity: usize,
    len: *mut usize,
) -> tollgate_result_t {
    call(|| {
        let error = borrow(decision, "decision")?.decision.store_error();
        let text = error.map(ToString::to_string).unwrap_or_default();
        write_text(text.as_bytes(), buffer, capacity, len)
    })
}

/// Writes the headers of the answer: for an allowed request those to put on the upstream's response, in place of its own of the same name;
/// for a denial or a replay all of them but `Content-Length`.
///
/// `headers` takes `max_headers`, whose names and values stand in `buffer`, of `capacity` bytes; `*count` and `*used` are how many there are
/// of both. 16 headers and 1,024 bytes are enough for what the library writes; a replay has what the upstream sent. Nothing is
/// allocated for an allowed request. Errors: `TOLLGATE_BUFFER_TOO_SMALL`; then `*count` and `*used` say what is needed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_decision_headers(
    decision: *const tollgate_decision_t,
    headers: *mut tollgate_header_t,
    max_headers: usize,
    count: *mut usize,
    buffer: *mut c_char,
    capacity: usize,
    used: *mut usize,
) -> tollgate_result_t {
    call(|| {
        let decision = borrow(decision, "decision")?;
        let (count, used) = (out(count, "count")?, out(used, "used")?);
        let mut list = HeaderList {
            headers: crate::ffi::Slots::new(headers, max_headers, "headers")?,
            buffer: Buffer::new(buffer, capacity, "buffer")?,
        };
        if decision.decision.verdict() == Verdict::Allow {
            decision.engine.for_each_header(&decision.decision, |name, value| {
                list.add(name.as_bytes(), value);
            });
        } else {
            for (name, value) in &decision.engine.answer(&decision.decision).headers {
                list.add(name.as_bytes(), value);
            }
        }
        count.set(list.headers.used());
        used.set(list.buffer.used());
        if list.headers.fits() && list.buffer.fits() {
            return Ok(());
        }
        Err(Error::too_small(list.buffer.used()))
    })
}

struct HeaderList<'a> {
    headers: crate::ffi::Slots<tollgate_header_t>,
    buffer: Buffer<'a>,
}

impl HeaderList<'_> {
    fn add(&mut self, name: &[u8], value: &[u8]) {
        let (name_at, value_at) = (self.buffer.add(name), self.buffer.add(value));
        self.headers.add(tollgate_header_t {
            name: name_at,
            name_len: name.len(),
            value: value_at,
            value_len: value.len(),
        });
    }
}

/// Writes the body of the answer, and its length; empty for an allowed request.
///
/// Errors: `TOLLGATE_BUFFER_TOO_SMALL` with the length that is needed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_decision_body(
    decision: *const tollgate_decision_t,
    buffer: *mut c_char,
    capacity: usize,
    len: *mut usize,
) -> tollgate_result_t {
    call(|| {
        let decision = borrow(decision, "decision")?;
        if let Some(response) = decision.decision.replay() {
            return write_text(response.body.as_deref().unwrap_or_default(), buffer, capacity, len);
        }
        write_text(&decision.engine.answer(&decision.decision).body, buffer, capacity, len)
    })
}

/// Frees a decision; null is none. It does not finish the request.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_decision_free(decision: *mut tollgate_decision_t) {
    free(decision);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_numbers_are_the_librarys() {
        use tollgate_status::*;
        let numbers = [
            TOLLGATE_STATUS_ALLOWED,
            TOLLGATE_STATUS_REPLAYED,
            TOLLGATE_STATUS_MISSING_TOKEN,
            TOLLGATE_STATUS_INVALID_TOKEN,
            TOLLGATE_STATUS_IP_NOT_ALLOWED,
            TOLLGATE_STATUS_INSUFFICIENT_SCOPE,
            TOLLGATE_STATUS_RATE_LIMITED,
            TOLLGATE_STATUS_IDEMPOTENCY_IN_FLIGHT,
            TOLLGATE_STATUS_IDEMPOTENCY_KEY_REUSED,
            TOLLGATE_STATUS_IDEMPOTENCY_KEY_INVALID,
            TOLLGATE_STATUS_SENDER_NOT_APPROVED,
            TOLLGATE_STATUS_VALIDATION_FAILED,
            TOLLGATE_STATUS_SPEND_CAP_EXCEEDED,
            TOLLGATE_STATUS_INSUFFICIENT_BALANCE,
            TOLLGATE_STATUS_STORE_UNAVAILABLE,
        ];
        assert_eq!(numbers.len(), tollgate::STATUS_TABLE.len());
        for (number, row) in numbers.into_iter().zip(tollgate::STATUS_TABLE) {
            assert_eq!(number as u32, u32::from(row.status.number()));
            assert_eq!(code(row.status).to_str().unwrap(), row.code);
            let name = format!("TOLLGATE_STATUS_{}", row.code.to_uppercase());
            assert_eq!(format!("{number:?}"), name);
        }
    }
}
