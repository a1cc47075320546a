//! Settings as they are written in JSON.

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use tollgate::{
    AccountId, Amount, IpNet, Period, SpendCap, TokenDigest, TokenQuota, parse_network,
};
use utoipa::ToSchema;

use crate::reply::Fault;

/// What may be spent in a period.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cap {
    /// UTC day, UTC month, or lifetime.
    per: Per,
    /// How much, in the ledger's minor unit.
    amount: u64,
    /// Reported and not enforced.
    #[serde(default)]
    shadow: bool,
}

/// A period.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Per {
    Day,
    Month,
    Lifetime,
}

impl From<Cap> for SpendCap {
    fn from(cap: Cap) -> Self {
        let per = match cap.per {
            Per::Day => Period::Day,
            Per::Month => Period::Month,
            Per::Lifetime => Period::Lifetime,
        };
        SpendCap { per, amount: Amount(cap.amount), shadow: cap.shadow }
    }
}

impl From<&SpendCap> for Cap {
    fn from(cap: &SpendCap) -> Self {
        let per = match cap.per {
            Period::Day => Per::Day,
            Period::Month => Per::Month,
            Period::Lifetime => Per::Lifetime,
        };
        Cap { per, amount: cap.amount.0, shadow: cap.shadow }
    }
}

/// A token's own quota, in place of the policy's.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quota {
    /// Units in a window.
    limit: u64,
    /// Its length in milliseconds.
    #[schema(minimum = 1)]
    window_ms: u64,
}

impl Quota {
    pub(crate) fn checked(self) -> Result<TokenQuota, Fault> {
        if self.window_ms == 0 {
            return Err(Fault::malformed("`quota.window_ms` is at least 1"));
        }
        Ok(TokenQuota { limit: self.limit, window_ms: self.window_ms })
    }
}

impl From<TokenQuota> for Quota {
    fn from(quota: TokenQuota) -> Self {
        Quota { limit: quota.limit, window_ms: quota.window_ms }
    }
}

/// A member that may be left out, and may be `null` to take a setting away.
pub(super) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Names in the path.
pub(crate) struct Segments<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segments<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        let Ok(Path(names)) = path else {
            return Err(Fault::malformed("the path has bytes that are not UTF-8"));
        };
        Ok(Segments(names))
    }
}

pub(crate) fn caps(given: Option<Vec<Cap>>) -> Option<Vec<SpendCap>> {
    given.map(|caps| caps.into_iter().map(SpendCap::from).collect())
}

pub(crate) fn networks(given: Option<Vec<String>>) -> Result<Option<Vec<IpNet>>, Fault> {
    let Some(given) = given else { return Ok(None) };
    let parsed = given.iter().map(|text| {
        parse_network(text).map_err(|error| Fault::malformed(format!("`networks`: {error}")))
    });
    parsed.collect::<Result<_, _>>().map(Some)
}

pub(crate) fn texts(given: Option<Vec<String>>) -> Option<Vec<Box<str>>> {
    given.map(|texts| texts.into_iter().map(String::into_boxed_str).collect())
}

pub(crate) fn account_id(text: &str) -> Result<AccountId, Fault> {
    AccountId::new(text).map_err(|error| Fault::malformed(format!("account: {error}")))
}

pub(crate) fn token_digest(text: &str) -> Result<TokenDigest, Fault> {
    // The text is not repeated: it may be a token, given by mistake.
    TokenDigest::from_hex(text).map_err(|error| Fault::malformed(format!("digest: {error}")))
}
