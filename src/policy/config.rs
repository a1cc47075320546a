//! Policies as people write them, in TOML or JSON.
//!
//! Everything whose order means nothing is a map by name, so that a merge patch (RFC 7396) can
//! reach it. Times are milliseconds, money is in the ledger's minor unit. Unknown fields are errors.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::idempotency::OnOrphan;
use crate::ledger::{Amount, OnExpiry};
use crate::limit::{Algorithm, Counts, FailureMode, Partition};
use crate::policy::compiled::ForwardedHeader;
use crate::token::TokenFormat;

/// A policy as it is written. The default grants nothing and limits nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyConfig {
    /// Which tokens are admitted.
    pub tokens: TokensConfig,
    /// How the source address is found and checked.
    pub source: SourceConfig,
    /// How paths are read.
    pub paths: PathsConfig,
    /// The routes (`METHOD /path/{param}`) that each scope grants.
    pub scopes: BTreeMap<String, Vec<String>>,
    /// Limits by name.
    pub limits: BTreeMap<String, LimitConfig>,
    /// How routes that take an idempotency key treat it, unless they say otherwise.
    pub idempotency: IdempotencyConfig,
    /// How long money is held, unless a route says otherwise.
    pub reservations: ReservationsConfig,
    /// Settings of single routes, by `METHOD /path/{param}`.
    pub routes: BTreeMap<String, RouteConfig>,
    /// How answers are worded.
    pub answers: AnswersConfig,
}

/// Which tokens are admitted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokensConfig {
    /// `"native"` or `"opaque"`.
    pub format: TokenFormat,
}

/// How the source address is found and checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceConfig {
    /// Networks (or single addresses) of proxies whose forwarding header is believed.
    pub trusted_proxies: Vec<String>,
    /// Header that they add their peer's address to.
    pub forwarded_header: ForwardedHeader,
    /// Networks of accounts and tokens are evaluated and reported, not enforced.
    pub shadow_networks: bool,
}

/// How paths are read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PathsConfig {
    /// `/messages/` is `/messages`; otherwise it is no route at all.
    pub fold_trailing_slash: bool,
}

/// A limit: `quota` units per `window_ms`, for each partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitConfig {
    /// Whose units are counted together.
    pub per: Partition,
    /// Units per window, 1 to 1,000,000,000.
    pub quota: u64,
    /// Length of the window in milliseconds, at most 400 days.
    pub window_ms: u64,
    /// How units are counted.
    #[serde(default = "gcra")]
    pub algorithm: Algorithm,
    /// Units that may be taken at once; `quota` if absent. Only for `gcra`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
    /// Which requests are counted.
    #[serde(default = "requests")]
    pub counts: Counts,
    /// Routes that it applies to; if absent, all, and (when it counts requests) what is no route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<String>>,
    /// Units that a request takes, unless its route says otherwise.
    #[serde(default = "one")]
    pub cost: u64,
    /// A token's own quota takes the place of `quota` and `window_ms`. If no limit says true, it is
    /// the one limit, if there is just one, that counts requests per token on every route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_override: Option<bool>,
    /// Evaluated and reported, not enforced.
    #[serde(default)]
    pub shadow: bool,
    /// What happens when the store cannot answer.
    #[serde(default)]
    pub on_store_failure: FailureMode,
}

fn gcra() -> Algorithm {
    Algorithm::Gcra
}

fn requests() -> Counts {
    Counts::Requests
}

fn one() -> u64 {
    1
}

impl LimitConfig {
    /// `quota` units per `window_ms` for each partition, with every other setting at its default.
    #[must_use]
    pub fn new(per: Partition, quota: u64, window_ms: u64) -> Self {
        LimitConfig {
            per,
            quota,
            window_ms,
            algorithm: gcra(),
            burst: None,
            counts: requests(),
            routes: None,
            cost: one(),
            token_override: None,
            shadow: false,
            on_store_failure: FailureMode::default(),
        }
    }
}

