//! The report for browsers: one file, nothing to fetch, no script.

mod chart;
mod table;

use askama::Template;
use tollgate::STATUS_TABLE;

use self::chart::{Bars, Share, Stacked, class_of, sum_of};
use self::table::Table;
use super::report::{ChangesReport, PolicyReport, RecordedReport, Report};
use super::terminal::{difference, routes, share, why};
use super::text::{grouped, utc};
use crate::exit::Failure;

/// How many bars a chart has; its table has all rows of the report.
const BARS: usize = 10;

#[derive(Template)]
#[template(path = "replay/page.html")]
struct Page {
    colours: Vec<&'static str>,
    summary: String,
    facts: Vec<(String, String)>,
    cards: Vec<Card>,
    decisions: Table,
    changes: Option<ChangesView>,
    step_note: String,
    legend: Vec<LegendEntry>,
    over_time: Vec<Stacked>,
    near_limits: Vec<Bars>,
    caps: Vec<Bars>,
    spend: Vec<Table>,
    recorded: Option<Section>,
    left_out: Option<Section>,
}

struct Card {
    title: &'static str,
    value: String,
    notes: Vec<String>,
}

struct LegendEntry {
    class: String,
    code: &'static str,
}

/// A paragraph and a table.
struct Section {
    summary: String,
    table: Option<Table>,
}

struct ChangesView {
    summary: String,
    kinds: Vec<KindView>,
}

struct KindView {
    count: String,
    from: String,
    to: String,
    routes: String,
    reserved: Option<String>,
    examples: Vec<ExampleView>,
}

struct ExampleView {
    head: String,
    a: String,
    b: String,
}

/// The whole page.
pub(super) fn page(report: &Report) -> Result<String, Failure> {
    let denials = denial_codes(report);
    let page = Page {
        colours: STATUS_TABLE
            .iter()
            .filter(|row| row.status.is_denial())
            .map(|row| row.code)
            .collect(),
        summary: summary(report),
        facts: facts(report),
        cards: cards(report),
        decisions: decisions(report),
        changes: report.changes.as_ref().map(changes),
        step_note: format!("One column is {}.", span(report.timeline.width_ms)),
        legend: legend(report, &denials),
        over_time: over_time(report, &denials),
        near_limits: per_policy(report, near_limits),
        caps: per_policy(report, caps),
        spend: per_policy(report, spend),
        recorded: report.recorded.as_ref().map(recorded),
        left_out: left_out(report),
    };
    page.render().map_err(|error| Failure::new(format!("cannot make the report: {error}")))
}

/// What is made for each policy; `of` is ` under A` where there are two.
fn per_policy<T>(report: &Report, make: impl Fn(&PolicyReport, &str, &str) -> Option<T>) -> Vec<T> {
    let of = |letter: &str| match report.policies.len() {
        1 => String::new(),
        _ => format!(" under {letter}"),
    };
    let policies = ["A", "B"].into_iter().zip(&report.policies);
    policies.filter_map(|(letter, policy)| make(policy, letter, &of(letter))).collect()
}

fn summary(report: &Report) -> String {
    let lines = &report.lines;
    let decided = grouped(lines.decided);
    match (lines.first_ms, lines.last_ms) {
        (Some(first), Some(last)) => {
            format!("{decided} requests, {} to {} UTC", utc(first), utc(last))
        }
        _ => "No requests.".to_owned(),
    }
}

fn facts(report: &Report) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    for (letter, policy) in ["A", "B"].into_iter().zip(&report.policies) {
        facts.push((format!("Policy {letter}"), policy.policy.clone()));
    }
    let names: Vec<&str> = report.logs.iter().map(|log| log.name.as_str()).collect();
    facts.push(("Logs".to_owned(), names.join(", ")));
    let callers = &report.callers;
    let (tokens, accounts) = (callers.tokens, callers.accounts);
    facts.push(("Callers".to_owned(), format!("tokens: {tokens}, accounts: {accounts}")));
    let mut without = Vec::new();
    for (count, what) in [
        (callers.requests_without_token, "without a token"),
        (callers.requests_with_invalid_token, "with an invalid token"),
    ] {
        if count > 0 {
            without.push(format!("{} {what}", grouped(count)));
        }
    }
    if !without.is_empty() {
        facts.push(("Unauthenticated".to_owned(), without.join(", ")));
    }
    facts
}

fn cards(report: &Report) -> Vec<Card> {
    let card = |title, of: fn(&PolicyReport) -> u64| {
        let [a, b @ ..] = report.policies.as_slice() else {
            return Card { title, value: String::new(), notes: Vec::new() };
        };
        let in_a = of(a);
        let notes = b
            .iter()
            .map(of)
            .map(|in_b| format!("B: {} ({})", grouped(in_b), difference(in_a, in_b)));
        Card { title, value: grouped(in_a), notes: notes.collect() }
    };
    vec![
        card("Allowed", |policy| policy.allow),
        card("Denied", |policy| policy.deny),
        card("Replayed", |policy| policy.replay),
        card("Posted", |policy| policy.posted),
    ]
}

