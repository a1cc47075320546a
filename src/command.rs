//! Command and Outcome: all that the core ever asks of a store, and all that a store answers.

mod administration;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use administration::{AccountPatch, AccountView, Administration, Refusal, TokenPatch};

use crate::idempotency::{ClaimKey, Fingerprint, IdempotencyRule, StoredResponse};
use crate::ledger::{AccountId, AccountRef, Amount, Period, Reservation, ReservationId, SpendCap};
use crate::limit::{Left, Limit, Quota, TokenQuota};
use crate::policy::{ChargeRule, ScopeSet, ScopeTable};
use crate::token::TokenDigest;

/// One thing asked of a store. A store performs it as a whole or not at all.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Command<'a> {
    /// Find a token's credential. Answered by [`Outcome::LookedUp`].
    Lookup(Lookup<'a>),
    /// Compare and apply limits, idempotency claim and charge. Answered by [`Outcome::Admission`].
    Admit(Admit<'a>),
    /// Finish what an admission began. Answered by [`Outcome::Settled`].
    Settle(Settle<'a>),
    /// Change or show what the store holds. Answered by the outcome that each variant names.
    Administer(&'a Administration<'a>),
}

/// Find the credential of a token.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// The token.
    pub digest: &'a TokenDigest,
    /// The policy's scopes, in whose bits the answer is given.
    pub scopes: &'a ScopeTable,
    /// What to admit at once if the token turns out plain: most requests then need no second command.
    pub plain: Option<PlainAdmit<'a>>,
}

/// An admission that asks for limits only, of a token that is plain: live, with no record of its own
/// beyond its scopes, one of which is granted, and of an account without networks.
#[derive(Clone, Copy, Debug)]
pub struct PlainAdmit<'a> {
    /// The scopes of which the token needs one.
    pub granted_by: ScopeSet,
    /// The limits of the route; none counts by source address.
    pub limits: &'a [Limit],
}

impl PlainAdmit<'_> {
    /// Whether a token with this credential may be admitted at once.
    #[must_use]
    pub fn suits(&self, credential: &Credential) -> bool {
        !credential.revoked
            && credential.token.is_none()
            && credential.settings.is_none()
            && self.granted_by.intersects(credential.scopes)
    }
}

/// A store's answer to [`Lookup`].
#[derive(Clone, Debug, Default)]
pub struct LookedUp {
    /// What it knows of the token; `None`: no such token.
    pub credential: Option<Credential>,
    /// The admission, where [`Lookup::plain`] asked for one and it suits. A store may leave it out:
    /// [`Command::Admit`] follows then.
    pub admission: Option<Admission>,
}

/// A plain token that was found and whose request was decided at once, as [`Lookup::plain`] asked.
#[derive(Clone, Debug)]
pub struct PlainAdmission {
    /// Its account.
    pub account: AccountRef,
    /// Its scopes, in the bits of the table that [`Lookup`] gave.
    pub scopes: ScopeSet,
    /// What came of it: it is admitted with nothing to settle, or a limit refuses it.
    pub admission: Admission,
}

impl From<PlainAdmission> for LookedUp {
    fn from(admitted: PlainAdmission) -> Self {
        let PlainAdmission { account, scopes, admission } = admitted;
        let credential = Credential {
            account,
            scopes,
            revoked: false,
            token: None,
            settings: None,
            revision: 0, // it is decided already: nothing is compared with it
        };
        LookedUp { credential: Some(credential), admission: Some(admission) }
    }
}

/// What a store knows of a token.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Its account.
    pub account: AccountRef,
    /// Its scopes, in the bits of the table that [`Lookup`] gave.
    pub scopes: ScopeSet,
    /// Whether it was revoked.
    pub revoked: bool,
    /// The token's record, where it has networks, a quota, caps, an expiry or a predecessor; a store
    /// may leave it out where it has none of them.
    pub token: Option<Arc<Token>>,
    /// The account's settings, where it has networks; a store may leave them out where it has none.
    pub settings: Option<Arc<AccountSettings>>,
    /// Which state of the account's settings and of the token this is. It changes with every change of
    /// them, so that an [`Admit`] that follows is decided only by what is still in force; a store may
    /// change it with other tokens of the account too.
    pub revision: u64,
}

/// A token as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its account.
    pub account: AccountId,
    /// Names of its scopes.
    pub scopes: Vec<Box<str>>,
    /// Networks it may be used from; empty: any.
    pub networks: Vec<IpNet>,
    /// Its own quota, in place of the policy's.
    pub quota: Option<TokenQuota>,
    /// Its own spend caps.
    pub spend_caps: Vec<SpendCap>,
    /// When it expires, in Unix milliseconds.
    pub expires_ms: Option<u64>,
    /// Whether it was revoked. Final.
    pub revoked: bool,
    /// The token it replaced by rotation, or that one's own first ancestor. Spend caps count all of
    /// them together.
    pub ancestor: Option<TokenDigest>,
}

