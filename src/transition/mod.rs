//! The one place where state changes are defined: pure functions from (records, command, now) to
//! (records, outcome).
//!
//! A store gives its records through [`Records`] and calls [`perform`]. Every function reads first,
//! decides, and then commits once: a store that makes `commit` atomic makes the command atomic.

mod administer;
mod admit;
mod expire;
mod limits;
#[cfg(feature = "std")] // the memory store's
mod one_gcra;
mod settle;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

pub use admit::admit;
pub use expire::expire_account;
pub use limits::{CheckedLimit, CheckedLimits, Counted};
#[cfg(feature = "std")]
pub(crate) use one_gcra::admit_one_gcra;

pub use crate::ledger::MAX_REFUNDS;

use crate::MAX_NOW_MS;
use crate::command::{
    AccountSettings, Administration, Admit, Command, Credential, LookedUp, Lookup, Outcome,
    Refusal, Settled, Token,
};
use crate::idempotency::{Claim, ClaimKey};
use crate::ledger::{AccountId, AccountRef, Reservation, ReservationId, Spend, Wallet};
use crate::limit::{Cell, CellKey};
use crate::policy::ScopeTable;
use crate::token::TokenDigest;

/// A store's records, as one command sees them: nothing else changes them until it is done.
pub trait Records {
    /// Why a record could not be read or written.
    type Error;

    /// The reference under which this store keeps an account; `None`: no such account.
    ///
    /// # Errors
    /// When the record cannot be read. The same holds for all that follow.
    fn find_account(&mut self, id: &AccountId) -> Result<Option<AccountRef>, Self::Error>;
    /// The names of accounts, sorted by their bytes: those after `after`, at most `at_most`.
    #[allow(clippy::missing_errors_doc)]
    fn account_ids(
        &mut self,
        after: Option<&AccountId>,
        at_most: usize,
    ) -> Result<Vec<AccountId>, Self::Error>;
    /// The name behind a reference.
    #[allow(missing_docs, clippy::missing_errors_doc)]
    fn account_id(&mut self, account: &AccountRef) -> Result<Option<AccountId>, Self::Error>;
    /// A token.
    #[allow(clippy::missing_errors_doc)]
    fn token(&mut self, digest: &TokenDigest) -> Result<Option<Arc<Token>>, Self::Error>;
    /// All tokens of an account, in the order of their digests.
    #[allow(clippy::missing_errors_doc)]
    fn tokens(
        &mut self,
        account: &AccountRef,
    ) -> Result<Vec<(TokenDigest, Arc<Token>)>, Self::Error>;
    /// The state of a limit for a partition.
    #[allow(clippy::missing_errors_doc)]
    fn cell(&mut self, key: &CellKey) -> Result<Option<Cell>, Self::Error>;
    /// An account's settings.
    #[allow(clippy::missing_errors_doc)]
    fn settings(&mut self, account: &AccountRef) -> Result<Arc<AccountSettings>, Self::Error>;
    /// A number that changes with every commit of an account's settings or of a token of it, so that
    /// nothing is decided by what was looked up before.
    #[allow(clippy::missing_errors_doc)]
    fn revision(&mut self, account: &AccountRef) -> Result<u64, Self::Error>;
    /// An account's money.
    #[allow(clippy::missing_errors_doc)]
    fn wallet(&mut self, account: &AccountRef) -> Result<Wallet, Self::Error>;
    /// What a token (or its first ancestor) has spent.
    #[allow(clippy::missing_errors_doc)]
    fn token_spend(
        &mut self,
        account: &AccountRef,
        spends_as: &TokenDigest,
    ) -> Result<Spend, Self::Error>;
    /// A claim on an idempotency key.
    #[allow(clippy::missing_errors_doc)]
    fn claim(&mut self, account: &AccountRef, key: &ClaimKey)
    -> Result<Option<Claim>, Self::Error>;
    /// A reservation.
    #[allow(clippy::missing_errors_doc)]
    fn reservation(
        &mut self,
        account: &AccountRef,
        id: ReservationId,
    ) -> Result<Option<Reservation>, Self::Error>;
    /// All reservations of an account, in the order of their numbers.
    #[allow(clippy::missing_errors_doc)]
    fn reservations(
        &mut self,
        account: &AccountRef,
    ) -> Result<Vec<(ReservationId, Reservation)>, Self::Error>;
    /// The claim or reservation of an account that fell due first, at or before `now_ms`.
    #[allow(clippy::missing_errors_doc)]
    fn due(&mut self, account: &AccountRef, now_ms: u64) -> Result<Option<Due>, Self::Error>;
    /// Removes a claim or reservation that fell due.
    #[allow(clippy::missing_errors_doc)]
    fn forget(&mut self, account: &AccountRef, due: Due) -> Result<(), Self::Error>;
    /// Removes what fell due until `now_ms` and needs no more than that: claims, and reservations that
    /// hold no money. Stops at the first lease of held money, and gives it. Also gives how many claims
    /// ended. A store may do this more quickly than step by step.
    #[allow(clippy::missing_errors_doc)]
    #[allow(clippy::type_complexity)] // a count, and a record by its number
    fn sweep(
        &mut self,
        account: &AccountRef,
        now_ms: u64,
    ) -> Result<(u64, Option<(ReservationId, Reservation)>), Self::Error> {
        let mut claims = 0_u64;
        while let Some(due) = self.due(account, now_ms)? {
            match due {
                Due::Claim(_) => claims = claims.saturating_add(1),
                Due::Reservation(id) => {
                    let held = self.reservation(account, id)?.filter(Reservation::holds_money);
                    if let Some(held) = held {
                        return Ok((claims, Some((id, held))));
                    }
                }
            }
            self.forget(account, due)?;
        }
        Ok((claims, None))
    }
    /// Makes all the changes, or none.
    ///
    /// # Errors
    /// When they cannot be made, for instance because the store is full. Nothing is changed then.
    fn commit(&mut self, changes: Changes<'_>) -> Result<(), Self::Error>;
}

/// What fell due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// A claim's retention has ended.
    Claim(ClaimKey),
    /// A reservation's lease, or the retention of its record, has ended.
    Reservation(ReservationId),
}

