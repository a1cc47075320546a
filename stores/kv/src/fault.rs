//! What goes wrong inside a transaction.

use tollgate::StoreError;

use crate::map::KvError;

/// Why a command failed in its transaction.
#[derive(Clone, Debug)]
pub enum Fault {
    /// A bound is reached. The transaction holds nothing of the command, and can go on.
    Bound(&'static str),
    /// The transaction may hold a part of the command: nothing of it must be committed.
    Broken(StoreError),
    /// Alike; and the map says that the command is to be begun again.
    Conflict,
}

impl Fault {
    /// A bound that is reached is an outcome like any other: the transaction goes on.
    ///
    /// # Errors
    /// Any other fault.
    pub fn keep_bounds<T>(outcome: Result<T, Fault>) -> Result<Result<T, StoreError>, Fault> {
        match outcome {
            Ok(outcome) => Ok(Ok(outcome)),
            Err(Fault::Bound(what)) => Ok(Err(StoreError::Full { what })),
            Err(fault) => Err(fault),
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Fault::Broken(error)
    }
}

impl From<KvError> for Fault {
    fn from(error: KvError) -> Self {
        match error {
            KvError::Store(error) => Fault::Broken(error),
            KvError::Conflict => Fault::Conflict,
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Bound(what) => StoreError::Full { what },
            Fault::Broken(error) => error,
            Fault::Conflict => StoreError::Unavailable {
                reason: "other transactions came between, again and again; try again, or raise \
                         max_attempts"
                    .into(),
            },
        }
    }
}

/// A record that cannot be right.
#[must_use]
pub fn corrupt(what: &'static str) -> Fault {
    Fault::Broken(StoreError::Corrupt { what })
}
