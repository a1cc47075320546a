//! What to paste into another terminal.

use std::fmt::Write;

use serde_json::json;

use super::gateway::Gateway;

/// The address and the tokens, on one line.
pub(super) fn json(gateway: &Gateway) -> String {
    let tokens = &gateway.tokens;
    let line = json!({
        "listening": format!("http://{}", gateway.address),
        "tokens": {
            "full": tokens.full.expose(),
            "fresh": tokens.fresh.expose(),
            "reports": tokens.reports.expose(),
            "network": tokens.network.expose(),
            "capped": tokens.capped.expose(),
            "poor": tokens.poor.expose(),
            "throttled": tokens.throttled.expose(),
            "revoked": tokens.revoked.expose(),
        },
    });
    format!("{line}\n")
}

const SMS: &str = r#"{"to":"+15550100","message":"hello","sender":"ACME"}"#;

/// One command for each documented behaviour.
pub(super) fn text(gateway: &Gateway) -> String {
    let tokens = &gateway.tokens;
    let url = format!("http://{}", gateway.address);
    let bearer = |token: &str| format!("-H 'Authorization: Bearer {token}'");
    let full = bearer(tokens.full.expose());
    let throttled = bearer(tokens.throttled.expose());
    let post = |auth: &str, path: &str, body: &str| {
        format!("curl -i {auth} -d '{body}' {url}{path}").replace("  ", " ")
    };
    let sms = |auth: &str| post(auth, "/sms/send", SMS);
    let key = format!("{full} -H 'Idempotency-Key: order-1'");
    let slow = format!("{full} -H 'Idempotency-Key: order-2'");
    let slow = post(&slow, "/sms/send", r#"{"to":"+15550100","message":"slow","delay_ms":2000}"#);
    let changed = post(&key, "/sms/send", r#"{"to":"+15550199","message":"hello"}"#);
    let sender = post(&full, "/sms/send", r#"{"to":"+15550100","message":"hi","sender":"BANK"}"#);
    let plain = r#"{"to":"+15550100","message":"hello"}"#;
    let status = "-s -o /dev/null -w '%{http_code}\\n'";
    let otp = r#"{"to":"+15550100","message":"123456"}"#;
    let examples: [(&str, String); 18] = [
        ("201, with X-RateLimit-* headers; costs 5", sms(&full)),
        ("the wallet", format!("curl -i {full} {url}/balance")),
        ("401 missing_token", sms("")),
        ("401 invalid_token", sms(&bearer("tg_live_typo"))),
        ("401 invalid_token: it was revoked", sms(&bearer(tokens.revoked.expose()))),
        ("402 insufficient_balance", post(&bearer(tokens.poor.expose()), "/sms/send", plain)),
        ("403 insufficient_scope: it is for reports", sms(&bearer(tokens.reports.expose()))),
        ("403 ip_not_allowed: it is for 203.0.113.0/24", sms(&bearer(tokens.network.expose()))),
        (
            "201, then 403 spend_cap_exceeded: it may spend 7 a day",
            format!("for i in 1 2; do {}; done", sms(&bearer(tokens.capped.expose()))),
        ),
        ("201; run it again: the same answer with Idempotent-Replayed, not charged", sms(&key)),
        ("422 idempotency_key_reused: the key of the last one", changed),
        ("422 idempotency_key_invalid", sms(&format!("{full} -H 'Idempotency-Key: two words'"))),
        ("409 idempotency_in_flight for one of them", format!("{slow} & {slow}; wait")),
        ("422 sender_not_approved", sender),
        ("422 validation_failed", post(&full, "/sms/send", r#"{"message":"hello"}"#)),
        (
            "429 rate_limited on the fourth: it may call three times a minute",
            format!("for i in 1 2 3 4; do curl -i {throttled} {url}/messages; done"),
        ),
        (
            "429 on the eleventh: codes are limited by source address too",
            format!(
                "for i in $(seq 11); do {}; done",
                post(&format!("{status} {full}"), "/otp/send", otp)
            ),
        ),
        (
            "429 on the last: 120 requests a minute are the default",
            format!(
                "curl {status} {} '{url}/balance?n=[1-130]' | sort | uniq -c",
                bearer(tokens.fresh.expose())
            ),
        ),
    ];
    let mut out = format!(
        "A gateway with the preset sms-gateway listens on {url}.\n\
         Nothing is sent; money and tokens are gone when it ends (Ctrl-C).\n"
    );
    for (what, command) in examples {
        let _ = write!(out, "\n# {what}\n{command}\n");
    }
    out.push('\n');
    out
}
