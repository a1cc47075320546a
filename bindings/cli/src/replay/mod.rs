//! `tollgate replay`: what a policy would have done to recorded traffic, and what another one would change.

mod callers;
mod changes;
mod combined;
mod html;
mod json_line;
mod lines;
mod log;
mod merge;
mod meters;
mod playback;
mod record;
mod recorded;
mod report;
mod sent;
mod state;
mod terminal;
mod text;
mod timeline;
mod world;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use crate::exit::{Done, Exit, Failure};
use crate::policy;
use log::{Log, LogFormat, is_stdin};
use merge::Merge;
use playback::Replay;
use record::IdentityRule;
use report::Report;
use state::State;
use world::World;

/// Replay recorded traffic: what a policy would have done to it, and which decisions another one changes.
///
/// Each line is decided in the order of time, at its time, over an empty store in memory, and settled at once.
/// Logs have no token texts: whoever is told apart by --identity gets a token and an account of his own.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Logs, `-` for standard input; packed with gzip or not, of one server or of several, in any order
    #[arg(required = true, value_name = "LOG|-")]
    logs: Vec<PathBuf>,
    /// Policy A: a file, `preset:NAME`, or `preset:NAME+FILE` with a merge patch (RFC 7396, JSON)
    #[arg(long, value_name = "POLICY")]
    policy: String,
    /// Policy B, written alike: show what changes from A to B
    #[arg(long, value_name = "POLICY")]
    against: Option<String>,
    /// How the lines are written
    #[arg(long, value_enum, default_value = "auto")]
    format: LogFormat,
    /// Tell callers apart by `token`, `account`, `user`, `source`, or another member of JSON lines;
    /// if absent, by the first of these that a line has
    #[arg(long, value_name = "NAME")]
    identity: Option<String>,
    /// What callers may do, as JSON; if absent every scope, from anywhere, with more money than they spend
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// How many lines of a log are held back to put them in order
    #[arg(long, value_name = "LINES", default_value_t = 10_000)]
    window: usize,
    /// Write a report for browsers
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Exit with 1 if a line is bad or too late to be put in order
    #[arg(long)]
    strict: bool,
    /// Exit with 1 if a decision changes
    #[arg(long, requires = "against")]
    fail_on_change: bool,
}

pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Done {
    let named = std::iter::once(&args.policy).chain(&args.against);
    let worlds = named.map(|text| world(text)).collect::<Result<Vec<_>, _>>()?;
    let state = match &args.state {
        None => State::default(),
        Some(file) => {
            let scopes: BTreeSet<Box<str>> =
                worlds.iter().flat_map(World::scopes).cloned().collect();
            State::read(file, &scopes)?
        }
    };
    if args.logs.iter().filter(|log| is_stdin(log)).count() > 1 {
        return Err(Failure::new("standard input can be read once; give `-` once"));
    }
    let progress = progress_bar(&args.logs);
    let logs =
        args.logs.iter().map(|log| Log::open(log, &progress)).collect::<Result<Vec<_>, _>>()?;
    let identity = args.identity.as_deref().map_or(IdentityRule::First, IdentityRule::parse);
    let mut merge = Merge::new(logs, args.format, identity, args.window);
    let mut replay = Replay::new(worlds, state);
    let ran = replay.run(&mut merge);
    progress.finish_and_clear();
    ran?;
    let report = Report::of(&replay, &merge);
    if let Some(file) = &args.html {
        let page = html::page(&report)?;
        fs::write(file, page).map_err(|error| Failure::at(file.display(), error))?;
    }
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        terminal::write(out, &report)?;
    }
    let all_read = report.lines.bad == 0 && report.lines.late == 0;
    let unchanged = report.changes.is_none_or(|changes| changes.changed == 0);
    Ok(Exit::yes_if((all_read || !args.strict) && (unchanged || !args.fail_on_change)))
}

fn world(text: &str) -> Result<World, Failure> {
    let (file, preset) = match text.strip_prefix("preset:") {
        None => (Some(Path::new(text)), None),
        Some(preset) => match preset.split_once('+') {
            None => (None, Some(preset)),
            Some((preset, patch)) => (Some(Path::new(patch)), Some(preset)),
        },
    };
    policy::load(file, None, preset)?
        .and_then(|config| World::new(text.to_owned(), config))
        .map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(|error| format!("\n  {error}")).collect();
            Failure::at(text, format!("the policy has errors:{}", lines.concat()))
        })
}

/// Over the bytes of all logs, on standard error, and only where that is a terminal.
fn progress_bar(logs: &[PathBuf]) -> ProgressBar {
    let sizes = logs.iter().map(|log| fs::metadata(log).ok().filter(|_| !is_stdin(log)));
    let bytes = sizes
        .map(|metadata| metadata.filter(fs::Metadata::is_file).map(|metadata| metadata.len()))
        .try_fold(0_u64, |sum, length| Some(sum.saturating_add(length?)));
    let (bar, template) = match bytes {
        Some(bytes) => (ProgressBar::new(bytes), "{bar:40} {bytes} of {total_bytes}, {eta} to go"),
        None => (ProgressBar::no_length(), "{spinner} {bytes}, {elapsed}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
