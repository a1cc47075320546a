//! Whether an answer is the one that the engine gives, part by part.

use tollgate::{Limit, STATUS_TABLE, Verdict};
use tollgate_scenario::{Allowed, Decided};

use super::call::Call;
use super::client::Reply;
use super::numbers;
use super::plan::is_shared;
use super::reference::Truth;

/// One part of an answer that is not as documented.
#[derive(Clone, Debug)]
pub(super) struct Difference {
    /// The check that watches this part; `None`: the check that asked.
    pub(super) check: Option<&'static str>,
    pub(super) documented: String,
    pub(super) got: String,
}

/// What there is to say about an answer.
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    pub(super) differences: Vec<Difference>,
    /// The parts that were looked at.
    pub(super) seen: Vec<&'static str>,
    /// The answer says nothing about the gateway, and why.
    pub(super) not_run: Option<String>,
}

/// A header of the engine's answer.
pub(super) fn header(decided: &Decided<Allowed>, name: &str) -> Option<String> {
    let headers = decided.headers.as_deref().unwrap_or_default();
    let found = headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
}

pub(super) fn judge(
    call: &Call,
    truth: &Truth,
    reply: &Reply,
    executed: Option<u64>,
    limits: &[Limit],
    numbers: bool,
) -> Judged {
    let right = &truth.strict;
    let mut judge = Judge {
        call,
        truth,
        right,
        reply,
        executed,
        limits,
        numbers,
        judged: Judged {
            verdict: right.verdict,
            differences: Vec::new(),
            seen: Vec::new(),
            not_run: None,
        },
    };
    match right.verdict {
        Verdict::Deny => judge.denial(),
        Verdict::Allow => judge.allowed(),
        Verdict::Replay => judge.replay(),
    }
    judge.judged
}

struct Judge<'a> {
    call: &'a Call,
    truth: &'a Truth,
    right: &'a Decided<Allowed>,
    reply: &'a Reply,
    executed: Option<u64>,
    limits: &'a [Limit],
    /// What limits have left is known.
    numbers: bool,
    judged: Judged,
}

/// Whether an answer says that it is one of the engine's denials, or can be nothing else.
pub(super) fn is_denial(reply: &Reply) -> bool {
    let code = reply.code();
    let known = STATUS_TABLE.iter().any(|row| {
        row.status.is_denial() && row.http == reply.status && code.as_deref() == Some(row.code)
    });
    known || matches!(reply.status, 401 | 402 | 403 | 429)
}

const MAX_SHOWN_CHARS: usize = 200;

/// An answer in few words.
pub(super) fn shown(reply: &Reply) -> String {
    let body = String::from_utf8_lossy(&reply.body);
    let mut text: String = body.chars().take(MAX_SHOWN_CHARS).collect();
    if text.len() < body.len() {
        text.push('…');
    }
    match text.is_empty() {
        true => format!("{} without a body", reply.status),
        false => format!("{} {text}", reply.status),
    }
}

