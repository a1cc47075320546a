//! What a call came to: a number for programs, a text for people.

use core::any::Any;
use core::ffi::{CStr, c_char};
use std::borrow::Cow;
use std::cell::RefCell;
use std::ffi::CString;

use tollgate::{AdminError, FinishError, Refusal, StoreError};

use crate::log::{TOLLGATE_LOG_ERROR, log};

/// What a call came to: one of `enum tollgate_result`. A number is never used again for something else.
pub type tollgate_result_t = u32;

/// What a call came to. A number is never used again for something else.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum tollgate_result {
    /// It was done.
    TOLLGATE_OK = 0,
    /// The library met a bug of its own. Nothing was given; what else it holds can be used on.
    TOLLGATE_PANIC = 1,
    /// A pointer is null that must not be.
    TOLLGATE_NULL_POINTER = 2,
    /// A length, number or name is out of its range.
    TOLLGATE_INVALID_ARGUMENT = 3,
    /// A text is not UTF-8.
    TOLLGATE_NOT_UTF8 = 4,
    /// A buffer is too small. The lengths that are given back say what is needed.
    TOLLGATE_BUFFER_TOO_SMALL = 5,
    /// The handle has given its result already.
    TOLLGATE_FINISHED = 6,
    /// The handle waits for something: a command to be performed, the rest of a reply.
    TOLLGATE_NOT_READY = 7,
    /// The library has another ABI than the header.
    TOLLGATE_ABI_MISMATCH = 8,
    /// The policy has errors, which the text lists with their lines.
    TOLLGATE_POLICY_INVALID = 10,
    /// The store did not answer, or not in time.
    TOLLGATE_STORE_UNAVAILABLE = 20,
    /// A bound of the store is reached.
    TOLLGATE_STORE_FULL = 21,
    /// A record of the store is damaged.
    TOLLGATE_STORE_CORRUPT = 22,
    /// A later version of the library wrote the store.
    TOLLGATE_STORE_NEWER_FORMAT = 23,
    /// The store gave an answer that does not belong to the command.
    TOLLGATE_STORE_WRONG_OUTCOME = 24,
    /// The store cannot be opened or made.
    TOLLGATE_STORE_NOT_OPENED = 25,
    /// Refused: there is no such account.
    TOLLGATE_UNKNOWN_ACCOUNT = 40,
    /// Refused: there is no such token.
    TOLLGATE_UNKNOWN_TOKEN = 41,
    /// Refused: the token belongs to another account.
    TOLLGATE_FOREIGN_TOKEN = 42,
    /// Refused: the new token exists already.
    TOLLGATE_TOKEN_EXISTS = 43,
    /// Refused: the token was revoked.
    TOLLGATE_TOKEN_REVOKED = 44,
    /// Refused: there is no such reservation, or no more.
    TOLLGATE_UNKNOWN_RESERVATION = 45,
    /// Refused: the lease has ended, and the expiry rule was applied.
    TOLLGATE_LEASE_ENDED = 46,
    /// Refused: it was finished before, differently.
    TOLLGATE_ALREADY_FINISHED = 47,
    /// Refused: the idempotency key is no longer this execution's.
    TOLLGATE_STALE_FENCE = 48,
    /// Refused: more than was reserved.
    TOLLGATE_MORE_THAN_RESERVED = 49,
    /// Refused: a refund of what was not posted.
    TOLLGATE_NOT_POSTED = 50,
    /// Refused: refunds above what was posted.
    TOLLGATE_MORE_THAN_POSTED = 51,
    /// Refused: the reference was used with another amount.
    TOLLGATE_REFERENCE_REUSED = 52,
    /// Refused: too many refunds of one reservation.
    TOLLGATE_TOO_MANY_REFUNDS = 53,
    /// Refused: a sum that does not fit 64 bits.
    TOLLGATE_AMOUNT_OVERFLOW = 54,
    /// Refused: an outcome that resolves nothing.
    TOLLGATE_NOT_A_RESOLUTION = 55,
    /// Refused: a time beyond the year 2527.
    TOLLGATE_CLOCK_OUT_OF_RANGE = 56,
    /// Refused, for a reason that this version has no number for; the text says it.
    TOLLGATE_REFUSED = 57,
}

use tollgate_result::*;

