//! What a policy promises, as far as it can be checked from outside, and what a person adds to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use bytes::Bytes;
use serde::Deserialize;
use tollgate::{
    AccountId, AccountPatch, Admin, Algorithm, Amount, Engine, Limit, MemoryStore, Partition,
    PolicyConfig, Request, TokenFormat, TokenPatch, TokenText,
};

use super::call::Call;
use crate::exit::Failure;

/// A route, and what is known about calling it.
#[derive(Clone, Debug)]
pub(super) struct RoutePlan {
    /// As the policy names it.
    pub(super) name: String,
    pub(super) method: String,
    /// Its path with parameters filled in.
    pub(super) path: String,
    /// The scopes that grant it.
    pub(super) granted_by: BTreeSet<String>,
    pub(super) takes_key: bool,
    pub(super) needs_key: bool,
    /// What a call costs, where that is known: by the policy, or by `--requests`.
    pub(super) price: Option<Amount>,
    /// The price that only the host knows, as the reference must be told it.
    pub(super) host_price: Option<Amount>,
    pub(super) limits: Vec<Limit>,
    /// It may be carried out.
    pub(super) may_run: bool,
    body: Bytes,
    headers: Vec<(String, String)>,
}

/// How to call a route: an entry of `--requests`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Example {
    /// A body that the API takes.
    body: Option<serde_json::Value>,
    /// Further headers.
    headers: BTreeMap<String, String>,
    /// What the API charges, where the policy does not say.
    price: Option<Amount>,
    /// What stands in the place of `{name}`.
    params: BTreeMap<String, String>,
    /// Never carry it out.
    never: bool,
}

/// What is checked against.
pub(super) struct Plan {
    pub(super) config: PolicyConfig,
    pub(super) routes: Vec<RoutePlan>,
    pub(super) scopes: Vec<String>,
    /// Limits of what is no route.
    pub(super) unrouted: Vec<Limit>,
    pub(super) format: TokenFormat,
}

impl Plan {
    pub(super) fn new(config: PolicyConfig, requests: Option<&Path>) -> Result<Plan, Failure> {
        let compiled = config.compile().map_err(|errors| Failure::new(errors.to_string()))?;
        let engine = Engine::new(compiled);
        let mut examples = match requests {
            None => BTreeMap::new(),
            Some(file) => read_examples(file)?,
        };
        let mut routes = Vec::new();
        for route in engine.policy().routes() {
            let example = examples.remove(&*route.name).unwrap_or_default();
            let mut plan = RoutePlan::new(&config, &route.name, example);
            plan.limits = limits_of(&engine, &plan.method, &plan.path)?;
            routes.push(plan);
        }
        if let Some(name) = examples.keys().next() {
            return Err(Failure::at("--requests", format!("the policy has no route `{name}`")));
        }
        Ok(Plan {
            scopes: config.scopes.keys().cloned().collect(),
            unrouted: engine.policy().limits(None).to_vec(),
            format: engine.policy().token_format(),
            routes,
            config,
        })
    }

    /// Whether a token can have a quota of its own.
    pub(super) fn has_own_quotas(&self) -> bool {
        let mut limits = self.routes.iter().flat_map(|route| &route.limits).chain(&self.unrouted);
        limits.any(|limit| limit.token_override)
    }

    /// Routes that some scope grants and that may be carried out, those first that hold back least:
    /// free ones before charged ones, those of few limits before those of many.
    pub(super) fn callable(&self) -> Vec<&RoutePlan> {
        let mut routes: Vec<&RoutePlan> = self
            .routes
            .iter()
            .filter(|route| route.may_run && !route.granted_by.is_empty())
            .collect();
        routes.sort_by_key(|route| {
            let shared = route.limits.iter().filter(|limit| is_shared(limit)).count();
            let side_effects = usize::from(route.method != "GET");
            (shared, usize::from(route.needs_key), side_effects, route.limits.len())
        });
        routes
    }

    /// A route whose price is known, rather one that takes keys.
    pub(super) fn priced(&self) -> Option<&RoutePlan> {
        let mut routes = self.callable().into_iter().filter(|route| route.price.is_some());
        let with_key = routes.clone().find(|route| route.takes_key);
        with_key.or_else(|| routes.next())
    }

    /// A route that takes idempotency keys.
    pub(super) fn idempotent(&self) -> Option<&RoutePlan> {
        self.callable().into_iter().find(|route| route.takes_key)
    }

    /// A well-formed token that nobody has.
    pub(super) fn new_token(&self) -> Result<String, Failure> {
        let mut random = [0; 32];
        getrandom::fill(&mut random)
            .map_err(|error| Failure::new(format!("the system gives no random bytes: {error}")))?;
        Ok(TokenText::generate(&random).expose().to_owned())
    }
}

