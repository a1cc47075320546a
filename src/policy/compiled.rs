//! A policy ready to answer: look-up tables that never change.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ipnet::IpNet;

use crate::idempotency::IdempotencyRule;
use crate::ledger::{Amount, OnExpiry};
use crate::limit::Limit;
use crate::path::canonical_path;
use crate::policy::router::Router;
use crate::policy::scopes::{ScopeSet, ScopeTable};
use crate::token::TokenFormat;

/// The most limits that one route may have: those of one request stay on the stack.
pub const MAX_LIMITS_PER_ROUTE: usize = 16;

/// A policy that compiled: immutable, shared by every request that it decides.
#[derive(Debug)]
pub struct CompiledPolicy {
    pub(crate) token_format: TokenFormat,
    pub(crate) sources: SourceRules,
    /// `/messages/` is `/messages`.
    pub(crate) fold_trailing_slash: bool,
    pub(crate) scopes: ScopeTable,
    pub(crate) router: Router,
    pub(crate) routes: Vec<Route>,
    /// Limits of requests that match no route: those that are not bound to routes.
    pub(crate) unrouted_limits: Box<[Limit]>,
    pub(crate) answers: AnswerRules,
}

/// How the source address of a request is found and checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SourceRules {
    pub trusted_proxies: Box<[IpNet]>,
    pub forwarded_header: ForwardedHeader,
    /// Networks of accounts and tokens are evaluated and reported, not enforced.
    pub shadow: bool,
}

/// Which header trusted proxies add their peer's address to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, the de-facto standard.
    #[default]
    #[serde(rename = "x-forwarded-for")]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    #[serde(rename = "forwarded")]
    Forwarded,
}

/// An endpoint and what it takes to call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `METHOD /path/{param}`.
    pub name: Box<str>,
    /// The scopes that grant it; a token needs one of them.
    pub(crate) granted_by: ScopeSet,
    /// Limits that apply, those that count requests first, each group by name.
    pub(crate) limits: Box<[Limit]>,
    /// Whether any of them counts by source address.
    pub(crate) counts_by_source: bool,
    /// Whether the route takes an idempotency key, and how.
    pub(crate) idempotency: Option<IdempotencyRule>,
    pub(crate) charge: ChargeRule,
}

impl Route {
    /// The limits that apply to it, those that count requests first.
    #[must_use]
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// The scopes that grant it, in the bits of [`CompiledPolicy::scopes`]; a token needs one of them.
    #[must_use]
    pub fn granted_by(&self) -> ScopeSet {
        self.granted_by
    }
}

/// What a call on a route costs and how long the money may be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ChargeRule {
    /// The price when the host gives none.
    pub price: Option<Amount>,
    /// How long a reservation, and an idempotency claim, may stay unsettled.
    pub lease_ms: u64,
    /// What becomes of a reservation then.
    pub on_expiry: OnExpiry,
    /// How long the record of a finished reservation is kept, for refunds and doubled settlements.
    pub retention_ms: u64,
}

impl ChargeRule {
    /// No price, and nothing to hold.
    pub(crate) const NONE: ChargeRule =
        ChargeRule { price: None, lease_ms: 0, on_expiry: OnExpiry::Void, retention_ms: 0 };
}

/// How answers are worded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AnswerRules {
    /// RFC 9457 `application/problem+json` bodies.
    pub problem_json: bool,
    /// `X-RateLimit-*` headers.
    pub x_ratelimit: bool,
    /// IETF `RateLimit` and `RateLimit-Policy` headers (draft-ietf-httpapi-ratelimit-headers).
    pub ietf_ratelimit: bool,
    /// `X-RateLimit-Reset` in seconds from now, instead of Unix seconds.
    pub reset_delta: bool,
    /// `realm` of `WWW-Authenticate`.
    pub realm: Box<str>,
}

/// Index of a route in the policy it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteId(pub(crate) u16);

impl CompiledPolicy {
    /// The route with this index.
    #[must_use]
    pub fn route(&self, id: RouteId) -> Option<&Route> {
        self.routes.get(usize::from(id.0))
    }

    /// The routes, by name.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The limits of requests that match this route, or none, in the order of
    /// [`Admit::limits`](crate::Admit::limits).
    #[must_use]
    pub fn limits(&self, route: Option<RouteId>) -> &[Limit] {
        match route {
            None => &self.unrouted_limits,
            Some(id) => self.route(id).map(|route| &*route.limits).unwrap_or_default(),
        }
    }

    /// The route of a request with this method and target; `None` when there is none, or the path is
    /// not canonical.
    pub(crate) fn find_route(&self, method: &[u8], target: &[u8]) -> Option<RouteId> {
        // Most targets are a route's very path: then there is nothing to canonicalise.
        self.router.find_fixed(method, target).or_else(|| {
            let path = canonical_path(target, self.fold_trailing_slash)?;
            self.router.find(method, path)
        })
    }

    /// The names of the headers that a decision under this policy reads, in lower case: a host to which
    /// handing over headers is dear may leave out all others.
    #[must_use]
    pub fn header_names(&self) -> &'static [&'static str] {
        match self.sources.forwarded_header {
            _ if self.sources.trusted_proxies.is_empty() => &["authorization", "idempotency-key"],
            ForwardedHeader::XForwardedFor => {
                &["authorization", "idempotency-key", "x-forwarded-for"]
            }
            ForwardedHeader::Forwarded => &["authorization", "idempotency-key", "forwarded"],
        }
    }

    /// Which token texts are admitted.
    #[must_use]
    pub fn token_format(&self) -> TokenFormat {
        self.token_format
    }

    /// The names of all scopes.
    #[must_use]
    pub fn scopes(&self) -> &ScopeTable {
        &self.scopes
    }
}
