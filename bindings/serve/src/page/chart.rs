//! Small charts, drawn here: the pages' policy lets no style in, and they need no script.

use crate::latest::{Counts, Minute};

/// How much of something is used, as a bar of 100 units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meter {
    pub used: u64,
    pub of: u64,
    pub percent: u64,
}

impl Meter {
    pub(super) fn new(used: u64, of: u64) -> Self {
        let percent = u128::from(used).saturating_mul(100).checked_div(u128::from(of));
        let percent = percent.and_then(|percent| u64::try_from(percent).ok()).unwrap_or(100);
        Meter { used, of, percent: percent.min(100) }
    }

    /// The share in words.
    pub(super) fn share(self) -> String {
        match (self.used, self.percent) {
            (1.., 0) => "under 1 %".to_owned(),
            (_, percent) => format!("{percent} %"),
        }
    }

    /// `full`, `near` or `some`: which colour it has, beside its figures.
    pub(super) fn level(self) -> &'static str {
        match self.percent {
            100 => "full",
            80..=99 => "near",
            _ => "some",
        }
    }
}

/// The minutes that a chart shows.
pub(super) const MINUTES: u64 = 30;

/// Units of a minute's place, and of its column in it.
const PLACE: u64 = 10;
const WIDTH: u64 = 8;

/// Height of the chart.
const HEIGHT: u64 = 100;

/// Decisions per minute, stacked by verdict.
pub(super) struct Columns {
    pub parts: Vec<Part>,
    pub rows: Vec<Row>,
    pub most: u64,
    pub total: Counts,
    pub width: u64,
    pub height: u64,
    pub first: super::figures::Moment,
    pub last: super::figures::Moment,
}

/// A rectangle.
pub(super) struct Part {
    pub class: &'static str,
    pub x: u64,
    pub y: u64,
    pub width: u64,
    pub height: u64,
}

/// A minute with decisions, for the table under the chart.
pub(super) struct Row {
    pub minute: super::figures::Moment,
    pub counts: Counts,
}

impl Columns {
    /// The minutes up to now.
    pub(super) fn new(minutes: &[Minute], now_ms: u64) -> Self {
        let last = now_ms / 60_000;
        let first = last.saturating_sub(MINUTES.saturating_sub(1));
        let within = minutes.iter().filter(|minute| (first..=last).contains(&minute.number));
        let most = within.clone().map(|minute| minute.counts.sum()).max().unwrap_or(0);
        let mut columns = Columns {
            parts: Vec::new(),
            rows: Vec::new(),
            most,
            total: Counts::default(),
            width: MINUTES.saturating_mul(PLACE),
            height: HEIGHT,
            first: moment(first),
            last: moment(last),
        };
        for minute in within {
            columns.total.add(minute.counts);
            columns.rows.push(Row { minute: moment(minute.number), counts: minute.counts });
            columns.stack(minute.number.saturating_sub(first).saturating_mul(PLACE), minute.counts);
        }
        columns.rows.sort_by_key(|row| std::cmp::Reverse(row.minute.0));
        columns
    }

    fn stack(&mut self, x: u64, counts: Counts) {
        let mut top = HEIGHT;
        let stacked = [("allow", counts.allow), ("replay", counts.replay), ("deny", counts.deny)];
        for (class, count) in stacked.into_iter().filter(|(_, count)| *count > 0) {
            // What is there is seen, however little it is.
            let scaled = u128::from(count).saturating_mul(u128::from(HEIGHT));
            let scaled = scaled.checked_div(u128::from(self.most)).unwrap_or_default();
            let height = u64::try_from(scaled).unwrap_or(HEIGHT).clamp(1, HEIGHT).min(top);
            top = top.saturating_sub(height);
            self.parts.push(Part { class, x, y: top, width: WIDTH, height });
        }
    }
}

fn moment(minute: u64) -> super::figures::Moment {
    super::figures::Moment(minute.saturating_mul(60_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_is_never_more_than_full() {
        for (used, of, percent, level) in [
            (0, 10, 0, "some"),
            (8, 10, 80, "near"),
            (10, 10, 100, "full"),
            (12, 10, 100, "full"),
            (0, 0, 100, "full"),
            (u64::MAX, u64::MAX, 100, "full"),
        ] {
            let meter = Meter::new(used, of);
            assert_eq!((meter.percent, meter.level()), (percent, level));
        }
        let shares =
            [(0, 1_000), (1, 1_000), (10, 1_000)].map(|(used, of)| Meter::new(used, of).share());
        assert_eq!(shares, ["0 %", "under 1 %", "1 %"]);
    }

    #[test]
    fn columns_stand_in_their_minutes_and_fill_the_height() {
        let counts = |allow, deny| Counts { allow, deny, replay: 0 };
        let minutes = [
            Minute { number: 100, counts: counts(3, 1) },
            Minute { number: 99, counts: counts(1, 0) },
            Minute { number: 70, counts: counts(50, 0) }, // out of sight
        ];
        let columns = Columns::new(&minutes, 100 * 60_000 + 5);
        assert_eq!((columns.most, columns.total.allow, columns.total.deny), (4, 4, 1));
        let parts: Vec<_> =
            columns.parts.iter().map(|part| (part.class, part.x, part.y, part.height)).collect();
        assert_eq!(parts, [("allow", 290, 25, 75), ("deny", 290, 0, 25), ("allow", 280, 75, 25)]);
        assert_eq!(columns.rows.len(), 2);
    }
}
