//! What operators ask of a store, and why a store may refuse.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{AccountSettings, Finish, TokenQuota};
#[cfg(doc)]
use super::{Outcome, Token};
use crate::ledger::{AccountId, AccountRef, Amount, ReservationId, SpendCap, Wallet};
use crate::token::TokenDigest;

/// Change or show what a store holds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Administration<'a> {
    /// Create an account, or replace the settings that are given. Answered by [`Outcome::Done`].
    PutAccount {
        /// Its name.
        account: &'a AccountId,
        /// What it starts with; counts only at creation.
        opening_balance: Amount,
        /// What to set.
        settings: AccountPatch,
    },
    /// Create a token, or replace the settings that are given. Answered by [`Outcome::Done`].
    PutToken {
        /// Its digest.
        digest: &'a TokenDigest,
        /// Its account, which must exist; a token never changes its account.
        account: &'a AccountId,
        /// What to set.
        settings: TokenPatch,
    },
    /// Revoke a token for good. Answered by [`Outcome::Done`].
    RevokeToken {
        /// Its digest.
        digest: &'a TokenDigest,
    },
    /// Give a new token the settings of an old one, which expires after a grace period.
    /// Answered by [`Outcome::Done`].
    RotateToken {
        /// The old one's digest.
        old: &'a TokenDigest,
        /// The new one's digest.
        new: &'a TokenDigest,
        /// How long the old one still works, in milliseconds.
        grace_ms: u64,
    },
    /// Pay in. Answered by [`Outcome::Done`].
    Deposit {
        /// The account.
        account: &'a AccountId,
        /// How much.
        amount: Amount,
    },
    /// Give back a part of what was posted, once per reference. Answered by [`Outcome::Done`].
    Refund {
        /// The account.
        account: &'a AccountRef,
        /// The reservation that was posted.
        reservation: ReservationId,
        /// How much.
        amount: Amount,
        /// The refund's own name: the same one again with the same amount changes nothing.
        reference: &'a str,
    },
    /// An operator's word on a request whose end nobody reported. Answered by [`Outcome::Settled`].
    Resolve {
        /// The account.
        account: &'a AccountId,
        /// The reservation.
        reservation: ReservationId,
        /// How it ended; `Unknown` is refused.
        finish: Finish,
    },
    /// Show an account. Answered by [`Outcome::Account`].
    Inspect {
        /// The account.
        account: &'a AccountId,
    },
    /// List the names of accounts, sorted by their bytes. Answered by [`Outcome::Accounts`].
    ListAccounts {
        /// Only those that come after this one.
        after: Option<&'a AccountId>,
        /// At most so many.
        at_most: usize,
    },
    /// Show an account's tokens. Answered by [`Outcome::Tokens`].
    ListTokens {
        /// The account.
        account: &'a AccountId,
    },
    /// Show an account's reservations. Answered by [`Outcome::Reservations`].
    ListReservations {
        /// The account.
        account: &'a AccountId,
    },
    /// Name the account behind a reference. Answered by [`Outcome::Name`].
    NameAccount {
        /// The reference, which this store gave out.
        account: &'a AccountRef,
    },
    /// Reclaim what is due: leases that ended, claims past their retention, cells that are whole again.
    /// Answered by [`Outcome::Expired`].
    Expire,
}

/// Settings of an account to replace; `None` leaves one as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountPatch {
    /// See [`AccountSettings::networks`].
    pub networks: Option<Vec<IpNet>>,
    /// See [`AccountSettings::spend_caps`].
    pub spend_caps: Option<Vec<SpendCap>>,
    /// See [`AccountSettings::senders`].
    pub senders: Option<Vec<Box<str>>>,
}

/// Settings of a token to replace; `None` leaves one as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenPatch {
    /// See [`Token::scopes`].
    pub scopes: Option<Vec<Box<str>>>,
    /// See [`Token::networks`].
    pub networks: Option<Vec<IpNet>>,
    /// See [`Token::quota`]; `Some(None)` takes it away.
    pub quota: Option<Option<TokenQuota>>,
    /// See [`Token::spend_caps`].
    pub spend_caps: Option<Vec<SpendCap>>,
    /// See [`Token::expires_ms`]; `Some(None)` takes it away.
    pub expires_ms: Option<Option<u64>>,
}

/// An account as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// Its money.
    pub wallet: Wallet,
    /// Its settings.
    pub settings: Arc<AccountSettings>,
}

