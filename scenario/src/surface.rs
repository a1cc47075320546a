//! What scenarios run through: the library, or anything else that decides as it does.

use serde_json::{Value, json};
use tollgate::{Amount, Finish, PolicyConfig, TraceStep, Verdict};

use crate::error::StepError;
use crate::fields::{
    AccountStep, DepositStep, InspectStep, RequestStep, RevokeStep, RotateStep, TokenStep,
};
use crate::wire::wire_text;

/// Starts engines that scenarios run through, each with an empty store.
///
/// Every [`Backend`](crate::Backend) is one: the library's own engine over the backend's stores.
pub trait Surfaces {
    /// A started engine with its store.
    type Surface: Surface;

    /// Starts one with this policy and an empty store. Another one may still be there.
    ///
    /// # Errors
    /// A policy that does not compile, with the library's text; or what could not be started.
    fn start(&self, policy: PolicyConfig) -> Result<Self::Surface, StepError>;

    /// The same policy and store after a restart: what is kept durably is there, the rest is gone.
    ///
    /// # Errors
    /// When it cannot be opened again. Nothing is left then.
    fn restart(&self, surface: Self::Surface) -> Result<Self::Surface, StepError>;

    /// Whether reservations outlive [`restart`](Self::restart), so that requests from before can still
    /// be finished.
    fn keeps_state(&self) -> bool;
}

/// One started engine with its store.
///
/// Steps of a `parallel` one come from several threads at once. What a step may hold, and which
/// requests can still be finished, is checked before; all else is the surface's. It replies what the
/// library would: also the texts of errors are the library's, because scenarios compare them. A step
/// that it has no way to carry fails with [`StepError::not_carried`], and then the scenario neither
/// passes nor fails.
#[allow(clippy::missing_errors_doc)] // said once, above
pub trait Surface: Send + Sync {
    /// What it takes to finish a request that was allowed.
    ///
    /// Dropping it must not end the request: a scenario may forget one, which stays as it is.
    type Open: Clone + Send + Sync;

    /// Replaces the policy. Requests end under the one that they began with.
    fn reload(&self, policy: PolicyConfig) -> Result<(), StepError>;

    /// Creates an account, or replaces the settings that are given.
    fn put_account(&self, step: AccountStep, now_ms: u64) -> Result<(), StepError>;

    /// Creates a token, or replaces the settings that are given.
    fn put_token(&self, step: TokenStep, now_ms: u64) -> Result<(), StepError>;

    /// Puts a new token in the place of an old one.
    fn rotate(&self, step: &RotateStep, now_ms: u64) -> Result<(), StepError>;

    /// Revokes a token.
    fn revoke(&self, step: &RevokeStep, now_ms: u64) -> Result<(), StepError>;

    /// Pays in.
    fn deposit(&self, step: &DepositStep, now_ms: u64) -> Result<(), StepError>;

    /// Shows an account's money.
    fn inspect(&self, step: &InspectStep, now_ms: u64) -> Result<Money, StepError>;

    /// Decides a request.
    fn decide(&self, step: &RequestStep) -> Result<Decided<Self::Open>, StepError>;

    /// Decides a request without consuming anything, and tells what every check saw.
    fn explain(
        &self,
        step: &RequestStep,
    ) -> Result<(Decided<Self::Open>, Vec<TraceStep>), StepError> {
        let _ = step;
        Err(StepError::not_carried("requests are not explained here"))
    }

    /// Finishes a request. One with nothing to settle comes here too, never with an amount.
    fn finish(&self, open: &Self::Open, finish: Finish, now_ms: u64)
    -> Result<Finished, StepError>;

    /// An operator's word on how a request ended; gives what was posted.
    fn resolve(
        &self,
        open: &Self::Open,
        finish: Finish,
        now_ms: u64,
    ) -> Result<Option<Amount>, StepError>;

    /// Gives back money of a settled request.
    fn refund(
        &self,
        open: &Self::Open,
        amount: Amount,
        reference: &str,
        now_ms: u64,
    ) -> Result<(), StepError>;

    /// Reclaims what is due; gives how many leases and claims ended.
    fn expire(&self, now_ms: u64) -> Result<u64, StepError>;

