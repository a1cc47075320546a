//! The table of bars: criterion's estimates of `benches/decisions.rs`, which must have run, and the
//! footprint, which is measured here under an allocator that counts.
//!
//! With `--json` the last lines are one JSON object per bar. The exit code is 0 whether the bars hold
//! or not: they are measures. It is 1 when something could not be measured, and 2 on wrong usage.
#![allow(clippy::print_stdout, reason = "a command that prints a table")]
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::cast_precision_loss)] // measures

mod bars;
mod estimates;
mod footprint;
mod table;

use std::process::ExitCode;

use estimates::Estimates;
use footprint::Footprint;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg != "--json") {
        eprintln!("usage: bench-table [--json]");
        return ExitCode::from(2);
    }
    match print(!args.is_empty()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("bench-table: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn print(json: bool) -> Result<(), String> {
    let times = [Estimates::read("1k")?, Estimates::read("1m")?];
    let footprint = Footprint::measure()?;
    let bars = bars::all(&times, &footprint);
    println!("{}", table::text(&times, &footprint, &bars));
    if json {
        for bar in &bars {
            println!("{}", serde_json::to_string(bar).map_err(|error| error.to_string())?);
        }
    }
    Ok(())
}