/// Why a command was refused. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Refusal {
    /// No such account.
    #[error("there is no such account; create it first")]
    UnknownAccount,
    /// No such token.
    #[error("there is no such token; create it first")]
    UnknownToken,
    /// The token belongs to another account.
    #[error("the token belongs to another account; create a new token instead")]
    ForeignToken,
    /// The new token of a rotation exists already.
    #[error("the new token exists already; generate another one")]
    TokenExists,
    /// The token was revoked.
    #[error("the token was revoked; create a new one")]
    TokenRevoked,
    /// No such reservation, or its record is past its retention.
    #[error("there is no such reservation, or its record is past its retention")]
    UnknownReservation,
    /// The reservation's lease has ended and it was dealt with by its expiry rule.
    #[error("the reservation's lease has ended; its expiry rule was applied and stays")]
    LeaseEnded,
    /// The reservation ended before, differently.
    #[error("the reservation was already finished, differently; the first outcome stays")]
    AlreadyFinished,
    /// The claim went to a later execution, or its retention ended.
    #[error(
        "the idempotency key is no longer this execution's: a later one took it over, or its retention ended; this outcome is dropped"
    )]
    StaleFence,
    /// More than was reserved.
    #[error("the amount is more than was reserved; settle at most the reservation")]
    MoreThanReserved,
    /// A refund of what was not posted.
    #[error("only a settled reservation can be refunded")]
    NotPosted,
    /// A refund above what was posted.
    #[error("the refunds would be more than what was posted")]
    MoreThanPosted,
    /// The same reference with another amount.
    #[error("this refund reference was used with another amount")]
    ReferenceReused,
    /// Too many refunds of one reservation.
    #[error("a reservation takes at most {} refunds", crate::ledger::MAX_REFUNDS)]
    TooManyRefunds,
    /// A sum that does not fit 64 bits.
    #[error("the amount does not fit: the sum would be over 2^64 - 1")]
    AmountOverflow,
    /// An outcome that resolves nothing.
    #[error("a resolution is settle or void")]
    NotAResolution,
    /// A time beyond [`MAX_NOW_MS`](crate::MAX_NOW_MS).
    #[error("the time is beyond the year 2527; give Unix milliseconds")]
    ClockOutOfRange,
}

impl Refusal {
    /// A name for programs, which stays the same: `unknown_account`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Refusal::UnknownAccount => "unknown_account",
            Refusal::UnknownToken => "unknown_token",
            Refusal::ForeignToken => "foreign_token",
            Refusal::TokenExists => "token_exists",
            Refusal::TokenRevoked => "token_revoked",
            Refusal::UnknownReservation => "unknown_reservation",
            Refusal::LeaseEnded => "lease_ended",
            Refusal::AlreadyFinished => "already_finished",
            Refusal::StaleFence => "stale_fence",
            Refusal::MoreThanReserved => "more_than_reserved",
            Refusal::NotPosted => "not_posted",
            Refusal::MoreThanPosted => "more_than_posted",
            Refusal::ReferenceReused => "reference_reused",
            Refusal::TooManyRefunds => "too_many_refunds",
            Refusal::AmountOverflow => "amount_overflow",
            Refusal::NotAResolution => "not_a_resolution",
            Refusal::ClockOutOfRange => "clock_out_of_range",
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;

    /// `UnknownAccount` is `unknown_account`.
    fn snake_case(name: &str) -> String {
        let mut snake = String::new();
        for char in name.chars() {
            if char.is_ascii_uppercase() && !snake.is_empty() {
                snake.push('_');
            }
            snake.push(char.to_ascii_lowercase());
        }
        snake
    }

    #[test]
    fn a_refusal_goes_by_its_name() {
        for refusal in [
            Refusal::UnknownAccount,
            Refusal::UnknownToken,
            Refusal::ForeignToken,
            Refusal::TokenExists,
            Refusal::TokenRevoked,
            Refusal::UnknownReservation,
            Refusal::LeaseEnded,
            Refusal::AlreadyFinished,
            Refusal::StaleFence,
            Refusal::MoreThanReserved,
            Refusal::NotPosted,
            Refusal::MoreThanPosted,
            Refusal::ReferenceReused,
            Refusal::TooManyRefunds,
            Refusal::AmountOverflow,
            Refusal::NotAResolution,
            Refusal::ClockOutOfRange,
        ] {
            assert_eq!(refusal.code(), snake_case(&format!("{refusal:?}")));
        }
    }
}
