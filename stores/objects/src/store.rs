//! The caller's half.

use std::fmt;

use tollgate::{
    AccountId, AccountRef, Administration, Command, MAX_NOW_MS, Outcome, Refusal, Settle,
    StoreError,
};

use crate::administer::administer;
use crate::admit::admit;
use crate::cache::TokenCache;
use crate::exchange::{Exchange, Io};
use crate::look_up::look_up;
use crate::message::Message;
use crate::name;
use crate::wire::unavailable;

/// Options of an [`ObjectsStore`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectsOptions {
    /// How many tokens are kept at hand, some hundred bytes each: a request of one that is needs one message,
    /// and otherwise three. 0: none. Default: 10 000.
    pub cached_tokens: usize,
}

impl Default for ObjectsOptions {
    fn default() -> Self {
        ObjectsOptions { cached_tokens: 10_000 }
    }
}

/// A store whose state is in objects that others keep: it says what to send to which, and makes outcomes of
/// their answers.
///
/// Any number of callers may have the same objects.
pub struct ObjectsStore {
    pub(crate) cache: TokenCache,
}

impl fmt::Debug for ObjectsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectsStore").finish_non_exhaustive()
    }
}

impl Default for ObjectsStore {
    fn default() -> Self {
        ObjectsStore::new(&ObjectsOptions::default())
    }
}

impl ObjectsStore {
    /// With these options.
    #[must_use]
    pub fn new(options: &ObjectsOptions) -> Self {
        ObjectsStore { cache: TokenCache::new(options.cached_tokens) }
    }

    /// Starts a command at `now_ms`, which is the time for all objects that take part in it.
    #[must_use]
    pub fn start<'a>(&'a self, command: &'a Command<'a>, now_ms: u64) -> Exchange<'a> {
        Exchange::start(now_ms, |io| async move {
            let outcome = self.perform(io, command, now_ms).await?;
            if belongs(command, &outcome) { Ok(outcome) } else { Err(StoreError::WrongOutcome) }
        })
    }

    async fn perform(
        &self,
        io: Io,
        command: &Command<'_>,
        now_ms: u64,
    ) -> Result<Outcome, StoreError> {
        if now_ms > MAX_NOW_MS {
            return Ok(Outcome::Refused(Refusal::ClockOutOfRange));
        }
        match command {
            Command::Lookup(lookup) => look_up(self, &io, lookup, now_ms).await,
            Command::Admit(request) => admit(self, &io, request).await,
            Command::Settle(Settle { account, reservation, finish }) => {
                let account = named(account)?.clone();
                let (object, reservation) = (name::account(&account), *reservation);
                let finish = std::borrow::Cow::Borrowed(*finish);
                let message = Message::Settle { account, reservation, finish };
                io.ask(object, &message).await?.into_outcome()
            }
            Command::Administer(administration) => administer(self, &io, administration).await,
            _ => Err(unknown_command()),
        }
    }
}

/// Whether an outcome is one of a command: an object may answer anything.
fn belongs(command: &Command<'_>, outcome: &Outcome) -> bool {
    let administration = match (command, outcome) {
        (_, Outcome::Refused(_)) => return true,
        (Command::Lookup(_), outcome) => return matches!(outcome, Outcome::LookedUp(_)),
        (Command::Admit(_), outcome) => return matches!(outcome, Outcome::Admission(_)),
        (Command::Settle(_), outcome) => return matches!(outcome, Outcome::Settled(_)),
        (Command::Administer(administration), _) => administration,
        _ => return false,
    };
    match administration {
        Administration::Resolve { .. } => matches!(outcome, Outcome::Settled(_)),
        Administration::Inspect { .. } => matches!(outcome, Outcome::Account(_)),
        Administration::ListAccounts { .. } => matches!(outcome, Outcome::Accounts(_)),
        Administration::ListTokens { .. } => matches!(outcome, Outcome::Tokens(_)),
        Administration::ListReservations { .. } => matches!(outcome, Outcome::Reservations(_)),
        Administration::NameAccount { .. } => matches!(outcome, Outcome::Name(_)),
        Administration::Expire => matches!(outcome, Outcome::Expired(_)),
        _ => matches!(outcome, Outcome::Done),
    }
}

pub(crate) fn unknown_command() -> StoreError {
    unavailable("this version of the store does not know the command; use a later one")
}

/// The account behind a reference: this store gives out names only.
pub(crate) fn named(account: &AccountRef) -> Result<&AccountId, StoreError> {
    match account {
        AccountRef::Id(id) => Ok(id),
        AccountRef::Slot(_) => Err(unavailable(
            "the account reference is another store's; look the token up in this one",
        )),
    }
}
