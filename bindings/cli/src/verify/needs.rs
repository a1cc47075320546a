//! The accounts and tokens that the checks use. Each has its own, so that no check finds what another one left.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};
use tollgate::Amount;

use super::plan::Plan;

/// An account with one token.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Need {
    /// How checks, and a tokens file, call it.
    pub(super) name: String,
    /// What it is for.
    pub(super) purpose: &'static str,
    /// What the account begins with.
    pub(super) balance: u64,
    /// Further settings of the account, as in a scenario's `account` step.
    pub(super) account: Value,
    /// Settings of the token, as in a scenario's `token` step.
    pub(super) token: Value,
}

/// A network of documentation (RFC 5737): nobody calls from it.
pub(super) const NOWHERE: &str = "203.0.113.0/24";
/// An address in it.
pub(super) const NOWHERE_ADDRESS: &str = "203.0.113.7";

/// More than the checks of one account can spend, in calls of the dearest route.
const PLENTY_OF_CALLS: u64 = 10_000;
/// The year 2001.
const LONG_AGO_MS: u64 = 1_000_000_000_000;

/// Two requests at once, and one more in two seconds: what is waited for is short.
const SMALL_QUOTA: (u64, u64) = (2, 4_000);
/// More than any check asks for, and so slow to refill that what is left is known exactly: one in 26 seconds.
const LARGE_QUOTA: (u64, u64) = (100_000, 2_592_000_000);

pub(super) fn lacking(scopes: &BTreeSet<String>) -> String {
    let names: Vec<&str> = scopes.iter().map(String::as_str).collect();
    format!("all-but-{}", names.join("+"))
}

pub(super) fn only(scope: &str) -> String {
    format!("only-{scope}")
}

pub(super) fn fresh(limit: &str) -> String {
    format!("limit-{limit}")
}

/// All of them.
pub(super) fn needs(plan: &Plan) -> Vec<Need> {
    let plenty = plenty(plan);
    let quota = |(limit, window_ms): (u64, u64)| match plan.has_own_quotas() {
        true => json!({ "quota": { "limit": limit, "window_ms": window_ms } }),
        false => json!({}),
    };
    let all: Vec<&str> = plan.scopes.iter().map(String::as_str).collect();
    let need = |name: &str, purpose: &'static str, balance: u64, account: Value, token: Value| {
        let mut settings = json!({ "scopes": all });
        for more in [&quota(LARGE_QUOTA), &token] {
            if let (Value::Object(settings), Value::Object(more)) = (&mut settings, more) {
                settings.extend(more.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
        }
        Need { name: name.to_owned(), purpose, balance, account, token: settings }
    };
    let plain = |name: &str, purpose| need(name, purpose, plenty, json!({}), json!({}));
    let mut needs = vec![
        plain("tokens", "how tokens are sent"),
        plain("paths", "how paths are read"),
        plain("methods", "HEAD"),
        plain("keys", "idempotency keys"),
        plain("keys-of-another", "idempotency keys of a second account"),
        plain("duplicates", "concurrent duplicates"),
        plain("headers", "headers of rate limits"),
        plain("revoked", "is revoked on the way"),
        need(
            "expired",
            "expired long ago",
            plenty,
            json!({}),
            json!({ "expires_ms": LONG_AGO_MS }),
        ),
        need(
            "network-of-account",
            "the account's networks are elsewhere",
            plenty,
            json!({ "networks": [NOWHERE] }),
            json!({}),
        ),
        need(
            "network-of-token",
            "the token's networks are elsewhere",
            plenty,
            json!({}),
            json!({ "networks": [NOWHERE] }),
        ),
        need(
            "network-any",
            "may be used from anywhere",
            plenty,
            json!({ "networks": ["0.0.0.0/0", "::/0"] }),
            json!({ "networks": ["0.0.0.0/0", "::/0"] }),
        ),
        need(
            "network-no-scope",
            "fails two checks at once",
            plenty,
            json!({}),
            json!({ "networks": [NOWHERE], "scopes": [] }),
        ),
    ];
    if plan.has_own_quotas() {
        let small = quota(SMALL_QUOTA);
        needs.push(need("small-quota", "has a small quota of its own", plenty, json!({}), small));
    }
    for scope in &plan.scopes {
        let token = json!({ "scopes": [scope] });
        needs.push(need(&only(scope), "has one scope", plenty, json!({}), token));
    }
    let granting: BTreeSet<&BTreeSet<String>> =
        plan.routes.iter().map(|route| &route.granted_by).filter(|set| !set.is_empty()).collect();
    for set in granting {
        let rest: Vec<&String> = plan.scopes.iter().filter(|scope| !set.contains(*scope)).collect();
        let token = json!({ "scopes": rest });
        needs.push(need(&lacking(set), "has every other scope", plenty, json!({}), token));
    }
    for name in plan.config.limits.keys() {
        let token = json!({ "quota": null });
        let token = if plan.has_own_quotas() { token } else { json!({}) };
        needs.push(need(&fresh(name), "uses a limit up", plenty, json!({}), token));
    }
    needs.extend(money(plan, &need));
    needs
}

pub(super) fn plenty(plan: &Plan) -> u64 {
    let prices = plan.routes.iter().filter_map(|route| route.price);
    let Amount(dearest) = prices.max().unwrap_or(Amount(100));
    dearest.saturating_mul(PLENTY_OF_CALLS)
}

fn money(plan: &Plan, need: &dyn Fn(&str, &'static str, u64, Value, Value) -> Need) -> Vec<Need> {
    let Some(price) = plan.priced().and_then(|route| route.price) else { return Vec::new() };
    let (Amount(price), plenty) = (price, plenty(plan));
    let twice = price.saturating_mul(2);
    let cap = json!({ "spend_caps": [{ "per": "lifetime", "amount": price }] });
    // Enough for two, and nearly for a third: not a unit more may be spent.
    let nearly_three = price.saturating_mul(3).saturating_sub(1);
    vec![
        need("wallet-empty", "has no money", 0, json!({}), json!({})),
        need("wallet-two", "can pay two calls, not three", nearly_three, json!({}), json!({})),
        need("wallet-replay", "can pay two calls", twice, json!({}), json!({})),
        need(
            "cap-of-token",
            "the token may spend one call's price",
            plenty,
            json!({}),
            cap.clone(),
        ),
        need("cap-of-account", "the account may spend one call's price", plenty, cap, json!({})),
    ]
}