impl Token {
    /// A token with scopes and nothing else.
    #[must_use]
    pub fn plain(account: AccountId, scopes: Vec<Box<str>>) -> Self {
        Token {
            account,
            scopes,
            networks: Vec::new(),
            quota: None,
            spend_caps: Vec::new(),
            expires_ms: None,
            revoked: false,
            ancestor: None,
        }
    }

    /// The digest under which what it spends is counted.
    #[must_use]
    pub fn spends_as(&self, digest: &TokenDigest) -> TokenDigest {
        self.ancestor.unwrap_or(*digest)
    }

    /// Whether a request with it needs more than its scopes to be decided.
    #[must_use]
    pub fn is_restricted(&self) -> bool {
        !self.networks.is_empty()
            || self.quota.is_some()
            || !self.spend_caps.is_empty()
            || self.expires_ms.is_some()
            || self.ancestor.is_some()
    }
}

/// What an operator sets on an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSettings {
    /// Networks its tokens may be used from; empty: any.
    pub networks: Vec<IpNet>,
    /// Its spend caps.
    pub spend_caps: Vec<SpendCap>,
    /// Senders that are approved for it.
    pub senders: Vec<Box<str>>,
}

/// What a request asks of limits, idempotency and ledger, all at once.
#[derive(Clone, Copy, Debug)]
pub struct Admit<'a> {
    /// Whether anything is to be changed.
    pub mode: Mode,
    /// The token.
    pub token: &'a TokenDigest,
    /// The token's record, as the credential gave it.
    pub token_record: Option<&'a Token>,
    /// The account.
    pub account: &'a AccountRef,
    /// [`Credential::revision`], on which the request's standing hangs; `None`: nothing of it was
    /// decided before.
    pub revision: Option<u64>,
    /// The source address; `None` when there is none.
    pub source: Option<IpAddr>,
    /// The limits of the route, those that count requests first.
    pub limits: &'a [Limit],
    /// What limits that are kept apart from this store, and count executions, refuse the request with.
    pub refused_elsewhere: Option<&'a Denial>,
    /// The idempotency key, where the route takes one and the request sent one.
    pub idempotency: &'a Idempotency,
    /// The sender that must be approved.
    pub sender: Option<&'a str>,
    /// Whether the host's own validation refused the request.
    pub invalid: bool,
    /// The price, where it is not zero.
    pub charge: Option<Amount>,
    /// Lease, expiry and retention of what is reserved.
    pub charge_rule: &'a ChargeRule,
    /// Whether the answer carries [`AdmitDetail`].
    pub detail: bool,
}

impl<'a> Admit<'a> {
    /// An admission that asks for limits only.
    #[must_use]
    pub fn limits_only(
        token: &'a TokenDigest,
        account: &'a AccountRef,
        limits: &'a [Limit],
    ) -> Self {
        Admit {
            mode: Mode::Apply,
            token,
            token_record: None,
            account,
            revision: None,
            source: None,
            limits,
            refused_elsewhere: None,
            idempotency: &Idempotency::Absent,
            sender: None,
            invalid: false,
            charge: None,
            charge_rule: &ChargeRule::NONE,
            detail: false,
        }
    }
}

impl Admit<'_> {
    /// The token's own quota.
    #[must_use]
    pub fn own_quota(&self) -> Option<TokenQuota> {
        self.token_record.as_ref().and_then(|token| token.quota)
    }

    /// Whether nothing but limits can hold the request back, and it is to be applied.
    #[must_use]
    pub fn asks_limits_only(&self) -> bool {
        self.mode == Mode::Apply
            && self.refused_elsewhere.is_none()
            && *self.idempotency == Idempotency::Absent
            && self.charge.is_none()
            && self.sender.is_none()
            && !self.invalid
            && !self.detail
    }
}

/// How much of an admission is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Decide and apply.
    Apply,
    /// Decide, and change nothing.
    Peek,
    /// Report the limits only, for a request that was denied before them; changes nothing.
    Observe,
}

/// The idempotency key of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Idempotency {
    /// The route takes none, or the request sent none.
    Absent,
    /// The key is missing though required, or malformed.
    Invalid,
    /// A key.
    Key {
        /// The claim it makes.
        claim: ClaimKey,
        /// The request it stands for.
        fingerprint: Fingerprint,
        /// How the route treats it.
        rule: IdempotencyRule,
    },
}

