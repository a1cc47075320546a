//! What compiles, but is probably not what was meant.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use ipnet::IpNet;

use crate::limit::Algorithm;
use crate::policy::compile::limits::{capacity, overridden};
use crate::policy::compile::network;
use crate::policy::config::{LimitConfig, PolicyConfig, RouteIdempotency};
use crate::policy::error::{element, place};

/// Something that compiles, but is probably not what was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// Where, as in [`PolicyError`](crate::policy::PolicyError).
    pub place: String,
    /// What is odd about it, and what to do.
    pub message: String,
}

/// Everything odd about a policy, in the order of its sections. Of use for a policy that compiles;
/// it does not repeat errors.
///
/// No route can hide another: where several match, each has requests that it alone is best for.
#[must_use]
pub fn lint(config: &PolicyConfig) -> Vec<Warning> {
    let mut warnings = Vec::new();
    lint_source(config, &mut warnings);
    lint_scopes(config, &mut warnings);
    lint_limits(config, &mut warnings);
    lint_routes(config, &mut warnings);
    warnings
}

fn warn(warnings: &mut Vec<Warning>, place: impl Into<String>, message: impl Into<String>) {
    warnings.push(Warning { place: place.into(), message: message.into() });
}

fn lint_source(config: &PolicyConfig, warnings: &mut Vec<Warning>) {
    let written = config.source.trusted_proxies.iter().enumerate();
    let networks: Vec<(usize, IpNet)> =
        written.filter_map(|(index, text)| Some((index, network(text).ok()?))).collect();
    for (index, inner) in &networks {
        let place = element("source.trusted_proxies", *index);
        if inner.prefix_len() == 0 {
            warn(
                warnings,
                place.as_str(),
                "trusts every peer, so that any client can choose its source address; name your proxies",
            );
        }
        let outer = networks.iter().find(|(other, outer)| {
            other != index && outer.contains(inner) && (outer != inner || other < index)
        });
        if let Some((_, outer)) = outer {
            warn(warnings, place, format!("{inner} lies within {outer}; remove one of them"));
        }
    }
    if config.source.shadow_networks {
        warn(
            warnings,
            "source.shadow_networks",
            "networks of accounts and tokens are reported, but not enforced",
        );
    }
}

fn lint_scopes(config: &PolicyConfig, warnings: &mut Vec<Warning>) {
    for (name, routes) in &config.scopes {
        if routes.is_empty() {
            warn(warnings, place("scopes", name), "grants no route; add some, or remove it");
        }
    }
}

fn lint_limits(config: &PolicyConfig, warnings: &mut Vec<Warning>) {
    for (name, limit) in &config.limits {
        let parent = place("limits", name);
        if limit.routes.as_ref().is_some_and(Vec::is_empty) {
            warn(
                warnings,
                place(&parent, "routes"),
                "is empty, so the limit applies to nothing; leave it out to apply it to every route",
            );
        }
        if limit.shadow {
            warn(warnings, place(&parent, "shadow"), "the limit is reported, but not enforced");
        }
        let mut others = config.limits.iter().filter(|(other, _)| *other != name);
        let stricter = others.find(|(other, stricter)| {
            never_binds(config, (name, limit), (other, stricter))
                // Of two that are alike, the later one is the idle one.
                && (*other < name || !never_binds(config, (other, stricter), (name, limit)))
        });
        if let Some((stricter, _)) = stricter {
            warn(
                warnings,
                parent,
                format!(
                    "can never bind, for {} is always reached first; remove it",
                    place("limits", stricter)
                ),
            );
        }
    }
}

/// Whether `stricter` never lets through what `limit` would hold. Says no where it is not sure.
fn never_binds(
    config: &PolicyConfig,
    (name, limit): (&str, &LimitConfig),
    (other, stricter): (&str, &LimitConfig),
) -> bool {
    let overridden = overridden(config);
    let varying = |name: &str| {
        overridden == Some(name)
            || config.routes.values().any(|route| route.limit_costs.contains_key(name))
    };
    limit.per == stricter.per
        && limit.counts == stricter.counts
        && limit.cost <= stricter.cost
        && !stricter.shadow
        && stricter.on_store_failure == limit.on_store_failure
        && !varying(name)
        && !varying(other)
        && covers(stricter, limit)
        && holds_back_all(stricter, limit)
}

