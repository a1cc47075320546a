//! What is kept of a decision for operators: in the log, in the metrics, on the settings page. No secret, and no query.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;
use tollgate::{AccountId, Answer, Decision, Headers, TokenDigest, Verdict};

use crate::question::Question;

/// A decision in the words of the decision log. Members that do not apply are left out.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DecisionRecord {
    /// RFC 3339, UTC.
    pub time: String,
    pub now_ms: u64,
    /// The caller's name for the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Box<str>>,
    pub via: &'static str,
    pub method: String,
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    pub verdict: &'static str,
    pub status: u16,
    pub code: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub peek: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// The first half of the first half of its digest: enough to find it, and of no use as a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserved: Option<u64>,
    /// The idempotency key, hashed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitRecord>,
    /// Checks in shadow mode that would have refused it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shadow: Vec<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_error: Option<String>,
    pub duration_us: u64,
}

/// The limit that is closest to its end.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LimitRecord {
    pub name: Box<str>,
    pub quota: u64,
    pub remaining: u64,
    pub reset_ms: u64,
}

/// What a record is made of.
pub(crate) struct Facts<'a> {
    pub question: &'a Question,
    pub decision: &'a Decision,
    pub answer: &'a Answer,
    pub account: Option<&'a AccountId>,
    pub digest: Option<TokenDigest>,
    pub now_ms: u64,
    pub took: Duration,
}

/// Longer texts of requests are cut: a hostile path must not fill a log.
const MAX_TEXT_BYTES: usize = 1024;

impl DecisionRecord {
    pub(crate) fn new(facts: Facts<'_>) -> Self {
        let Facts { question, decision, answer, account, digest, now_ms, took } = facts;
        let policy = question.engine.policy();
        let limits = policy.limits(decision.route());
        let limit = decision.limit().and_then(|report| {
            let limit = limits.get(usize::from(report.limit))?;
            Some(LimitRecord {
                name: limit.name.as_ref().into(),
                quota: report.quota.units,
                remaining: report.left.remaining,
                reset_ms: report.left.reset_ms,
            })
        });
        let shadows = decision.shadows();
        let mut shadow: Vec<Box<str>> = limits
            .iter()
            .enumerate()
            .filter(|(index, _)| {
                shadows
                    .limits
                    .checked_shr(u32::try_from(*index).unwrap_or(64))
                    .is_some_and(|bits| bits & 1 == 1)
            })
            .map(|(_, limit)| limit.name.as_ref().into())
            .collect();
        shadow.extend(shadows.spend_caps.then(|| "spend cap".into()));
        shadow.extend(shadows.networks.then(|| "networks".into()));
        let key = question
            .headers
            .value("idempotency-key", 0)
            .map(|key| short(&tollgate::digest(key, None)));
        DecisionRecord {
            time: rfc3339(now_ms),
            now_ms,
            id: question.id.clone(),
            via: question.via.name(),
            method: text(&question.method),
            path: text(question.path()),
            source: question.source(now_ms),
            verdict: verdict(decision.verdict()),
            status: answer.status,
            code: decision.status().code(),
            peek: question.peek,
            account: account.cloned(),
            token: digest.as_ref().map(short),
            route: decision.route().and_then(|id| policy.route(id)).map(|route| route.name.clone()),
            reserved: decision.reserved().map(|amount| amount.0),
            key,
            limit,
            shadow,
            store_error: decision.store_error().map(ToString::to_string),
            duration_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

pub(crate) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
        Verdict::Replay => "replay",
    }
}

/// The first 16 hexadecimal digits of a digest, by which the log and the settings page name a token.
pub(crate) fn short(digest: &TokenDigest) -> String {
    digest.to_string().chars().take(16).collect()
}

/// Bytes as text: what is not UTF-8 is replaced, what is too long is cut.
fn text(bytes: &[u8]) -> String {
    let kept = bytes.get(..MAX_TEXT_BYTES).unwrap_or(bytes);
    String::from_utf8_lossy(kept).into_owned()
}

pub(crate) fn rfc3339(now_ms: u64) -> String {
    let time =
        std::time::UNIX_EPOCH.checked_add(Duration::from_millis(now_ms.min(tollgate::MAX_NOW_MS)));
    let time = time.unwrap_or(std::time::UNIX_EPOCH);
    humantime::format_rfc3339_millis(time).to_string()
}
