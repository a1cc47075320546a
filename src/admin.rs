//! Administration: what operators ask of a store, with types.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::command::{
    AccountPatch, AccountView, Administration, Command, Finish, Outcome, Refusal, Settled, Token,
    TokenPatch,
};
use crate::ledger::{AccountId, AccountRef, Amount, Reservation, ReservationId};
use crate::store::{Store, StoreError};
use crate::token::TokenDigest;

/// Why an administration failed. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The store refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Administration of a store.
///
/// Every method takes the time as `now_ms`, Unix milliseconds, and fails with [`AdminError`] when the
/// store refuses or fails; nothing is changed then.
#[derive(Clone, Copy, Debug)]
pub struct Admin<'s, S: ?Sized> {
    store: &'s S,
}

#[allow(clippy::missing_errors_doc)] // said once, on the type
impl<'s, S: Store + ?Sized> Admin<'s, S> {
    /// For this store.
    #[must_use]
    pub fn new(store: &'s S) -> Self {
        Admin { store }
    }

    fn run(&self, administration: Administration<'_>, now_ms: u64) -> Result<Outcome, AdminError> {
        match self.store.perform(&Command::Administer(&administration), now_ms)? {
            Outcome::Refused(refusal) => Err(refusal.into()),
            outcome => Ok(outcome),
        }
    }

    fn done(&self, administration: Administration<'_>, now_ms: u64) -> Result<(), AdminError> {
        match self.run(administration, now_ms)? {
            Outcome::Done => Ok(()),
            _ => Err(StoreError::WrongOutcome.into()),
        }
    }

    /// Creates an account, or replaces the settings that are given. `opening_balance` counts only at
    /// creation.
    pub fn put_account(
        &self,
        account: &AccountId,
        opening_balance: Amount,
        settings: AccountPatch,
        now_ms: u64,
    ) -> Result<(), AdminError> {
        self.done(Administration::PutAccount { account, opening_balance, settings }, now_ms)
    }

    /// Creates a token, or replaces the settings that are given. Its account must exist.
    pub fn put_token(
        &self,
        digest: &TokenDigest,
        account: &AccountId,
        settings: TokenPatch,
        now_ms: u64,
    ) -> Result<(), AdminError> {
        self.done(Administration::PutToken { digest, account, settings }, now_ms)
    }

    /// Revokes a token for good, at once.
    pub fn revoke_token(&self, digest: &TokenDigest, now_ms: u64) -> Result<(), AdminError> {
        self.done(Administration::RevokeToken { digest }, now_ms)
    }

    /// Puts a new token in the place of an old one, which still works for `grace_ms`.
    pub fn rotate_token(
        &self,
        old: &TokenDigest,
        new: &TokenDigest,
        grace_ms: u64,
        now_ms: u64,
    ) -> Result<(), AdminError> {
        self.done(Administration::RotateToken { old, new, grace_ms }, now_ms)
    }

    /// Pays in.
    pub fn deposit(
        &self,
        account: &AccountId,
        amount: Amount,
        now_ms: u64,
    ) -> Result<(), AdminError> {
        self.done(Administration::Deposit { account, amount }, now_ms)
    }

    /// Gives back a part of what a reservation posted, once per reference.
    pub fn refund(
        &self,
        account: &AccountRef,
        reservation: ReservationId,
        amount: Amount,
        reference: &str,
        now_ms: u64,
    ) -> Result<(), AdminError> {
        self.done(Administration::Refund { account, reservation, amount, reference }, now_ms)
    }

    /// Says how a request ended whose end nobody reported.
    pub fn resolve(
        &self,
        account: &AccountId,
        reservation: ReservationId,
        finish: Finish,
        now_ms: u64,
    ) -> Result<Settled, AdminError> {
        match self.run(Administration::Resolve { account, reservation, finish }, now_ms)? {
            Outcome::Settled(settled) => Ok(settled),
            _ => Err(StoreError::WrongOutcome.into()),
        }
    }

    /// Shows an account.
    pub fn account(&self, account: &AccountId, now_ms: u64) -> Result<AccountView, AdminError> {
        match self.run(Administration::Inspect { account }, now_ms)? {
            Outcome::Account(view) => Ok(*view),
            _ => Err(StoreError::WrongOutcome.into()),
        }
    }

    /// Lists the names of accounts, sorted by their bytes: those after `after`, at most `at_most`.
    pub fn accounts(
        &self,
        after: Option<&AccountId>,
        at_most: usize,
        now_ms: u64,
    ) -> Result<Vec<AccountId>, AdminError> {
        match self.run(Administration::ListAccounts { after, at_most }, now_ms)? {
            Outcome::Accounts(names) => Ok(names),
            _ => Err(StoreError::WrongOutcome.into()),
        }
    }

    /// Names the account behind a reference.
    pub fn account_id(&self, account: &AccountRef, now_ms: u64) -> Result<AccountId, AdminError> {
        match self.run(Administration::NameAccount { account }, now_ms)? {
            Outcome::Name(id) => Ok(id),
            _ => Err(StoreError::WrongOutcome.into()),
        }
    }

    /// Lists an account's tokens, by digest.
    pub fn tokens(
        &self,
        account: &AccountId,
        now_ms: u64,
    ) -> Result<Vec<(TokenDigest, Arc<Token>)>, AdminError> {
        match self.run(Administration::ListTokens { account }, now_ms)? {
            Outcome::Tokens(tokens) => Ok(tokens),
            _ => Err(StoreError::WrongOutcome.into()),
        }
    }

    /// Lists an account's reservations, by number: the open ones, and the finished ones that are still
    /// kept.
    pub fn reservations(
        &self,
        account: &AccountId,
        now_ms: u64,
    ) -> Result<Vec<(ReservationId, Reservation)>, AdminError> {
        match self.run(Administration::ListReservations { account }, now_ms)? {
            Outcome::Reservations(reservations) => Ok(reservations),
            _ => Err(StoreError::WrongOutcome.into()),
        }
    }

    /// Reclaims what is due: leases that ended, claims past their retention, cells that are whole
    /// again. Gives how many leases and claims ended.
    pub fn expire(&self, now_ms: u64) -> Result<u64, AdminError> {
        match self.run(Administration::Expire, now_ms)? {
            Outcome::Expired(ended) => Ok(ended),
            _ => Err(StoreError::WrongOutcome.into()),
        }
    }
}
