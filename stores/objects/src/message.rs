//! What a caller asks of an object. The order of variants and fields is the format: another one would be
//! another [`VERSION`](crate::VERSION).

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tollgate::{
    AccountId, AccountPatch, Algorithm, Amount, Cell, CellKey, ChargeRule, Counts, Denial, Finish,
    Idempotency, Limit, MAX_LIMITS_PER_ROUTE, Mode, Quota, ReservationId, Token, TokenDigest,
    TokenPatch,
};

/// One thing asked of an object.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Message<'a> {
    // To a shard of the token directory.
    /// Whose is this digest?
    Owner {
        digest: TokenDigest,
    },
    /// It is this account's from now on, unless it has one already.
    Claim {
        digest: TokenDigest,
        account: AccountId,
    },

    // To the register of accounts.
    /// Note this name, before its account is made.
    Register {
        account: AccountId,
    },
    /// Its account is there.
    Confirm {
        account: AccountId,
    },
    /// Names in their order.
    Names {
        after: Option<AccountId>,
        at_most: u32,
    },

    // To whatever counts for many accounts.
    /// How do these limits stand?
    Read {
        counters: Vec<Counter>,
    },
    /// Count in those that pass, as far as none refuses that is enforced.
    Take {
        counters: Vec<Counter>,
    },
    /// Take what was counted back out.
    GiveBack {
        taken: Vec<Taken>,
        at_ms: u64,
    },

    // To an account.
    LookUp {
        account: AccountId,
        digest: TokenDigest,
        plain: Option<Plain<'a>>,
    },
    Admit(Box<AdmitMessage<'a>>),
    Settle {
        account: AccountId,
        reservation: ReservationId,
        finish: Cow<'a, Finish>,
    },
    PutAccount {
        account: AccountId,
        opening_balance: Amount,
        settings: Cow<'a, AccountPatch>,
    },
    /// `claimed`: the directory has the digest as this account's.
    PutToken {
        account: AccountId,
        digest: TokenDigest,
        settings: Cow<'a, TokenPatch>,
        claimed: bool,
    },
    RevokeToken {
        digest: TokenDigest,
    },
    /// `claimed`: the directory has the new digest as this account's.
    RotateToken {
        old: TokenDigest,
        new: TokenDigest,
        grace_ms: u64,
        claimed: bool,
    },
    Deposit {
        account: AccountId,
        amount: Amount,
    },
    Refund {
        account: AccountId,
        reservation: ReservationId,
        amount: Amount,
        reference: Cow<'a, str>,
    },
    Resolve {
        account: AccountId,
        reservation: ReservationId,
        finish: Cow<'a, Finish>,
    },
    Inspect {
        account: AccountId,
    },
    ListTokens {
        account: AccountId,
    },
    ListReservations {
        account: AccountId,
    },
    NameAccount {
        account: AccountId,
    },
    Expire,
}

/// An admission for which a token may turn out plain enough.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plain<'a> {
    pub(crate) granted_by: Vec<Box<str>>,
    pub(crate) limits: Cow<'a, [Limit]>,
}

/// The parts of [`Admit`](tollgate::Admit).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AdmitMessage<'a> {
    pub(crate) mode: Mode,
    pub(crate) token: TokenDigest,
    pub(crate) token_record: Option<Cow<'a, Token>>,
    pub(crate) account: AccountId,
    pub(crate) revision: Option<u64>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) limits: Cow<'a, [Limit]>,
    pub(crate) refused_elsewhere: Option<Cow<'a, Denial>>,
    pub(crate) idempotency: Idempotency,
    pub(crate) sender: Option<Cow<'a, str>>,
    pub(crate) invalid: bool,
    pub(crate) charge: Option<Amount>,
    pub(crate) charge_rule: ChargeRule,
    pub(crate) detail: bool,
    /// Cells that other objects keep, as they were before the request was counted there.
    pub(crate) elsewhere: Vec<(CellKey, Option<Cell>)>,
}

/// What an object that counts for many accounts has to know of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counter {
    pub(crate) key: CellKey,
    pub(crate) algorithm: Algorithm,
    pub(crate) quota: Quota,
    pub(crate) cost: u64,
    pub(crate) counts: Counts,
    pub(crate) enforced: bool,
}

/// Something that was counted, and the cell before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Taken {
    pub(crate) counter: Counter,
    pub(crate) before: Option<Cell>,
}

impl Message<'_> {
    /// Whether it may be performed twice where nobody knows whether it was performed once: that comes to the
    /// same. (`Expire` then tells only what the second time ended.)
    pub(crate) fn is_repeatable(&self) -> bool {
        match self {
            Message::Take { .. }
            | Message::GiveBack { .. }
            | Message::Deposit { .. }
            | Message::RotateToken { claimed: true, .. }
            | Message::LookUp { plain: Some(_), .. } => false,
            Message::Admit(admit) => admit.mode != Mode::Apply,
            _ => true,
        }
    }

    /// Whether it has no more limits than a policy gives a route.
    pub(crate) fn is_sound(&self) -> bool {
        let limits = match self {
            Message::LookUp { plain: Some(plain), .. } => plain.limits.len(),
            Message::Admit(admit) => admit.limits.len().max(admit.elsewhere.len()),
            Message::Read { counters } | Message::Take { counters } => counters.len(),
            Message::GiveBack { taken, .. } => taken.len(),
            _ => 0,
        };
        limits <= MAX_LIMITS_PER_ROUTE
    }
}
