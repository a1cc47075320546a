//! An API that sends text messages, one-time passwords and voice calls.

use alloc::string::String;

use crate::limit::{Counts, Partition};
use crate::policy::config::{LimitConfig, PolicyConfig, RouteConfig, RouteIdempotency};

const MINUTE_MS: u64 = 60_000;

const SCOPES: &[(&str, &[&str])] = &[
    ("sms:send", &["POST /sms/send"]),
    ("otp", &["POST /otp/send", "POST /otp/verify"]),
    ("voice", &["POST /voice/send", "GET /voice/{id}"]),
    ("lookup", &["POST /lookup", "GET /lookups", "GET /lookup/{id}"]),
    ("email:verify", &["POST /email/verify"]),
    ("reports", &["GET /messages", "GET /messages/{id}", "GET /campaigns", "GET /campaigns/{id}"]),
    ("balance", &["GET /balance"]),
    (
        "webhooks",
        &[
            "GET /webhooks",
            "POST /webhooks",
            "GET /webhooks/{id}",
            "PUT /webhooks/{id}",
            "PATCH /webhooks/{id}",
            "DELETE /webhooks/{id}",
        ],
    ),
];

/// The POSTs with side effects: each takes an `Idempotency-Key`.
const IDEMPOTENT: &[&str] = &["POST /sms/send", "POST /otp/send", "POST /voice/send"];

pub(super) fn policy() -> PolicyConfig {
    let mut policy = PolicyConfig::default();
    for (scope, routes) in SCOPES {
        let routes = routes.iter().copied().map(String::from).collect();
        policy.scopes.insert(String::from(*scope), routes);
    }
    for route in IDEMPOTENT {
        let idempotency = Some(RouteIdempotency::Switch(true));
        let settings = RouteConfig { idempotency, ..RouteConfig::default() };
        policy.routes.insert(String::from(*route), settings);
    }
    // The documented default of 120 a minute; a token may have a quota of its own.
    let token = LimitConfig::new(Partition::Token, 120, MINUTE_MS);
    policy.limits.insert(String::from("token"), token);
    // The contract gives no figure. Ten sends a minute are plenty for one person's retries.
    let otp_source_ip = LimitConfig {
        counts: Counts::Executions,
        routes: Some([String::from("POST /otp/send")].into()),
        ..LimitConfig::new(Partition::SourceIp, 10, MINUTE_MS)
    };
    policy.limits.insert(String::from("otp_source_ip"), otp_source_ip);
    policy
}