/// How an idempotency key is treated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdempotencyConfig {
    /// How long an answer is replayed, in milliseconds from the first request.
    pub retention_ms: u64,
    /// What becomes of a claim whose holder never settled it.
    pub on_orphan: OnOrphan,
    /// A request without a key is refused.
    pub required: bool,
    /// What happens when the store cannot answer.
    pub on_store_failure: FailureMode,
}

impl Default for IdempotencyConfig {
    fn default() -> Self {
        IdempotencyConfig {
            retention_ms: 86_400_000,
            on_orphan: OnOrphan::default(),
            required: false,
            on_store_failure: FailureMode::default(),
        }
    }
}

/// How long money is held, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReservationsConfig {
    /// How long a reservation, and an idempotency claim, may stay unsettled, in milliseconds.
    pub lease_ms: u64,
    /// What becomes of a reservation then.
    pub on_expiry: OnExpiry,
    /// How long the record of a finished reservation is kept, in milliseconds.
    pub retention_ms: u64,
}

impl Default for ReservationsConfig {
    fn default() -> Self {
        ReservationsConfig {
            lease_ms: 300_000,
            on_expiry: OnExpiry::default(),
            retention_ms: 604_800_000,
        }
    }
}

/// Settings of one route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouteConfig {
    /// Whether the route takes an idempotency key: a boolean, or a table of settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<RouteIdempotency>,
    /// Price of a call when the host gives none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Amount>,
    /// In place of `reservations.lease_ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
    /// In place of `reservations.on_expiry`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_expiry: Option<OnExpiry>,
    /// Units that a request on this route takes from a limit, by the limit's name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub limit_costs: BTreeMap<String, u64>,
}

/// Whether a route takes an idempotency key, and how it differs from the defaults.
#[derive(Clone, Debug, PartialEq)]
pub enum RouteIdempotency {
    /// `true`: as `[idempotency]` says. `false`: the route takes no key.
    Switch(bool),
    /// It takes a key, with these settings in place of those of `[idempotency]`.
    Settings(IdempotencyOverrides),
}

/// Settings in place of those of `[idempotency]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdempotencyOverrides {
    /// In place of `idempotency.retention_ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<u64>,
    /// In place of `idempotency.on_orphan`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_orphan: Option<OnOrphan>,
    /// In place of `idempotency.required`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// In place of `idempotency.on_store_failure`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_store_failure: Option<FailureMode>,
}

impl Serialize for RouteIdempotency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            RouteIdempotency::Switch(on) => on.serialize(serializer),
            RouteIdempotency::Settings(settings) => settings.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for RouteIdempotency {
    // Not `untagged`: that would forget which of the table's fields was wrong.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SwitchOrSettings;

        impl<'de> Visitor<'de> for SwitchOrSettings {
            type Value = RouteIdempotency;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, or a table of idempotency settings")
            }

            fn visit_bool<E>(self, on: bool) -> Result<Self::Value, E> {
                Ok(RouteIdempotency::Switch(on))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                IdempotencyOverrides::deserialize(MapAccessDeserializer::new(map))
                    .map(RouteIdempotency::Settings)
            }
        }

        deserializer.deserialize_any(SwitchOrSettings)
    }
}

/// How answers are worded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnswersConfig {
    /// RFC 9457 `application/problem+json` bodies.
    pub problem_json: bool,
    /// `X-RateLimit-*` headers.
    pub x_ratelimit: bool,
    /// IETF `RateLimit` and `RateLimit-Policy` headers (draft-ietf-httpapi-ratelimit-headers).
    pub ietf_ratelimit: bool,
    /// What `X-RateLimit-Reset` holds.
    pub reset: ResetFormat,
    /// `realm` of `WWW-Authenticate` (RFC 6750): printable ASCII without `"` and `\`.
    pub realm: String,
}

impl Default for AnswersConfig {
    fn default() -> Self {
        AnswersConfig {
            problem_json: false,
            x_ratelimit: true,
            ietf_ratelimit: false,
            reset: ResetFormat::default(),
            realm: String::from("api"),
        }
    }
}

/// What `X-RateLimit-Reset` holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResetFormat {
    /// Unix time in seconds.
    #[default]
    Unix,
    /// Seconds from now.
    Delta,
}
