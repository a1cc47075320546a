//! Administration of reservations: what operators do about requests afterwards.

use core::ffi::{c_char, c_void};

use tollgate::{AccountRef, Amount, Reservation, ReservationId, ReservationState};

use crate::account::account_id;
use crate::error::{Error, tollgate_result_t};
use crate::ffi::{borrow, call, text};
use crate::finish::{Posted, read_finish, tollgate_finish_t};
use crate::store::tollgate_store_t;

/// Where a reservation stands: one of `enum tollgate_reservation_state`.
pub type tollgate_reservation_state_t = u32;

/// Where a reservation stands.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum tollgate_reservation_state {
    /// Open: the request's end is not reported.
    TOLLGATE_HELD = 1,
    /// Settled.
    TOLLGATE_POSTED = 2,
    /// Given up; nothing was posted.
    TOLLGATE_VOIDED = 3,
}

/// A reservation.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct tollgate_reservation_t {
    /// Its number within its account.
    pub number: u64,
    /// What is held, or was.
    pub amount: u64,
    /// What was posted; 0 unless it is.
    pub posted: u64,
    /// What was refunded of it.
    pub refunded: u64,
    /// When its lease ends, in Unix milliseconds.
    pub lease_until_ms: u64,
    /// Digest of the token that spends it.
    pub token_digest: [u8; 32],
    /// Where it stands.
    pub state: tollgate_reservation_state_t,
    /// Whether the end of its lease decided, and not the host.
    pub by_expiry: bool,
    /// Whether it holds an idempotency key.
    pub holds_key: bool,
}

/// Takes a reservation, valid for the length of the call. False ends the list.
pub type tollgate_reservation_fn = Option<
    unsafe extern "C" fn(user: *mut c_void, reservation: *const tollgate_reservation_t) -> bool,
>;

fn shown(number: ReservationId, reservation: &Reservation) -> tollgate_reservation_t {
    let (state, posted, refunded, by_expiry) = match &reservation.state {
        ReservationState::Held => (tollgate_reservation_state::TOLLGATE_HELD, 0, 0, false),
        ReservationState::Posted { amount, refunds, by_expiry } => {
            let refunded = refunds.iter().fold(0_u64, |sum, (_, part)| sum.saturating_add(part.0));
            (tollgate_reservation_state::TOLLGATE_POSTED, amount.0, refunded, *by_expiry)
        }
        ReservationState::Voided { by_expiry } => {
            (tollgate_reservation_state::TOLLGATE_VOIDED, 0, 0, *by_expiry)
        }
    };
    tollgate_reservation_t {
        number: number.0,
        amount: reservation.amount.0,
        posted,
        refunded,
        lease_until_ms: reservation.lease_until_ms,
        token_digest: *reservation.token.as_bytes(),
        state: state as u32,
        by_expiry,
        holds_key: reservation.claim.is_some(),
    }
}

/// Gives back a part of what a reservation posted, once per `reference`: the same one again with the same amount changes nothing.
///
/// Errors: `TOLLGATE_NOT_POSTED`, `TOLLGATE_MORE_THAN_POSTED`, `TOLLGATE_REFERENCE_REUSED`, `TOLLGATE_TOO_MANY_REFUNDS`,
/// `TOLLGATE_UNKNOWN_RESERVATION`; those of stores.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_reservation_refund(
    store: *const tollgate_store_t,
    account: *const c_char,
    account_len: usize,
    reservation: u64,
    amount: u64,
    reference: *const c_char,
    reference_len: usize,
    now_ms: u64,
) -> tollgate_result_t {
    call(|| {
        let (store, id) = (borrow(store, "store")?, account_id(account, account_len)?);
        let reference = text(reference, reference_len, "reference")?;
        let (account, number) = (AccountRef::Id(id), ReservationId(reservation));
        Ok(store.admin().refund(&account, number, Amount(amount), reference, now_ms)?)
    })
}

/// An operator's word on a request whose end nobody reported: see `tollgate_finish`.
///
/// Errors: `TOLLGATE_NOT_A_RESOLUTION` for `TOLLGATE_UNKNOWN`; those of `tollgate_finish`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_reservation_resolve(
    store: *const tollgate_store_t,
    account: *const c_char,
    account_len: usize,
    reservation: u64,
    finish: *const tollgate_finish_t,
    now_ms: u64,
    has_posted: *mut bool,
    posted: *mut u64,
) -> tollgate_result_t {
    call(|| {
        let (store, id) = (borrow(store, "store")?, account_id(account, account_len)?);
        let told = Posted::new(has_posted, posted)?;
        let finish = read_finish(finish)?;
        told.set(store.admin().resolve(&id, ReservationId(reservation), finish, now_ms)?);
        Ok(())
    })
}

/// Lists an account's reservations, by number: the open ones, and the finished ones that are still kept. `each` must not leave by an exception
/// or `longjmp`, and may call the library.
///
/// Errors: `TOLLGATE_UNKNOWN_ACCOUNT`; those of stores; nothing was listed then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_reservation_list(
    store: *const tollgate_store_t,
    account: *const c_char,
    account_len: usize,
    now_ms: u64,
    each: tollgate_reservation_fn,
    user: *mut c_void,
) -> tollgate_result_t {
    call(|| {
        let (store, id) = (borrow(store, "store")?, account_id(account, account_len)?);
        let each = each.ok_or(Error::null("each"))?;
        for (number, reservation) in store.admin().reservations(&id, now_ms)? {
            let shown = shown(number, &reservation);
            // SAFETY: the function and its argument are the caller's, to be called so.
            if !unsafe { each(user, &raw const shown) } {
                break;
            }
        }
        Ok(())
    })
}