/// The time of what never falls due.
pub const NEVER_MS: u64 = u64::MAX;

/// Changes to be made together. Absent parts stay as they are.
#[derive(Debug, Default)]
pub struct Changes<'c> {
    /// The account that all but cells and new accounts belong to.
    pub account: Option<&'c AccountRef>,
    /// A new account.
    pub new_account: Option<Box<(&'c AccountId, AccountSettings, Wallet)>>,
    /// Limiter cells, each with the Unix millisecond from which it says no more than an absent one.
    pub cells: &'c [(CellKey, Cell, u64)],
    /// The account's settings.
    pub settings: Option<Arc<AccountSettings>>,
    /// The account's money.
    pub wallet: Option<Wallet>,
    /// What a token has spent.
    pub token_spend: Option<(TokenDigest, Spend)>,
    /// Tokens to put.
    pub tokens: Vec<(TokenDigest, Token)>,
    /// A reservation to put, and when [`Records::due`] gives it.
    pub reservation: Option<(ReservationId, Reservation, u64)>,
    /// A claim to put or remove.
    pub claim: Option<(ClaimKey, Change<Claim>)>,
}

/// What becomes of a record.
#[derive(Debug)]
pub enum Change<T> {
    /// It is written, and falls due at `due_ms`.
    Put {
        /// The record.
        record: T,
        /// When [`Records::due`] gives it.
        due_ms: u64,
    },
    /// It is removed.
    Remove,
}

/// Performs a command on records.
///
/// [`Administration::Expire`] spans accounts: a store calls [`expire_account`] for each account that
/// has something due. Here it is answered with zero.
///
/// # Errors
/// Those of `records`, and only those; nothing is changed then.
pub fn perform<R: Records>(
    records: &mut R,
    command: &Command<'_>,
    now_ms: u64,
) -> Result<Outcome, R::Error> {
    if now_ms > MAX_NOW_MS {
        return Ok(Outcome::Refused(Refusal::ClockOutOfRange));
    }
    match command {
        Command::Lookup(lookup) => Ok(Outcome::LookedUp(look_up(records, lookup, now_ms)?)),
        Command::Admit(request) => Ok(Outcome::Admission(admit(records, request, now_ms)?)),
        Command::Settle(settle) => {
            let finished = settle::finish(
                records,
                settle.account,
                settle.reservation,
                settle.finish,
                settle::By::Host,
                now_ms,
            )?;
            Ok(settled(finished))
        }
        Command::Administer(Administration::Resolve { account, reservation, finish }) => {
            let Some(account) = records.find_account(account)? else {
                return Ok(Outcome::Refused(Refusal::UnknownAccount));
            };
            let finished = settle::finish(
                records,
                &account,
                *reservation,
                finish,
                settle::By::Operator,
                now_ms,
            )?;
            Ok(settled(finished))
        }
        Command::Administer(administration) => {
            Ok(administer::administer(records, administration, now_ms)?
                .unwrap_or_else(Outcome::Refused))
        }
    }
}

fn settled(finished: Result<Settled, Refusal>) -> Outcome {
    finished.map_or_else(Outcome::Refused, Outcome::Settled)
}

fn look_up<R: Records>(
    records: &mut R,
    lookup: &Lookup<'_>,
    now_ms: u64,
) -> Result<LookedUp, R::Error> {
    let Some(token) = records.token(lookup.digest)? else { return Ok(LookedUp::default()) };
    let Some(account) = records.find_account(&token.account)? else {
        return Ok(LookedUp::default());
    };
    let settings = records.settings(&account)?;
    let revision = records.revision(&account)?;
    let credential = credential(token, account, settings, revision, lookup.scopes);
    let admission = match lookup.plain.filter(|plain| plain.suits(&credential)) {
        Some(plain) => {
            let request = Admit::limits_only(lookup.digest, &credential.account, plain.limits);
            Some(admit(records, &request, now_ms)?)
        }
        None => None,
    };
    Ok(LookedUp { credential: Some(credential), admission })
}

/// The credential of a token record.
pub fn credential(
    token: Arc<Token>,
    account: AccountRef,
    settings: Arc<AccountSettings>,
    revision: u64,
    scopes: &ScopeTable,
) -> Credential {
    Credential {
        account,
        scopes: scopes.set(token.scopes.iter().map(|name| &**name)),
        revoked: token.revoked,
        settings: (!settings.networks.is_empty()).then_some(settings),
        token: token.is_restricted().then_some(token),
        revision,
    }
}
