//! How a request ended.

use std::sync::Arc;

use tollgate::{Amount, Finish, Settled, StoredResponse};

use crate::decision::tollgate_decision_t;
use crate::error::{Error, tollgate_result_t};
use crate::ffi::{self, Out, Sized_, borrow, call, out, tollgate_header_t};
use crate::store::tollgate_store_t;

/// How a request ended: one of `enum tollgate_outcome`.
pub type tollgate_outcome_t = u32;

/// How a request ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum tollgate_outcome {
    /// It was carried out: all that was reserved is posted, or `amount`.
    TOLLGATE_SETTLE = 1,
    /// It was not carried out, or costs nothing. Without a response its idempotency key is free again.
    TOLLGATE_VOID = 2,
    /// Nobody knows. The money stays held and the key in flight, until somebody does or a lease ends.
    TOLLGATE_UNKNOWN = 3,
}

/// The upstream's response, to be kept for replays.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tollgate_response_t {
    /// `sizeof(tollgate_response_t)`.
    pub struct_size: usize,
    /// HTTP status, 100 to 999.
    pub status: u32,
    /// 1: the body is not kept, because it was over the host's bound; a replay has none then.
    pub body_omitted: u8,
    /// Headers to be given again, in order; names are UTF-8.
    pub headers: *const tollgate_header_t,
    /// How many headers.
    pub headers_len: usize,
    /// Body.
    pub body: *const u8,
    /// Bytes of the body.
    pub body_len: usize,
}

/// How a request ended, and what came of it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tollgate_finish_t {
    /// `sizeof(tollgate_finish_t)`.
    pub struct_size: usize,
    /// How it ended.
    pub outcome: tollgate_outcome_t,
    /// 1: it cost `amount`, at most what was reserved; 0: all of it. With `TOLLGATE_SETTLE` only.
    pub has_amount: u8,
    /// What it cost.
    pub amount: u64,
    /// The upstream's response; null: none is kept. Not with `TOLLGATE_UNKNOWN`.
    pub response: *const tollgate_response_t,
}

// SAFETY: `repr(C)`, pointers and numbers, and it begins with its size.
unsafe impl Sized_ for tollgate_response_t {}
// SAFETY: as above.
unsafe impl Sized_ for tollgate_finish_t {}

/// Reads how a request ended.
pub(crate) fn read_finish(given: *const tollgate_finish_t) -> Result<Finish, Error> {
    const SETTLE: u32 = tollgate_outcome::TOLLGATE_SETTLE as u32;
    const VOID: u32 = tollgate_outcome::TOLLGATE_VOID as u32;
    const UNKNOWN: u32 = tollgate_outcome::TOLLGATE_UNKNOWN as u32;
    let given = ffi::read(given, "finish")?;
    let amount = (given.has_amount != 0).then_some(Amount(given.amount));
    if amount.is_some() && given.outcome != SETTLE {
        return Err(Error::invalid("an amount goes with TOLLGATE_SETTLE only"));
    }
    let response = match ffi::read_optional(given.response, "response")? {
        Some(response) => Some(Arc::new(stored(&response)?)),
        None => None,
    };
    match given.outcome {
        SETTLE => Ok(Finish::Settle { amount, response }),
        VOID => Ok(Finish::Void { response }),
        UNKNOWN if response.is_some() => {
            Err(Error::invalid("a response does not go with TOLLGATE_UNKNOWN"))
        }
        UNKNOWN => Ok(Finish::Unknown),
        other => Err(Error::invalid(format!("{other} is no outcome"))),
    }
}

fn stored(given: &tollgate_response_t) -> Result<StoredResponse, Error> {
    let status = u16::try_from(given.status).ok().filter(|status| (100..=999).contains(status));
    let headers = ffi::many(given.headers, given.headers_len, "response.headers")?;
    let headers = headers.iter().map(|header| {
        let name = ffi::text(header.name, header.name_len, "response.headers[].name")?;
        let value = ffi::bytes(header.value, header.value_len, "response.headers[].value")?;
        Ok((name.into(), value.into()))
    });
    let body = ffi::many(given.body, given.body_len, "response.body")?;
    Ok(StoredResponse {
        status: status.ok_or_else(|| Error::invalid("the response's status is 100 to 999"))?,
        headers: headers.collect::<Result<_, Error>>()?,
        body: (given.body_omitted == 0).then(|| body.into()),
    })
}

/// Where it is told what was posted.
pub(crate) struct Posted {
    has_posted: Out<bool>,
    posted: Out<u64>,
}

impl Posted {
    pub(crate) fn new(has_posted: *mut bool, posted: *mut u64) -> Result<Self, Error> {
        Ok(Posted { has_posted: out(has_posted, "has_posted")?, posted: out(posted, "posted")? })
    }

    pub(crate) fn set(self, settled: Settled) {
        self.has_posted.set(settled.posted.is_some());
        self.posted.set(settled.posted.map_or(0, |Amount(amount)| amount));
    }
}

/// Finishes a request that was allowed, on a store that answers at once. Each decision with `tollgate_decision_must_finish` is finished
/// exactly once; saying the same again is safe, and is what to do when the store failed.
///
/// `store` is the one that admitted the request. `*posted` is what was posted, if `*has_posted`; it is not while the end is
/// unknown. A decision without anything to finish is left alone: false and 0. Errors: `TOLLGATE_ALREADY_FINISHED`,
/// `TOLLGATE_LEASE_ENDED`, `TOLLGATE_MORE_THAN_RESERVED`, `TOLLGATE_STALE_FENCE`, `TOLLGATE_UNKNOWN_RESERVATION`, those of stores; nothing was
/// changed then, as far as the store can tell.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_finish(
    decision: *const tollgate_decision_t,
    store: *const tollgate_store_t,
    finish: *const tollgate_finish_t,
    now_ms: u64,
    has_posted: *mut bool,
    posted: *mut u64,
) -> tollgate_result_t {
    call(|| {
        let (decision, store) = (borrow(decision, "decision")?, borrow(store, "store")?);
        let told = Posted::new(has_posted, posted)?;
        let finish = read_finish(finish)?;
        let settled = match decision.ticket() {
            Some(ticket) => decision.engine.finish(store.store(), ticket, finish, now_ms)?,
            None => Settled { posted: None },
        };
        told.set(settled);
        Ok(())
    })
}
