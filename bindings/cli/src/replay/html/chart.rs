//! Charts as SVG. Places are percent of the width and pixels of the height, so that a chart fills a phone and a
//! desktop alike and its text stays legible.

use askama::Template;
use askama::filters::HtmlSafe;

use super::table::Table;
use crate::replay::report::{Report, TimelineReport};
use crate::replay::text::{grouped, utc};

/// Columns over time, each divided by code.
#[derive(Template)]
#[template(path = "replay/stacked.html")]
pub(super) struct Stacked {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) desc: String,
    pub(super) height: u32,
    pub(super) grid: Vec<GridLine>,
    pub(super) bars: Vec<Piece>,
    pub(super) ticks: Vec<Tick>,
    pub(super) ticks_y: u32,
    pub(super) table: Table,
}

/// A line across the chart.
pub(super) struct GridLine {
    y: String,
    label_y: String,
    label: String,
}

/// A part of a column.
pub(super) struct Piece {
    class: String,
    x: String,
    y: String,
    width: String,
    height: String,
    label: String,
}

/// A time below the chart.
pub(super) struct Tick {
    x: String,
    anchor: &'static str,
    label: String,
}

/// Bars from left to right, each a part of its whole.
#[derive(Template)]
#[template(path = "replay/bars.html")]
pub(super) struct Bars {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) desc: String,
    pub(super) height: u32,
    pub(super) bars: Vec<Bar>,
    pub(super) table: Table,
}

/// One bar, with its text above it.
pub(super) struct Bar {
    class: &'static str,
    label: String,
    value: String,
    width: String,
    y: u32,
    text_y: u32,
}

// Both escape what they hold themselves.
impl HtmlSafe for Stacked {}
impl HtmlSafe for Bars {}

/// Room above the highest column, for the label of the topmost line.
const TOP_PX: f64 = 18.0;
const PLOT_PX: f64 = 180.0;
const AXIS_PX: f64 = 22.0;
const BAR_PX: u32 = 40;
/// How much of a label fits beside the figure on a phone.
const LABEL_CHARS: usize = 38;

/// The chart of one policy's denials; `most` is the highest column of all charts that stand together.
pub(super) fn denials(
    report: &Report,
    policy: usize,
    title: String,
    codes: &[usize],
    most: u64,
    table: Table,
) -> Stacked {
    let timeline = &report.timeline;
    let top = nice_top(most);
    let columns = as_f64(timeline.steps.len().max(1));
    let mut bars = Vec::new();
    for (index, step) in timeline.steps.iter().enumerate() {
        let Some(counts) = step.counts.get(policy) else { continue };
        let mut below = 0_u64;
        for code in codes {
            let (Some(count), Some(name)) = (counts.get(*code), timeline.codes.get(*code)) else {
                continue;
            };
            if *count == 0 {
                continue;
            }
            let bottom = y_of(below, top);
            below = below.saturating_add(*count);
            let highest = y_of(below, top);
            bars.push(Piece {
                class: class_of(name),
                x: format!("{:.3}", as_f64(index) / columns * 100.0),
                width: format!("{:.3}", 100.0 / columns * 0.88),
                y: format!("{highest:.2}"),
                height: format!("{:.2}", bottom - highest),
                label: format!("{} UTC: {} {name}", utc(step.begin_ms), grouped(*count)),
            });
        }
    }
    let sum: u64 = timeline.steps.iter().map(|step| sum_of(step.counts.get(policy), codes)).sum();
    let desc = format!(
        "Denials: {}, in {} columns, at most {} in one. The table below has the same figures.",
        grouped(sum),
        timeline.steps.len(),
        grouped(most)
    );
    Stacked {
        id: format!("denials-{policy}"),
        title,
        desc,
        height: pixels(TOP_PX + PLOT_PX + AXIS_PX),
        grid: grid(top),
        bars,
        ticks: ticks(timeline),
        ticks_y: pixels(TOP_PX + PLOT_PX + AXIS_PX - 5.0),
        table,
    }
}

/// The denials of one step.
pub(super) fn sum_of(counts: Option<&Vec<u64>>, codes: &[usize]) -> u64 {
    let counts = counts.map(Vec::as_slice).unwrap_or_default();
    codes
        .iter()
        .filter_map(|code| counts.get(*code))
        .fold(0, |sum, count| sum.saturating_add(*count))
}

/// What a bar shows.
pub(super) struct Share {
    pub(super) label: String,
    pub(super) part: u64,
    pub(super) whole: u64,
    pub(super) permille: u64,
}

