//! Policies as a whole: every error by name, presets, lints, and text that is no policy.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::limit::{Counts, Partition};
use crate::policy::config::*;
use crate::policy::*;

/// The places and messages of what is wrong with `config`.
fn errors(config: &PolicyConfig) -> Vec<String> {
    match config.compile() {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

/// Asserts that there is one error, at `place`, which says `part`.
#[track_caller]
fn assert_error(config: &PolicyConfig, place: &str, part: &str) {
    let errors = errors(config);
    let fits = |error: &String| error.starts_with(&format!("{place}: ")) && error.contains(part);
    assert!(errors.len() == 1 && errors.iter().all(fits), "{errors:#?}");
}

fn with_limit(change: impl FnOnce(&mut LimitConfig)) -> PolicyConfig {
    let mut config = preset("sms-gateway").unwrap();
    change(config.limits.get_mut("token").unwrap());
    config
}

fn with_route(route: &str) -> PolicyConfig {
    let mut config = PolicyConfig::default();
    config.scopes.insert("s".into(), [route.into()].into());
    config
}

fn route<'p>(policy: &'p CompiledPolicy, name: &str) -> &'p Route {
    policy.routes().iter().find(|route| &*route.name == name).unwrap()
}

#[test]
fn an_empty_policy_compiles() {
    let policy = PolicyConfig::default().compile().unwrap();
    assert!(policy.routes().is_empty() && policy.unrouted_limits.is_empty());
    assert!(lint(&PolicyConfig::default()).is_empty());
}

#[test]
fn the_sms_gateway_preset_is_its_contract() {
    let config = preset("sms-gateway").unwrap();
    let policy = config.compile().unwrap();
    assert_eq!(lint(&config), []);
    assert_eq!(policy.routes().len(), 20);
    assert_eq!(policy.scopes().names().len(), 8);
    let idempotent: Vec<&str> = policy
        .routes()
        .iter()
        .filter(|route| route.idempotency.is_some_and(|rule| rule.retention_ms == 86_400_000))
        .map(|route| &*route.name)
        .collect();
    assert_eq!(idempotent, ["POST /otp/send", "POST /sms/send", "POST /voice/send"]);
    let otp = route(&policy, "POST /otp/send");
    let names: Vec<&str> = otp.limits.iter().map(|limit| &*limit.name).collect();
    assert_eq!(names, ["token", "otp_source_ip"]);
    assert!(otp.limits[0].token_override && !otp.limits[1].token_override);
    assert_eq!((otp.limits[0].quota.units, otp.limits[0].quota.window_ms), (120, 60_000));
    assert_eq!(policy.unrouted_limits.len(), 1);
    let detail = policy.find_route(b"GET", b"/messages/42?x=1").unwrap();
    assert_eq!(&*policy.route(detail).unwrap().name, "GET /messages/{id}");
    let granted = policy.scopes().set(["reports"]);
    assert!(policy.route(detail).unwrap().granted_by.intersects(granted));
    assert_eq!(policy.find_route(b"GET", b"/messages/"), None);
    for name in PRESETS {
        preset(name).unwrap().compile().unwrap();
    }
    assert_eq!(preset("unknown"), None);
}

#[test]
fn windows_and_quotas_have_bounds() {
    assert_error(&with_limit(|l| l.window_ms = 0), "limits.token.window_ms", "at least 1");
    assert_error(&with_limit(|l| l.window_ms = u64::MAX), "limits.token.window_ms", "400 days");
    assert_error(&with_limit(|l| l.quota = 0), "limits.token.quota", "revoke");
    assert_error(&with_limit(|l| l.quota = 1_000_000_001), "limits.token.quota", "at most");
    let dense = |l: &mut LimitConfig| (l.quota, l.window_ms) = (1_000_000_000, 1);
    assert_error(&with_limit(dense), "limits.token.quota", "nanosecond");
    let densest = |l: &mut LimitConfig| (l.quota, l.window_ms) = (1_000_000, 1);
    assert_eq!(errors(&with_limit(densest)), [""; 0]);
}