/// Whether `stricter` applies to all that `limit` applies to.
fn covers(stricter: &LimitConfig, limit: &LimitConfig) -> bool {
    match (&stricter.routes, &limit.routes) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(all), Some(some)) => {
            let all: BTreeSet<&String> = all.iter().collect();
            some.iter().all(|route| all.contains(route))
        }
    }
}

fn holds_back_all(stricter: &LimitConfig, limit: &LimitConfig) -> bool {
    if limit.algorithm != Algorithm::Gcra {
        return most_within(stricter, limit) <= u128::from(limit.quota);
    }
    let product = |quota: u64, window_ms: u64| u128::from(quota).saturating_mul(window_ms.into());
    stricter.algorithm == Algorithm::Gcra
        && capacity(stricter) <= capacity(limit)
        && product(stricter.quota, limit.window_ms) <= product(limit.quota, stricter.window_ms)
}

/// The most units that `stricter` lets through in one window of `limit`.
fn most_within(stricter: &LimitConfig, limit: &LimitConfig) -> u128 {
    let (span, window) = (u128::from(limit.window_ms), u128::from(stricter.window_ms.max(1)));
    let quota = u128::from(stricter.quota);
    let windows = span.div_ceil(window);
    let aligned = limit.algorithm == Algorithm::FixedWindow && span.is_multiple_of(window);
    match stricter.algorithm {
        Algorithm::Gcra => {
            let refill = span.saturating_mul(quota).div_ceil(window);
            refill.saturating_add(u128::from(capacity(stricter)))
        }
        Algorithm::SlidingWindow => windows.saturating_mul(quota),
        Algorithm::FixedWindow if aligned => windows.saturating_mul(quota),
        // A span that starts within a window reaches into one more.
        Algorithm::FixedWindow => windows.saturating_add(1).saturating_mul(quota),
    }
}

fn lint_routes(config: &PolicyConfig, warnings: &mut Vec<Warning>) {
    let granted: BTreeSet<&String> = config.scopes.values().flatten().collect();
    for (name, route) in &config.routes {
        let parent = place("routes", name);
        if !granted.contains(name) {
            warn(
                warnings,
                parent.as_str(),
                "no scope grants it, so every call is denied; add it to a scope, or remove it",
            );
            if route.price.is_some() {
                warn(
                    warnings,
                    place(&parent, "price"),
                    "is never charged, for no scope grants the route",
                );
            }
        }
        for limit in route.limit_costs.keys() {
            let routes = config.limits.get(limit).and_then(|limit| limit.routes.as_ref());
            if routes.is_some_and(|routes| !routes.contains(name)) {
                warn(
                    warnings,
                    place(&place(&parent, "limit_costs"), limit),
                    "has no effect, for the limit does not apply to this route; add it to the limit's routes",
                );
            }
        }
        lint_retention(config, name, &parent, warnings);
    }
}

fn lint_retention(config: &PolicyConfig, name: &str, parent: &str, warnings: &mut Vec<Warning>) {
    let Some(route) = config.routes.get(name) else { return };
    let retention_ms = match &route.idempotency {
        None | Some(RouteIdempotency::Switch(false)) => return,
        Some(RouteIdempotency::Switch(true)) => None,
        Some(RouteIdempotency::Settings(settings)) => settings.retention_ms,
    };
    let retention_ms = retention_ms.unwrap_or(config.idempotency.retention_ms);
    let lease_ms = route.lease_ms.unwrap_or(config.reservations.lease_ms);
    if retention_ms < lease_ms {
        warn(
            warnings,
            format!("{parent}.idempotency"),
            format!(
                "a key is forgotten after {retention_ms} ms, while its request may run for \
                 {lease_ms} ms and would then run twice; keep keys for longer, or shorten the lease"
            ),
        );
    }
}
