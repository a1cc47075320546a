//! Headers with numbers that depend on time: they lie between what the engine says at the earliest and at
//! the latest.

use core::fmt;

use tollgate::Limit;
use tollgate_scenario::{Allowed, Decided};

use super::client::Reply;
use super::judge::header;
use super::plan::is_shared;
use super::reference::Truth;

/// From the least to the most.
pub(super) struct Bounds(u64, u64);

impl Bounds {
    pub(super) fn has(&self, text: &str) -> bool {
        whole(text).is_some_and(|number| (self.0..=self.1).contains(&number))
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bounds(least, most) if least == most => least.fmt(f),
            Bounds(least, most) => write!(f, "{least} to {most}"),
        }
    }
}

/// Digits alone: no sign, no fraction, no blanks.
fn whole(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

pub(super) fn is_positive(text: &str) -> bool {
    whole(text).is_some_and(|number| number > 0)
}

/// The bounds of a header, and `more` on either side.
pub(super) fn bounds(truth: &Truth, name: &str, more: u64) -> Bounds {
    let number = |decided: &Decided<Allowed>| header(decided, name).and_then(|text| whole(&text));
    let numbers = [number(&truth.strict), number(&truth.generous)];
    let known = || numbers.iter().flatten().copied();
    let least = known().min().unwrap_or(0).saturating_sub(more);
    Bounds(least, known().max().unwrap_or(u64::MAX).saturating_add(more))
}

type Differences = Vec<(String, Option<String>)>;

/// Unix seconds come from the gateway's clock, of which no more is known than its `Date`: whole seconds.
const CLOCK_S: u64 = 1;

/// Whether there was something to see, and what differs. `lenient`: others use some of the limits too, so
/// that less may be left than the engine says.
pub(super) fn rate_limits(
    truth: &Truth,
    reply: &Reply,
    lenient: bool,
    limits: &[Limit],
) -> (bool, Differences) {
    let mut differences = Vec::new();
    let mut seen = false;
    let is_denial = truth.strict.status >= 400;
    for name in ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"] {
        let told = reply.header(name);
        let Some(documented) = header(&truth.strict, name) else {
            // An upstream may have headers of its own.
            if let (true, Some(told)) = (is_denial, told) {
                differences.push((format!("no {name}"), Some(told.to_owned())));
            }
            continue;
        };
        seen = true;
        let is_right = told.is_some_and(|told| match name {
            _ if is_of_shared(reply, limits) => whole(told).is_some(),
            "X-RateLimit-Limit" => told == documented,
            "X-RateLimit-Reset" => bounds(truth, name, CLOCK_S).has(told) || lenient,
            _ => {
                let Bounds(least, most) = bounds(truth, name, 0);
                Bounds(if lenient { 0 } else { least }, most).has(told)
            }
        });
        if !is_right {
            let documented = match name {
                "X-RateLimit-Limit" => documented,
                "X-RateLimit-Reset" => bounds(truth, name, CLOCK_S).to_string(),
                _ => bounds(truth, name, 0).to_string(),
            };
            differences.push((format!("{name}: {documented}"), told.map(str::to_owned)));
        }
    }
    seen |= ietf(truth, reply, lenient, &mut differences);
    (seen, differences)
}

/// Whether the answer is about a limit that others use too.
fn is_of_shared(reply: &Reply, limits: &[Limit]) -> bool {
    let told = reply.header("x-ratelimit-limit").and_then(whole);
    limits.iter().any(|limit| is_shared(limit) && Some(limit.quota.units) == told)
}

/// `RateLimit-Policy` does not depend on time; `RateLimit` does in its two numbers.
fn ietf(truth: &Truth, reply: &Reply, lenient: bool, differences: &mut Differences) -> bool {
    let Some(policy) = header(&truth.strict, "ratelimit-policy") else { return false };
    let told = reply.header("ratelimit-policy");
    if told != Some(&policy) && !lenient {
        differences.push((format!("RateLimit-Policy: {policy}"), told.map(str::to_owned)));
    }
    let told = reply.header("ratelimit");
    let [strict, generous] =
        [&truth.strict, &truth.generous].map(|decided| header(decided, "ratelimit"));
    let item = |text: Option<&str>| {
        let (name, rest) = text?.rsplit_once(";r=")?;
        let (left, until) = rest.split_once(";t=")?;
        Some((name.to_owned(), whole(left)?, whole(until)?))
    };
    let (found, strict, generous) =
        (item(told), item(strict.as_deref()), item(generous.as_deref()));
    let is_right = match (&found, &strict, &generous) {
        (Some(found), Some(a), Some(b)) => {
            let within = |x: u64, a: u64, b: u64, more: u64| {
                (a.min(b).saturating_sub(more)..=a.max(b).saturating_add(more)).contains(&x)
            };
            found.0 == a.0 && within(found.1, a.1, b.1, 0) && within(found.2, a.2, b.2, CLOCK_S)
        }
        _ => false,
    };
    let is_excused = lenient && found.is_some();
    if !is_right && !is_excused {
        let documented = header(&truth.strict, "ratelimit").unwrap_or_default();
        differences.push((format!("RateLimit: {documented}"), told.map(str::to_owned)));
    }
    true
}
