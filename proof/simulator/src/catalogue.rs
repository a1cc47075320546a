//! What simulations draw from: routes, tokens, keys, sources, responses and policies.
//!
//! All of it is made by numbers, so that a seed means the same in every process. A policy is written down once, as
//! [`Rules`] that the model reads, and compiled from there for the engine.

use std::net::IpAddr;
use std::sync::Arc;

use fastrand::Rng;
use tollgate::{
    AccountId, Algorithm, Counts, Engine, FailureMode, IdempotencyOverrides, LimitConfig, OnExpiry,
    OnOrphan, Partition, PolicyConfig, RouteConfig, RouteIdempotency, StoredResponse, TokenDigest,
    TokenFormat, TokenText,
};

/// 2027-12-31 23:59:50 UTC: ten seconds before a day, a month and a year end.
pub(crate) const START_MS: u64 = 1_830_297_590_000;
/// Accounts of a simulation.
pub(crate) const ACCOUNTS: usize = 2;
/// The most tokens of a simulation, successors included.
pub(crate) const TOKENS: usize = 12;
/// Tokens that are there from the start.
pub(crate) const TOKENS_AT_START: usize = 6;
/// Idempotency keys that clients use.
pub(crate) const KEYS: usize = 4;
/// Policies.
pub(crate) const POLICIES: usize = 64;
/// Responses that an upstream gives.
pub(crate) const RESPONSES: u8 = 32;
/// The response of an execution that was settled without one.
pub(crate) const UNRECORDED: u8 = u8::MAX;

/// Method, target and name of each route; the last is none.
pub(crate) const ROUTES: [(&str, &str, &str); 5] = [
    ("GET", "/messages", "GET /messages"),
    ("POST", "/messages", "POST /messages"),
    ("POST", "/calls", "POST /calls"),
    ("POST", "/codes", "POST /codes"),
    ("GET", "/nowhere", ""),
];
/// The place of what is no route.
pub(crate) const NOWHERE: usize = 4;
/// Routes that need the scope `write`; the others `read`.
pub(crate) const NEEDS_WRITE: [bool; 5] = [false, true, true, true, true];

/// Addresses of callers; the last has none.
pub(crate) const SOURCES: [Option<&str>; 5] = [
    Some("192.0.2.7"),
    Some("192.0.2.9"),
    Some("2001:db8:1:2::3"),
    Some("2001:db8:1:2:ffff::9"), // the same /64, so the same limit
    None,
];
/// The partition of each source.
pub(crate) const SOURCE_PARTITIONS: [u32; 5] = [0, 1, 2, 2, 3];
/// The network that operators set, and which sources are within it.
pub(crate) const NETWORK: &str = "192.0.2.0/24";
/// See [`NETWORK`].
pub(crate) const IN_NETWORK: [bool; 5] = [true, true, false, false, false];

/// Senders that requests name.
pub(crate) const SENDERS: [&str; 2] = ["acme", "globex"];

/// `Authorization` by token; the last ones are of tokens that are issued when all is over, one an account.
pub(crate) const AUTHORIZATIONS: [&str; TOKENS + ACCOUNTS] = [
    "Bearer token-0",
    "Bearer token-1",
    "Bearer token-2",
    "Bearer token-3",
    "Bearer token-4",
    "Bearer token-5",
    "Bearer token-6",
    "Bearer token-7",
    "Bearer token-8",
    "Bearer token-9",
    "Bearer token-10",
    "Bearer token-11",
    "Bearer last-0",
    "Bearer last-1",
];
/// `Authorization` of a token that nobody issued.
pub(crate) const STRANGER: &str = "Bearer somebody-else";
/// `Idempotency-Key` by key.
pub(crate) const KEY_TEXTS: [&str; KEYS] = ["key-0", "\"key-1\"", "key-2", "key-3"];
/// No key.
pub(crate) const MALFORMED_KEY: &str = "not a key";
/// Bodies of requests.
pub(crate) const BODIES: [&[u8]; 2] = [b"to=1", b"to=2"];

/// A limit's definition. Its name never means another one, so that a reload changes which limits there are and
/// not what a cell counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Definition {
    /// Its name; definitions stand in the order in which the engine checks them.
    pub(crate) name: &'static str,
    /// How it counts.
    pub(crate) algorithm: Algorithm,
    /// Whose units are counted together.
    pub(crate) per: Partition,
    /// Units per window.
    pub(crate) units: u64,
    /// The window.
    pub(crate) window_ms: u64,
    /// Units at once; for windows, all of them.
    pub(crate) burst: u64,
    /// What it counts.
    pub(crate) counts: Counts,
}

const fn limit(
    name: &'static str,
    algorithm: Algorithm,
    per: Partition,
    (units, window_ms, burst): (u64, u64, u64),
    counts: Counts,
) -> Definition {
    Definition { name, algorithm, per, units, window_ms, burst, counts }
}

