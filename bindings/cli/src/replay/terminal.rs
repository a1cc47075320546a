//! The report for a terminal.

use std::io::{self, Write};

use super::report::{
    CapSpend, ChangeReport, ChangesReport, ExampleReport, PolicyReport, RecordedReport, Report,
    WhyReport,
};
use super::text::{grouped, utc};
use crate::table::write_table;

/// How many rows of each list are shown; JSON and HTML have more.
const ROWS: usize = 10;

pub(crate) fn write(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    write_lines(out, report)?;
    write_totals(out, &report.policies)?;
    if let Some(changes) = &report.changes {
        write_changes(out, changes)?;
    }
    if let Some(recorded) = &report.recorded {
        write_recorded(out, recorded)?;
    }
    for (letter, policy) in ["A", "B"].into_iter().zip(&report.policies) {
        let of = if report.policies.len() > 1 { format!(" under {letter}") } else { String::new() };
        write_near_limits(out, &of, policy)?;
        write_caps(out, &of, &policy.caps)?;
        write_spend(out, &of, policy)?;
    }
    Ok(())
}

fn write_lines(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let lines = &report.lines;
    let span = match (lines.first_ms, lines.last_ms) {
        (Some(first), Some(last)) => format!(", {} to {} UTC", utc(first), utc(last)),
        _ => String::new(),
    };
    let (decided, read) = (grouped(lines.decided), grouped(lines.read));
    writeln!(out, "{decided} requests decided of {read} lines{span}")?;
    let callers = &report.callers;
    writeln!(out, "  tokens: {}, accounts: {}", callers.tokens, callers.accounts)?;
    for (count, what) in [
        (callers.requests_without_token, "requests without a token"),
        (callers.requests_with_invalid_token, "requests with an invalid token"),
        (lines.not_http, "left out, no HTTP request"),
        (lines.bad, "left out, bad lines"),
        (lines.late, "left out, too late to be put in order (sort the log, or raise --window)"),
    ] {
        if count > 0 {
            writeln!(out, "  {what}: {}", grouped(count))?;
        }
    }
    for log in &report.logs {
        for bad in &log.bad {
            writeln!(out, "    {}:{}: {}", log.name, bad.line, bad.why)?;
        }
    }
    if !lines.late_shown.is_empty() {
        writeln!(out, "    late: {}", lines.late_shown.join(", "))?;
    }
    Ok(())
}

fn write_totals(out: &mut dyn Write, policies: &[PolicyReport]) -> io::Result<()> {
    writeln!(out)?;
    let [a, rest @ ..] = policies else { return Ok(()) };
    let b = rest.first();
    writeln!(out, "A: {}", a.policy)?;
    if let Some(b) = b {
        writeln!(out, "B: {}", b.policy)?;
    }
    writeln!(out)?;
    let mut rows = vec![
        ("allow".to_owned(), a.allow, b.map(|b| b.allow)),
        ("replay".to_owned(), a.replay, b.map(|b| b.replay)),
        ("deny".to_owned(), a.deny, b.map(|b| b.deny)),
    ];
    let count = |policy: &PolicyReport, code: &str| {
        policy.codes.iter().find(|row| row.code == code).map_or(0, |row| row.count)
    };
    // In the order of precedence, which is that of the table.
    for row in tollgate::STATUS_TABLE.iter().filter(|row| row.status.is_denial()) {
        let (in_a, in_b) = (count(a, row.code), b.map(|b| count(b, row.code)));
        if in_a > 0 || in_b.is_some_and(|count| count > 0) {
            rows.push((format!("  {} {}", row.http, row.code), in_a, in_b));
        }
    }
    rows.push(("reserved".to_owned(), a.reserved, b.map(|b| b.reserved)));
    rows.push(("posted".to_owned(), a.posted, b.map(|b| b.posted)));
    let failed = a.unsettled > 0 || b.is_some_and(|b| b.unsettled > 0);
    if failed {
        rows.push(("not settled".to_owned(), a.unsettled, b.map(|b| b.unsettled)));
    }
    let mut table = vec![["decisions".to_owned(), right("A")]];
    match b {
        None => {
            table.extend(rows.into_iter().map(|(name, in_a, _)| [name, right(&grouped(in_a))]));
            write_table(out, "", &table)
        }
        Some(_) => {
            let head = ["decisions".to_owned(), right("A"), right("B"), right("B - A")];
            let rows = rows.into_iter().map(|(name, in_a, in_b)| {
                let in_b = in_b.unwrap_or(0);
                [name, right(&grouped(in_a)), right(&grouped(in_b)), right(&difference(in_a, in_b))]
            });
            let table: Vec<[String; 4]> = std::iter::once(head).chain(rows).collect();
            write_table(out, "", &table)
        }
    }
}

pub(crate) fn difference(in_a: u64, in_b: u64) -> String {
    match in_b.checked_sub(in_a) {
        Some(0) => "0".to_owned(),
        Some(more) => format!("+{}", grouped(more)),
        None => format!("-{}", grouped(in_a.saturating_sub(in_b))),
    }
}

fn right(text: &str) -> String {
    format!("{text:>13}")
}

