//! What a decision looks like on the wire: status, headers and body.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;

use crate::command::{Denial, LimitReport};
use crate::decision::{Cause, Decision, Verdict};
use crate::limit::{Limit, Refused, headers};
use crate::policy::CompiledPolicy;
use crate::status::Status;

/// An answer to give. For an allowed request: headers to add to the upstream's.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status; 200 for an allowed request.
    pub status: u16,
    /// Headers in order, names in their documented spelling.
    pub headers: Vec<(Cow<'static, str>, Vec<u8>)>,
    /// Body; empty for an allowed request.
    pub body: Vec<u8>,
}

impl core::fmt::Debug for Answer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // A replayed body carries customers' data.
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("headers", &self.headers.len())
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

impl Answer {
    /// The first value of a header, whatever the case of its name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| &value[..])
    }
}

pub(crate) fn answer(policy: &CompiledPolicy, decision: &Decision) -> Answer {
    let mut answer = match (&decision.cause, decision.verdict()) {
        (Cause::Replay(stored), _) => Answer {
            status: stored.status,
            headers: stored
                .headers
                .iter()
                .map(|(name, value)| (Cow::Owned(name.to_string()), value.to_vec()))
                .collect(),
            body: stored.body.as_deref().unwrap_or_default().to_vec(),
        },
        (_, Verdict::Allow) => {
            Answer { status: decision.status.http(), headers: Vec::new(), body: Vec::new() }
        }
        _ => denial(policy, decision),
    };
    each_header(policy, decision, &mut |name, value| {
        answer.headers.push((Cow::Borrowed(name), value.to_vec()));
    });
    answer
}

fn denial(policy: &CompiledPolicy, decision: &Decision) -> Answer {
    let row = decision.status.row();
    let message = match &decision.cause {
        Cause::Invalid(message) => message,
        _ => row.message,
    };
    let mut body = String::new();
    let content_type = if policy.answers.problem_json {
        // RFC 9457; the code is an extension member.
        body.push_str("{\"type\":\"about:blank\",\"title\":");
        push_json_string(&mut body, title(row.http));
        let _ = write!(body, ",\"status\":{},\"detail\":", row.http);
        push_json_string(&mut body, message);
        "application/problem+json"
    } else {
        body.push_str("{\"message\":");
        push_json_string(&mut body, message);
        "application/json"
    };
    body.push_str(",\"code\":");
    push_json_string(&mut body, row.code);
    body.push('}');
    let header = |name, value: &str| (Cow::Borrowed(name), value.as_bytes().to_vec());
    let headers =
        [header("Content-Type", content_type), header("Cache-Control", "no-store")].into();
    Answer { status: row.http, headers, body: body.into_bytes() }
}

/// The reason phrase of a status (RFC 9110), which is the title of `about:blank` problems.
fn title(http: u16) -> &'static str {
    match http {
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        409 => "Conflict",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "Error",
    }
}

/// The headers that the engine itself adds: for an allowed request, to the upstream's response.
pub(crate) fn each_header(
    policy: &CompiledPolicy,
    decision: &Decision,
    each: &mut dyn FnMut(&'static str, &[u8]),
) {
    if decision.status == Status::Replayed {
        each("Idempotent-Replayed", b"true");
    }
    if let Some(value) = challenge(policy, decision) {
        each("WWW-Authenticate", value.as_bytes());
    }
    let mut text = Text::default();
    let limit = decision.limit.and_then(|report| limit_of(policy, decision, &report));
    if let (Some(report), Some(limit)) = (&decision.limit, limit) {
        rate_limit_headers(policy, decision, report, limit, &mut text, each);
    }
    let retry_after_s = match decision.status {
        Status::RateLimited => decision
            .retry_at_ms()
            .map(|retry_at_ms| headers::seconds_until(retry_at_ms, decision.now_ms).max(1)),
        // Nobody knows when the first request will end: one second is the least that can be said.
        Status::IdempotencyInFlight => Some(1),
        _ => None,
    };
    if let Some(seconds) = retry_after_s {
        each("Retry-After", text.number(seconds));
    }
}

fn limit_of<'p>(
    policy: &'p CompiledPolicy,
    decision: &Decision,
    report: &LimitReport,
) -> Option<&'p Limit> {
    let limits = match decision.route.and_then(|id| policy.route(id)) {
        Some(route) => &route.limits,
        None => &policy.unrouted_limits,
    };
    limits.get(usize::from(report.limit))
}

