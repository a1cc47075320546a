//! Limits: what each may be, and which of them a route has.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;

use crate::limit::gcra::Rate;
use crate::limit::{Algorithm, Counts, Limit, LimitId, Partition, Quota};
use crate::policy::compile::{MAX_SPAN_MS, Patterns, check_span};
use crate::policy::compiled::MAX_LIMITS_PER_ROUTE;
use crate::policy::config::{LimitConfig, PolicyConfig};
use crate::policy::error::{Problems, element, place};

/// The most units of a quota, a burst or a cost.
const MAX_UNITS: u64 = 1_000_000_000;
/// The longest name.
const MAX_NAME_BYTES: usize = 128;

/// A limit, and the routes it is bound to; `None` for all.
pub(super) struct Bound<'c> {
    limit: Limit,
    routes: Option<BTreeSet<&'c str>>,
}

impl Bound<'_> {
    fn applies_to(&self, route: &str) -> bool {
        self.routes.as_ref().is_none_or(|routes| routes.contains(route))
    }

    fn applies_to_no_route(&self) -> bool {
        self.routes.is_none() && self.limit.counts == Counts::Requests
    }
}

/// The limits of a policy in the order in which they are checked.
pub(super) fn read<'c>(
    config: &'c PolicyConfig,
    patterns: &Patterns<'c>,
    problems: &mut Problems,
) -> Vec<Bound<'c>> {
    check_overrides(config, problems);
    let overridden = overridden(config);
    let mut limits: Vec<Bound<'c>> = Vec::new();
    for (name, written) in &config.limits {
        let parent = place("limits", name);
        check_name(name, &parent, problems);
        check_quota(written, &parent, problems);
        check_routes(written, patterns, &parent, problems);
        let quota =
            Quota { units: written.quota, window_ms: written.window_ms, burst: capacity(written) };
        let limit = Limit {
            name: name.as_str().into(),
            id: LimitId::of(name, written.algorithm),
            partition: written.per,
            quota,
            rate: Rate::of(&quota),
            algorithm: written.algorithm,
            counts: written.counts,
            cost: written.cost,
            token_override: overridden == Some(name),
            shadow: written.shadow,
            on_store_failure: written.on_store_failure,
        };
        let routes = written.routes.as_ref();
        let routes = routes.map(|routes| routes.iter().map(|route| route.as_str()).collect());
        limits.push(Bound { limit, routes });
    }
    limits.sort_by(|a, b| (a.limit.counts, &a.limit.name).cmp(&(b.limit.counts, &b.limit.name)));
    limits
}