/// The limits that policies choose from.
pub(crate) const LIMITS: [Definition; 12] = [
    limit("a", Algorithm::Gcra, Partition::Token, (6, 1_000, 4), Counts::Requests),
    limit("b", Algorithm::FixedWindow, Partition::Account, (8, 500, 8), Counts::Requests),
    limit("c", Algorithm::SlidingWindow, Partition::SourceIp, (5, 700, 5), Counts::Requests),
    limit("d", Algorithm::SlidingWindow, Partition::TokenSourceIp, (4, 999, 4), Counts::Requests),
    limit("e", Algorithm::Gcra, Partition::SourceIp, (30, 60_000, 3), Counts::Requests),
    limit("f", Algorithm::FixedWindow, Partition::Global, (9, 300, 9), Counts::Requests),
    limit("g", Algorithm::Gcra, Partition::Account, (7, 1_100, 3), Counts::Executions),
    limit("h", Algorithm::SlidingWindow, Partition::Token, (4, 1_600, 4), Counts::Executions),
    limit("i", Algorithm::FixedWindow, Partition::SourceIp, (3, 400, 3), Counts::Executions),
    limit(
        "j",
        Algorithm::FixedWindow,
        Partition::Account,
        (25, 86_400_000, 25),
        Counts::Executions,
    ),
    limit("k", Algorithm::Gcra, Partition::AccountSourceIp, (9, 900, 9), Counts::Executions),
    limit("l", Algorithm::SlidingWindow, Partition::Global, (12, 5, 12), Counts::Executions),
];

/// A limit as a policy uses it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LimitRule {
    /// Its place in [`LIMITS`].
    pub(crate) definition: usize,
    /// Units that a request takes.
    pub(crate) cost: u64,
    /// Evaluated and not enforced.
    pub(crate) shadow: bool,
    /// Open when the store fails.
    pub(crate) open: bool,
}

/// How a route treats keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyRule {
    /// A request without one is refused.
    pub(crate) required: bool,
    /// How long a claim is kept.
    pub(crate) retention_ms: u64,
    /// Whether the next request runs again once the lease ends.
    pub(crate) rerun: bool,
}

/// A route as a policy has it.
#[derive(Clone, Debug)]
pub(crate) struct RouteRule {
    /// Its limits, in the order of [`LIMITS`].
    pub(crate) limits: Vec<LimitRule>,
    /// Its keys.
    pub(crate) key: Option<KeyRule>,
    /// Its price.
    pub(crate) price: u64,
    /// Its lease.
    pub(crate) lease_ms: u64,
    /// What the end of a lease does.
    pub(crate) on_expiry: OnExpiry,
}

/// A policy in the words of the model.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// By place in [`ROUTES`].
    pub(crate) routes: Vec<RouteRule>,
    /// How long finished reservations are kept.
    pub(crate) retention_ms: u64,
    /// Networks are not enforced.
    pub(crate) shadow_networks: bool,
}

/// A policy, for both sides.
#[derive(Debug)]
pub(crate) struct Policy {
    /// For the model.
    pub(crate) rules: Rules,
    /// For the host.
    pub(crate) engine: Engine,
}

/// All of it. Each thread has its own, so that none waits for another's reference counts.
#[derive(Debug)]
pub struct Catalogue {
    /// Policies; the first has no limits.
    pub(crate) policies: Vec<Policy>,
    /// Digests by token.
    pub(crate) digests: Vec<TokenDigest>,
    /// Names of accounts.
    pub(crate) accounts: Vec<AccountId>,
    /// Addresses by source.
    pub(crate) sources: Vec<Option<IpAddr>>,
    /// Responses by number.
    pub(crate) responses: Vec<Arc<StoredResponse>>,
}

impl Default for Catalogue {
    fn default() -> Self {
        let policies: Vec<Policy> = (0..POLICIES).map(policy).collect();
        let engine = &policies[0].engine;
        let digest = |text: &&str| {
            let token = text.strip_prefix("Bearer ").unwrap();
            engine.digest(&TokenText::parse(TokenFormat::Opaque, token).unwrap())
        };
        Catalogue {
            digests: AUTHORIZATIONS.iter().map(digest).collect(),
            accounts: ["acme", "globex"].map(|name| AccountId::new(name).unwrap()).into(),
            sources: SOURCES.map(|source| source.map(|text| text.parse().unwrap())).into(),
            responses: (0..RESPONSES).map(response).collect(),
            policies,
        }
    }
}

fn response(number: u8) -> Arc<StoredResponse> {
    let body = format!("answer {number}").into_bytes().into_boxed_slice();
    Arc::new(StoredResponse {
        // No two are the same, also without a body.
        status: if number % 4 == 3 { 500 } else { 201 } + u16::from(number),
        headers: [("content-type".into(), b"text/plain".as_slice().into())].into(),
        body: (number % 8 != 7).then_some(body),
    })
}

/// One of a list.
pub(crate) fn pick<T: Copy>(rng: &mut Rng, list: &[T]) -> T {
    list[rng.usize(0..list.len())]
}

fn policy(number: usize) -> Policy {
    let mut rng = Rng::with_seed(number as u64);
    let rules = if number == 0 { unlimited() } else { rules(&mut rng) };
    let engine = Engine::new(config(&rules).compile().unwrap());
    Policy { rules, engine }
}

