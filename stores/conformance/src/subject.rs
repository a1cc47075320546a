//! The store under test, and what it says it can do.

use std::fmt;
use std::sync::Arc;

use tollgate::{AccountId, CellKey, ClaimKey, ReservationId, Store, StoreError, TokenDigest};
use tollgate_scenario::Backend;

/// Opens a second handle onto the state of a store.
type Share = dyn Fn(&Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError>;
/// Makes a store with a tiny bound.
type Bounded = dyn Fn(Bound) -> Option<Result<Arc<dyn Store>, StoreError>>;
/// Damages a record.
type Corrupt = dyn Fn(&Arc<dyn Store>, &Damage) -> bool;

/// What there may be too many of in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Accounts.
    Accounts,
    /// Tokens.
    Tokens,
    /// Limiter cells.
    Cells,
    /// Idempotency claims.
    Claims,
    /// Reservations.
    Reservations,
    /// Claims, or reservations, of one account.
    PerAccount,
}

/// A record to be damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A token's record.
    Token(TokenDigest),
    /// An account's settings.
    Account(AccountId),
    /// An account's money.
    Wallet(AccountId),
    /// An idempotency claim of an account.
    Claim(AccountId, ClaimKey),
    /// A reservation of an account.
    Reservation(AccountId, ReservationId),
    /// A limiter cell.
    Cell(CellKey),
}

/// A kind of store under test: how to make one, and what it promises beyond what every store does.
pub struct Subject {
    backend: Box<dyn Backend>,
    share: Option<Box<Share>>,
    bounded: Option<Box<Bounded>>,
    corrupt: Option<Box<Corrupt>>,
    durable: bool,
    limits_apart: bool,
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("durable", &self.durable)
            .field("shared", &self.share.is_some())
            .field("bounded", &self.bounded.is_some())
            .field("corruptible", &self.corrupt.is_some())
            .field("limits_apart", &self.limits_apart)
            .finish_non_exhaustive()
    }
}

impl Subject {
    /// Stores that this backend makes, with no more than every store can do.
    #[must_use]
    pub fn new(backend: impl Backend + 'static) -> Self {
        Subject {
            backend: Box::new(backend),
            share: None,
            bounded: None,
            corrupt: None,
            durable: false,
            limits_apart: false,
        }
    }

    /// What was committed is there after [`Backend::reopen`].
    #[must_use]
    pub fn durable(self) -> Self {
        Subject { durable: true, ..self }
    }

    /// A second handle onto the same state can be opened, from another process, say. The two handles
    /// understand each other's accounts by name.
    #[must_use]
    pub fn shared(
        self,
        share: impl Fn(&Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> + 'static,
    ) -> Self {
        Subject { share: Some(Box::new(share)), ..self }
    }

    /// A store can be made whose bound is reached within [`MAX_TRIES`](crate::MAX_TRIES) new entries;
    /// all other bounds are wide. `None`: there is no bound of this kind.
    #[must_use]
    pub fn bounded(
        self,
        bounded: impl Fn(Bound) -> Option<Result<Arc<dyn Store>, StoreError>> + 'static,
    ) -> Self {
        Subject { bounded: Some(Box::new(bounded)), ..self }
    }

    /// The bytes of a stored record can be damaged behind the store's back. `false`: the store keeps no
    /// such record apart from others.
    #[must_use]
    pub fn corruptible(self, corrupt: impl Fn(&Arc<dyn Store>, &Damage) -> bool + 'static) -> Self {
        Subject { corrupt: Some(Box::new(corrupt)), ..self }
    }

    /// Limits are counted in a store of their own (see [`CompositeStore`](tollgate::CompositeStore)): a
    /// limit may refuse before it is seen that the credential changed, units that were taken and given
    /// back count where the clock runs back, what is due in an account is not dealt with by a request that
    /// a limit refuses, damage to one store is not seen by the other, and an account is counted under the
    /// words by which it is named.
    #[must_use]
    pub fn limits_apart(self) -> Self {
        Subject { limits_apart: true, ..self }
    }

    /// An empty store.
    #[must_use]
    pub fn fresh(&self) -> Arc<dyn Store> {
        self.backend.fresh().unwrap_or_else(|error| panic!("no store could be made: {error}"))
    }

    /// The store after a restart of what it lives in.
    #[must_use]
    pub fn reopen(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        let reopened = self.backend.reopen(store);
        reopened.unwrap_or_else(|error| panic!("the store could not be opened again: {error}"))
    }

    /// A second handle onto a store's state.
    #[must_use]
    pub fn share(&self, store: &Arc<dyn Store>) -> Arc<dyn Store> {
        let Some(share) = &self.share else { panic!("say `shared = …` in the suite's line") };
        share(store).unwrap_or_else(|error| panic!("no second handle could be opened: {error}"))
    }

    /// A store with a tiny bound, where it has a bound of this kind.
    #[must_use]
    pub fn with_bound(&self, bound: Bound) -> Option<Arc<dyn Store>> {
        let Some(bounded) = &self.bounded else {
            panic!("say `bounded = …` in the suite's line")
        };
        let store = bounded(bound)?;
        Some(store.unwrap_or_else(|error| panic!("no store with a bound could be made: {error}")))
    }

    /// Damages a record; `false` where the store has none such.
    #[must_use]
    pub fn corrupt(&self, store: &Arc<dyn Store>, damage: &Damage) -> bool {
        let Some(corrupt) = &self.corrupt else {
            panic!("say `corruptible = …` in the suite's line")
        };
        corrupt(store, damage)
    }

    /// Whether limits are kept apart from accounts.
    #[must_use]
    pub fn keeps_limits_apart(&self) -> bool {
        self.limits_apart
    }
}
