//! Examples of every answer that a policy can give, made by the engine itself.
//!
//! Each is a small story in memory. What the story was meant to bring and does not is no answer of this policy,
//! and is left out.

use std::sync::Arc;

use tollgate::{
    AccountId, AccountPatch, Admin, Amount, Answer, Body, Command, Decision, Engine, Finish,
    Headers, IpNet, Limit, MemoryStore, Outcome, Period, PolicyConfig, Request, SpendCap, Status,
    Store, StoreError, StoredResponse, TokenPatch, TokenText, Verdict,
};

use crate::exit::Failure;

/// When every story happens: the examples are the same whenever they are made.
const NOW_MS: u64 = 1_700_000_000_000;
/// An address of documentation (RFC 5737).
const PEER: &str = "192.0.2.1";
/// A network of documentation that it is not in.
const ELSEWHERE: &str = "203.0.113.0/24";
/// What a call costs where only its host knows the price.
const SOME_PRICE: u64 = 5;
const KEY: &str = "a-unique-key-per-request";

/// One answer.
#[derive(Clone)]
pub(super) struct Example {
    pub(super) status: Status,
    pub(super) answer: Answer,
}

impl Example {
    pub(super) fn body(&self) -> serde_json::Value {
        serde_json::from_slice(&self.answer.body).unwrap_or_default()
    }

    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.answer.header(name).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// The names of its headers, in their documented spelling.
    pub(super) fn header_names(&self) -> impl Iterator<Item = &str> {
        self.answer.headers.iter().map(|(name, _)| &**name)
    }
}

/// What a route is, as far as stories need it.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    /// With parameters filled in.
    pub(super) path: &'a str,
    /// It costs something.
    pub(super) is_charged: bool,
}

pub(super) struct Stories<'c> {
    config: &'c PolicyConfig,
    engine: Engine,
    /// The same without limits: for stories of two requests under a limit that has room for one.
    roomy: Engine,
    token: TokenText,
    other: TokenText,
}

struct Told<'a> {
    key: Option<&'a str>,
    body: &'a [u8],
    sender: Option<&'a str>,
    invalid: Option<&'a str>,
}

const PLAIN: Told<'static> = Told { key: None, body: b"{}", sender: None, invalid: None };