impl Judge<'_> {
    fn own(&mut self, documented: impl Into<String>, got: impl Into<String>) {
        let (documented, got) = (documented.into(), got.into());
        self.judged.differences.push(Difference { check: None, documented, got });
    }

    fn watched(&mut self, check: &'static str, documented: impl Into<String>, got: Option<&str>) {
        let got = got.map_or_else(|| "nothing".to_owned(), str::to_owned);
        self.judged.differences.push(Difference {
            check: Some(check),
            documented: documented.into(),
            got,
        });
    }

    fn see(&mut self, check: &'static str) {
        self.judged.seen.push(check);
    }

    /// What a limit that others use too may have cut short.
    fn may_be_used_by_others(&self) -> bool {
        let told = self.reply.header("x-ratelimit-limit");
        self.limits
            .iter()
            .filter(|limit| is_shared(limit))
            .any(|limit| told == Some(limit.quota.units.to_string().as_str()) || told.is_none())
    }

    fn denial(&mut self) {
        let code = self.right.code.clone().unwrap_or_default();
        let documented = format!("{} {code}", self.right.status);
        let is_head = self.call.method == "HEAD";
        if self.reply.status != self.right.status {
            return self.own(documented, shown(self.reply));
        }
        match self.reply.code() {
            Some(told) if told != code => return self.own(documented, shown(self.reply)),
            _ => {}
        }
        if let Some(executed) = self.executed {
            self.see("executions-match-decisions");
            if executed > 0 {
                let got = format!("the API was called {executed} times");
                self.watched("executions-match-decisions", "the API is not called", Some(&got));
            }
        }
        self.body(is_head);
        self.exact("denials-are-not-cached", "Cache-Control");
        if matches!(code.as_str(), "missing_token" | "invalid_token" | "insufficient_scope") {
            self.exact("challenge-on-401", "WWW-Authenticate");
        }
        match self.right.status {
            429 => self.retry_after("retry-after-on-429"),
            409 => self.retry_after("retry-after-on-409"),
            _ => {}
        }
        self.mark(None);
        self.limits_told();
    }

    /// A body like the engine's: the texts for people may be others.
    fn body(&mut self, is_head: bool) {
        let name = "error-body-shape";
        self.see(name);
        if is_head {
            if !self.reply.body.is_empty() {
                self.watched(name, "no body for HEAD", Some(&shown(self.reply)));
            }
            return;
        }
        let essence = |text: &str| text.split(';').next().unwrap_or_default().trim().to_lowercase();
        let documented = header(self.right, "content-type").unwrap_or_default();
        let told = self.reply.header("content-type");
        if told.map(essence) != Some(essence(&documented)) {
            return self.watched(name, format!("Content-Type: {documented}"), told);
        }
        let right = String::from_utf8_lossy(&self.right.body).into_owned();
        let expected: serde_json::Value = serde_json::from_str(&right).unwrap_or_default();
        let found = self.reply.json().unwrap_or_default();
        let same = expected.as_object().zip(found.as_object()).is_some_and(|(expected, found)| {
            let for_people = |name: &str| matches!(name, "message" | "detail");
            found.len() == expected.len()
                && expected.iter().all(|(name, value)| match found.get(name) {
                    Some(told) if for_people(name) => told.as_str().is_some_and(|t| !t.is_empty()),
                    told => told == Some(value),
                })
        });
        if !same {
            self.watched(name, right, Some(&shown(self.reply)));
        }
    }

    /// A header that does not depend on time.
    fn exact(&mut self, check: &'static str, name: &str) {
        let Some(documented) = header(self.right, name) else { return };
        self.see(check);
        let told = self.reply.header(name);
        if told != Some(&documented) {
            self.watched(check, format!("{name}: {documented}"), told);
        }
    }

    fn retry_after(&mut self, check: &'static str) {
        self.see(check);
        let told = self.reply.header("retry-after").map(str::to_owned);
        let bounds = numbers::bounds(self.truth, "retry-after", 0);
        let is_right = told.as_deref().is_some_and(|told| bounds.has(told) && told != "0");
        if !is_right && self.numbers {
            let documented = format!("Retry-After: {bounds}");
            return self.watched(check, documented, told.as_deref());
        }
        if !told.as_deref().is_some_and(numbers::is_positive) {
            self.watched(check, "Retry-After: a whole number from 1 on", told.as_deref());
        }
    }

    /// `Idempotent-Replayed`.
    fn mark(&mut self, documented: Option<&str>) {
        if documented.is_some() {
            self.see("replay-is-marked");
        }
        let told = self.reply.header("idempotent-replayed").map(str::to_owned);
        if told.as_deref() != documented {
            let documented = documented.unwrap_or("is absent");
            let documented = format!("Idempotent-Replayed: {documented}");
            self.watched("replay-is-marked", documented, told.as_deref());
        }
    }

    fn limits_told(&mut self) {
        if !self.numbers {
            return;
        }
        let lenient = self.limits.iter().any(is_shared);
        let (seen, differences) =
            numbers::rate_limits(self.truth, self.reply, lenient, self.limits);
        if seen {
            self.see("rate-limit-headers");
        }
        for (documented, got) in differences {
            self.watched("rate-limit-headers", documented, got.as_deref());
        }
    }

    fn allowed(&mut self) {
        let code = self.reply.code();
        let refused_by_api =
            matches!(code.as_deref(), Some("validation_failed" | "sender_not_approved"));
        if self.reply.status == 422 && refused_by_api {
            self.judged.not_run = Some(format!(
                "the API refuses the example of {}: give one that it takes with --requests",
                self.call.route.as_deref().unwrap_or("this request")
            ));
            return;
        }
        if self.reply.status == 429 && self.may_be_used_by_others() {
            self.judged.not_run =
                Some("a limit that others use too, by address or of all, is used up".to_owned());
            return;
        }
        let no_get = self.call.method == "HEAD" && matches!(self.reply.status, 404 | 405);
        if is_denial(self.reply) || self.reply.status >= 500 || no_get {
            return self.own("the request is let through", shown(self.reply));
        }
        if self.reply.header("idempotent-replayed").is_some() {
            let got = format!("a replay: {}", shown(self.reply));
            return self.own("the request is carried out", got);
        }
        if let Some(executed) = self.executed {
            self.see("executions-match-decisions");
            if executed != 1 {
                let got = format!("the API was called {executed} times");
                self.watched("executions-match-decisions", "the API is called once", Some(&got));
            }
        }
        self.limits_told();
    }

    fn replay(&mut self) {
        let documented =
            format!("the first answer again, {}, and nothing carried out", self.right.status);
        if let Some(executed) = self.executed.filter(|executed| *executed > 0) {
            let got = format!("{}; the API was called {executed} times", shown(self.reply));
            return self.own(documented, got);
        }
        let same_status = self.reply.status == self.right.status;
        let same_body = self.call.method == "HEAD" || self.reply.body == self.right.body;
        let is_marked = self.reply.header("idempotent-replayed").is_some();
        let is_same = same_status && same_body;
        let is_other = !is_marked && !is_same;
        if is_other || (is_denial(self.reply) && !same_status) {
            return self.own(documented, shown(self.reply));
        }
        self.see("replay-is-the-original");
        if !is_same {
            let first = String::from_utf8_lossy(&self.right.body).into_owned();
            let documented = format!("{} {first}", self.right.status);
            self.watched("replay-is-the-original", documented, Some(&shown(self.reply)));
        }
        self.exact("replay-is-the-original", "Content-Type");
        self.mark(Some("true"));
        self.limits_told();
    }
}
