//! What a run says: what it will do, and what it found.

use std::io::Write;

use serde_json::{Value, json};

use super::catalogue::CATALOGUE;
use super::client::Client;
use super::findings::{Outcome, Verdict};
use super::plan::Plan;
use super::session::Session;
use super::upstream::Upstream;
use crate::exit::{Done, Exit, Failure};
use crate::table::{visible, write_table};

/// Says what will be done, before any of it is.
pub(super) fn announce(
    out: &mut dyn Write,
    client: &Client,
    plan: &Plan,
    upstream: Option<&Upstream>,
    max_requests: u64,
) -> Result<(), Failure> {
    let routes = plan.callable().len();
    writeln!(
        out,
        "Asks {} at most {max_requests} times, calls up to {routes} routes, and makes accounts and tokens \
         named verify-…",
        visible(client.base())
    )?;
    match upstream {
        Some(upstream) => writeln!(out, "Listens on {} as the API behind it.", upstream.address())?,
        None => writeln!(
            out,
            "What is carried out is told from answers alone: with --upstream it would be counted."
        )?,
    }
    writeln!(out)?;
    Ok(out.flush()?)
}

/// All checks, and on what ground each stands.
pub(super) fn list(out: &mut dyn Write, json: bool) -> Result<(), Failure> {
    if json {
        let entry = |info: &super::catalogue::Info| json!({ "name": info.name, "says": info.says, "basis": info.basis });
        let all: Vec<Value> = CATALOGUE.iter().map(entry).collect();
        serde_json::to_writer_pretty(&mut *out, &all)?;
        return Ok(writeln!(out)?);
    }
    for info in CATALOGUE {
        writeln!(out, "{}\n    {}\n    ({})", info.name, info.says, info.basis)?;
    }
    Ok(())
}

pub(super) fn write(out: &mut dyn Write, session: &Session, json: bool) -> Done {
    let failed = session.findings.all().any(|(_, outcome)| outcome.verdict() == Verdict::Failed);
    if json {
        let report = as_json(session);
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
        return Ok(Exit::yes_if(!failed));
    }
    let word = |outcome: &Outcome| match outcome.verdict() {
        Verdict::Passed => "passed",
        Verdict::Failed => "FAILED",
        Verdict::NotRun => "not run",
    };
    let rows: Vec<[String; 3]> = session
        .findings
        .all()
        .map(|(info, outcome)| [word(&outcome).to_owned(), info.name.to_owned(), what(&outcome)])
        .collect();
    write_table(out, "", &rows)?;
    for (info, outcome) in session.findings.all() {
        if outcome.findings.is_empty() {
            continue;
        }
        writeln!(out, "\nFAILED {}\n  {} ({})", info.name, info.says, info.basis)?;
        let shown = outcome.findings.iter().take(MAX_SHOWN);
        for finding in shown {
            let rows = [
                ["documented".to_owned(), finding.documented.clone()],
                ["came".to_owned(), finding.got.clone()],
                ["repeat".to_owned(), finding.repeat.clone()],
            ];
            writeln!(out, "  {}", visible(&session.redactor.redact(&finding.subject)))?;
            write_table(out, "    ", &rows)?;
        }
        let more = outcome.findings.len().saturating_sub(MAX_SHOWN);
        if more > 0 {
            writeln!(out, "  and {more} more: --json has them")?;
        }
    }
    let count = |verdict| session.findings.all().filter(|(_, o)| o.verdict() == verdict).count();
    writeln!(
        out,
        "\n{} checks passed, {} failed, {} not run; {} requests",
        count(Verdict::Passed),
        count(Verdict::Failed),
        count(Verdict::NotRun),
        session.client.made()
    )?;
    Ok(Exit::yes_if(!failed))
}

/// Findings of one check that are shown to people.
const MAX_SHOWN: usize = 5;

fn what(outcome: &Outcome) -> String {
    let note = match outcome.note.as_str() {
        "" => String::new(),
        note => format!(", {note}"),
    };
    match (outcome.looked_at, outcome.not_run.as_slice()) {
        (_, [first, ..]) if outcome.is_cut_short => first.clone(),
        (0, []) => "nothing to look at".to_owned(),
        (0, [first, ..]) => first.clone(),
        (count, []) => format!("{count} answers{note}"),
        (count, [first, ..]) => {
            let more = outcome.not_run.len();
            format!("{count} answers{note}; {more} not looked at: {first}")
        }
    }
}

fn as_json(session: &Session) -> Value {
    let check = |info: &super::catalogue::Info, outcome: &Outcome| {
        json!({
            "name": info.name,
            "verdict": outcome.verdict(),
            "says": info.says,
            "basis": info.basis,
            "answers": outcome.looked_at,
            "findings": outcome.findings,
            "note": outcome.note,
            "not_run": outcome.not_run,
        })
    };
    let checks: Vec<Value> =
        session.findings.all().map(|(info, outcome)| check(info, &outcome)).collect();
    // Names of scopes and routes may be anything: what is secret is taken out of all of it.
    let text = session.redactor.redact(&json!({ "checks": checks }).to_string());
    let mut report: Value = serde_json::from_str(&text).unwrap_or_default();
    if let Value::Object(members) = &mut report {
        members.insert("url".to_owned(), session.client.base().into());
        members.insert("requests".to_owned(), session.client.made().into());
    }
    report
}