/// Whether others than the caller's token and account count in it.
pub(super) fn is_shared(limit: &Limit) -> bool {
    !limit.shadow && matches!(limit.partition, Partition::SourceIp | Partition::Global)
}

/// Requests that a fresh partition lets through at once.
pub(super) fn capacity(limit: &Limit) -> u64 {
    let units = match limit.algorithm {
        Algorithm::Gcra => limit.quota.burst,
        Algorithm::FixedWindow | Algorithm::SlidingWindow => limit.quota.units,
    };
    units.checked_div(limit.cost).unwrap_or(0)
}

impl RoutePlan {
    fn new(config: &PolicyConfig, name: &str, example: Example) -> RoutePlan {
        let (method, pattern) = name.split_once(' ').unwrap_or(("GET", name));
        let settings = config.routes.get(name);
        let (takes_key, needs_key) = idempotency(config, name);
        let price = settings.and_then(|settings| settings.price);
        let granting =
            config.scopes.iter().filter(|(_, routes)| routes.iter().any(|granted| granted == name));
        let has_body = matches!(method, "POST" | "PUT" | "PATCH");
        let body = match example.body {
            Some(serde_json::Value::String(text)) => Bytes::from(text),
            Some(json) => Bytes::from(json.to_string()),
            None if has_body => Bytes::from_static(b"{}"),
            None => Bytes::new(),
        };
        let mut headers: Vec<(String, String)> = example.headers.into_iter().collect();
        let has_type = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if !body.is_empty() && !has_type {
            headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        }
        RoutePlan {
            name: name.to_owned(),
            method: method.to_owned(),
            path: filled(pattern, &example.params),
            granted_by: granting.map(|(scope, _)| scope.clone()).collect(),
            takes_key,
            needs_key,
            price: example.price.or(price).filter(|price| *price > Amount::ZERO),
            host_price: example.price,
            limits: Vec::new(),
            may_run: !example.never,
            body,
            headers,
        }
    }

    /// A call of it, without a token.
    pub(super) fn call(&self) -> Call {
        Call {
            headers: self.headers.clone(),
            body: self.body.clone(),
            route: Some(self.name.clone()),
            ..Call::new(&self.method, &self.path)
        }
    }
}

/// The limits of a request, as the engine itself finds them.
fn limits_of(engine: &Engine, method: &str, path: &str) -> Result<Vec<Limit>, Failure> {
    let store = MemoryStore::default();
    let admin = Admin::new(&store);
    let account = AccountId::new("a").map_err(|error| Failure::new(error.to_string()))?;
    admin.put_account(&account, Amount::ZERO, AccountPatch::default(), 0)?;
    let token = TokenText::generate(&[0; 32]);
    admin.put_token(&engine.digest(&token), &account, TokenPatch::default(), 0)?;
    let authorization = format!("Bearer {}", token.expose());
    let headers = [("authorization", authorization.as_str())];
    let request = Request {
        peek: true,
        ..Request::new(method.as_bytes(), path.as_bytes(), 0).with_headers(&headers)
    };
    let route = engine.decide(&store, &request).route();
    Ok(engine.policy().limits(route).to_vec())
}

/// Whether a route takes a key, and whether it must have one.
pub(super) fn idempotency(config: &PolicyConfig, route: &str) -> (bool, bool) {
    use tollgate::RouteIdempotency::{Settings, Switch};
    let default = config.idempotency.required;
    match config.routes.get(route).and_then(|settings| settings.idempotency.as_ref()) {
        None | Some(Switch(false)) => (false, false),
        Some(Switch(true)) => (true, default),
        Some(Settings(settings)) => (true, settings.required.unwrap_or(default)),
    }
}

/// A pattern with its parameters filled in.
fn filled(pattern: &str, params: &BTreeMap<String, String>) -> String {
    let fill = |segment: &str| match segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
        None => segment.to_owned(),
        Some(name) => params.get(name).cloned().unwrap_or_else(|| "verify-1".to_owned()),
    };
    pattern.split('/').map(fill).collect::<Vec<_>>().join("/")
}

fn read_examples(file: &Path) -> Result<BTreeMap<String, Example>, Failure> {
    let text = fs::read_to_string(file).map_err(|error| Failure::at(file.display(), error))?;
    // The parser's message would repeat what it read, of a file that may be another one.
    serde_json::from_str(&text).map_err(|error| {
        let place = format!("{}:{}:{}", file.display(), error.line(), error.column());
        let shape = "{ROUTE: {\"body\", \"headers\", \"params\", \"price\", \"never\"}}";
        Failure::at(place, format!("this is not {shape}, each member by choice"))
    })
}
