//! Errors of an object's store, as its caller sees them.

use serde::{Deserialize, Serialize};
use tollgate::StoreError;

/// A [`StoreError`] on its way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Failure {
    Full(Box<str>),
    Unavailable(Box<str>),
    Corrupt(Box<str>),
    NewerFormat { found: u32, known: u32 },
    WrongOutcome,
}

/// What there may be too many of, and what may be damaged: the words of the stores, and of maps.
const WORDS: &[&str] = &[
    "a limit's count",
    "a name",
    "a reservation",
    "a token",
    "accounts",
    "accounts with something due",
    "an account's money",
    "an account's name",
    "an account's revision",
    "an account's settings",
    "an account's tokens",
    "an idempotency claim",
    "bytes",
    "idempotency claims",
    "limiter cells",
    "reservations",
    "the format",
    "tokens",
    "what a token spent",
    "what fell due; expire more often",
    "what falls due",
    "what the store holds",
    "what was to be written",
    "when a limit's count expires",
];

fn word(what: &str, otherwise: &'static str) -> &'static str {
    WORDS.iter().find(|word| ***word == *what).copied().unwrap_or(otherwise)
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full { what } => Failure::Full(what.into()),
            StoreError::Corrupt { what } => Failure::Corrupt(what.into()),
            StoreError::NewerFormat { found, known } => Failure::NewerFormat { found, known },
            StoreError::WrongOutcome => Failure::WrongOutcome,
            StoreError::Unavailable { reason } => Failure::Unavailable(reason),
            other => Failure::Unavailable(other.to_string().into()),
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Full(what) => StoreError::Full { what: word(&what, "records") },
            Failure::Corrupt(what) => StoreError::Corrupt { what: word(&what, "an object") },
            Failure::NewerFormat { found, known } => StoreError::NewerFormat { found, known },
            Failure::WrongOutcome => StoreError::WrongOutcome,
            Failure::Unavailable(reason) => StoreError::Unavailable { reason },
        }
    }
}