macro_rules! names {
    ($($name:ident)*) => {
        const NAMES: &[(tollgate_result, &CStr)] = &[$((
            $name,
            match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                Ok(name) => name,
                Err(_) => c"",
            },
        ),)*];

        /// Does not compile unless every result is named.
        const fn _is_named(result: tollgate_result) {
            match result {
                $($name => {})*
            }
        }
    };
}

names! {
    TOLLGATE_OK
    TOLLGATE_PANIC
    TOLLGATE_NULL_POINTER
    TOLLGATE_INVALID_ARGUMENT
    TOLLGATE_NOT_UTF8
    TOLLGATE_BUFFER_TOO_SMALL
    TOLLGATE_FINISHED
    TOLLGATE_NOT_READY
    TOLLGATE_ABI_MISMATCH
    TOLLGATE_POLICY_INVALID
    TOLLGATE_STORE_UNAVAILABLE
    TOLLGATE_STORE_FULL
    TOLLGATE_STORE_CORRUPT
    TOLLGATE_STORE_NEWER_FORMAT
    TOLLGATE_STORE_WRONG_OUTCOME
    TOLLGATE_STORE_NOT_OPENED
    TOLLGATE_UNKNOWN_ACCOUNT
    TOLLGATE_UNKNOWN_TOKEN
    TOLLGATE_FOREIGN_TOKEN
    TOLLGATE_TOKEN_EXISTS
    TOLLGATE_TOKEN_REVOKED
    TOLLGATE_UNKNOWN_RESERVATION
    TOLLGATE_LEASE_ENDED
    TOLLGATE_ALREADY_FINISHED
    TOLLGATE_STALE_FENCE
    TOLLGATE_MORE_THAN_RESERVED
    TOLLGATE_NOT_POSTED
    TOLLGATE_MORE_THAN_POSTED
    TOLLGATE_REFERENCE_REUSED
    TOLLGATE_TOO_MANY_REFUNDS
    TOLLGATE_AMOUNT_OVERFLOW
    TOLLGATE_NOT_A_RESOLUTION
    TOLLGATE_CLOCK_OUT_OF_RANGE
    TOLLGATE_REFUSED
}

/// Why a call failed.
#[derive(Debug)]
pub(crate) struct Error {
    result: tollgate_result,
    message: Cow<'static, str>,
}

impl Error {
    pub(crate) fn new(result: tollgate_result, message: impl Into<Cow<'static, str>>) -> Self {
        Error { result, message: message.into() }
    }

    pub(crate) fn null(what: &'static str) -> Self {
        Error::new(TOLLGATE_NULL_POINTER, format!("`{what}` is null"))
    }

