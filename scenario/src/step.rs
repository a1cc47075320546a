//! The steps of a scenario, and how they are read.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::StepError;
use crate::fields::{
    AccountStep, DepositStep, ExpireStep, FinishStep, InspectStep, ParallelStep, PolicyStep,
    RefundStep, RequestStep, ResolveStep, RevokeStep, RotateStep, TokenStep,
};

/// One step.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Step {
    /// Start afresh with a policy and empty state.
    Policy(PolicyStep),
    /// Replace the policy; state stays.
    Reload(PolicyStep),
    /// Create an account or replace settings.
    Account(AccountStep),
    /// Create a token or replace settings.
    Token(TokenStep),
    /// Put a new token in the place of an old one.
    Rotate(RotateStep),
    /// Revoke a token.
    Revoke(RevokeStep),
    /// Pay in.
    Deposit(DepositStep),
    /// Decide a request.
    Request(RequestStep),
    /// Report how an allowed request ended.
    Finish(FinishStep),
    /// An operator's word on how an allowed request ended.
    Resolve(ResolveStep),
    /// Show an account's money.
    Inspect(InspectStep),
    /// Give back money of a settled request.
    Refund(RefundStep),
    /// Reclaim what is due.
    Expire(ExpireStep),
    /// Run steps on several threads at once.
    Parallel(ParallelStep),
    /// Reopen the store.
    Restart,
}

/// The names of all steps, for messages.
const OPS: &str = "policy, reload, account, token, rotate, revoke, deposit, request, finish, \
                   resolve, inspect, refund, expire, parallel, restart";

impl Step {
    /// Reads a step.
    ///
    /// `expect` and `note` are taken from any step and are not part of it: expectations are matched
    /// against replies by [`check`](crate::check).
    ///
    /// # Errors
    /// What is no object, has no known `op`, lacks a field, or has one that is unknown or malformed.
    /// A text that was given in the wrong place is not repeated: it may be a secret.
    pub fn parse(value: Value) -> Result<Self, StepError> {
        let Value::Object(mut fields) = value else {
            return Err(StepError::new("a step is a JSON object: {\"op\": …}"));
        };
        let op = match fields.remove("op") {
            Some(Value::String(op)) => op,
            Some(_) => return Err(StepError::new(format!("`op` is a string, one of {OPS}"))),
            None => return Err(StepError::new(format!("a step needs an `op`, one of {OPS}"))),
        };
        if fields.remove("expect").is_some_and(|expect| !expect.is_object()) {
            return Err(StepError::new(format!("{op}: `expect` is an object of reply members")));
        }
        if fields.remove("note").is_some_and(|note| !note.is_string()) {
            return Err(StepError::new(format!("{op}: `note` is a string")));
        }
        let fields = Value::Object(fields);
        match op.as_str() {
            "policy" => read(&op, fields).map(Step::Policy),
            "reload" => read(&op, fields).map(Step::Reload),
            "account" => read(&op, fields).map(Step::Account),
            "token" => read(&op, fields).map(Step::Token),
            "rotate" => read(&op, fields).map(Step::Rotate),
            "revoke" => read(&op, fields).map(Step::Revoke),
            "deposit" => read(&op, fields).map(Step::Deposit),
            "request" => read(&op, fields).map(Step::Request),
            "finish" => read(&op, fields).map(Step::Finish),
            "resolve" => read(&op, fields).map(Step::Resolve),
            "inspect" => read(&op, fields).map(Step::Inspect),
            "refund" => read(&op, fields).map(Step::Refund),
            "expire" => read(&op, fields).map(Step::Expire),
            "parallel" => read(&op, fields).map(Step::Parallel),
            "restart" => read(&op, fields).map(|RestartStep {}| Step::Restart),
            _ => Err(StepError::new(format!("there is no op `{op}`; there are {OPS}"))),
        }
    }

    /// The time that the step gives, in Unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> Option<u64> {
        match self {
            Step::Account(step) => step.now_ms,
            Step::Token(step) => step.now_ms,
            Step::Rotate(step) => step.now_ms,
            Step::Revoke(step) => step.now_ms,
            Step::Deposit(step) => step.now_ms,
            Step::Request(step) => Some(step.now_ms),
            Step::Finish(step) => Some(step.now_ms),
            Step::Resolve(step) => step.now_ms,
            Step::Inspect(step) => step.now_ms,
            Step::Refund(step) => step.now_ms,
            Step::Expire(step) => Some(step.now_ms),
            Step::Policy(_) | Step::Reload(_) | Step::Parallel(_) | Step::Restart => None,
        }
    }
}

fn read<T: DeserializeOwned>(op: &str, fields: Value) -> Result<T, StepError> {
    T::deserialize(&fields).map_err(|error| {
        let message = error.to_string();
        let place = culprit::<T>(&fields, &message).map(|name| format!("`{name}`: "));
        let place = place.unwrap_or_default();
        StepError::new(format!("{op}: {place}{}", without_texts(&message)))
    })
}

/// The field that an error is about, which serde does not tell: without it the error is another one.
fn culprit<'f, T: DeserializeOwned>(fields: &'f Value, message: &str) -> Option<&'f str> {
    if !message.starts_with("invalid ") && !message.starts_with("unknown variant ") {
        return None;
    }
    let fields = fields.as_object()?;
    let is_culprit = |name: &&String| {
        let others = fields.iter().filter(|(other, _)| other != name);
        let others = others.map(|(name, value)| (name.clone(), value.clone())).collect();
        T::deserialize(Value::Object(others)).err().map(|error| error.to_string()).as_deref()
            != Some(message)
    };
    fields.keys().find(is_culprit).map(String::as_str)
}

/// serde quotes a text that it did not want, and that text may be a secret in the wrong field.
fn without_texts(message: &str) -> String {
    for kind in ["invalid type: string ", "invalid value: string "] {
        if let (Some(start), Some(end)) = (message.find(kind), message.rfind(", expected ")) {
            let before = message.get(..start.saturating_add(kind.len())).unwrap_or_default();
            let after = message.get(end..).unwrap_or_default();
            return format!("{}{after}", before.trim_end());
        }
    }
    message.to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RestartStep {}