fn rate_limit_headers(
    policy: &CompiledPolicy,
    decision: &Decision,
    report: &LimitReport,
    limit: &Limit,
    text: &mut Text,
    each: &mut dyn FnMut(&'static str, &[u8]),
) {
    let now_ms = decision.now_ms;
    let refused = match decision.denial() {
        Some(Denial::RateLimited { retry_at_ms, .. }) => {
            Some(Refused { retry_at_ms: Some(*retry_at_ms) })
        }
        _ => None,
    };
    let shown =
        headers::Shown { name: &limit.name, quota: report.quota, left: report.left, refused };
    if policy.answers.x_ratelimit {
        each("X-RateLimit-Limit", text.number(shown.limit()));
        each("X-RateLimit-Remaining", text.number(shown.remaining()));
        let reset = if policy.answers.reset_delta {
            shown.reset_delta_s(now_ms)
        } else {
            shown.reset_unix_s()
        };
        each("X-RateLimit-Reset", text.number(reset));
    }
    if policy.answers.ietf_ratelimit {
        each("RateLimit-Policy", shown.policy_item().to_string().as_bytes());
        each("RateLimit", shown.service_limit_item(now_ms).to_string().as_bytes());
    }
}

/// RFC 6750, section 3: without a token no error is named.
fn challenge(policy: &CompiledPolicy, decision: &Decision) -> Option<String> {
    let realm = &policy.answers.realm;
    let mut value = String::from("Bearer realm=\"");
    value.push_str(realm);
    value.push('"');
    match decision.status {
        Status::MissingToken => {}
        Status::InvalidToken => value.push_str(", error=\"invalid_token\""),
        Status::InsufficientScope => {
            value.push_str(", error=\"insufficient_scope\"");
            let route = decision.route.and_then(|id| policy.route(id));
            let mut names =
                route.map(|route| policy.scopes.names_in(route.granted_by)).into_iter().flatten();
            if let Some(first) = names.next() {
                let _ = write!(value, ", scope=\"{first}");
                names.for_each(|name| {
                    let _ = write!(value, " {name}");
                });
                value.push('"');
            }
        }
        _ => return None,
    }
    Some(value)
}

/// RFC 8259, section 7.
fn push_json_string(out: &mut String, text: &str) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{0}'..='\u{1f}' => {
                let _ = write!(out, "\\u{:04x}", char as u32);
            }
            _ => out.push(char),
        }
    }
    out.push('"');
}

/// Decimal digits of a number, without an allocation.
#[derive(Default)]
struct Text(arrayvec::ArrayString<20>);

impl Text {
    fn number(&mut self, number: u64) -> &[u8] {
        self.0.clear();
        let _ = write!(self.0, "{number}");
        self.0.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_strings_are_escaped() {
        let mut text = String::new();
        push_json_string(&mut text, "a\"b\\c\n\r\t\u{1}\u{1f} é");
        assert_eq!(text, r#""a\"b\\c\n\r\t\u0001\u001f é""#);
    }

    #[test]
    fn debug_tells_no_body() {
        let answer = Answer { status: 200, headers: Vec::new(), body: b"hidden".to_vec() };
        assert_eq!(
            alloc::format!("{answer:?}"),
            "Answer { status: 200, headers: 0, body_bytes: 6 }"
        );
    }
}