fn decisions(report: &Report) -> Table {
    let count = |policy: &PolicyReport, code: &str| {
        policy.codes.iter().find(|row| row.code == code).map_or(0, |row| row.count)
    };
    let policies = report.policies.as_slice();
    let occurring =
        STATUS_TABLE.iter().filter(|row| policies.iter().any(|policy| count(policy, row.code) > 0));
    let rows = occurring.map(|row| {
        let counts: Vec<u64> = policies.iter().map(|policy| count(policy, row.code)).collect();
        let mut cells = vec![format!("{} {}", row.http, row.code)];
        cells.extend(counts.iter().map(|count| grouped(*count)));
        if let &[in_a, in_b] = counts.as_slice() {
            cells.push(difference(in_a, in_b));
        }
        cells
    });
    match policies.len() {
        1 => Table::new("Decisions by code", &["Decision", "#Requests"], rows),
        _ => Table::new("Decisions by code", &["Decision", "#A", "#B", "#B − A"], rows),
    }
}

fn changes(changes: &ChangesReport) -> ChangesView {
    let decided = grouped(changes.changed.saturating_add(changes.same));
    let kinds = changes.kinds.iter().map(|kind| {
        let [in_a, in_b] = kind.reserved;
        let any = in_a > 0 || in_b > 0;
        let examples = kind.examples.iter().map(|example| {
            let caller = example.caller.as_deref().unwrap_or("nobody");
            let (place, method, path) = (&example.place, &example.method, &example.path);
            let at = utc(example.now_ms);
            ExampleView {
                head: format!("{place}: {method} {path} by {caller}, {at} UTC"),
                a: why(&example.a),
                b: why(&example.b),
            }
        });
        KindView {
            count: grouped(kind.count),
            from: kind.from.text(),
            to: kind.to.text(),
            routes: routes(kind),
            reserved: any.then(|| format!("reserved {} → {}", grouped(in_a), grouped(in_b))),
            examples: examples.collect(),
        }
    });
    ChangesView {
        summary: format!("{} of {decided} decisions change.", grouped(changes.changed)),
        kinds: kinds.collect(),
    }
}

/// Which codes of the timeline are denials.
fn denial_codes(report: &Report) -> Vec<usize> {
    let is_denial =
        |code: &str| STATUS_TABLE.iter().any(|row| row.code == code && row.status.is_denial());
    let codes = report.timeline.codes.iter().enumerate();
    codes.filter(|(_, code)| is_denial(code)).map(|(index, _)| index).collect()
}

fn legend(report: &Report, denials: &[usize]) -> Vec<LegendEntry> {
    let codes = denials.iter().filter_map(|index| report.timeline.codes.get(*index));
    codes.map(|code| LegendEntry { class: class_of(code), code }).collect()
}

fn over_time(report: &Report, denials: &[usize]) -> Vec<Stacked> {
    let steps = &report.timeline.steps;
    let columns = steps.iter().flat_map(|step| &step.counts);
    let most = columns.map(|counts| sum_of(Some(counts), denials)).max().unwrap_or(0);
    if most == 0 {
        return Vec::new();
    }
    let several = report.policies.len() > 1;
    let charts = ["A", "B"].into_iter().zip(&report.policies).enumerate();
    charts
        .map(|(number, (letter, policy))| {
            let title = match several {
                true => format!("{letter}: {}", policy.policy),
                false => policy.policy.clone(),
            };
            let table = denials_table(report, number, denials, &title);
            chart::denials(report, number, title, denials, most, table)
        })
        .collect()
}

fn denials_table(report: &Report, policy: usize, denials: &[usize], title: &str) -> Table {
    let timeline = &report.timeline;
    let names = denials.iter().filter_map(|code| timeline.codes.get(*code));
    let names: Vec<String> = names.map(|name| format!("#{name}")).collect();
    let mut columns = vec!["@Time (UTC)"];
    columns.extend(names.iter().map(String::as_str));
    let rows = timeline.steps.iter().filter_map(|step| {
        let counts = step.counts.get(policy)?;
        // Steps without a denial are left out.
        (sum_of(Some(counts), denials) > 0).then(|| {
            let mut cells = vec![utc(step.begin_ms)];
            let counts = denials.iter().filter_map(|code| counts.get(*code));
            cells.extend(counts.map(|count| grouped(*count)));
            cells
        })
    });
    Table::new(format!("Denials by code over time, {title}"), &columns, rows)
}

