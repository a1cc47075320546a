//! Random policies: the same routes and limit names, everything else at random.

use proptest::prelude::*;
use proptest::sample::select;
use tollgate::*;

const ROUTES: [&str; 5] =
    ["GET /messages", "POST /messages", "POST /calls", "GET /messages/{id}", "POST /codes"];

/// The route's name, if it is one, and a target that matches it.
pub fn target(route: usize, query: bool) -> (Option<&'static str>, String) {
    let name = ROUTES.get(route).copied();
    let path = name.map_or("/nowhere", |name| name.split(' ').nth(1).unwrap());
    let path = path.replace("{id}", "17");
    (name, if query { format!("{path}?page=2") } else { path })
}

fn limit(name: &'static str) -> impl Strategy<Value = (String, LimitConfig)> {
    use Partition::*;
    let routes = prop::option::weighted(0.4, prop::sample::subsequence(&ROUTES[..], 1..=3));
    (
        (
            select(vec![Token, Token, Account, SourceIp, TokenSourceIp, AccountSourceIp, Global]),
            1..7_u64,
            select(vec![7_u64, 16, 999, 1_000, 1_600, 5_000, 60_000, 3_600_000]),
            select(vec![Algorithm::Gcra, Algorithm::FixedWindow, Algorithm::SlidingWindow]),
            prop::option::of(1..9_u64),
        ),
        (
            prop::bool::weighted(0.35),
            routes,
            1..3_u64,
            select(vec![None, None, Some(false), Some(true)]),
            prop::bool::weighted(0.2),
        ),
    )
        .prop_map(move |(counted, applied)| {
            let (per, quota, window_ms, algorithm, burst) = counted;
            let (executions, routes, cost, token_override, shadow) = applied;
            let burst = burst.filter(|_| algorithm == Algorithm::Gcra);
            let of_token = matches!(per, Token | TokenSourceIp);
            let limit = LimitConfig {
                algorithm,
                burst,
                counts: if executions { Counts::Executions } else { Counts::Requests },
                routes: routes.map(|routes| routes.into_iter().map(str::to_owned).collect()),
                cost: cost.min(burst.unwrap_or(quota)),
                token_override: token_override.filter(|is| !is || of_token),
                shadow,
                ..LimitConfig::new(per, quota, window_ms)
            };
            (name.to_owned(), limit)
        })
}

fn settings() -> impl Strategy<Value = RouteConfig> {
    let idempotency =
        (select(vec![3_000_u64, 60_000, 86_400_000]), any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(retention_ms, rerun, required)| {
                RouteIdempotency::Settings(IdempotencyOverrides {
                    retention_ms: Some(retention_ms),
                    on_orphan: Some(if rerun { OnOrphan::Rerun } else { OnOrphan::Conflict }),
                    required: Some(required),
                    on_store_failure: None,
                })
            });
    let idempotency = prop_oneof![
        1 => Just(None),
        1 => any::<bool>().prop_map(|on| Some(RouteIdempotency::Switch(on))),
        4 => idempotency.prop_map(Some),
    ];
    (
        idempotency,
        prop::option::of(0..12_u64),
        prop::option::weighted(0.7, select(vec![1_u64, 1_000, 5_000, 300_000])),
        prop::option::weighted(0.7, select(vec![OnExpiry::Void, OnExpiry::Settle, OnExpiry::Hold])),
        prop::option::weighted(0.3, 1..3_u64),
    )
        .prop_map(|(idempotency, price, lease_ms, on_expiry, cost)| RouteConfig {
            idempotency,
            price: price.map(Amount),
            lease_ms,
            on_expiry,
            limit_costs: cost.map(|cost| ("a".to_owned(), cost)).into_iter().collect(),
        })
}

pub fn policy() -> impl Strategy<Value = PolicyConfig> {
    (
        prop::sample::subsequence(vec!["a", "b", "c", "d", "e"], 0..=4),
        (limit("a"), limit("b"), limit("c"), limit("d"), limit("e")),
        (settings(), settings(), settings()),
        select(vec![1_000_u64, 30_000, 604_800_000]),
        prop::bool::weighted(0.2),
    )
        .prop_map(
            |(names, (a, b, c, d, e), (post, call, code), retention_ms, shadow_networks)| {
                let mut policy = PolicyConfig::default();
                policy.tokens.format = TokenFormat::Opaque;
                policy.source.shadow_networks = shadow_networks;
                policy.reservations.retention_ms = retention_ms;
                let all = ROUTES.map(str::to_owned);
                policy.scopes.insert("read".into(), vec![all[0].clone(), all[3].clone()]);
                policy.scopes.insert("write".into(), all[1..].to_vec());
                let mut stated = false;
                for (name, mut limit) in [a, b, c, d, e] {
                    // A token has one quota of its own, so at most one limit takes it.
                    if limit.token_override == Some(true) && std::mem::replace(&mut stated, true) {
                        limit.token_override = None;
                    }
                    if names.contains(&name.as_str()) {
                        policy.limits.insert(name, limit);
                    }
                }
                for (route, mut settings) in
                    ROUTES[1..].iter().zip([post, call, RouteConfig::default(), code])
                {
                    match policy.limits.get("a") {
                        Some(limit) => {
                            let most = limit.burst.unwrap_or(limit.quota);
                            settings
                                .limit_costs
                                .values_mut()
                                .for_each(|cost| *cost = (*cost).min(most));
                        }
                        None => settings.limit_costs.clear(),
                    }
                    policy.routes.insert((*route).to_owned(), settings);
                }
                policy
            },
        )
}