#[test]
fn bursts_have_bounds_and_belong_to_gcra() {
    assert_error(&with_limit(|l| l.burst = Some(0)), "limits.token.burst", "at least 1");
    let slow = |l: &mut LimitConfig| (l.quota, l.window_ms, l.burst) = (1, 86_400_000, Some(500));
    assert_error(&with_limit(slow), "limits.token.burst", "400 days");
    let slowest =
        |l: &mut LimitConfig| (l.quota, l.window_ms, l.burst) = (1, 86_400_000, Some(400));
    assert_eq!(errors(&with_limit(slowest)), [""; 0]);
    let fixed = |l: &mut LimitConfig| {
        (l.algorithm, l.burst) = (crate::limit::Algorithm::FixedWindow, Some(5));
    };
    assert_error(&with_limit(fixed), "limits.token.burst", "only the algorithm");
}

#[test]
fn costs_have_bounds() {
    assert_error(&with_limit(|l| l.cost = 0), "limits.token.cost", "at least 1");
    assert_error(&with_limit(|l| l.cost = 121), "limits.token.cost", "never pass");
    assert_error(&with_limit(|l| (l.cost, l.burst) = (3, Some(2))), "limits.token.cost", "never");
    let cost = |limit: &str, cost| {
        let mut config = preset("sms-gateway").unwrap();
        let route = config.routes.get_mut("POST /sms/send").unwrap();
        route.limit_costs.insert(limit.into(), cost);
        config
    };
    let place = "routes.\"POST /sms/send\".limit_costs.token";
    assert_error(&cost("token", 0), place, "at least 1");
    assert_error(&cost("token", 121), place, "never pass");
    assert_error(&cost("tokens", 1), &format!("{place}s"), "no limit");
    assert_eq!(errors(&cost("token", 120)), [""; 0]);
    let mut none = cost("token", 1);
    none.limits.get_mut("token").unwrap().quota = 0;
    assert_error(&none, "limits.token.quota", "at least 1");
    let policy = cost("token", 2).compile().unwrap();
    assert_eq!(route(&policy, "POST /sms/send").limits[0].cost, 2);
    assert_eq!(route(&policy, "GET /balance").limits[0].cost, 1);
}

#[test]
fn limits_are_bound_to_routes_that_exist_and_not_too_many() {
    let bound = with_limit(|l| l.routes = Some(["GET /nowhere".into()].into()));
    assert_error(&bound, "limits.token.routes[0]", "declares");
    let mut config = with_route("GET /a");
    for number in 0..17 {
        config.limits.insert(format!("l{number}"), LimitConfig::new(Partition::Global, 1, 1));
    }
    assert_error(&config, "limits", "17 limits");
    config.limits.remove("l0");
    assert_eq!(errors(&config), [""; 0]);
    let named = |name: &str| {
        let mut config = with_route("GET /a");
        config.limits.insert(name.into(), LimitConfig::new(Partition::Global, 1, 1));
        config
    };
    assert_error(&named("a b"), "limits.\"a b\"", "rename");
    assert_error(&named(""), "limits.\"\"", "rename");
    assert_error(&named(&"n".repeat(129)), &format!("limits.{}", "n".repeat(129)), "rename");
    assert_eq!(errors(&named(&"n".repeat(128))), [""; 0]);
}

