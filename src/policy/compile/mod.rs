//! From what people write to look-up tables: every error is found here, all of them at once.

pub(super) mod limits;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use crate::idempotency::IdempotencyRule;
use crate::limit::Limit;
use crate::policy::compiled::{
    AnswerRules, ChargeRule, CompiledPolicy, Route, RouteId, SourceRules,
};
use crate::policy::config::{PolicyConfig, ResetFormat, RouteIdempotency};
use crate::policy::error::{PolicyErrors, Problems, element, place};
use crate::policy::pattern::Pattern;
use crate::policy::router::Router;
use crate::policy::scopes::{MAX_SCOPES, ScopeSet, ScopeTable};

/// The longest window, lease and retention: 400 days in milliseconds.
pub(super) const MAX_SPAN_MS: u64 = 400 * 86_400_000;
/// The most routes: each has a 16-bit number.
const MAX_ROUTES: usize = 65_535;

/// The routes of a policy by name; the name is the pattern as written.
type Patterns<'c> = BTreeMap<&'c str, Pattern<'c>>;

impl PolicyConfig {
    /// Compiles the policy.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once; without lines, for it did not come from text.
    pub fn compile(&self) -> Result<CompiledPolicy, PolicyErrors> {
        let mut problems = Problems::default();
        let policy = build(self, &mut problems);
        problems.or(Some(policy))
    }
}

/// Compiles as far as it can be; what comes out is of use only if there are no problems.
pub(super) fn build(config: &PolicyConfig, problems: &mut Problems) -> CompiledPolicy {
    let trusted_proxies = trusted_proxies(config, problems);
    let scopes = scope_table(config, problems);
    let patterns = patterns(config, problems);
    let router = router(&patterns, problems);
    check_spans(config, problems);
    check_realm(config, problems);
    let limits = limits::read(config, &patterns, problems);
    limits::check_costs(config, &limits, problems);
    limits::check_number(&limits, &patterns, problems);

    let granted = granted(config, &scopes);
    let route = |name: &&str| {
        let limits = limits::of_route(config, &limits, name);
        Route {
            name: Box::from(*name),
            granted_by: granted.get(name).copied().unwrap_or_default(),
            counts_by_source: limits.iter().any(Limit::needs_source),
            limits,
            idempotency: idempotency(config, name),
            charge: charge(config, name),
        }
    };
    CompiledPolicy {
        token_format: config.tokens.format,
        sources: SourceRules {
            trusted_proxies,
            forwarded_header: config.source.forwarded_header,
            shadow: config.source.shadow_networks,
        },
        fold_trailing_slash: config.paths.fold_trailing_slash,
        routes: patterns.keys().map(route).collect(),
        unrouted_limits: limits::of_no_route(&limits),
        scopes,
        router,
        answers: answers(config),
    }
}

fn trusted_proxies(config: &PolicyConfig, problems: &mut Problems) -> Box<[IpNet]> {
    let written = config.source.trusted_proxies.iter().enumerate();
    let networks = written.filter_map(|(index, text)| match network(text) {
        Ok(network) => Some(network),
        Err(message) => {
            problems.add(element("source.trusted_proxies", index), message);
            None
        }
    });
    networks.collect()
}

/// A network, or a single address. IPv4-mapped IPv6 becomes IPv4, for that is how addresses are
/// compared.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let network = text.parse::<IpNet>().or_else(|_| address()).map_err(|_| {
        format!(
            "{text:?} is not a network; write an address and a prefix length, e.g. \"10.0.0.0/8\" \
             or \"2001:db8::/32\", or a single address"
        )
    })?;
    let IpNet::V6(mapped) = network else { return Ok(network.trunc()) };
    let Some(address) = mapped.addr().to_ipv4_mapped() else { return Ok(network.trunc()) };
    let narrowed = mapped.prefix_len().checked_sub(96);
    let narrowed = narrowed.and_then(|length| Ipv4Net::new(address, length).ok());
    narrowed.map(|network| IpNet::V4(network.trunc())).ok_or_else(|| {
        format!(
            "{text:?} is an IPv4-mapped network wider than all of IPv4; write the IPv4 network, \
             e.g. \"10.0.0.0/8\""
        )
    })
}

fn scope_table(config: &PolicyConfig, problems: &mut Problems) -> ScopeTable {
    // scope-token, RFC 6749, 3.3.
    let visible = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    for name in config.scopes.keys() {
        if name.is_empty() || !name.bytes().all(visible) {
            problems.add(
                place("scopes", name),
                "a scope's name must be visible ASCII without spaces, '\"' and '\\'; rename it",
            );
        }
    }
    if config.scopes.len() > MAX_SCOPES {
        problems.add(
            "scopes",
            format!(
                "there are {} scopes; a policy has at most {MAX_SCOPES}, so merge some",
                config.scopes.len()
            ),
        );
    }
    ScopeTable::new(config.scopes.keys().map(|name| Box::from(name.as_str())))
}