    pub(crate) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Error::new(TOLLGATE_INVALID_ARGUMENT, message)
    }

    pub(crate) fn not_utf8(what: &'static str) -> Self {
        Error::new(TOLLGATE_NOT_UTF8, format!("`{what}` is not UTF-8"))
    }

    pub(crate) fn too_small(needed: usize) -> Self {
        Error::new(
            TOLLGATE_BUFFER_TOO_SMALL,
            format!("the buffer is too small; {needed} bytes are needed"),
        )
    }

    pub(crate) fn finished(message: &'static str) -> Self {
        Error::new(TOLLGATE_FINISHED, message)
    }

    pub(crate) fn not_ready(message: &'static str) -> Self {
        Error::new(TOLLGATE_NOT_READY, message)
    }

    pub(crate) fn not_opened(error: impl core::fmt::Display) -> Self {
        Error::new(TOLLGATE_STORE_NOT_OPENED, error.to_string())
    }

    /// Keeps the text for `tollgate_last_error`, and gives the number.
    pub(crate) fn report(self) -> tollgate_result_t {
        let bytes: Vec<u8> = self.message.bytes().filter(|byte| *byte != 0).collect();
        let text = CString::new(bytes).unwrap_or_default();
        // While a thread ends there is no place for it any more.
        let _ = LAST.try_with(|last| {
            if let Ok(mut last) = last.try_borrow_mut() {
                *last = text;
            }
        });
        self.result as tollgate_result_t
    }
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// A panic that reached the boundary.
pub(crate) fn panicked(payload: Box<dyn Any + Send>) -> tollgate_result_t {
    let said = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    let message = format!("a bug in tollgate: {said}; please report it");
    // A payload may panic when it is dropped, and this is the last place to stop anything.
    core::mem::forget(payload);
    log(TOLLGATE_LOG_ERROR, &message);
    Error::new(TOLLGATE_PANIC, message).report()
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let result = match &error {
            StoreError::Full { .. } => TOLLGATE_STORE_FULL,
            StoreError::Corrupt { .. } => TOLLGATE_STORE_CORRUPT,
            StoreError::NewerFormat { .. } => TOLLGATE_STORE_NEWER_FORMAT,
            StoreError::WrongOutcome => TOLLGATE_STORE_WRONG_OUTCOME,
            _ => TOLLGATE_STORE_UNAVAILABLE,
        };
        Error::new(result, error.to_string())
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let result = match &refusal {
            Refusal::UnknownAccount => TOLLGATE_UNKNOWN_ACCOUNT,
            Refusal::UnknownToken => TOLLGATE_UNKNOWN_TOKEN,
            Refusal::ForeignToken => TOLLGATE_FOREIGN_TOKEN,
            Refusal::TokenExists => TOLLGATE_TOKEN_EXISTS,
            Refusal::TokenRevoked => TOLLGATE_TOKEN_REVOKED,
            Refusal::UnknownReservation => TOLLGATE_UNKNOWN_RESERVATION,
            Refusal::LeaseEnded => TOLLGATE_LEASE_ENDED,
            Refusal::AlreadyFinished => TOLLGATE_ALREADY_FINISHED,
            Refusal::StaleFence => TOLLGATE_STALE_FENCE,
            Refusal::MoreThanReserved => TOLLGATE_MORE_THAN_RESERVED,
            Refusal::NotPosted => TOLLGATE_NOT_POSTED,
            Refusal::MoreThanPosted => TOLLGATE_MORE_THAN_POSTED,
            Refusal::ReferenceReused => TOLLGATE_REFERENCE_REUSED,
            Refusal::TooManyRefunds => TOLLGATE_TOO_MANY_REFUNDS,
            Refusal::AmountOverflow => TOLLGATE_AMOUNT_OVERFLOW,
            Refusal::NotAResolution => TOLLGATE_NOT_A_RESOLUTION,
            Refusal::ClockOutOfRange => TOLLGATE_CLOCK_OUT_OF_RANGE,
            _ => TOLLGATE_REFUSED,
        };
        Error::new(result, refusal.to_string())
    }
}

impl From<AdminError> for Error {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Refused(refusal) => refusal.into(),
            AdminError::Store(error) => error.into(),
        }
    }
}

impl From<FinishError> for Error {
    fn from(error: FinishError) -> Self {
        match error {
            FinishError::Refused(refusal) => refusal.into(),
            FinishError::Store(error) => error.into(),
        }
    }
}

/// The name of a result, `TOLLGATE_OK` for 0. It is static and never null; an unknown number is `TOLLGATE_?`.
#[unsafe(no_mangle)]
pub extern "C" fn tollgate_result_name(result: tollgate_result_t) -> *const c_char {
    let name = NAMES.iter().find(|(named, _)| *named as tollgate_result_t == result);
    name.map_or(c"TOLLGATE_?", |(_, name)| name).as_ptr()
}

/// What the last call on this thread that did not give `TOLLGATE_OK` has to say: what is wrong and what to
/// do, without secrets. Policy errors stand on a line each.
///
/// It ends with a NUL, is never null, and is valid until the next call on this thread that fails. A call that
/// succeeds leaves it alone.
#[unsafe(no_mangle)]
pub extern "C" fn tollgate_last_error() -> *const c_char {
    let last = LAST.try_with(|last| last.try_borrow().map(|text| text.as_ptr()));
    match last {
        Ok(Ok(text)) => text,
        _ => c"".as_ptr(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_each_used_once() {
        for pair in NAMES.windows(2) {
            assert!((pair[0].0 as u32) < pair[1].0 as u32, "{:?}", pair[1]);
        }
        assert!(NAMES.iter().all(|(_, name)| name.to_bytes().starts_with(b"TOLLGATE_")));
    }

    #[test]
    fn a_text_is_kept_until_the_next_failure() {
        Error::invalid("first\0 and more").report();
        // SAFETY: the text is valid until the next failure.
        let text = || unsafe { CStr::from_ptr(tollgate_last_error()) }.to_str().unwrap().to_owned();
        assert_eq!(text(), "first and more");
        Error::null("policy").report();
        assert_eq!(text(), "`policy` is null");
    }
}
