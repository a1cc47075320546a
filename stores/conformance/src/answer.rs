//! Outcomes as data that can be compared: accounts by name, the same for every store.

use std::fmt;
use std::sync::Arc;

use tollgate::{
    AccountId, AccountRef, AccountView, Admin, Admission, AdmitDetail, AdmitVerdict, Credential,
    Denial, IpNet, LimitReport, Outcome, Refusal, Reservation, ReservationId, ScopeTable, Settled,
    Shadows, Store, StoreError, StoredResponse, Token, TokenDigest,
};

/// What a store answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To a look-up.
    LookedUp(Option<Box<Known>>),
    /// To an admission.
    Admission(Box<Admitted>),
    /// To a settlement or resolution.
    Settled(Settled),
    /// The change is made.
    Done,
    /// An account.
    Account(Box<AccountView>),
    /// Names of accounts, in their order.
    Accounts(Vec<AccountId>),
    /// Tokens, in their order.
    Tokens(Vec<(TokenDigest, Token)>),
    /// Reservations, in their order.
    Reservations(Vec<(ReservationId, Reservation)>),
    /// An account's name.
    Name(AccountId),
    /// How many leases and claims ended.
    Expired(u64),
    /// Refused.
    Refused(Refusal),
    /// A bound is reached; of what is the store's own.
    Full,
    /// The store failed.
    Failed(StoreError),
    /// An outcome that this suite does not know.
    Other(String),
}

/// A credential.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// The name of its account.
    pub account: Option<AccountId>,
    /// The names of its scopes.
    pub scopes: Vec<String>,
    /// Whether it was revoked.
    pub revoked: bool,
    /// Its record, where it is restricted.
    pub token: Option<Token>,
    /// The networks of its account.
    pub networks: Vec<IpNet>,
}

/// An admission.
#[derive(Clone, Debug, PartialEq)]
pub struct Admitted {
    /// What came of it.
    pub verdict: Verdict,
    /// The enforced limit that is closest to its end.
    pub tightest: Option<LimitReport>,
    /// What would have been refused if it were enforced.
    pub shadows: Shadows,
    /// What every check saw.
    pub detail: Option<AdmitDetail>,
}

/// What came of an admission.
#[derive(Clone, PartialEq)]
pub enum Verdict {
    /// All checks passed.
    Admitted(Option<ReservationId>),
    /// Replayed, with the whole stored response.
    Replay(Arc<StoredResponse>),
    /// A check failed.
    Denied(Denial),
    /// The credential is no longer so.
    CredentialChanged,
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Admitted(reservation) => write!(f, "Admitted({reservation:?})"),
            Verdict::Replay(response) => {
                // These are the suite's own responses: what differs is to be seen.
                let body = response.body.as_deref().map(|body| body.get(..32).unwrap_or(body));
                write!(
                    f,
                    "Replay({response:?} {:?})",
                    body.map(|body| body.escape_ascii().to_string())
                )
            }
            Verdict::Denied(denial) => write!(f, "Denied({denial:?})"),
            Verdict::CredentialChanged => f.write_str("CredentialChanged"),
        }
    }
}

impl Verdict {
    /// The verdict of an admission.
    #[must_use]
    pub fn of(verdict: &AdmitVerdict) -> Self {
        match verdict {
            AdmitVerdict::Admitted { reservation } => Verdict::Admitted(*reservation),
            AdmitVerdict::Replay(response) => Verdict::Replay(Arc::clone(response)),
            AdmitVerdict::Denied(denial) => Verdict::Denied(denial.clone()),
            AdmitVerdict::CredentialChanged => Verdict::CredentialChanged,
        }
    }
}

impl Admitted {
    /// An admission as data.
    #[must_use]
    pub fn of(admission: &Admission) -> Self {
        Admitted {
            verdict: Verdict::of(&admission.verdict),
            tightest: admission.tightest,
            shadows: admission.shadows,
            detail: admission.detail.as_deref().cloned(),
        }
    }
}

impl Known {
    /// A credential as data. What a store may leave out is left out.
    pub fn of(
        store: &dyn Store,
        credential: &Credential,
        scopes: &ScopeTable,
        now_ms: u64,
    ) -> Self {
        let settings = credential.settings.as_deref();
        Known {
            account: name_of(store, &credential.account, now_ms),
            scopes: scopes.names_in(credential.scopes).map(str::to_owned).collect(),
            revoked: credential.revoked,
            token: credential.token.as_deref().filter(|token| token.is_restricted()).cloned(),
            networks: settings.map(|settings| settings.networks.clone()).unwrap_or_default(),
        }
    }
}

/// The name behind a reference, as the store knows it.
pub fn name_of(store: &dyn Store, account: &AccountRef, now_ms: u64) -> Option<AccountId> {
    // Naming takes no time of its own: a command beyond the range of times still has an account.
    Admin::new(store).account_id(account, now_ms.min(tollgate::MAX_NOW_MS)).ok()
}

impl Answer {
    /// An outcome of anything but a look-up as data.
    #[must_use]
    pub fn of(outcome: Result<Outcome, StoreError>) -> Self {
        match outcome {
            Ok(Outcome::Admission(admission)) => {
                Answer::Admission(Box::new(Admitted::of(&admission)))
            }
            Ok(Outcome::Settled(settled)) => Answer::Settled(settled),
            Ok(Outcome::Done) => Answer::Done,
            Ok(Outcome::Account(view)) => Answer::Account(view),
            Ok(Outcome::Accounts(names)) => Answer::Accounts(names),
            Ok(Outcome::Tokens(tokens)) => Answer::Tokens(
                tokens.into_iter().map(|(digest, token)| (digest, (*token).clone())).collect(),
            ),
            Ok(Outcome::Reservations(reservations)) => Answer::Reservations(reservations),
            Ok(Outcome::Name(id)) => Answer::Name(id),
            Ok(Outcome::Expired(ended)) => Answer::Expired(ended),
            Ok(Outcome::Refused(refusal)) => Answer::Refused(refusal),
            Ok(other) => Answer::Other(format!("{other:?}")),
            Err(StoreError::Full { .. }) => Answer::Full,
            Err(error) => Answer::Failed(error),
        }
    }
}
