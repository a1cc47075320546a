//! Figures, times and settings in the words of the pages.

use std::time::{Duration, UNIX_EPOCH};

use tollgate::{Period, Quota, SpendCap};

use super::chart::Meter;

/// A time, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment(pub u64);

impl Moment {
    /// ISO 8601 to the second, which is also what `<time>` takes.
    pub(super) fn iso(self) -> String {
        let time = UNIX_EPOCH.checked_add(Duration::from_millis(self.0.min(tollgate::MAX_NOW_MS)));
        humantime::format_rfc3339_seconds(time.unwrap_or(UNIX_EPOCH)).to_string()
    }
}

/// A length of time: `1 minute`, `90 seconds`, `1500 ms`.
pub(super) fn span(ms: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1_000, "second")];
    let unit = UNITS.iter().find(|(unit_ms, _)| ms > 0 && ms.is_multiple_of(*unit_ms));
    let Some((unit_ms, name)) = unit else { return format!("{ms} ms") };
    match ms.checked_div(*unit_ms).unwrap_or_default() {
        1 => format!("1 {name}"),
        many => format!("{many} {name}s"),
    }
}

/// `120 per minute`, `10 per 5 minutes`.
pub(super) fn rate(units: u64, window_ms: u64) -> String {
    let window = span(window_ms);
    format!("{units} per {}", window.strip_prefix("1 ").unwrap_or(&window))
}

/// A limit's quota, with its burst where that is another number.
pub(super) fn quota(quota: &Quota) -> String {
    let rate = rate(quota.units, quota.window_ms);
    if quota.burst == quota.units { rate } else { format!("{rate}, at once {}", quota.burst) }
}

pub(super) fn period(period: Period) -> &'static str {
    match period {
        Period::Day => "day",
        Period::Month => "month",
        Period::Lifetime => "lifetime",
    }
}

/// What a cap counts, in words: `a UTC day`.
pub(super) fn period_in_words(period: Period) -> &'static str {
    match period {
        Period::Day => "each UTC day",
        Period::Month => "each UTC month",
        Period::Lifetime => "ever",
    }
}

pub(super) fn cap(cap: &SpendCap) -> String {
    let shadow = if cap.shadow { ", reported only" } else { "" };
    format!("{} {}{shadow}", cap.amount, period_in_words(cap.per))
}

/// A cap and what was spent in its period.
pub(super) struct CapRow {
    /// Whose it is: empty, or the key's first digits.
    pub holder: String,
    pub period: &'static str,
    pub words: &'static str,
    pub amount: u64,
    pub spent: u64,
    pub left: u64,
    pub shadow: bool,
    pub meter: Meter,
}

impl CapRow {
    pub(super) fn new(holder: &str, cap: &SpendCap, spent: u64) -> Self {
        let amount = cap.amount.0;
        CapRow {
            holder: holder.to_owned(),
            period: period(cap.per),
            words: period_in_words(cap.per),
            amount,
            spent,
            left: amount.saturating_sub(spent),
            shadow: cap.shadow,
            meter: Meter::new(spent, amount),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_spans_read_well() {
        assert_eq!(Moment(1_700_000_000_999).iso(), "2023-11-14T22:13:20Z");
        assert_eq!(Moment(u64::MAX).iso().len(), 20);
        for (ms, text) in [
            (0, "0 ms"),
            (1_500, "1500 ms"),
            (1_000, "1 second"),
            (90_000, "90 seconds"),
            (120_000, "2 minutes"),
            (3_600_000, "1 hour"),
            (86_400_000, "1 day"),
        ] {
            assert_eq!(span(ms), text);
        }
        assert_eq!(rate(120, 60_000), "120 per minute");
        assert_eq!(
            quota(&Quota { units: 10, window_ms: 300_000, burst: 3 }),
            "10 per 5 minutes, at once 3"
        );
    }
}