/// A store's answer to [`Admit`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Admission {
    /// What came of it.
    pub verdict: AdmitVerdict,
    /// The enforced limit that is closest to its end, after this request.
    pub tightest: Option<LimitReport>,
    /// What would have been refused if it were enforced.
    pub shadows: Shadows,
    /// Every check, where [`Admit::detail`] asked for it.
    pub detail: Option<Box<AdmitDetail>>,
}

/// What came of an admission.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum AdmitVerdict {
    /// All checks passed. `reservation` is there when something must be settled.
    Admitted {
        /// Its number, for [`Settle`].
        reservation: Option<ReservationId>,
    },
    /// The key's first request was completed; this is its answer.
    Replay(Arc<StoredResponse>),
    /// A check failed.
    Denied(Denial),
    /// The account's settings or tokens were changed since the look-up: look the token up again.
    /// Nothing was changed.
    CredentialChanged,
}

/// The check of an admission that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Denial {
    /// A limit is used up.
    RateLimited {
        /// Its index in [`Admit::limits`].
        limit: u16,
        /// The first Unix millisecond at which the request would pass, as far as limits go.
        retry_at_ms: u64,
    },
    /// The key's first request still runs, or its holder is lost.
    InFlight,
    /// The key stands for another request.
    KeyReused,
    /// The key is missing though required, or malformed.
    KeyInvalid,
    /// The sender is not approved for the account.
    SenderNotApproved,
    /// The host refused the request.
    ValidationFailed,
    /// A spend cap would be exceeded.
    SpendCapExceeded {
        /// Whose cap.
        holder: CapHolder,
        /// The cap's period.
        per: Period,
        /// What is left in it.
        left: Amount,
    },
    /// The wallet is too low.
    InsufficientBalance {
        /// What is available.
        available: Amount,
    },
}

/// Whose spend cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CapHolder {
    /// The token's.
    Token,
    /// The account's.
    Account,
}

/// Where a limit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitReport {
    /// Its index in [`Admit::limits`].
    pub limit: u16,
    /// The quota in force: the token's own or the limit's.
    pub quota: Quota,
    /// What is left.
    pub left: Left,
}

/// Checks in shadow mode that would have refused the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadows {
    /// One bit per index in [`Admit::limits`].
    pub limits: u64,
    /// A spend cap of the token or the account.
    pub spend_caps: bool,
    /// The networks of the token or the account.
    pub networks: bool,
}

impl Shadows {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Shadows::default()
    }
}

/// What the checks of an admission saw, for the operator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmitDetail {
    /// Each limit in order: where it stood before, and when it refused, from when it would not.
    pub limits: Vec<(LimitReport, Result<(), Option<u64>>)>,
    /// Each cap: holder, cap, what was spent in its period.
    pub spend_caps: Vec<(CapHolder, SpendCap, Amount)>,
    /// What the wallet had available.
    pub available: Amount,
}

/// Finish what an admission began.
#[derive(Clone, Copy, Debug)]
pub struct Settle<'a> {
    /// The account.
    pub account: &'a AccountRef,
    /// The reservation that the admission gave.
    pub reservation: ReservationId,
    /// How it ended.
    pub finish: &'a Finish,
}

/// How a request that went through ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finish {
    /// It was carried out.
    Settle {
        /// What it cost, at most what was reserved; `None` is all of it.
        amount: Option<Amount>,
        /// The upstream's answer, for replays.
        response: Option<Arc<StoredResponse>>,
    },
    /// It was not carried out, or costs nothing. Without a response the idempotency key is free again;
    /// with one, that response is replayed.
    Void {
        /// The upstream's answer, for replays.
        response: Option<Arc<StoredResponse>>,
    },
    /// Nobody knows. The key stays in flight and the money held, until somebody does or a lease ends.
    Unknown,
}

/// What became of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// What was posted; `None` while it is still unknown.
    pub posted: Option<Amount>,
}

/// A store's answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// To [`Command::Lookup`].
    LookedUp(LookedUp),
    /// To [`Command::Admit`].
    Admission(Admission),
    /// To [`Command::Settle`] and [`Administration::Resolve`].
    Settled(Settled),
    /// The change is made.
    Done,
    /// To [`Administration::Inspect`].
    Account(Box<AccountView>),
    /// To [`Administration::ListAccounts`].
    Accounts(Vec<AccountId>),
    /// To [`Administration::ListTokens`].
    Tokens(Vec<(TokenDigest, Arc<Token>)>),
    /// To [`Administration::ListReservations`].
    Reservations(Vec<(ReservationId, Reservation)>),
    /// To [`Administration::NameAccount`].
    Name(AccountId),
    /// To [`Administration::Expire`]: how many leases and claims ended.
    Expired(u64),
    /// The command was refused and changed nothing.
    Refused(Refusal),
}