pub(super) fn bars(id: String, title: String, shares: &[Share], table: Table) -> Bars {
    let bars = shares.iter().zip(0_u32..).map(|(share, index)| {
        let top = index.saturating_mul(BAR_PX);
        Bar {
            class: if share.permille >= 1_000 { "full" } else { "near" },
            label: fitting(&share.label),
            value: format!("{} of {}", grouped(share.part), grouped(share.whole)),
            // A bar of nothing is still seen.
            width: format!("{:.1}", (as_f64_u64(share.permille.min(1_000)) / 10.0).max(0.5)),
            text_y: top.saturating_add(14),
            y: top.saturating_add(20),
        }
    });
    let full = shares.iter().filter(|share| share.permille >= 1_000).count();
    let desc = format!(
        "Bars from 0 to a limit: {}, of which {full} reach it. The table below has the same figures.",
        shares.len()
    );
    let height = u32::try_from(shares.len()).unwrap_or(0).saturating_mul(BAR_PX);
    Bars { id, title, desc, height, bars: bars.collect(), table }
}

/// The class of a code's colour.
pub(super) fn class_of(code: &str) -> String {
    format!("c-{code}")
}

fn fitting(label: &str) -> String {
    if label.chars().count() <= LABEL_CHARS {
        return label.to_owned();
    }
    let short: String = label.chars().take(LABEL_CHARS.saturating_sub(1)).collect();
    format!("{short}…")
}

/// The next round number that is not below: 1, 2, 3, 4, 6, 8, 10, 20, 30, …
fn nice_top(most: u64) -> u64 {
    let mut decade = 1_u64;
    loop {
        for factor in [1, 2, 3, 4, 6, 8] {
            let top = decade.saturating_mul(factor);
            if top >= most || top == u64::MAX {
                return top;
            }
        }
        decade = decade.saturating_mul(10);
    }
}

fn y_of(count: u64, top: u64) -> f64 {
    TOP_PX + PLOT_PX * (1.0 - as_f64_u64(count) / as_f64_u64(top.max(1)))
}

/// Lines at nothing, a half and the top; halves are left out where they are no whole number. The lowest needs no
/// label, which would cover the columns.
fn grid(top: u64) -> Vec<GridLine> {
    let half = (top.is_multiple_of(2)).then(|| top.div_euclid(2));
    [Some(0), half, Some(top)]
        .into_iter()
        .flatten()
        .map(|count| {
            let y = y_of(count, top);
            GridLine {
                y: format!("{y:.1}"),
                label_y: format!("{:.1}", y - 4.0),
                label: if count == 0 { String::new() } else { grouped(count) },
            }
        })
        .collect()
}

/// The first time, one in the middle, and the end.
fn ticks(timeline: &TimelineReport) -> Vec<Tick> {
    let (Some(first), Some(last)) = (timeline.steps.first(), timeline.steps.last()) else {
        return Vec::new();
    };
    let end = last.begin_ms.saturating_add(timeline.width_ms);
    let begin = first.begin_ms;
    let one_day = utc(begin).get(..10) == utc(end).get(..10);
    let label = |at_ms| {
        let text = utc(at_ms);
        let part = if one_day { text.get(11..) } else { text.get(5..16) };
        part.map(str::to_owned).unwrap_or(text)
    };
    let tick = |x: &str, anchor, at_ms| Tick { x: x.to_owned(), anchor, label: label(at_ms) };
    vec![
        tick("0", "start", begin),
        tick("50", "middle", begin.midpoint(end)),
        tick("100", "end", end),
    ]
}

fn as_f64(count: usize) -> f64 {
    as_f64_u64(u64::try_from(count).unwrap_or(u64::MAX))
}

/// Near enough for a picture.
#[allow(clippy::cast_precision_loss)]
fn as_f64_u64(count: u64) -> f64 {
    count as f64
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // of constants of this file
fn pixels(height: f64) -> u32 {
    height as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tops_are_round_and_never_below() {
        let tops = [0, 1, 3, 11, 20, 501, u64::MAX].map(nice_top);
        assert_eq!(tops, [1, 1, 3, 20, 20, 600, u64::MAX]);
    }

    #[test]
    fn a_bar_never_leaves_the_chart_and_is_always_seen() {
        let share = |permille| Share { label: "a".to_owned(), part: 1, whole: 1, permille };
        let table = Table::new("a", &[], []);
        let shares = [share(0), share(500), share(1_000), share(u64::MAX)];
        let chart = bars("id".to_owned(), "a".to_owned(), &shares, table);
        let seen: Vec<(&str, &str)> =
            chart.bars.iter().map(|bar| (bar.width.as_str(), bar.class)).collect();
        assert_eq!(seen, [("0.5", "near"), ("50.0", "near"), ("100.0", "full"), ("100.0", "full")]);
    }

    #[test]
    fn a_column_ends_at_the_top_and_begins_at_the_bottom() {
        assert_eq!((y_of(0, 10), y_of(10, 10)), (TOP_PX + PLOT_PX, TOP_PX));
        assert_eq!(fitting(&"x".repeat(LABEL_CHARS + 1)).chars().count(), LABEL_CHARS);
    }
}