/// No limits, no prices, a key on every route but the first: shows what is left of keys.
fn unlimited() -> Rules {
    let key = KeyRule { required: false, retention_ms: 1_000, rerun: false };
    let route = |place| RouteRule {
        limits: Vec::new(),
        key: (place != 0 && place != NOWHERE).then_some(key),
        price: 0,
        lease_ms: 1_000,
        on_expiry: OnExpiry::Void,
    };
    let routes = (0..ROUTES.len()).map(route).collect();
    Rules { routes, retention_ms: 1_000, shadow_networks: false }
}

fn rules(rng: &mut Rng) -> Rules {
    let used: Vec<(LimitRule, [bool; 5])> = (0..LIMITS.len())
        .filter_map(|definition| {
            if rng.u8(0..4) != 0 {
                return None;
            }
            let rule = LimitRule {
                definition,
                cost: if rng.u8(0..4) == 0 { 2 } else { 1 },
                shadow: rng.u8(0..6) == 0,
                open: rng.u8(0..3) == 0,
            };
            // On all routes, or on some; what is no route has those that are on all and count requests.
            let counts_requests = LIMITS[definition].counts == Counts::Requests;
            let mut on = [true, true, true, true, counts_requests];
            if rng.bool() {
                on = [rng.bool(), true, rng.bool(), rng.bool(), false];
            }
            Some((rule, on))
        })
        .collect();
    let mut route = |place: usize| {
        let limits = used.iter().filter(|(_, on)| on[place]).map(|(rule, _)| *rule).collect();
        let has_key = place != 0 && place != NOWHERE && rng.u8(0..8) != 0;
        RouteRule {
            limits,
            key: has_key.then(|| KeyRule {
                required: rng.u8(0..5) == 0,
                retention_ms: pick(rng, &[300, 1_500, 10_000, 86_400_000]),
                rerun: rng.bool(),
            }),
            price: if place == 0 || place == NOWHERE { 0 } else { pick(rng, &[0, 3, 5, 8]) },
            lease_ms: pick(rng, &[40, 200, 1_000, 30_000]),
            on_expiry: pick(rng, &[OnExpiry::Void, OnExpiry::Settle, OnExpiry::Hold]),
        }
    };
    let routes = (0..ROUTES.len()).map(&mut route).collect();
    let retention_ms = pick(rng, &[500, 5_000, 604_800_000]);
    Rules { routes, retention_ms, shadow_networks: rng.u8(0..8) == 0 }
}

fn config(rules: &Rules) -> PolicyConfig {
    let mut config = PolicyConfig::default();
    config.tokens.format = TokenFormat::Opaque;
    config.source.shadow_networks = rules.shadow_networks;
    config.reservations.retention_ms = rules.retention_ms;
    for (place, (_, _, name)) in ROUTES.iter().enumerate().filter(|(place, _)| *place != NOWHERE) {
        let scope = if NEEDS_WRITE[place] { "write" } else { "read" };
        config.scopes.entry(scope.into()).or_default().push((*name).to_owned());
        let rule = &rules.routes[place];
        let key = rule.key.map(|key| {
            RouteIdempotency::Settings(IdempotencyOverrides {
                retention_ms: Some(key.retention_ms),
                on_orphan: Some(if key.rerun { OnOrphan::Rerun } else { OnOrphan::Conflict }),
                required: Some(key.required),
                on_store_failure: None,
            })
        });
        let route = RouteConfig {
            idempotency: key,
            price: (rule.price > 0).then_some(tollgate::Amount(rule.price)),
            lease_ms: Some(rule.lease_ms),
            on_expiry: Some(rule.on_expiry),
            ..RouteConfig::default()
        };
        config.routes.insert((*name).to_owned(), route);
    }
    for (place, definition) in LIMITS.iter().enumerate() {
        let uses =
            |route: &RouteRule| route.limits.iter().find(|rule| rule.definition == place).copied();
        let Some(rule) = rules.routes.iter().find_map(uses) else { continue };
        let on = |place: usize| uses(&rules.routes[place]).is_some();
        let is_everywhere =
            (0..NOWHERE).all(on) && (on(NOWHERE) || definition.counts == Counts::Executions);
        let named = (0..NOWHERE).filter(|place| on(*place)).map(|place| ROUTES[place].2.to_owned());
        let failure = if rule.open { FailureMode::Open } else { FailureMode::Closed };
        let limit = LimitConfig {
            algorithm: definition.algorithm,
            burst: (definition.algorithm == Algorithm::Gcra).then_some(definition.burst),
            counts: definition.counts,
            routes: (!is_everywhere).then(|| named.collect()),
            cost: rule.cost,
            token_override: Some(false).filter(|_| is_of_token(definition.per)),
            shadow: rule.shadow,
            on_store_failure: failure,
            ..LimitConfig::new(definition.per, definition.units, definition.window_ms)
        };
        config.limits.insert(definition.name.to_owned(), limit);
    }
    config
}

fn is_of_token(per: Partition) -> bool {
    matches!(per, Partition::Token | Partition::TokenSourceIp)
}
