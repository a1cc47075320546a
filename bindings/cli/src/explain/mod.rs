//! `tollgate explain`: what would be decided, and what every check saw.

mod request;
mod setup;

use std::io::Write;

use serde_json::{Value, json};
use tollgate::CheckResult;
use tollgate_scenario::{Explained, Runner};

use crate::exit::{Done, Exit, Failure};
use crate::table::{visible, write_table};

/// Explain one request: the decision, its headers and body, and what every check saw.
///
/// The policy is a file or a preset. The state is empty but for an example account and its token, which
/// --scope and the like set up, or what the steps of --state set up. Nothing is consumed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    setup: setup::SetupArgs,
    #[command(flatten)]
    request: request::RequestArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Done {
    let mut step = args.request.step()?;
    let mut runner = Runner::in_memory();
    let authorization = args.setup.run(&mut runner)?;
    request::add_authorization(&mut step, authorization);
    let explained = runner.explain(step).map_err(|error| Failure::at("request", error))?;
    if args.json {
        let report = json!({ "decision": explained.reply, "trace": explained.steps });
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        write_decision(out, &explained.reply)?;
        write_trace(out, &explained)?;
    }
    Ok(Exit::Yes)
}

fn write_decision(out: &mut dyn Write, reply: &Value) -> Result<(), Failure> {
    let text = |name: &str| match reply.get(name) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let mut rows: Vec<[String; 2]> = ["verdict", "status", "code", "account", "route"]
        .into_iter()
        .map(|name| [name.to_owned(), text(name)])
        .collect();
    let headers = reply.get("headers").and_then(Value::as_array).into_iter().flatten();
    for (index, header) in headers.enumerate() {
        let part = |nth: usize| header.get(nth).and_then(Value::as_str).unwrap_or_default();
        let label = if index == 0 { "headers" } else { "" };
        rows.push([label.to_owned(), format!("{}: {}", part(0), part(1))]);
    }
    rows.push(["body".to_owned(), text("body")]);
    Ok(write_table(out, "", &rows)?)
}

fn write_trace(out: &mut dyn Write, explained: &Explained) -> Result<(), Failure> {
    writeln!(out)?;
    let header = ["check", "result", "rule", "observed"].map(str::to_owned);
    let rows = explained.steps.iter().map(|step| {
        let result = match step.result {
            CheckResult::Passed => "passed",
            CheckResult::Decided => "DECIDED",
            CheckResult::Shadow => "shadow",
            CheckResult::WouldPass => "would pass",
            CheckResult::WouldFail => "would fail",
        };
        [step.check.to_string(), result.to_owned(), step.rule.clone(), step.observed.clone()]
    });
    let rows: Vec<[String; 4]> = std::iter::once(header).chain(rows).collect();
    write_table(out, "", &rows)?;
    let fixes = explained.steps.iter().filter_map(|step| Some((step, step.fix.as_ref()?)));
    for (index, (step, fix)) in fixes.enumerate() {
        if index == 0 {
            writeln!(out, "\nto pass:")?;
        }
        writeln!(out, "  {}: {}", step.check, visible(fix))?;
    }
    Ok(())
}
