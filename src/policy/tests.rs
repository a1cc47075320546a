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
}

#[test]
fn bursts_have_bounds_and_belong_to_gcra() {
    assert_error(&with_limit(|l| l.burst = Some(0)), "limits.token.burst", "at least 1");
    let slow = |l: &mut LimitConfig| (l.quota, l.window_ms, l.burst) = (1, 86_400_000, Some(500));
    assert_error(&with_limit(slow), "limits.token.burst", "400 days");
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
    let mut config = with_route("GET /a");
    config.limits.insert("a b".into(), LimitConfig::new(Partition::Global, 1, 1));
    assert_error(&config, "limits.\"a b\"", "rename");
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