#[test]
fn one_limit_takes_a_tokens_own_quota() {
    let mut config = with_limit(|l| l.token_override = Some(true));
    assert_eq!(errors(&config), [""; 0]);
    config.limits.insert(
        "z".into(),
        LimitConfig { token_override: Some(true), ..LimitConfig::new(Partition::Token, 1, 1) },
    );
    assert_error(&config, "limits.z.token_override", "another limit");
    let global = |l: &mut LimitConfig| (l.per, l.token_override) = (Partition::Global, Some(true));
    assert_error(&with_limit(global), "limits.token.token_override", "units of its own");

    let takes_it = |change: fn(&mut LimitConfig)| {
        let policy = with_limit(change).compile().unwrap();
        policy.routes().iter().any(|route| route.limits.iter().any(|limit| limit.token_override))
    };
    assert!(takes_it(|_| ()), "the only one of tokens that counts every request");
    assert!(!takes_it(|limit| limit.per = Partition::Account));
    assert!(!takes_it(|limit| limit.counts = Counts::Executions));
    assert!(!takes_it(|limit| limit.routes = Some(["GET /balance".into()].into())));

    let mut config = preset("sms-gateway").unwrap();
    config.limits.insert("z".into(), LimitConfig::new(Partition::Token, 1, 1));
    let policy = config.compile().unwrap();
    assert!(policy.unrouted_limits.iter().all(|limit| !limit.token_override), "two candidates");
    config.limits.get_mut("z").unwrap().token_override = Some(false);
    let policy = config.compile().unwrap();
    assert!(policy.unrouted_limits[0].token_override && !policy.unrouted_limits[1].token_override);
}

#[test]
fn route_patterns_are_checked() {
    for (pattern, part) in [
        ("/a", "has no method"),
        ("", "has no method"),
        ("get /a", "bad method"),
        (" /a", "bad method"),
        ("G(T /a", "bad method"),
        ("HEAD /a", "declare GET instead"),
        ("GET a", "no request can match"),
        ("GET  /a", "no request can match"),
        ("GET /a/", "no request can match"),
        ("GET /a//b", "no request can match"),
        ("GET /a/../b", "no request can match"),
        ("GET /%61", "no request can match"),
        ("GET /a?b", "no request can match"),
        ("GET /a/{}", "whole segment"),
        ("GET /a/{x", "whole segment"),
        ("GET /a/x}", "whole segment"),
        ("GET /a/b{x}", "whole segment"),
        ("GET /a/{x}{y}", "whole segment"),
        ("GET /a/{x-y}", "whole segment"),
        ("GET /{x}/{x}", "twice"),
    ] {
        assert_error(&with_route(pattern), "scopes.s[0]", part);
    }
    assert_error(&with_route(&format!("GET {}", "/a".repeat(65))), "scopes.s[0]", "65 segments");
    assert_eq!(errors(&with_route(&format!("GET {}", "/a".repeat(64)))), [""; 0]);
}

#[test]
fn patterns_that_match_the_same_requests_conflict() {
    let mut config = with_route("GET /a/{x}");
    config.routes.insert("GET /a/{y}".into(), RouteConfig::default());
    assert_error(&config, "routes.\"GET /a/{y}\"", "GET /a/{x}");
}

#[test]
fn numbers_of_scopes_and_routes_have_bounds() {
    let mut config = PolicyConfig::default();
    for number in 0..65 {
        config.scopes.insert(format!("s{number}"), ["GET /a".into()].into());
    }
    assert_error(&config, "scopes", "65 scopes");
    config.scopes.remove("s0");
    assert_eq!(errors(&config), [""; 0]);
    let mut config = PolicyConfig::default();
    config.scopes.insert("s".into(), (0..65_536).map(|n| format!("GET /{n}")).collect());
    assert_error(&config, "routes", "65536 routes");
    config.scopes.get_mut("s").unwrap().pop();
    assert_eq!(config.compile().unwrap().routes().len(), 65_535);
}

#[test]
fn scope_names_and_realms_are_checked() {
    for name in ["", "a b", "a\"", "a\\", "é", "a\n"] {
        let mut config = PolicyConfig::default();
        config.scopes.insert(name.into(), ["GET /a".into()].into());
        assert_eq!(errors(&config).len(), 1, "{name:?}");
    }
    for realm in ["a\"", "a\\", "é", "a\r\nx: y"] {
        let mut config = PolicyConfig::default();
        config.answers.realm = realm.into();
        assert_error(&config, "answers.realm", "printable ASCII");
    }
}