fn write_changes(out: &mut dyn Write, changes: &ChangesReport) -> io::Result<()> {
    let decided = changes.changed.saturating_add(changes.same);
    let (changed, decided) = (grouped(changes.changed), grouped(decided));
    writeln!(out, "\nchanges from A to B: {changed} of {decided} decisions")?;
    for change in &changes.kinds {
        let (from, to) = (change.from.text(), change.to.text());
        writeln!(out, "\n  {} × {from} → {to}", grouped(change.count))?;
        writeln!(out, "    on {}", routes(change))?;
        if change.reserved.iter().any(|reserved| *reserved > 0) {
            let [in_a, in_b] = change.reserved;
            writeln!(out, "    reserved {} → {}", grouped(in_a), grouped(in_b))?;
        }
        for example in &change.examples {
            write_example(out, example)?;
        }
    }
    Ok(())
}

/// The routes of a change, by count.
pub(crate) fn routes(change: &ChangeReport) -> String {
    let name = |(route, count): &(Option<String>, u64)| {
        format!("{} ({})", route.as_deref().unwrap_or("no route"), grouped(*count))
    };
    let mut names: Vec<String> = change.routes.iter().map(name).collect();
    if change.more_routes > 0 {
        names.push(format!("{} more", change.more_routes));
    }
    names.join(", ")
}

fn write_example(out: &mut dyn Write, example: &ExampleReport) -> io::Result<()> {
    let caller = example.caller.as_deref().unwrap_or("nobody");
    let ExampleReport { place, method, path, .. } = example;
    writeln!(out, "    {place}: {method} {path} by {caller}, {} UTC", utc(example.now_ms))?;
    writeln!(out, "      A: {}", why(&example.a))?;
    writeln!(out, "      B: {}", why(&example.b))
}

/// What decided, in one line.
pub(crate) fn why(why: &WhyReport) -> String {
    match &why.check {
        Some(check) => format!("{check}: {}", why.text),
        None => why.text.clone(),
    }
}

fn write_recorded(out: &mut dyn Write, recorded: &RecordedReport) -> io::Result<()> {
    let (differing, compared) = (grouped(recorded.differing), grouped(recorded.compared));
    writeln!(out, "\nA differs from what was recorded in {differing} of {compared} decisions")?;
    let head = [right("count"), "recorded".to_owned(), "A".to_owned(), "first".to_owned()];
    let rows = recorded.kinds.iter().take(ROWS).map(|kind| {
        let decided = kind.decided.to_owned();
        [right(&grouped(kind.count)), kind.recorded.clone(), decided, kind.first.clone()]
    });
    let table: Vec<[String; 4]> = std::iter::once(head).chain(rows).collect();
    if table.len() > 1 { write_table(out, "", &table) } else { Ok(()) }
}

fn write_near_limits(out: &mut dyn Write, of: &str, policy: &PolicyReport) -> io::Result<()> {
    if policy.near_limits.is_empty() {
        return Ok(());
    }
    writeln!(out, "\ntokens near their limits{of}")?;
    let head = ["token", "account", "limit", "most used", "requests", "429"].map(str::to_owned);
    let rows = policy.near_limits.iter().take(ROWS).map(|near| {
        [
            near.caller.clone(),
            near.account.clone(),
            near.limit_text(),
            share(near.used, near.capacity, near.permille),
            grouped(near.requests),
            grouped(near.rate_limited),
        ]
    });
    let table: Vec<[String; 6]> = std::iter::once(head).chain(rows).collect();
    write_table(out, "  ", &table)
}

fn write_caps(out: &mut dyn Write, of: &str, caps: &[CapSpend]) -> io::Result<()> {
    if caps.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nspend against caps{of}")?;
    let head = ["whose", "cap", "most spent", "refused"].map(str::to_owned);
    let rows = caps.iter().take(ROWS).map(|cap| {
        let shadow = if cap.shadow { ", in shadow" } else { "" };
        [
            cap.holder.clone(),
            format!("{} per {}{shadow}", grouped(cap.cap), cap.per),
            share(cap.peak, cap.cap, cap.permille),
            grouped(cap.refused),
        ]
    });
    let table: Vec<[String; 4]> = std::iter::once(head).chain(rows).collect();
    write_table(out, "  ", &table)
}

fn write_spend(out: &mut dyn Write, of: &str, policy: &PolicyReport) -> io::Result<()> {
    if policy.spend.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nspend by account{of}")?;
    let head = ["account", "posted", "over a cap", "over the balance"].map(str::to_owned);
    let rows = policy.spend.iter().take(ROWS).map(|spend| {
        [
            spend.account.clone(),
            grouped(spend.posted),
            grouped(spend.spend_cap_exceeded),
            grouped(spend.insufficient_balance),
        ]
    });
    let table: Vec<[String; 4]> = std::iter::once(head).chain(rows).collect();
    write_table(out, "  ", &table)
}

/// A part of a whole: `96 of 120 (80.0 %)`.
pub(crate) fn share(part: u64, whole: u64, permille: u64) -> String {
    let (percent, tenth) = (permille.div_euclid(10), permille.rem_euclid(10));
    format!("{} of {} ({percent}.{tenth} %)", grouped(part), grouped(whole))
}
