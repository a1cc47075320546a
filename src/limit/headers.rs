//! What answers say about limits: `X-RateLimit-*`, `Retry-After` (RFC 9110, section 10.2.3), and the
//! `RateLimit` fields of draft-ietf-httpapi-ratelimit-headers-11. Seconds are rounded up, so that
//! a client that waits as told is never too early.

use core::fmt;

use super::{Left, Quota, Refused};

/// The largest integer of a structured field (RFC 9651, section 3.3.1).
const MAX_SF_INTEGER: u64 = 999_999_999_999_999;

/// One limit's part in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown<'a> {
    /// Its name in the policy.
    pub name: &'a str,
    /// The quota that applied.
    pub quota: Quota,
    /// What is left, as the client shall see it.
    pub left: Left,
    /// Its refusal, if it refused.
    pub refused: Option<Refused>,
}

impl Shown<'_> {
    /// `X-RateLimit-Limit`: units per window.
    pub(crate) fn limit(&self) -> u64 {
        self.quota.units
    }

    /// `X-RateLimit-Remaining`: units, never above the limit even when the burst is.
    pub(crate) fn remaining(&self) -> u64 {
        self.left.remaining.min(self.quota.units)
    }

    /// `X-RateLimit-Reset`: Unix seconds.
    pub(crate) fn reset_unix_s(&self) -> u64 {
        self.left.reset_ms.div_ceil(1_000)
    }

    /// `X-RateLimit-Reset` by the other convention: seconds from now.
    pub(crate) fn reset_delta_s(&self, now_ms: u64) -> u64 {
        self.left.reset_ms.saturating_sub(now_ms).div_ceil(1_000)
    }

    /// `Retry-After`: seconds from now, at least 1; `None` when the limit did not refuse. What can
    /// never go through is told the length of the window.
    pub(crate) fn retry_after_s(&self, now_ms: u64) -> Option<u64> {
        let wait_ms = match self.refused?.retry_at_ms {
            Some(retry_at_ms) => retry_at_ms.saturating_sub(now_ms),
            None => self.quota.window_ms,
        };
        Some(wait_ms.div_ceil(1_000).max(1))
    }

    /// One item of `RateLimit-Policy`: `"name";q=120;w=60`. Items are joined by `, `.
    pub(crate) fn policy_item(&self) -> impl fmt::Display {
        let window_s = self.quota.window_ms.div_ceil(1_000).max(1);
        Item { name: self.name, parameters: [("q", self.quota.units), ("w", window_s)] }
    }

    /// One item of `RateLimit`: `"name";r=119;t=1`, where `t` is the seconds until the limit is whole
    /// again. When it refused, `t` is no later than `Retry-After`, as the draft asks (section 6).
    pub(crate) fn service_limit_item(&self, now_ms: u64) -> impl fmt::Display {
        let reset_s = self.reset_delta_s(now_ms);
        let window_s = self.retry_after_s(now_ms).map_or(reset_s, |retry_s| retry_s.min(reset_s));
        Item { name: self.name, parameters: [("r", self.remaining()), ("t", window_s)] }
    }
}

/// A structured field's string with integer parameters (RFC 9651, sections 3.1.2 and 3.3). What a
/// string cannot hold becomes `?`, a number that is too large becomes the largest.
struct Item<'a> {
    name: &'a str,
    parameters: [(&'static str, u64); 2],
}

impl fmt::Display for Item<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        f.write_char('"')?;
        for char in self.name.chars() {
            match char {
                '"' | '\\' => write!(f, "\\{char}")?,
                ' '..='~' => f.write_char(char)?,
                _ => f.write_char('?')?,
            }
        }
        f.write_char('"')?;
        for (key, value) in self.parameters {
            write!(f, ";{key}={}", value.min(MAX_SF_INTEGER))?;
        }
        Ok(())
    }
}

/// Seconds from `now_ms` to `at_ms`, rounded up: whoever waits as told is never too early.
pub(crate) fn seconds_until(at_ms: u64, now_ms: u64) -> u64 {
    at_ms.saturating_sub(now_ms).div_ceil(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn report(name: &str) -> Shown<'_> {
        Shown {
            name,
            quota: Quota::new(120, 60_000),
            left: Left { remaining: 119, reset_ms: 10_500 },
            refused: None,
        }
    }

    #[test]
    fn seconds_are_rounded_up() {
        let mut report = report("api");
        assert_eq!((report.limit(), report.remaining()), (120, 119));
        assert_eq!(report.reset_unix_s(), 11);
        assert_eq!(
            [10_500, 10_499, 9_500, 9_499].map(|now| report.reset_delta_s(now)),
            [0, 1, 1, 2]
        );
        assert_eq!(report.retry_after_s(10_000), None);
        report.refused = Some(Refused { retry_at_ms: Some(12_001) });
        assert_eq!(
            [10_000, 12_000, 12_001, 13_000].map(|now| report.retry_after_s(now)),
            [Some(3), Some(1), Some(1), Some(1)]
        );
        report.refused = Some(Refused { retry_at_ms: None });
        assert_eq!(report.retry_after_s(10_000), Some(60));
        report.left.remaining = 500;
        assert_eq!(report.remaining(), 120);
    }

    #[test]
    fn structured_fields() {
        let mut api = report("api");
        assert_eq!(api.policy_item().to_string(), r#""api";q=120;w=60"#);
        assert_eq!(api.service_limit_item(10_000).to_string(), r#""api";r=119;t=1"#);
        api.left = Left { remaining: 0, reset_ms: 70_000 };
        api.refused = Some(Refused { retry_at_ms: Some(10_500) });
        assert_eq!(api.service_limit_item(10_000).to_string(), r#""api";r=0;t=1"#);
        let mut odd = report("a\"b\\c\r\né");
        odd.quota = Quota::new(u64::MAX, 1);
        assert_eq!(odd.policy_item().to_string(), r#""a\"b\\c???";q=999999999999999;w=1"#);
    }
}
