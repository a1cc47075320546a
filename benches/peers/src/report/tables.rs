//! Tables in Markdown, which people can read as they are.

use super::{Figures, Time, Weight};

/// All figures.
#[must_use]
pub fn markdown(figures: &Figures) -> String {
    let sections = [
        facts(figures),
        decisions(figures, "limit", "One check of one limit", "bytes per key, 1 M"),
        decisions(figures, "authorize", "Scopes alone: may this token call METHOD path?", ""),
        decisions(figures, "get", "A whole GET", "bytes per token, 1 M"),
        decisions(figures, "post", "A POST with an idempotency key and a price", ""),
        races(figures),
        pairs(figures),
    ];
    sections.join("\n\n")
}

/// A time for people: three digits at most.
#[must_use]
pub fn duration(ns: f64) -> String {
    match ns {
        ..99.5 => format!("{ns:.0} ns"),
        ..999.5 => format!("{:.0} ns", (ns / 5.0).round() * 5.0),
        ..9_950.0 => format!("{:.1} µs", ns / 1_000.0),
        _ => format!("{:.0} µs", ns / 1_000.0),
    }
}

fn facts(figures: &Figures) -> String {
    let facts = &figures.facts;
    let versions = facts.versions.iter().map(|(name, version)| format!("{name} {version}"));
    let versions: Vec<String> = versions.collect();
    format!(
        "Measured on {} cores of {} ({}), with {}: {}.",
        facts.cores,
        facts.processor,
        facts.system,
        facts.compiler,
        versions.join(", ")
    )
}

/// A row for each contender; a column for each case, for allocations, and for bytes if they have a title.
fn decisions(figures: &Figures, question: &str, title: &str, bytes: &str) -> String {
    let times: Vec<&Time> = figures.times.iter().filter(|time| time.question == question).collect();
    let cases = distinct(times.iter().map(|time| time.case.as_str()));
    let mut header = vec![""];
    header.extend(&cases);
    header.push("allocations");
    if !bytes.is_empty() {
        header.push(bytes);
    }
    let row = |contender: &str| {
        let mut row = vec![contender.to_owned()];
        row.extend(cases.iter().map(|case| {
            let time = times.iter().find(|time| time.contender == contender && time.case == *case);
            time.map_or_else(String::new, |time| duration(time.ns))
        }));
        let weights: Vec<&Weight> = figures
            .weights
            .iter()
            .filter(|weight| weight.question == question && weight.contender == contender)
            .collect();
        row.push(weights.first().map_or_else(String::new, |weight| count(weight.allocations)));
        if !bytes.is_empty() {
            let heaviest = weights.last().and_then(|weight| weight.bytes);
            row.push(heaviest.map_or_else(String::new, |bytes| format!("{bytes:.0}")));
        }
        row
    };
    let rows: Vec<Vec<String>> =
        distinct(times.iter().map(|time| time.contender)).into_iter().map(row).collect();
    table(title, &header, &rows)
}

fn races(figures: &Figures) -> String {
    let header = ["race of 16 threads", "who", "rounds", "rounds that went wrong", "worst round"];
    let row = |figure: &super::RaceFigure| {
        let came = figure.came;
        let worst = if came.worst > 0 { format!("{} too many", came.worst) } else { "none".into() };
        let share = came.wrong as f64 * 100.0 / came.rounds.max(1) as f64;
        let wrong =
            if came.wrong > 0 { format!("{} ({share:.1} %)", came.wrong) } else { "0".into() };
        let [race, who] = [figure.race, figure.contender].map(str::to_owned);
        vec![race, who, came.rounds.to_string(), wrong, worst]
    };
    let rows: Vec<Vec<String>> = figures.races.iter().map(row).collect();
    table("Too many", &header, &rows)
}

fn pairs(figures: &Figures) -> String {
    let header = ["", "refused by the second limit", "units of the first that these took"];
    let row = |figure: &super::PairFigure| {
        let units = figure.units;
        vec![figure.contender.to_owned(), units.refused.to_string(), units.lost.to_string()]
    };
    let rows: Vec<Vec<String>> = figures.pairs.iter().map(row).collect();
    table("All or none", &header, &rows)
}

/// In Markdown, with columns as wide as what is in them.
fn table(title: &str, header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(header.get(column).map(|cell| cell.chars().count())).max().unwrap_or(0).max(3)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let cells = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
    };
    let rules = widths.iter().enumerate().map(|(column, width)| {
        let dashes = "-".repeat(width.saturating_sub(1));
        if column == 0 { format!("{dashes}-") } else { format!("{dashes}:") }
    });
    let rules = format!("| {} |", rules.collect::<Vec<_>>().join(" | "));
    let mut lines = vec![format!("### {title}"), String::new(), line(header.to_vec()), rules];
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines.join("\n")
}

/// Rare ones, such as those of a map that grows, are not rounded away.
fn count(value: f64) -> String {
    match value {
        0.0 => "0".into(),
        ..0.01 => "< 0.01".into(),
        ..10.0 if value.fract() > 0.005 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}

fn distinct<'a>(values: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut distinct = Vec::new();
    for value in values {
        if !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    distinct
}
