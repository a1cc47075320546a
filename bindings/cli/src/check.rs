//! `tollgate check`: what is wrong with a policy, and what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Value, json};
use tollgate::{LimitConfig, PolicyConfig, PolicyErrors, RouteConfig, RouteIdempotency, lint};

use crate::exit::{Done, Exit};
use crate::policy::{self, Format};
use crate::table::write_table;

/// Check a policy: errors with their lines, what is probably not meant, and a summary.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Policy file; together with --preset a merge patch (RFC 7396, JSON) on the preset
    #[arg(required_unless_present = "preset")]
    file: Option<PathBuf>,
    /// Check the preset of this name
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// How the file is written, if its name does not end in .toml or .json
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Exit with 1 on warnings too
    #[arg(long)]
    strict: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Done {
    let file = args.file.as_deref();
    let preset = args.preset.as_deref();
    let place = policy::place(file, preset);
    match policy::load(file, args.format, preset)? {
        Err(errors) => {
            if args.json {
                write_json(out, &errors_json(&errors))?;
            } else {
                write_errors(out, &place, &errors)?;
            }
            Ok(Exit::No)
        }
        Ok(config) => {
            let warnings = lint(&config);
            if args.json {
                let warnings: Vec<Value> = warnings
                    .iter()
                    .map(|warning| json!({ "place": warning.place, "message": warning.message }))
                    .collect();
                let summary = summary(&config);
                let report = json!({ "errors": [], "warnings": warnings, "summary": summary });
                write_json(out, &report)?;
            } else {
                for warning in &warnings {
                    writeln!(out, "{place}: warning: {}: {}", warning.place, warning.message)?;
                }
                write_summary(out, &place, &config, warnings.len())?;
            }
            Ok(Exit::yes_if(warnings.is_empty() || !args.strict))
        }
    }
}

fn write_json(out: &mut dyn Write, report: &Value) -> Result<(), crate::exit::Failure> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    Ok(writeln!(out)?)
}

fn errors_json(errors: &PolicyErrors) -> Value {
    let errors: Vec<Value> = errors
        .iter()
        .map(|error| json!({ "line": error.line, "place": error.place, "message": error.message }))
        .collect();
    json!({ "errors": errors, "warnings": [], "summary": null })
}

/// `file:line: place: message`, so that editors find the place.
fn write_errors(out: &mut dyn Write, place: &str, errors: &PolicyErrors) -> std::io::Result<()> {
    for error in errors {
        let line = error.line.map(|line| format!(":{line}")).unwrap_or_default();
        let within = match error.place.as_str() {
            "" => String::new(),
            within => format!("{within}: "),
        };
        writeln!(out, "{place}{line}: error: {within}{}", error.message)?;
    }
    let count = errors.as_slice().len();
    writeln!(out, "{count} {}", if count == 1 { "error" } else { "errors" })
}

/// What a policy says, by the names of its parts.
#[derive(Serialize)]
struct Summary<'c> {
    scopes: &'c BTreeMap<String, Vec<String>>,
    routes: Vec<RouteSummary<'c>>,
    limits: &'c BTreeMap<String, LimitConfig>,
}

#[derive(Serialize)]
struct RouteSummary<'c> {
    route: &'c str,
    scopes: Vec<&'c str>,
    idempotency: bool,
    price: Option<u64>,
}

fn summary(config: &PolicyConfig) -> Summary<'_> {
    let granted = config.scopes.values().flatten();
    let names: BTreeSet<&String> = granted.chain(config.routes.keys()).collect();
    let routes = names
        .into_iter()
        .map(|route| RouteSummary {
            route,
            scopes: config
                .scopes
                .iter()
                .filter(|(_, routes)| routes.contains(route))
                .map(|(scope, _)| scope.as_str())
                .collect(),
            idempotency: config.routes.get(route).is_some_and(takes_key),
            price: config
                .routes
                .get(route)
                .and_then(|settings| settings.price)
                .map(|price| price.0),
        })
        .collect();
    Summary { scopes: &config.scopes, routes, limits: &config.limits }
}

fn takes_key(settings: &RouteConfig) -> bool {
    !matches!(settings.idempotency, None | Some(RouteIdempotency::Switch(false)))
}

fn write_summary(
    out: &mut dyn Write,
    place: &str,
    config: &PolicyConfig,
    warnings: usize,
) -> std::io::Result<()> {
    let summary = summary(config);
    writeln!(
        out,
        "{place}: ok, {} scopes, {} routes, {} limits, {warnings} warnings",
        summary.scopes.len(),
        summary.routes.len(),
        summary.limits.len(),
    )?;
    writeln!(out, "\nroutes")?;
    let routes: Vec<[String; 3]> = summary.routes.iter().map(route_row).collect();
    write_table(out, "  ", &routes)?;
    writeln!(out, "\nlimits")?;
    let limits: Vec<[String; 3]> =
        summary.limits.iter().map(|(name, limit)| limit_row(name, limit)).collect();
    write_table(out, "  ", &limits)
}

fn route_row(route: &RouteSummary<'_>) -> [String; 3] {
    let mut notes = Vec::new();
    if route.idempotency {
        notes.push("idempotency key".to_owned());
    }
    if let Some(price) = route.price {
        notes.push(format!("price {price}"));
    }
    [route.route.to_owned(), route.scopes.join(", "), notes.join(", ")]
}

fn limit_row(name: &str, limit: &LimitConfig) -> [String; 3] {
    let word = |value: Value| value.as_str().unwrap_or_default().to_owned();
    let partition = serde_json::to_value(limit.per).map(word).unwrap_or_default();
    let algorithm = serde_json::to_value(limit.algorithm).map(word).unwrap_or_default();
    let counts = serde_json::to_value(limit.counts).map(word).unwrap_or_default();
    let mut rule =
        format!("{} {counts} per {} ms and {partition}, {algorithm}", limit.quota, limit.window_ms);
    if limit.shadow {
        rule.push_str(", in shadow");
    }
    let routes = match &limit.routes {
        Some(routes) => routes.join(", "),
        None => "all routes".to_owned(),
    };
    [name.to_owned(), rule, routes]
}