    /// The headers of an allowed request whose [`Decided::headers`] were not seen and that nothing
    /// finished until the scenario's end. It may be finished for that, in any way.
    fn late_headers(&self, open: &Self::Open) -> Result<Vec<Header>, StepError> {
        let _ = open;
        Err(StepError::not_carried("the headers of a request that is not finished are not seen"))
    }

    /// The handle as it is good for after a restart that keeps the state; `None` if its request is
    /// not known any more.
    fn kept(&self, open: &Self::Open, now_ms: u64) -> Option<Self::Open> {
        let _ = now_ms;
        Some(open.clone())
    }
}

/// A header: name and value.
pub type Header = (String, Vec<u8>);

/// The answer to a request.
#[derive(Clone, Debug)]
pub struct Decided<O> {
    /// What is to be done with it.
    pub verdict: Verdict,
    /// HTTP status; 200 for an allowed one.
    pub status: u16,
    /// Of a denial.
    pub code: Option<String>,
    /// Of the answer; for an allowed one those to add to the upstream's. `None`: they are seen only
    /// when the request is finished; for an allowed one only.
    pub headers: Option<Vec<Header>>,
    /// Body; empty for an allowed one.
    pub body: Vec<u8>,
    /// The account's name, once the token is known.
    pub account: Option<String>,
    /// The route's name, once it is looked for.
    pub route: Option<String>,
    /// What was reserved, if anything.
    pub reserved: Option<Amount>,
    /// Whether the request reserved money or claimed a key.
    pub must_finish: bool,
    /// What it takes to finish it; there for an allowed one that is not a `peek`.
    pub open: Option<O>,
}

/// How the end of a request was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// What was posted; `None` while it is unknown, and for a request with nothing to settle.
    pub settled: Option<Amount>,
    /// The headers that the policy adds to the upstream's response; `None`: they are not seen.
    pub headers: Option<Vec<Header>>,
}

/// An account's money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Money {
    /// What is in the wallet.
    pub balance: Amount,
    /// What is reserved of it.
    pub held: Amount,
    /// What may be spent.
    pub available: Amount,
    /// What was posted so far.
    pub posted: Amount,
    /// How many reservations are open.
    pub reservations: u64,
}

impl<O> Decided<O> {
    /// As the reply to the `request` step with this `id`.
    pub(crate) fn to_reply(&self, id: &str) -> Value {
        let mut reply = json!({
            "id": id,
            "verdict": match self.verdict {
                Verdict::Allow => "allow",
                Verdict::Deny => "deny",
                Verdict::Replay => "replay",
            },
            "status": self.status,
            "code": self.code,
            // Denials are written in UTF-8, and replays came in as it.
            "body": String::from_utf8_lossy(&self.body),
        });
        set(&mut reply, "headers", self.headers.as_deref().map(header_list));
        set(&mut reply, "account", self.account.as_deref().map(Value::from));
        set(&mut reply, "route", self.route.as_deref().map(Value::from));
        set(&mut reply, "reserved", amount(self.reserved));
        reply
    }
}

impl Finished {
    /// As the reply to the `finish` step of this request.
    pub(crate) fn to_reply(&self, id: &str) -> Value {
        let mut reply = json!({ "id": id });
        set(&mut reply, "headers", self.headers.as_deref().map(header_list));
        set(&mut reply, "settled", amount(self.settled));
        reply
    }
}

impl Money {
    pub(crate) fn to_reply(self) -> Value {
        json!({
            "balance": self.balance,
            "held": self.held,
            "available": self.available,
            "posted": self.posted,
            "reservations": self.reservations,
        })
    }
}

pub(crate) fn header_list(headers: &[Header]) -> Value {
    headers.iter().map(|(name, value)| json!([name, wire_text(value)])).collect()
}

pub(crate) fn set(reply: &mut Value, name: &str, value: Option<Value>) {
    if let (Value::Object(members), Some(value)) = (reply, value) {
        members.insert(name.to_owned(), value);
    }
}

pub(crate) fn amount(amount: Option<Amount>) -> Option<Value> {
    amount.map(|Amount(amount)| amount.into())
}
