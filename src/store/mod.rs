//! Where state lives: what the core expects of a store.

pub(crate) mod composite;
#[cfg(feature = "std")]
pub(crate) mod memory;

use alloc::boxed::Box;
use core::future::Future;

use crate::command::{Admission, Admit, Command, LookedUp, Lookup, Outcome, PlainAdmission};

/// A store that answers at once, on the caller's thread.
///
/// Each command is performed as a whole or not at all, and as if it were alone. The outcome of a
/// command is the one that its documentation names, or [`Outcome::Refused`].
pub trait Store: Send + Sync {
    /// Performs one command.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be performed; nothing was changed then, as far as the store
    /// can tell.
    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError>;

    /// [`Command::Lookup`] for a store that has token and limit at hand: finds a plain token and decides its request.
    /// `None` where there is more to it, or where the store does not do this; nothing was changed then, and
    /// [`look_up`](Self::look_up) follows. It is what most requests need, and its answer is small.
    #[inline]
    fn admit_plain(&self, lookup: &Lookup<'_>, now_ms: u64) -> Option<PlainAdmission> {
        let _ = (lookup, now_ms);
        None
    }

    /// [`Command::Lookup`] with its own type of answer; a store may answer it more quickly than
    /// [`perform`](Self::perform) does.
    ///
    /// # Errors
    /// See [`perform`](Self::perform).
    #[inline]
    fn look_up(&self, lookup: &Lookup<'_>, now_ms: u64) -> Result<LookedUp, StoreError> {
        match self.perform(&Command::Lookup(*lookup), now_ms)? {
            Outcome::LookedUp(found) => Ok(found),
            _ => Err(StoreError::WrongOutcome),
        }
    }

    /// [`Command::Admit`] with its own type of answer.
    ///
    /// # Errors
    /// See [`perform`](Self::perform).
    #[inline]
    fn admit(&self, admit: &Admit<'_>, now_ms: u64) -> Result<Admission, StoreError> {
        match self.perform(&Command::Admit(*admit), now_ms)? {
            Outcome::Admission(admission) => Ok(admission),
            _ => Err(StoreError::WrongOutcome),
        }
    }
}

/// A store that answers later. Every [`Store`] is one.
pub trait AsyncStore: Send + Sync {
    /// Performs one command. See [`Store::perform`].
    ///
    /// # Errors
    /// [`StoreError`] when it could not be performed.
    fn perform_async(
        &self,
        command: &Command<'_>,
        now_ms: u64,
    ) -> impl Future<Output = Result<Outcome, StoreError>> + Send;
}

impl<S: Store + ?Sized> AsyncStore for S {
    fn perform_async(
        &self,
        command: &Command<'_>,
        now_ms: u64,
    ) -> impl Future<Output = Result<Outcome, StoreError>> + Send {
        core::future::ready(self.perform(command, now_ms))
    }
}

impl<S: Store + ?Sized> Store for alloc::sync::Arc<S> {
    #[inline]
    fn admit_plain(&self, lookup: &Lookup<'_>, now_ms: u64) -> Option<PlainAdmission> {
        (**self).admit_plain(lookup, now_ms)
    }

    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        (**self).perform(command, now_ms)
    }

    fn look_up(&self, lookup: &Lookup<'_>, now_ms: u64) -> Result<LookedUp, StoreError> {
        (**self).look_up(lookup, now_ms)
    }

    fn admit(&self, admit: &Admit<'_>, now_ms: u64) -> Result<Admission, StoreError> {
        (**self).admit(admit, now_ms)
    }
}

impl<S: Store + ?Sized> Store for &S {
    #[inline]
    fn admit_plain(&self, lookup: &Lookup<'_>, now_ms: u64) -> Option<PlainAdmission> {
        (**self).admit_plain(lookup, now_ms)
    }

    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        (**self).perform(command, now_ms)
    }

    fn look_up(&self, lookup: &Lookup<'_>, now_ms: u64) -> Result<LookedUp, StoreError> {
        (**self).look_up(lookup, now_ms)
    }

    fn admit(&self, admit: &Admit<'_>, now_ms: u64) -> Result<Admission, StoreError> {
        (**self).admit(admit, now_ms)
    }
}

/// Why a store could not perform a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A bound of the store's configuration is reached. Nothing live is ever forgotten to make room.
    #[error("the store is full of {what}; raise its bound or wait until some expire")]
    Full {
        /// What there are too many of.
        what: &'static str,
    },
    /// The backend did not answer, or not in time.
    #[error("the store is unavailable: {reason}")]
    Unavailable {
        /// What happened, without secrets.
        reason: Box<str>,
    },
    /// A record does not pass its check. Nothing is decided by it, and nothing was changed.
    #[error("a record of {what} in the store is damaged; restore the store from a backup")]
    Corrupt {
        /// Of what the record is.
        what: &'static str,
    },
    /// The store was written by a later version of this library.
    #[error(
        "the store has format {found} and this version reads up to {known}; use the later version"
    )]
    NewerFormat {
        /// The store's format.
        found: u32,
        /// The latest format that this version knows.
        known: u32,
    },
    /// The answer was not one to the command.
    #[error(
        "the store gave an answer that does not belong to the command; this is a bug in the store"
    )]
    WrongOutcome,
}

impl StoreError {
    /// A name for programs, which stays the same: `store_unavailable`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            StoreError::Full { .. } => "store_full",
            StoreError::Unavailable { .. } => "store_unavailable",
            StoreError::Corrupt { .. } => "store_corrupt",
            StoreError::NewerFormat { .. } => "store_newer_format",
            StoreError::WrongOutcome => "store_wrong_outcome",
        }
    }
}
