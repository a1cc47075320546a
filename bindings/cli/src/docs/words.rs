//! What the documentation says in words: when an answer comes, what to do, and what a header holds.

use tollgate::{PolicyConfig, ResetFormat, Status};

/// When an answer comes, and what its reader does.
pub(super) fn of_status(status: Status) -> (&'static str, &'static str) {
    match status {
        Status::Allowed => ("The request passed every check.", ""),
        Status::Replayed => ("The first answer to this Idempotency-Key is given again.", ""),
        Status::MissingToken => {
            ("The request has no bearer token.", "Send `Authorization: Bearer YOUR_API_TOKEN`.")
        }
        Status::InvalidToken => (
            "The token is malformed, unknown, revoked or expired.",
            "Check it, or create a new one. The answer does not say which it is.",
        ),
        Status::IpNotAllowed => (
            "Networks are set for the account or the token, and the source address is in none of them.",
            "Call from an allowed address, or add this one.",
        ),
        Status::InsufficientScope => (
            "The endpoint is outside the token's scopes, or there is no such endpoint.",
            "Use a token with a scope that grants it; check path and method.",
        ),
        Status::RateLimited => (
            "A rate limit is used up. A denial consumes nothing.",
            "Wait for the seconds in `Retry-After`, then try again.",
        ),
        Status::IdempotencyInFlight => (
            "A request with the same Idempotency-Key is still running.",
            "Wait for the seconds in `Retry-After`, then send the same request again.",
        ),
        Status::IdempotencyKeyReused => (
            "The Idempotency-Key was used for another method, target or body.",
            "Use a new key for a new request.",
        ),
        Status::IdempotencyKeyInvalid => (
            "The Idempotency-Key is not 1 to 255 visible ASCII characters, was sent twice, or is \
             required and missing.",
            "Send one key of that shape.",
        ),
        Status::SenderNotApproved => {
            ("The API names a sender that the account has not approved.", "Approve it first.")
        }
        Status::ValidationFailed => {
            ("The API itself refuses the request.", "Do what the message says.")
        }
        Status::SpendCapExceeded => (
            "A spend cap of the token or the account would be exceeded.",
            "Raise the cap, or wait for its next period (UTC).",
        ),
        Status::InsufficientBalance => {
            ("The wallet holds less than the request may cost.", "Top it up, then try again.")
        }
        Status::StoreUnavailable => (
            "The request could not be checked.",
            "Try again later; with an Idempotency-Key nothing is done twice.",
        ),
        _ => ("", ""),
    }
}

/// A header of answers: what it holds, and when it is there.
pub(super) struct HeaderWords {
    pub(super) holds: String,
    pub(super) when: &'static str,
    /// It is a whole number.
    pub(super) is_number: bool,
}

pub(super) fn of_header(name: &str, config: &PolicyConfig) -> HeaderWords {
    let text = |holds: &str, when| HeaderWords { holds: holds.to_owned(), when, is_number: false };
    let number = |holds: &str, when| HeaderWords { holds: holds.to_owned(), when, is_number: true };
    let authenticated = "every answer to a known token under a limit";
    match name {
        "Content-Type" => text(
            if config.answers.problem_json {
                "`application/problem+json` (RFC 9457)"
            } else {
                "`application/json`"
            },
            "every error",
        ),
        "Cache-Control" => text("`no-store`", "every error"),
        "WWW-Authenticate" => text(
            "A challenge (RFC 6750): `Bearer` with `realm`, and what is wrong in `error`",
            "401, and 403 for a scope",
        ),
        "Retry-After" => number("Seconds to wait, at least 1; never too early", "429 and 409"),
        "Idempotent-Replayed" => text("`true`", "a replayed answer"),
        "X-RateLimit-Limit" => {
            number("Units in a window, of the limit that has least left", authenticated)
        }
        "X-RateLimit-Remaining" => number("Units that are left of it", authenticated),
        "X-RateLimit-Reset" => match config.answers.reset {
            ResetFormat::Unix => {
                number("When all of it is there again: Unix time in seconds", authenticated)
            }
            ResetFormat::Delta => {
                number("When all of it is there again: seconds from now", authenticated)
            }
        },
        "RateLimit-Policy" => text(
            "The limit: `\"name\";q=UNITS;w=SECONDS` (draft-ietf-httpapi-ratelimit-headers)",
            authenticated,
        ),
        "RateLimit" => text(
            "What is left: `\"name\";r=UNITS;t=SECONDS` (draft-ietf-httpapi-ratelimit-headers)",
            authenticated,
        ),
        _ => text("", ""),
    }
}

/// A time in the largest unit that is whole.
pub(super) fn span(span_ms: u64) -> String {
    let units = [(86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1_000, "second")];
    for (unit_ms, name) in units {
        if span_ms > 0 && span_ms.checked_rem(unit_ms) == Some(0) {
            let count = span_ms.checked_div(unit_ms).unwrap_or(0);
            let plural = if count == 1 { "" } else { "s" };
            return format!("{count} {name}{plural}");
        }
    }
    format!("{span_ms} ms")
}
