//! What a policy promises to the users of its API, collected.

use std::collections::BTreeSet;

use tollgate::{Engine, Limit, OnOrphan, PolicyConfig, RouteIdempotency, Status};

use super::examples::{Asked, Example, Stories};
use crate::exit::Failure;

/// A route, and everything that can be answered on it.
pub(super) struct RouteFacts {
    /// As the policy names it: `METHOD /path/{param}`.
    pub(super) name: String,
    pub(super) method: String,
    pub(super) pattern: String,
    /// Any of them grants it.
    pub(super) scopes: Vec<String>,
    pub(super) takes_key: bool,
    pub(super) needs_key: bool,
    pub(super) retention_ms: u64,
    pub(super) on_orphan: OnOrphan,
    /// In the ledger's minor unit, where the policy says it.
    pub(super) price: Option<u64>,
    pub(super) is_charged: bool,
    pub(super) limits: Vec<Limit>,
    /// One for each answer that it can give, in the order of precedence.
    pub(super) examples: Vec<Example>,
}

impl RouteFacts {
    pub(super) fn example(&self, status: Status) -> Option<&Example> {
        self.examples.iter().find(|example| example.status == status)
    }
}

/// All of it.
pub(super) struct Facts<'c> {
    pub(super) config: &'c PolicyConfig,
    pub(super) routes: Vec<RouteFacts>,
    /// For each limit that is enforced on a route: the limit there, and a denial by it.
    pub(super) limits: Vec<LimitFacts>,
}

pub(super) struct LimitFacts {
    pub(super) limit: Limit,
    pub(super) denial: Option<Example>,
}

impl<'c> Facts<'c> {
    /// `charged` are the routes that the API itself gives a price.
    pub(super) fn new(config: &'c PolicyConfig, charged: &[String]) -> Result<Facts<'c>, Failure> {
        let stories = Stories::new(config)?;
        let known: BTreeSet<String> = names(stories.engine()).map(|(name, ..)| name).collect();
        if let Some(name) = charged.iter().find(|name| !known.contains(*name)) {
            return Err(Failure::at("--charged", format!("the policy has no route `{name}`")));
        }
        let mut routes = Vec::new();
        let mut limits: Vec<LimitFacts> = Vec::new();
        for (name, method, path) in names(stories.engine()).collect::<Vec<_>>() {
            let price = price(config, &name);
            let is_charged = price.is_some() || charged.contains(&name);
            let asked = Asked { method: &method, path: &path, is_charged };
            let of_route = stories.limits(asked)?;
            for limit in &of_route {
                let is_known = limits.iter().any(|known| known.limit.name == limit.name);
                if !is_known && !limit.shadow {
                    let denial = stories.denial_by(asked, limit)?;
                    limits.push(LimitFacts { limit: limit.clone(), denial });
                }
            }
            let examples = stories.of(asked)?;
            let (takes_key, needs_key) = takes_key(config, &name);
            let (retention_ms, on_orphan) = kept(config, &name);
            let pattern = name.split_once(' ').map_or("/", |(_, pattern)| pattern).to_owned();
            let granting = config.scopes.iter().filter(|(_, routes)| routes.contains(&name));
            routes.push(RouteFacts {
                scopes: granting.map(|(scope, _)| scope.clone()).collect(),
                takes_key,
                needs_key,
                retention_ms,
                on_orphan,
                price,
                is_charged,
                limits: of_route,
                examples,
                pattern,
                method,
                name,
            });
        }
        limits.sort_by(|a, b| a.limit.name.cmp(&b.limit.name));
        Ok(Facts { config, routes, limits })
    }

    /// The first example of each answer, in the order of precedence.
    pub(super) fn answers(&self) -> Vec<&Example> {
        let mut answers: Vec<&Example> = Vec::new();
        for example in self.routes.iter().flat_map(|route| &route.examples) {
            if !answers.iter().any(|known| known.status == example.status) {
                answers.push(example);
            }
        }
        answers.sort_by_key(|example| example.status);
        answers
    }

    /// The names of the headers of a status' answers, in their documented spelling.
    pub(super) fn headers_of(&self, status: Status) -> BTreeSet<&str> {
        let routes = self.routes.iter();
        let examples = routes.filter_map(|route| route.example(status));
        examples.flat_map(Example::header_names).collect()
    }
}

/// Stands in the place of each parameter; no literal of a policy should be this.
const FILLED: &str = "example-1";

/// The routes: name, method, and path with parameters filled in.
pub(super) fn names(engine: &Engine) -> impl Iterator<Item = (String, String, String)> {
    engine.policy().routes().iter().map(|route| {
        let (method, pattern) = route.name.split_once(' ').unwrap_or(("GET", &route.name));
        let fill =
            |segment: &str| if segment.starts_with('{') { FILLED } else { segment }.to_owned();
        let path: Vec<String> = pattern.split('/').map(fill).collect();
        (route.name.to_string(), method.to_owned(), path.join("/"))
    })
}

fn price(config: &PolicyConfig, route: &str) -> Option<u64> {
    let price = config.routes.get(route).and_then(|settings| settings.price);
    price.map(|price| price.0).filter(|price| *price > 0)
}

/// Whether a route takes a key, and whether it must have one.
pub(super) fn takes_key(config: &PolicyConfig, route: &str) -> (bool, bool) {
    let default = config.idempotency.required;
    match config.routes.get(route).and_then(|settings| settings.idempotency.as_ref()) {
        None | Some(RouteIdempotency::Switch(false)) => (false, false),
        Some(RouteIdempotency::Switch(true)) => (true, default),
        Some(RouteIdempotency::Settings(settings)) => (true, settings.required.unwrap_or(default)),
    }
}

fn kept(config: &PolicyConfig, route: &str) -> (u64, OnOrphan) {
    let default = &config.idempotency;
    match config.routes.get(route).and_then(|settings| settings.idempotency.as_ref()) {
        Some(RouteIdempotency::Settings(settings)) => (
            settings.retention_ms.unwrap_or(default.retention_ms),
            settings.on_orphan.unwrap_or(default.on_orphan),
        ),
        _ => (default.retention_ms, default.on_orphan),
    }
}