/// The limits of a route, with what the route takes from each.
pub(super) fn of_route(config: &PolicyConfig, limits: &[Bound<'_>], route: &str) -> Box<[Limit]> {
    let costs = config.routes.get(route).map(|settings| &settings.limit_costs);
    let applying = limits.iter().filter(|bound| bound.applies_to(route));
    let limits = applying.map(|bound| {
        let mut limit = bound.limit.clone();
        limit.cost = costs.and_then(|costs| costs.get(&*limit.name)).copied().unwrap_or(limit.cost);
        limit
    });
    limits.collect()
}

/// The limits of requests that match no route.
pub(super) fn of_no_route(limits: &[Bound<'_>]) -> Box<[Limit]> {
    let applying = limits.iter().filter(|bound| bound.applies_to_no_route());
    applying.map(|bound| bound.limit.clone()).collect()
}

/// The most units that can ever be there at once.
pub(in crate::policy) fn capacity(limit: &LimitConfig) -> u64 {
    match limit.algorithm {
        Algorithm::Gcra => limit.burst.unwrap_or(limit.quota),
        Algorithm::FixedWindow | Algorithm::SlidingWindow => limit.quota,
    }
}

fn check_name(name: &str, parent: &str, problems: &mut Problems) {
    let visible = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(visible) {
        problems.add(
            parent,
            format!(
                "a limit's name must be 1 to {MAX_NAME_BYTES} visible ASCII characters without \
                 spaces, '\"' and '\\', for it stands in headers; rename it"
            ),
        );
    }
}

fn check_quota(limit: &LimitConfig, parent: &str, problems: &mut Problems) {
    let window = check_span(problems, &place(parent, "window_ms"), limit.window_ms);
    let quota = check_units(problems, limit.quota, &place(parent, "quota"), {
        "; to let nothing through, take the routes out of [scopes] or revoke the tokens"
    });
    let cost = check_units(problems, limit.cost, &place(parent, "cost"), {
        "; to leave a route out of a limit, list the limit's routes in `routes`"
    });
    let burst = check_burst(limit, parent, problems);
    if !(window && quota && burst) {
        return; // what follows would only repeat it
    }
    if limit.algorithm == Algorithm::Gcra {
        check_rate(limit, parent, problems);
    }
    if cost && limit.cost > capacity(limit) {
        problems.add(place(parent, "cost"), never_passes(limit.cost, capacity(limit)));
    }
}

fn check_units(problems: &mut Problems, units: u64, place: &str, if_zero: &str) -> bool {
    let valid = (1..=MAX_UNITS).contains(&units);
    if !valid {
        let hint = if units == 0 { if_zero } else { "" };
        problems.add(
            place,
            format!("must be at least 1 and at most {MAX_UNITS}, but is {units}{hint}"),
        );
    }
    valid
}

fn check_burst(limit: &LimitConfig, parent: &str, problems: &mut Problems) -> bool {
    let Some(burst) = limit.burst else { return true };
    let place = place(parent, "burst");
    if limit.algorithm != Algorithm::Gcra {
        problems.add(place, "only the algorithm \"gcra\" has a burst; remove it, or use \"gcra\"");
        return false;
    }
    check_units(problems, burst, &place, "; leave it out to allow the whole quota at once")
}

fn check_rate(limit: &LimitConfig, parent: &str, problems: &mut Problems) {
    let window_ms = u128::from(limit.window_ms);
    let quota = u128::from(limit.quota);
    if window_ms.saturating_mul(1_000_000) < quota {
        problems.add(
            place(parent, "quota"),
            format!(
                "{} units in {} ms are more than one a nanosecond, which gcra cannot count; use a \
                 longer window_ms or a smaller quota",
                limit.quota, limit.window_ms
            ),
        );
    }
    let refill_ms = u128::from(capacity(limit)).saturating_mul(window_ms);
    if refill_ms > u128::from(MAX_SPAN_MS).saturating_mul(quota) {
        problems.add(
            place(parent, "burst"),
            format!(
                "{} units take more than 400 days to come back at {} in {} ms; use a smaller burst",
                capacity(limit),
                limit.quota,
                limit.window_ms
            ),
        );
    }
}

fn never_passes(cost: u64, capacity: u64) -> alloc::string::String {
    format!(
        "a request that takes {cost} units can never pass, for the limit holds at most {capacity}; \
         lower the cost or raise the limit"
    )
}

fn check_routes(
    limit: &LimitConfig,
    patterns: &Patterns<'_>,
    parent: &str,
    problems: &mut Problems,
) {
    let parent = place(parent, "routes");
    for (index, route) in limit.routes.iter().flatten().enumerate() {
        if !patterns.contains_key(route.as_str()) {
            problems.add_reference(
                element(&parent, index),
                format!(
                    "no scope and no [routes] entry declares {route:?}; write it as it is there"
                ),
            );
        }
    }
}

/// Checks what routes take from limits by name.
pub(super) fn check_costs(config: &PolicyConfig, limits: &[Bound<'_>], problems: &mut Problems) {
    for (route, settings) in &config.routes {
        let parent = place(&place("routes", route), "limit_costs");
        for (name, cost) in &settings.limit_costs {
            let place = place(&parent, name);
            let Some(bound) = limits.iter().find(|bound| *bound.limit.name == **name) else {
                problems.add_reference(place, format!("there is no limit {name:?}; see [limits]"));
                continue;
            };
            let capacity = bound.limit.quota.burst;
            if check_units(problems, *cost, &place, "; list the limit's routes in its `routes`")
                && *cost > capacity
                && capacity > 0
            {
                problems.add(place, never_passes(*cost, capacity));
            }
        }
    }
}

/// Names the first route that has too many; a limit on all routes would otherwise repeat it for each.
pub(super) fn check_number(limits: &[Bound<'_>], patterns: &Patterns<'_>, problems: &mut Problems) {
    let number = |route: &str| limits.iter().filter(|bound| bound.applies_to(route)).count();
    let unrouted = limits.iter().filter(|bound| bound.applies_to_no_route()).count();
    let routed = patterns.keys().map(|route| (format!("route {route:?}"), number(route)));
    let unrouted = core::iter::once(("a request that matches no route".into(), unrouted));
    if let Some((subject, number)) =
        routed.chain(unrouted).find(|(_, number)| *number > MAX_LIMITS_PER_ROUTE)
    {
        problems.add(
            "limits",
            format!(
                "{subject} has {number} limits; bind some to fewer routes, {MAX_LIMITS_PER_ROUTE} is the most"
            ),
        );
    }
}

fn check_overrides(config: &PolicyConfig, problems: &mut Problems) {
    let stated = config.limits.iter().filter(|(_, limit)| limit.token_override == Some(true));
    for (index, (name, limit)) in stated.enumerate() {
        let place = place(&place("limits", name), "token_override");
        if index > 0 {
            problems.add(
                place,
                "another limit says true already, and a token has only one quota of its own; \
                 remove one of them",
            );
        } else if !matches!(limit.per, Partition::Token | Partition::TokenSourceIp) {
            problems.add(
                place,
                "a token's own quota needs units of its own; set per = \"token\" or \
                 \"token_source_ip\", or remove this",
            );
        }
    }
}

/// The limit whose quota a token's own takes the place of.
pub(in crate::policy) fn overridden(config: &PolicyConfig) -> Option<&str> {
    let stated = config.limits.iter().find(|(_, limit)| limit.token_override == Some(true));
    if let Some((name, _)) = stated {
        return Some(name);
    }
    let mut candidates = config.limits.iter().filter(|(_, limit)| {
        limit.per == Partition::Token
            && limit.counts == Counts::Requests
            && limit.routes.is_none()
            && limit.token_override.is_none()
    });
    let (name, _) = candidates.next()?;
    candidates.next().is_none().then_some(name)
}
