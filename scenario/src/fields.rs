//! The fields that each step takes. Unknown fields are errors.

use core::net::IpAddr;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tollgate::{Amount, Body, Request, SpendCap, TokenQuota};

use crate::wire::{HeaderList, Secret, Wire};

/// The most threads of a `parallel` step.
pub const MAX_THREADS: usize = 256;

/// A field that may be left out, and may be `null` to take a setting away.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// `policy` or `preset`, and a merge patch on either.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyStep {
    /// The policy as JSON.
    pub policy: Option<Value>,
    /// The name of a preset.
    pub preset: Option<String>,
    /// A merge patch (RFC 7396).
    pub patch: Option<Value>,
}

/// Creates an account, or replaces the settings that are given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountStep {
    /// Its name.
    pub id: String,
    /// What it starts with; counts only at creation.
    pub balance: Option<Amount>,
    /// Networks or addresses.
    pub networks: Option<Vec<String>>,
    /// Spend caps.
    pub spend_caps: Option<Vec<SpendCap>>,
    /// Approved senders.
    pub senders: Option<Vec<Box<str>>>,
    /// Unix milliseconds; the latest time so far if absent.
    pub now_ms: Option<u64>,
}

/// Creates a token, or replaces the settings that are given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenStep {
    /// Its text, which must be well formed under the policy's token format.
    pub token: Secret,
    /// Its account.
    pub account: String,
    /// Its scopes.
    pub scopes: Vec<Box<str>>,
    /// Networks or addresses.
    pub networks: Option<Vec<String>>,
    /// Its own quota; `null` takes it away.
    #[serde(default, deserialize_with = "given")]
    pub quota: Option<Option<TokenQuota>>,
    /// Spend caps.
    pub spend_caps: Option<Vec<SpendCap>>,
    /// When it expires, in Unix milliseconds; `null` takes that away.
    #[serde(default, deserialize_with = "given")]
    pub expires_ms: Option<Option<u64>>,
    /// Unix milliseconds; the latest time so far if absent.
    pub now_ms: Option<u64>,
}

/// Gives a new token the settings of an old one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateStep {
    /// The old one.
    pub token: Secret,
    /// The new one.
    pub new_token: Secret,
    /// How long the old one still works, in milliseconds.
    pub grace_ms: u64,
    /// Unix milliseconds; the latest time so far if absent.
    pub now_ms: Option<u64>,
}

/// Revokes a token.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeStep {
    /// The token.
    pub token: Secret,
    /// Unix milliseconds; the latest time so far if absent.
    pub now_ms: Option<u64>,
}

/// Pays in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DepositStep {
    /// The account.
    pub account: String,
    /// How much.
    pub amount: Amount,
    /// Unix milliseconds; the latest time so far if absent.
    pub now_ms: Option<u64>,
}

/// Decides a request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestStep {
    /// The scenario's own name of the request.
    pub id: String,
    /// Unix milliseconds.
    pub now_ms: u64,
    /// Method.
    pub method: Wire,
    /// Path and query.
    pub target: Wire,
    /// Headers.
    pub headers: HeaderList,
    /// Address of the TCP peer. `null`, or what is no address: none.
    #[serde(deserialize_with = "Option::deserialize")]
    pub peer: Option<Wire>,
    /// Body.
    pub body: Option<String>,
    /// Price in the ledger's minor unit.
    pub cost: Option<Amount>,
    /// Sender that must be approved.
    pub sender: Option<String>,
    /// Why the host's own validation refuses the request.
    pub invalid: Option<String>,
    /// Decide and consume nothing.
    pub peek: Option<bool>,
}

impl RequestStep {
    /// The request, as a host would make it.
    #[must_use]
    pub fn to_request(&self) -> Request<'_> {
        Request {
            peer: self.peer.as_ref().and_then(address),
            body: Body::Bytes(self.body.as_deref().unwrap_or_default().as_bytes()),
            cost: self.cost,
            sender: self.sender.as_deref(),
            invalid: self.invalid.as_deref(),
            peek: self.peek.unwrap_or(false),
            ..Request::new(self.method.as_ref(), self.target.as_ref(), self.now_ms)
                .with_headers(&self.headers)
        }
    }
}

fn address(peer: &Wire) -> Option<IpAddr> {
    core::str::from_utf8(peer.as_ref()).ok()?.parse().ok()
}

/// How an allowed request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishOutcome {
    /// It was carried out.
    Settle,
    /// It was not, or costs nothing.
    Void,
    /// Nobody knows.
    Unknown,
}

/// The upstream's response.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResponseFields {
    /// HTTP status, 100 to 999.
    pub status: u16,
    /// Headers to replay.
    pub headers: Vec<(String, Wire)>,
    /// Body; `null` when it was too large to keep.
    #[serde(deserialize_with = "Option::deserialize")]
    pub body: Option<String>,
}

impl core::fmt::Debug for ResponseFields {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // Bodies carry customers' data.
        f.debug_struct("ResponseFields").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Reports how an allowed request ended.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinishStep {
    /// The request.
    pub id: String,
    /// Unix milliseconds.
    pub now_ms: u64,
    /// How it ended.
    pub outcome: FinishOutcome,
    /// What it cost, at most what was reserved; all of it if absent. Only for `settle`.
    pub amount: Option<Amount>,
    /// The upstream's response, for replays. Not for `unknown`.
    pub response: Option<ResponseFields>,
}

/// An operator's word on how an allowed request ended.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolveStep {
    /// The request.
    pub id: String,
    /// `settle` or `void`.
    pub outcome: FinishOutcome,
    /// As in [`FinishStep`].
    pub amount: Option<Amount>,
    /// As in [`FinishStep`].
    pub response: Option<ResponseFields>,
    /// Unix milliseconds; the latest time so far if absent.
    pub now_ms: Option<u64>,
}

/// Shows an account's money.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InspectStep {
    /// The account.
    pub account: String,
    /// Unix milliseconds; the latest time so far if absent.
    pub now_ms: Option<u64>,
}

/// Gives back money of a settled request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefundStep {
    /// The request.
    pub id: String,
    /// How much.
    pub amount: Amount,
    /// The refund's own name.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Unix milliseconds; the latest time so far if absent.
    pub now_ms: Option<u64>,
}

/// Reclaims what is due.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpireStep {
    /// Unix milliseconds.
    pub now_ms: u64,
}

/// Runs steps on several threads.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParallelStep {
    /// How many, 1 to [`MAX_THREADS`].
    pub threads: usize,
    /// The steps; step `n` runs on thread `n % threads`.
    pub steps: Vec<Value>,
}
