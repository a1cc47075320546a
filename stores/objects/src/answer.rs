//! What an object answers. The order of variants and fields is the format, as in `message`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tollgate::{
    AccountId, AccountSettings, AccountView, Admission, Cell, Outcome, Refusal, Reservation,
    ReservationId, Settled, StoreError, Token, TokenDigest,
};

use crate::failure::Failure;

/// The answer to a message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// It could not be performed, and nothing was changed.
    Failed(Failure),
    Refused(Refusal),
    Done,
    /// To `Owner` and `Claim`.
    Owner(Option<AccountId>),
    /// To `Register`: whether the account is known to be there.
    Registered {
        confirmed: bool,
    },
    /// To `Names`, with the same.
    Names(Vec<(AccountId, bool)>),
    /// To `Read` and `Take`: each cell before, and whether it was counted in. `at_ms` is the object's
    /// own clock.
    Cells {
        cells: Vec<(Option<Cell>, bool)>,
        at_ms: u64,
    },
    /// To `LookUp`.
    Found(Option<Found>, Option<Admission>),
    Admission(Admission),
    Settled(Settled),
    /// To `PutToken` and `RotateToken`: nothing is against it, but the directory must know it first.
    ClaimFirst,
    Account(Box<AccountView>),
    Tokens(Vec<(TokenDigest, Arc<Token>)>),
    Reservations(Vec<(ReservationId, Reservation)>),
    Name(AccountId),
    Expired(u64),
}

/// What an account's object knows of a token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) token: Arc<Token>,
    /// Where the account has networks.
    pub(crate) settings: Option<Arc<AccountSettings>>,
    pub(crate) revision: u64,
}

impl From<Result<Outcome, StoreError>> for Answer {
    fn from(outcome: Result<Outcome, StoreError>) -> Self {
        match outcome {
            Err(error) => Answer::Failed(error.into()),
            Ok(Outcome::Admission(admission)) => Answer::Admission(admission),
            Ok(Outcome::Settled(settled)) => Answer::Settled(settled),
            Ok(Outcome::Done) => Answer::Done,
            Ok(Outcome::Account(account)) => Answer::Account(account),
            Ok(Outcome::Tokens(tokens)) => Answer::Tokens(tokens),
            Ok(Outcome::Reservations(reservations)) => Answer::Reservations(reservations),
            Ok(Outcome::Name(name)) => Answer::Name(name),
            Ok(Outcome::Expired(ended)) => Answer::Expired(ended),
            Ok(Outcome::Refused(refusal)) => Answer::Refused(refusal),
            Ok(_) => Answer::Failed(Failure::WrongOutcome),
        }
    }
}

impl Answer {
    /// The outcome of a command that is one message.
    pub(crate) fn into_outcome(self) -> Result<Outcome, StoreError> {
        Ok(match self {
            Answer::Failed(failure) => return Err(failure.into()),
            Answer::Admission(admission) => Outcome::Admission(admission),
            Answer::Settled(settled) => Outcome::Settled(settled),
            Answer::Done => Outcome::Done,
            Answer::Account(account) => Outcome::Account(account),
            Answer::Tokens(tokens) => Outcome::Tokens(tokens),
            Answer::Reservations(reservations) => Outcome::Reservations(reservations),
            Answer::Name(name) => Outcome::Name(name),
            Answer::Expired(ended) => Outcome::Expired(ended),
            Answer::Refused(refusal) => Outcome::Refused(refusal),
            _ => return Err(StoreError::WrongOutcome),
        })
    }
}

impl Answer {
    /// The error that an answer is which does not belong to its message.
    pub(crate) fn unexpected(self) -> StoreError {
        match self {
            Answer::Failed(failure) => failure.into(),
            _ => StoreError::WrongOutcome,
        }
    }
}
