//! Asks everyone everything, and prints tables; `--json` ends with one line for each figure, `--write` writes
//! `docs/peers.md` and `docs/peers.svg` anew; `--quick` has a thousand keys at most, and little time: it shows that everything works.
//!
//! The exit code is 0 however the figures are: they are measures. It is 1 when something could not be measured
//! or written, and 2 on wrong usage.
#![allow(clippy::print_stdout, reason = "a command that prints tables")]

mod correctness;
mod times;
mod weights;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use tollgate_peers::report::{Facts, Figures, markdown, place, plot};

/// The plot in the page.
const PICTURE: &str = "![Nanoseconds per decision, on a logarithmic scale](peers.svg)";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    if args.iter().any(|arg| !["--json", "--quick", "--write"].contains(&arg.as_str())) {
        eprintln!("usage: peers [--json] [--quick | --write]");
        return ExitCode::from(2);
    }
    if has("--quick") && has("--write") {
        eprintln!("peers: a quick look is not written down; leave out one of --quick and --write");
        return ExitCode::from(2);
    }
    match run(has("--json"), has("--quick"), has("--write")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("peers: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(json: bool, quick: bool, write: bool) -> Result<(), Box<dyn Error>> {
    let figures = Figures {
        facts: Facts::here(),
        weights: weights::all(quick)?,
        times: times::all(quick)?,
        races: correctness::races(quick),
        pairs: correctness::pairs(),
    };
    let tables = markdown(&figures);
    println!("\n{tables}");
    if write {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        let page = docs.join("peers.md");
        let content = format!("{PICTURE}\n\n{tables}");
        fs::write(&page, place(&fs::read_to_string(&page)?, &content)?)?;
        fs::write(docs.join("peers.svg"), plot(&figures.times)?)?;
    }
    if json {
        println!("\n{}", figures.json()?);
    }
    Ok(())
}
