//! Two limits at once: does a request that the second refuses use up units of the first?

use std::fmt;

use limitador::RateLimiter;
use limitador::limit::{Limit, Namespace};
use tollgate::{
    AccountId, AccountPatch, Admin, Amount, Engine, LimitConfig, MemoryStore, Partition,
    PolicyConfig, Request, TokenPatch, Verdict,
};

use crate::START_MS;
use crate::limiters::{Keyed, Terms, governor_limiter, limitador_context};

/// Units of the first limit, per hour.
pub const FIRST: u32 = 1_000;
/// Units of the second limit, per hour.
pub const SECOND: u32 = 100;

const WINDOW_S: u64 = 3_600;

/// Two limits: some requests are under both, others under the first alone.
pub trait Pair: Sync {
    /// Whether a request under both goes through.
    fn both(&self) -> bool;

    /// Whether a request under the first alone goes through.
    fn first(&self) -> bool;
}

/// Two limiters of governor, asked one after the other.
#[derive(Debug)]
pub struct GovernorTwice {
    first: Keyed,
    second: Keyed,
}

impl Default for GovernorTwice {
    fn default() -> Self {
        let limiter = |units| governor_limiter(Terms { units, window_s: WINDOW_S });
        GovernorTwice { first: limiter(FIRST), second: limiter(SECOND) }
    }
}

impl Pair for GovernorTwice {
    fn both(&self) -> bool {
        self.first() && self.second.check_key(&1).is_ok()
    }

    fn first(&self) -> bool {
        self.first.check_key(&1).is_ok()
    }
}

/// One limiter of limitador with two limits, which it checks before it counts in either.
pub struct LimitadorPair {
    limiter: RateLimiter,
    namespace: Namespace,
}

impl Default for LimitadorPair {
    fn default() -> Self {
        let limiter = RateLimiter::new(1_000);
        let key = || ["key".try_into().expect("an expression")];
        limiter.add_limit(Limit::new("api", FIRST.into(), WINDOW_S, [], key()));
        let on_both = ["route == 'both'".try_into().expect("a predicate")];
        limiter.add_limit(Limit::new("api", SECOND.into(), WINDOW_S, on_both, key()));
        LimitadorPair { limiter, namespace: "api".into() }
    }
}

impl fmt::Debug for LimitadorPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitadorPair").finish_non_exhaustive()
    }
}

impl LimitadorPair {
    fn take(&self, route: &str) -> bool {
        let context = limitador_context([("key", "1"), ("route", route)]);
        let checked = self.limiter.check_rate_limited_and_update(&self.namespace, &context, 1);
        !checked.expect("the variables are there").limited
    }
}

impl Pair for LimitadorPair {
    fn both(&self) -> bool {
        self.take("both")
    }

    fn first(&self) -> bool {
        self.take("first")
    }
}

/// tollgate with two limits in its policy.
#[derive(Debug)]
pub struct TollgatePair {
    engine: Engine,
    store: MemoryStore,
    authorization: String,
}

impl Default for TollgatePair {
    fn default() -> Self {
        let mut policy = PolicyConfig::default();
        policy.scopes.insert("all".into(), vec!["GET /both".into(), "GET /first".into()]);
        let limit =
            |partition, units: u32| LimitConfig::new(partition, units.into(), WINDOW_S * 1_000);
        policy.limits.insert("first".into(), limit(Partition::Token, FIRST));
        let second = LimitConfig {
            routes: Some(["GET /both".into()].into()),
            ..limit(Partition::Account, SECOND)
        };
        policy.limits.insert("second".into(), second);
        let engine = Engine::new(policy.compile().expect("a policy"));
        let store = MemoryStore::default();
        let admin = Admin::new(&store);
        let account = AccountId::new("acme").expect("a valid id");
        let (opening, settings) = (Amount(0), AccountPatch::default());
        admin.put_account(&account, opening, settings, START_MS).expect("room");
        let token = tollgate_bench::token(0);
        let settings = TokenPatch { scopes: Some(vec!["all".into()]), ..TokenPatch::default() };
        admin.put_token(&engine.digest(&token), &account, settings, START_MS).expect("room");
        TollgatePair { engine, store, authorization: format!("Bearer {}", token.expose()) }
    }
}

impl TollgatePair {
    fn get(&self, path: &str) -> bool {
        let headers = [("authorization", self.authorization.as_str())];
        let request = Request::new(b"GET", path.as_bytes(), START_MS).with_headers(&headers);
        self.engine.decide(&self.store, &request).verdict() == Verdict::Allow
    }
}

impl Pair for TollgatePair {
    fn both(&self) -> bool {
        self.get("/both")
    }

    fn first(&self) -> bool {
        self.get("/first")
    }
}