impl<'c> Stories<'c> {
    pub(super) fn new(config: &'c PolicyConfig) -> Result<Stories<'c>, Failure> {
        let policy = config.compile().map_err(|errors| Failure::new(errors.to_string()))?;
        let mut roomy = config.clone();
        roomy.limits.values_mut().for_each(|limit| limit.shadow = true);
        let roomy = roomy.compile().map_err(|errors| Failure::new(errors.to_string()))?;
        Ok(Stories {
            config,
            engine: Engine::new(policy),
            roomy: Engine::new(roomy),
            token: TokenText::generate(&[0; 32]),
            other: TokenText::generate(&[1; 32]),
        })
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The limits of a route, as the engine finds them.
    pub(super) fn limits(&self, asked: Asked<'_>) -> Result<Vec<Limit>, Failure> {
        let (store, _) = self.store(TokenPatch::default())?;
        let decision = self.decide(&*store, asked, Some(&self.token), &PLAIN);
        Ok(self.engine.policy().limits(decision.route()).to_vec())
    }

    /// Every answer to calls of a route, denials in their order of precedence.
    pub(super) fn of(&self, asked: Asked<'_>) -> Result<Vec<Example>, Failure> {
        let decisions = [
            Some(self.allowed(asked)?),
            self.replayed(asked)?,
            Some(self.denied(asked, None, &PLAIN)?),
            Some(self.denied(asked, Some(&self.other), &PLAIN)?),
            Some(self.elsewhere(asked)?),
            Some(self.without_scope(asked)?),
            self.limited(asked)?,
            self.second_with_key(asked, b"{}")?,
            self.second_with_key(asked, b"{\"other\":true}")?,
            Some(self.denied(
                asked,
                Some(&self.token),
                &Told { key: Some("two words"), ..PLAIN },
            )?),
            Some(self.refused(asked, Some("UNKNOWN"), None)?),
            Some(self.refused(asked, None, Some("'to' is missing."))?),
            self.over_cap(asked)?,
            self.without_money(asked)?,
            Some(self.decide(&FailingStore, asked, Some(&self.token), &PLAIN)),
        ];
        let wanted = [
            Status::Allowed,
            Status::Replayed,
            Status::MissingToken,
            Status::InvalidToken,
            Status::IpNotAllowed,
            Status::InsufficientScope,
            Status::RateLimited,
            Status::IdempotencyInFlight,
            Status::IdempotencyKeyReused,
            Status::IdempotencyKeyInvalid,
            Status::SenderNotApproved,
            Status::ValidationFailed,
            Status::SpendCapExceeded,
            Status::InsufficientBalance,
            Status::StoreUnavailable,
        ];
        let came = wanted.into_iter().zip(decisions).filter_map(|(status, decision)| {
            decision.filter(|decision| decision.status() == status)
        });
        Ok(came.map(|decision| self.example(&decision)).collect())
    }

    fn example(&self, decision: &Decision) -> Example {
        Example { status: decision.status(), answer: self.engine.answer(decision) }
    }

    /// A store with an account that has money, and a token with every scope unless it is told otherwise.
    fn store(&self, patch: TokenPatch) -> Result<(Arc<MemoryStore>, AccountId), Failure> {
        self.store_with(patch, AccountPatch::default(), u64::MAX)
    }

    fn store_with(
        &self,
        patch: TokenPatch,
        account: AccountPatch,
        balance: u64,
    ) -> Result<(Arc<MemoryStore>, AccountId), Failure> {
        let store = Arc::new(MemoryStore::default());
        let admin = Admin::new(&*store);
        let id = AccountId::new("acme").map_err(|error| Failure::new(error.to_string()))?;
        admin.put_account(&id, Amount(balance), account, NOW_MS)?;
        let all = self.config.scopes.keys().map(|name| name.as_str().into()).collect();
        let patch = TokenPatch { scopes: Some(patch.scopes.unwrap_or(all)), ..patch };
        admin.put_token(&self.engine.digest(&self.token), &id, patch, NOW_MS)?;
        Ok((store, id))
    }

    fn decide<S: Store + ?Sized>(
        &self,
        store: &S,
        asked: Asked<'_>,
        token: Option<&TokenText>,
        told: &Told<'_>,
    ) -> Decision {
        self.decide_by(&self.engine, store, asked, token, told)
    }

    fn decide_by<S: Store + ?Sized>(
        &self,
        engine: &Engine,
        store: &S,
        asked: Asked<'_>,
        token: Option<&TokenText>,
        told: &Told<'_>,
    ) -> Decision {
        let authorization = token.map(|token| format!("Bearer {}", token.expose()));
        let mut headers: Vec<(&str, &str)> = Vec::new();
        if let Some(value) = &authorization {
            headers.push(("authorization", value));
        }
        // A key that is required is there, unless the story is about keys.
        let key = told.key.or_else(|| self.needs_key(asked).then_some("another-key"));
        if let Some(key) = key {
            headers.push(("idempotency-key", key));
        }
        let headers = List(headers);
        let request = Request {
            peer: PEER.parse().ok(),
            body: Body::Bytes(told.body),
            cost: asked.is_charged.then(|| self.price(asked)),
            sender: told.sender,
            invalid: told.invalid,
            ..Request::new(asked.method.as_bytes(), asked.path.as_bytes(), NOW_MS)
                .with_headers(&headers)
        };
        engine.decide(store, &request)
    }

    fn needs_key(&self, asked: Asked<'_>) -> bool {
        self.route_of(asked).is_some_and(|name| super::facts::takes_key(self.config, &name).1)
    }

    fn route_of(&self, asked: Asked<'_>) -> Option<String> {
        super::facts::names(&self.engine)
            .find(|(_, method, path)| *method == asked.method && *path == asked.path)
            .map(|(name, ..)| name)
    }

    fn price(&self, asked: Asked<'_>) -> Amount {
        let settings = self.route_of(asked).and_then(|name| self.config.routes.get(&name));
        let price = settings.and_then(|settings| settings.price);
        price.filter(|price| *price > Amount::ZERO).unwrap_or(Amount(SOME_PRICE))
    }

    fn allowed(&self, asked: Asked<'_>) -> Result<Decision, Failure> {
        let (store, _) = self.store(TokenPatch::default())?;
        Ok(self.decide(&*store, asked, Some(&self.token), &PLAIN))
    }

    fn denied(
        &self,
        asked: Asked<'_>,
        token: Option<&TokenText>,
        told: &Told<'_>,
    ) -> Result<Decision, Failure> {
        let (store, _) = self.store(TokenPatch::default())?;
        Ok(self.decide(&*store, asked, token, told))
    }

    fn replayed(&self, asked: Asked<'_>) -> Result<Option<Decision>, Failure> {
        for engine in [&self.engine, &self.roomy] {
            let (store, _) = self.store(TokenPatch::default())?;
            let told = Told { key: Some(KEY), ..PLAIN };
            let first = self.decide_by(engine, &*store, asked, Some(&self.token), &told);
            let Some(ticket) = first.ticket() else { return Ok(None) };
            let response = StoredResponse {
                status: 201,
                headers: Box::new([(Box::from("Content-Type"), Box::from(*b"application/json"))]),
                body: Some(Box::from(*b"{\"id\":\"1\"}")),
            };
            let finish = Finish::Settle { amount: None, response: Some(Arc::new(response)) };
            let done = engine.finish(&*store, ticket, finish, NOW_MS);
            done.map_err(|error| Failure::new(error.to_string()))?;
            let again = self.decide_by(engine, &*store, asked, Some(&self.token), &told);
            if again.status() != Status::RateLimited {
                return Ok(Some(again));
            }
        }
        Ok(None)
    }

    fn second_with_key(&self, asked: Asked<'_>, body: &[u8]) -> Result<Option<Decision>, Failure> {
        for engine in [&self.engine, &self.roomy] {
            let (store, _) = self.store(TokenPatch::default())?;
            let told = Told { key: Some(KEY), ..PLAIN };
            self.decide_by(engine, &*store, asked, Some(&self.token), &told);
            let told = Told { body, ..told };
            let second = self.decide_by(engine, &*store, asked, Some(&self.token), &told);
            if second.status() != Status::RateLimited {
                return Ok(Some(second));
            }
        }
        Ok(None)
    }

    fn elsewhere(&self, asked: Asked<'_>) -> Result<Decision, Failure> {
        let network: Option<IpNet> = ELSEWHERE.parse().ok();
        let networks = Some(network.into_iter().collect());
        let (store, _) = self.store(TokenPatch { networks, ..TokenPatch::default() })?;
        Ok(self.decide(&*store, asked, Some(&self.token), &PLAIN))
    }

    fn without_scope(&self, asked: Asked<'_>) -> Result<Decision, Failure> {
        let none = TokenPatch { scopes: Some(Vec::new()), ..TokenPatch::default() };
        let (store, _) = self.store(none)?;
        Ok(self.decide(&*store, asked, Some(&self.token), &PLAIN))
    }

    fn refused(
        &self,
        asked: Asked<'_>,
        sender: Option<&str>,
        invalid: Option<&str>,
    ) -> Result<Decision, Failure> {
        let (store, _) = self.store(TokenPatch::default())?;
        Ok(self.decide(&*store, asked, Some(&self.token), &Told { sender, invalid, ..PLAIN }))
    }

    fn over_cap(&self, asked: Asked<'_>) -> Result<Option<Decision>, Failure> {
        let cap = SpendCap { per: Period::Day, amount: Amount::ZERO, shadow: false };
        let patch = TokenPatch { spend_caps: Some(vec![cap]), ..TokenPatch::default() };
        let (store, _) = self.store(patch)?;
        Ok(Some(self.decide(&*store, asked, Some(&self.token), &PLAIN)))
    }

    fn without_money(&self, asked: Asked<'_>) -> Result<Option<Decision>, Failure> {
        let (store, _) = self.store_with(TokenPatch::default(), AccountPatch::default(), 0)?;
        Ok(Some(self.decide(&*store, asked, Some(&self.token), &PLAIN)))
    }

    /// A denial by the first limit of the route that denies.
    fn limited(&self, asked: Asked<'_>) -> Result<Option<Decision>, Failure> {
        for limit in self.limits(asked)? {
            let decision = self.limited_by(asked, &limit)?;
            if decision.as_ref().is_some_and(|it| it.status() == Status::RateLimited) {
                return Ok(decision);
            }
        }
        Ok(None)
    }

    /// A denial by this limit. It is used up by one request under the same policy in which a request takes all that
    /// there is: a limit keeps its counters under its name.
    fn limited_by(&self, asked: Asked<'_>, limit: &Limit) -> Result<Option<Decision>, Failure> {
        let mut config = self.config.clone();
        let all = limit.quota.burst.max(1);
        for (name, other) in &mut config.limits {
            if **name == *limit.name {
                other.cost = all;
            } else {
                other.shadow = true;
            }
        }
        for route in config.routes.values_mut() {
            route.limit_costs.remove(&*limit.name);
        }
        let Ok(policy) = config.compile() else { return Ok(None) };
        let greedy = Engine::new(policy);
        let (store, _) = self.store(TokenPatch::default())?;
        let first = self.decide_by(&greedy, &*store, asked, Some(&self.token), &PLAIN);
        if first.verdict() != Verdict::Allow {
            return Ok(None);
        }
        let told = Told { key: Some(KEY), ..PLAIN };
        Ok(Some(self.decide(&*store, asked, Some(&self.token), &told)))
    }

    /// An example of a denial by this limit.
    pub(super) fn denial_by(
        &self,
        asked: Asked<'_>,
        limit: &Limit,
    ) -> Result<Option<Example>, Failure> {
        let decision = self.limited_by(asked, limit)?;
        let decision = decision.filter(|decision| decision.status() == Status::RateLimited);
        Ok(decision.map(|decision| self.example(&decision)))
    }
}

/// Headers of a request.
struct List<'h>(Vec<(&'h str, &'h str)>);

impl Headers for List<'_> {
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        self.0.as_slice().value(name, nth)
    }
}

/// A store that does not answer.
struct FailingStore;

impl Store for FailingStore {
    fn perform(&self, _: &Command<'_>, _: u64) -> Result<Outcome, StoreError> {
        Err(StoreError::Unavailable { reason: "an example".into() })
    }
}