fn near_limits(policy: &PolicyReport, letter: &str, of: &str) -> Option<Bars> {
    let shares: Vec<Share> = policy
        .near_limits
        .iter()
        .take(BARS)
        .map(|near| Share {
            label: format!("{} · {}", near.caller, near.limit),
            part: near.used,
            whole: near.capacity,
            permille: near.permille,
        })
        .collect();
    let columns = ["Token", "Account", "Limit", "#Most used", "@At (UTC)", "#Requests", "#429"];
    let rows = policy.near_limits.iter().map(|near| {
        vec![
            near.caller.clone(),
            near.account.clone(),
            near.limit_text(),
            share(near.used, near.capacity, near.permille),
            utc(near.at_ms),
            grouped(near.requests),
            grouped(near.rate_limited),
        ]
    });
    let title = format!("Most used of a limit{of}");
    let table = Table::new(title.clone(), &columns, rows);
    let id = format!("limits-{letter}");
    (!shares.is_empty()).then(|| chart::bars(id, title, &shares, table))
}

fn caps(policy: &PolicyReport, letter: &str, of: &str) -> Option<Bars> {
    let shares: Vec<Share> = policy
        .caps
        .iter()
        .take(BARS)
        .map(|cap| Share {
            label: format!("{} · {}", cap.holder, cap.per),
            part: cap.peak,
            whole: cap.cap,
            permille: cap.permille,
        })
        .collect();
    let columns = ["Whose", "Account", "Per", "#Most spent", "@At (UTC)", "#Refused", "Enforced"];
    let rows = policy.caps.iter().map(|cap| {
        vec![
            cap.holder.clone(),
            cap.account.clone(),
            cap.per.to_owned(),
            share(cap.peak, cap.cap, cap.permille),
            if cap.peak > 0 { utc(cap.at_ms) } else { "never".to_owned() },
            grouped(cap.refused),
            if cap.shadow { "no" } else { "yes" }.to_owned(),
        ]
    });
    let title = format!("Spend against caps, in the period with the most{of}");
    let table = Table::new(title.clone(), &columns, rows);
    let id = format!("caps-{letter}");
    (!shares.is_empty()).then(|| chart::bars(id, title, &shares, table))
}

fn spend(policy: &PolicyReport, _: &str, of: &str) -> Option<Table> {
    let rows = policy.spend.iter().map(|spend| {
        vec![
            spend.account.clone(),
            grouped(spend.posted),
            grouped(spend.spend_cap_exceeded),
            grouped(spend.insufficient_balance),
        ]
    });
    let columns = ["Account", "#Posted", "#Over a cap", "#Over the balance"];
    let table = Table::new(format!("Spend by account{of}"), &columns, rows);
    (!policy.spend.is_empty()).then_some(table)
}

fn recorded(recorded: &RecordedReport) -> Section {
    let (differing, compared) = (grouped(recorded.differing), grouped(recorded.compared));
    let rows = recorded.kinds.iter().map(|kind| {
        let decided = kind.decided.to_owned();
        vec![kind.recorded.clone(), decided, grouped(kind.count), kind.first.clone()]
    });
    let columns = ["Recorded", "Policy A", "#Requests", "@First"];
    let table = Table::new("Differences from the recorded decisions", &columns, rows);
    Section {
        summary: format!("Policy A differs in {differing} of {compared} recorded decisions."),
        table: (!recorded.kinds.is_empty()).then_some(table),
    }
}

fn left_out(report: &Report) -> Option<Section> {
    let lines = &report.lines;
    let mut parts = Vec::new();
    for (count, what) in [
        (lines.bad, "bad"),
        (lines.late, "too late to be put in order"),
        (lines.not_http, "no HTTP request"),
        (lines.blank, "blank"),
    ] {
        if count > 0 {
            parts.push(format!("{} {what}", grouped(count)));
        }
    }
    if parts.is_empty() {
        return None;
    }
    let bad = report.logs.iter().flat_map(|log| {
        let row = |bad: &super::report::BadLineReport| {
            vec![format!("{}:{}", log.name, bad.line), bad.why.clone()]
        };
        log.bad.iter().map(row).collect::<Vec<_>>()
    });
    let late = lines.late_shown.iter().map(|place| vec![place.clone(), "too late".to_owned()]);
    let rows: Vec<Vec<String>> = bad.chain(late).collect();
    let table = (!rows.is_empty()).then(|| Table::new("The first of them", &["Line", "Why"], rows));
    Some(Section { summary: format!("{}.", parts.join(", ")), table })
}

/// The length of a step, in words.
fn span(width_ms: u64) -> String {
    for (unit_ms, unit) in [(86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute")] {
        if width_ms.is_multiple_of(unit_ms) {
            let count = width_ms.div_euclid(unit_ms);
            return if count == 1 {
                format!("one {unit}")
            } else {
                format!("{} {unit}s", grouped(count))
            };
        }
    }
    match width_ms.div_euclid(1_000) {
        1 => "one second".to_owned(),
        seconds => format!("{seconds} seconds"),
    }
}