/// Every route that the policy names, and what is wrong with those that are none.
fn patterns<'c>(config: &'c PolicyConfig, problems: &mut Problems) -> Patterns<'c> {
    let granted = config.scopes.iter().flat_map(|(scope, routes)| {
        let parent = place("scopes", scope);
        let routes = routes.iter().enumerate();
        routes.map(move |(index, route)| (element(&parent, index), route.as_str()))
    });
    let set = config.routes.keys().map(|route| (place("routes", route), route.as_str()));
    let mut patterns = Patterns::new();
    for (place, route) in granted.chain(set) {
        match Pattern::parse(route) {
            Ok(pattern) => {
                patterns.insert(route, pattern);
            }
            Err(message) => problems.add(place, message),
        }
    }
    if patterns.len() > MAX_ROUTES {
        problems.add(
            "routes",
            format!("there are {} routes; a policy has at most {MAX_ROUTES}", patterns.len()),
        );
    }
    patterns
}

fn router(patterns: &Patterns<'_>, problems: &mut Problems) -> Router {
    let names: Vec<&str> = patterns.keys().copied().collect();
    let mut router = Router::default();
    for ((name, pattern), number) in patterns.iter().zip(0..u16::MAX) {
        let Err(taken) = router.insert(pattern, RouteId(number)) else { continue };
        let other = names.get(usize::from(taken.0)).copied().unwrap_or_default();
        problems.add(
            place("routes", name),
            format!("matches the same requests as {other:?}; use one of the two names everywhere"),
        );
    }
    router
}

fn granted<'c>(config: &'c PolicyConfig, scopes: &ScopeTable) -> BTreeMap<&'c str, ScopeSet> {
    let mut granted: BTreeMap<&str, ScopeSet> = BTreeMap::new();
    for (scope, routes) in &config.scopes {
        let ScopeSet(bit) = scopes.set([scope.as_str()]);
        for route in routes {
            granted.entry(route).or_default().0 |= bit;
        }
    }
    granted
}

fn check_spans(config: &PolicyConfig, problems: &mut Problems) {
    check_span(problems, "idempotency.retention_ms", config.idempotency.retention_ms);
    check_span(problems, "reservations.lease_ms", config.reservations.lease_ms);
    check_span(problems, "reservations.retention_ms", config.reservations.retention_ms);
    for (name, route) in &config.routes {
        let parent = place("routes", name);
        if let Some(lease_ms) = route.lease_ms {
            check_span(problems, &place(&parent, "lease_ms"), lease_ms);
        }
        if let Some(RouteIdempotency::Settings(settings)) = &route.idempotency
            && let Some(retention_ms) = settings.retention_ms
        {
            check_span(problems, &format!("{parent}.idempotency.retention_ms"), retention_ms);
        }
    }
}

/// Checks a span of time in milliseconds.
fn check_span(problems: &mut Problems, place: &str, span_ms: u64) -> bool {
    let valid = (1..=MAX_SPAN_MS).contains(&span_ms);
    if !valid {
        problems.add(
            place,
            format!(
                "must be at least 1 and at most {MAX_SPAN_MS} milliseconds (400 days), \
                 but is {span_ms}"
            ),
        );
    }
    valid
}

fn check_realm(config: &PolicyConfig, problems: &mut Problems) {
    let printable = |byte: u8| matches!(byte, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    if !config.answers.realm.bytes().all(printable) {
        problems.add(
            "answers.realm",
            "must be printable ASCII without '\"' and '\\', for it stands between quotes in a header",
        );
    }
}

fn idempotency(config: &PolicyConfig, route: &str) -> Option<IdempotencyRule> {
    let defaults = &config.idempotency;
    let settings = match config.routes.get(route)?.idempotency.as_ref()? {
        RouteIdempotency::Switch(false) => return None,
        RouteIdempotency::Switch(true) => &Default::default(),
        RouteIdempotency::Settings(settings) => settings,
    };
    Some(IdempotencyRule {
        required: settings.required.unwrap_or(defaults.required),
        retention_ms: settings.retention_ms.unwrap_or(defaults.retention_ms),
        on_orphan: settings.on_orphan.unwrap_or(defaults.on_orphan),
        on_store_failure: settings.on_store_failure.unwrap_or(defaults.on_store_failure),
    })
}

fn charge(config: &PolicyConfig, route: &str) -> ChargeRule {
    let defaults = &config.reservations;
    let settings = config.routes.get(route);
    ChargeRule {
        price: settings.and_then(|route| route.price),
        lease_ms: settings.and_then(|route| route.lease_ms).unwrap_or(defaults.lease_ms),
        on_expiry: settings.and_then(|route| route.on_expiry).unwrap_or(defaults.on_expiry),
        retention_ms: defaults.retention_ms,
    }
}

fn answers(config: &PolicyConfig) -> AnswerRules {
    let answers = &config.answers;
    AnswerRules {
        problem_json: answers.problem_json,
        x_ratelimit: answers.x_ratelimit,
        ietf_ratelimit: answers.ietf_ratelimit,
        reset_delta: answers.reset == ResetFormat::Delta,
        realm: answers.realm.as_str().into(),
    }
}