#[test]
fn leases_and_retentions_have_bounds() {
    let mut config = preset("sms-gateway").unwrap();
    config.idempotency.retention_ms = 0;
    config.reservations.lease_ms = 0;
    config.reservations.retention_ms = u64::MAX;
    let route = config.routes.get_mut("POST /sms/send").unwrap();
    route.lease_ms = Some(0);
    route.idempotency = Some(RouteIdempotency::Settings(IdempotencyOverrides {
        retention_ms: Some(0),
        ..Default::default()
    }));
    let errors = config.compile().unwrap_err();
    let places: Vec<&str> = errors.iter().map(|error| error.place.as_str()).collect();
    assert_eq!(
        places,
        [
            "idempotency.retention_ms",
            "reservations.lease_ms",
            "reservations.retention_ms",
            "routes.\"POST /sms/send\".idempotency.retention_ms",
            "routes.\"POST /sms/send\".lease_ms",
        ]
    );
}

#[test]
fn trusted_proxies_are_networks_in_one_form() {
    let with = |text: &str| {
        let mut config = PolicyConfig::default();
        config.source.trusted_proxies.push(text.into());
        config
    };
    for (text, network) in [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("10.0.0.1", "10.0.0.1/32"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:10.0.0.1", "10.0.0.1/32"),
        ("::/0", "::/0"),
    ] {
        let policy = with(text).compile().unwrap();
        assert_eq!(policy.sources.trusted_proxies[0].to_string(), network);
    }
    assert_error(&with("10.0.0.0/33"), "source.trusted_proxies[0]", "not a network");
    assert_error(&with("proxy"), "source.trusted_proxies[0]", "not a network");
    assert_error(&with("::ffff:10.0.0.0/90"), "source.trusted_proxies[0]", "IPv4-mapped");
}

#[test]
fn a_limit_on_every_route_counts_what_is_no_route_only_as_requests() {
    let mut config = with_route("GET /a");
    let limit = LimitConfig::new(Partition::Token, 1, 1);
    config.limits.insert("a".into(), LimitConfig { counts: Counts::Executions, ..limit.clone() });
    config.limits.insert("b".into(), limit);
    let policy = config.compile().unwrap();
    let names: Vec<&str> = policy.routes()[0].limits.iter().map(|limit| &*limit.name).collect();
    assert_eq!(names, ["b", "a"], "requests come first");
    assert_eq!(policy.unrouted_limits.len(), 1);
}

#[test]
fn lint_names_what_is_odd() {
    let mut config = preset("sms-gateway").unwrap();
    config.source.trusted_proxies =
        ["10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0"].map(String::from).into();
    config.source.shadow_networks = true;
    config.scopes.insert("idle".into(), Vec::new());
    let limit = LimitConfig::new(Partition::Account, 100, 60_000);
    config.limits.insert("a".into(), limit.clone());
    config.limits.insert("b".into(), LimitConfig { quota: 200, ..limit.clone() });
    config.limits.insert(
        "c".into(),
        LimitConfig {
            algorithm: crate::limit::Algorithm::FixedWindow,
            quota: 200_000,
            window_ms: 3_600_000,
            shadow: true,
            routes: Some(Vec::new()),
            ..limit
        },
    );
    let lonely = RouteConfig { price: Some(crate::ledger::Amount(5)), ..Default::default() };
    config.routes.insert("GET /lonely".into(), lonely);
    let sms = config.routes.get_mut("POST /sms/send").unwrap();
    sms.lease_ms = Some(86_400_001);
    sms.limit_costs.insert("otp_source_ip".into(), 2);
    config.compile().unwrap();
    let places: Vec<String> = lint(&config).into_iter().map(|warning| warning.place).collect();
    assert_eq!(
        places,
        [
            "source.trusted_proxies[0]",
            "source.trusted_proxies[1]",
            "source.trusted_proxies[2]",
            "source.shadow_networks",
            "scopes.idle",
            "limits.b",
            "limits.c.routes",
            "limits.c.shadow",
            "limits.c",
            "routes.\"GET /lonely\"",
            "routes.\"GET /lonely\".price",
            "routes.\"POST /sms/send\".limit_costs.otp_source_ip",
            "routes.\"POST /sms/send\".idempotency",
        ]
    );
}

#[test]
fn lint_knows_which_of_two_limits_never_binds() {
    use crate::limit::Algorithm::{self, FixedWindow, Gcra, SlidingWindow};
    let limit = |algorithm: Algorithm, quota, window_s: u64| LimitConfig {
        algorithm,
        ..LimitConfig::new(Partition::Account, quota, window_s * 1_000)
    };
    let gcra = |quota, burst| LimitConfig { burst: Some(burst), ..limit(Gcra, quota, 60) };
    let table = [
        (gcra(100, 100), gcra(200, 200), true),
        (gcra(100, 100), gcra(200, 50), false),
        (gcra(100, 100), gcra(50, 200), false),
        (limit(FixedWindow, 10, 60), gcra(200, 200), false),
        (gcra(100, 100), limit(FixedWindow, 200, 60), true),
        (gcra(100, 100), limit(FixedWindow, 199, 60), false),
        (limit(SlidingWindow, 100, 60), limit(FixedWindow, 100, 60), true),
        (limit(SlidingWindow, 100, 60), limit(FixedWindow, 99, 60), false),
        (limit(FixedWindow, 100, 60), limit(FixedWindow, 100, 60), true),
        (limit(FixedWindow, 100, 60), limit(FixedWindow, 250, 90), false),
        (limit(FixedWindow, 100, 60), limit(FixedWindow, 300, 90), true),
        (limit(FixedWindow, 100, 60), limit(SlidingWindow, 150, 60), false),
        (limit(FixedWindow, 100, 60), limit(SlidingWindow, 200, 60), true),
    ];
    for (stricter, limit, expected) in table {
        let warned = idle_limits(&stricter, &limit, |_| ()).contains(&"limits.b".to_string());
        assert_eq!(warned, expected, "{stricter:?} before {limit:?}");
    }
    // Of two that are alike the later one is idle, of others the one that the other covers.
    assert_eq!(idle_limits(&gcra(9, 9), &gcra(9, 9), |_| ()), ["limits.b"]);
    assert_eq!(idle_limits(&gcra(10, 10), &gcra(9, 9), |_| ()), ["limits.a"]);
}

/// Which of two limits lint calls idle.
fn idle_limits(
    a: &LimitConfig,
    b: &LimitConfig,
    change: impl FnOnce(&mut PolicyConfig),
) -> Vec<String> {
    let mut config = with_route("GET /a");
    config.limits.insert("a".into(), a.clone());
    config.limits.insert("b".into(), b.clone());
    change(&mut config);
    let idle = lint(&config).into_iter().filter(|warning| warning.message.contains("never bind"));
    idle.map(|warning| warning.place).collect()
}

#[test]
fn lint_compares_only_limits_that_hold_the_same() {
    use crate::limit::FailureMode;
    let strict = LimitConfig::new(Partition::Account, 100, 60_000);
    let loose = LimitConfig { quota: 200, ..strict.clone() };
    let idle = |change: fn(&mut LimitConfig, &mut LimitConfig)| {
        let (mut strict, mut loose) = (strict.clone(), loose.clone());
        change(&mut strict, &mut loose);
        idle_limits(&strict, &loose, |_| ())
    };
    assert_eq!(idle(|_, _| ()), ["limits.b"]);
    assert_eq!(idle(|strict, _| strict.cost = 2), ["limits.b"]);
    let only = |routes: &[&str]| Some(routes.iter().map(|route| (*route).into()).collect());
    let routes = |in_a: &[&str], in_b: &[&str]| {
        let (mut a, mut b) = (strict.clone(), strict.clone());
        (a.routes, b.routes, b.quota) = (only(in_a), only(in_b), 200);
        idle_limits(&a, &b, |_| ())
    };
    assert_eq!(routes(&["GET /a", "GET /b"], &["GET /a"]), ["limits.b"]);
    assert_eq!(routes(&["GET /a"], &["GET /a", "GET /b"]), [""; 0]);
    for differs in [
        (|strict, _| strict.per = Partition::Global) as fn(&mut LimitConfig, &mut LimitConfig),
        |strict, _| strict.counts = Counts::Executions,
        |_, loose| loose.cost = 2,
        |strict, _| strict.shadow = true,
        |strict, _| strict.on_store_failure = FailureMode::Open,
        |strict, _| strict.routes = Some(["GET /a".into()].into()),
        |_, loose| (loose.per, loose.token_override) = (Partition::Token, Some(true)),
    ] {
        assert_eq!(idle(differs), [""; 0]);
    }
    // What a token's own quota replaces, or a route's cost changes, may bind after all.
    for name in ["a", "b"] {
        let vary = |config: &mut PolicyConfig| {
            let route = config.routes.entry("GET /a".into()).or_default();
            route.limit_costs.insert(name.into(), 1);
        };
        assert_eq!(idle_limits(&strict, &loose, vary), [""; 0]);
        let own = |config: &mut PolicyConfig| {
            for limit in config.limits.values_mut() {
                (limit.per, limit.token_override) = (Partition::Token, Some(false));
            }
            config.limits.get_mut(name).unwrap().token_override = Some(true);
        };
        assert_eq!(idle_limits(&strict, &loose, own), [""; 0]);
    }
}

#[test]
fn lint_names_the_later_of_two_networks_that_are_the_same() {
    let mut config = PolicyConfig::default();
    config.source.trusted_proxies = ["10.0.0.0/8", "10.0.0.0/8"].map(String::from).into();
    let places: Vec<String> = lint(&config).into_iter().map(|warning| warning.place).collect();
    assert_eq!(places, ["source.trusted_proxies[1]"]);
}

#[test]
fn errors_are_one_a_line_and_never_none() {
    let mut config = PolicyConfig::default();
    config.answers.realm = "\"".into();
    config.reservations.lease_ms = 0;
    let errors = config.compile().unwrap_err();
    let lines: Vec<String> = errors.as_slice().iter().map(ToString::to_string).collect();
    assert_eq!((lines.len(), errors.to_string()), (2, lines.join("\n")));
    assert_eq!((&errors).into_iter().count(), 2);
    let unread = crate::policy::error::Problems::default().or::<()>(None).unwrap_err();
    assert_eq!(unread.to_string(), "the policy cannot be read");
}

#[test]
fn a_wrong_switch_is_told_what_it_may_be() {
    let error = serde_json::from_str::<RouteIdempotency>("3").unwrap_err().to_string();
    assert!(error.contains("true, false, or a table"), "{error}");
}

#[test]
fn lint_lets_a_key_live_as_long_as_its_lease() {
    let mut config = preset("sms-gateway").unwrap();
    let route = config.routes.get_mut("POST /sms/send").unwrap();
    route.lease_ms = Some(config.idempotency.retention_ms);
    assert_eq!(lint(&config), []);
}

#[test]
fn a_policy_tells_its_limits_by_route() {
    let policy = preset("sms-gateway").unwrap().compile().unwrap();
    let otp = policy.find_route(b"POST", b"/otp/send");
    let names = |route| policy.limits(route).iter().map(|limit| &*limit.name).collect::<Vec<_>>();
    assert_eq!(names(otp), ["token", "otp_source_ip"]);
    assert_eq!(names(None), ["token"]);
}

#[test]
fn a_route_tells_its_limits_and_what_grants_it() {
    let policy = preset("sms-gateway").unwrap().compile().unwrap();
    let otp = route(&policy, "POST /otp/send");
    let names: Vec<&str> = otp.limits().iter().map(|limit| &*limit.name).collect();
    assert_eq!(names, ["token", "otp_source_ip"]);
    let scopes: Vec<&str> = policy.scopes().names_in(otp.granted_by()).collect();
    assert_eq!(scopes, ["otp"]);
}
