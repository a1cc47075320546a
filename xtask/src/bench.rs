//! `cargo xtask bench`: measures, then draws the table.

use std::path::PathBuf;

use crate::backends;
use crate::metadata;
use crate::run::{Failure, Run};
use crate::wasm;

/// Runs the benchmarks and prints the tables of bars; `--json` ends them with one line per bar.
pub(crate) fn bench(args: &[&str]) -> Result<(), Failure> {
    backends::for_stores()?;
    wasm::build_for_bench()?;
    // Said to both: each would find a relative target directory from where it itself runs.
    let estimates = PathBuf::from(metadata::target_directory()?).join("criterion");
    let estimates = estimates.to_string_lossy();
    Run::cargo(["bench", "--package", "tollgate-bench", "--bench", "decisions"])
        .env("CRITERION_HOME", &estimates)
        .or("a contender did not decide as it should, or the benchmarks do not compile")?;
    let mut bars = String::new();
    for program in ["bench-table", "stores-table", "wasm-table"] {
        // In the profile of the benchmarks, so that nothing is compiled twice.
        let printed =
            Run::cargo(["run", "--profile", "bench", "--quiet", "--package", "tollgate-bench"])
                .args(["--bin", program, "--"])
                .args(args)
                .env("CRITERION_HOME", &estimates)
                .shown()?;
        // The lines for machines come last, of both together.
        let (lines, table): (Vec<&str>, Vec<&str>) =
            printed.lines().partition(|line| line.starts_with('{'));
        println!("{}", table.join("\n"));
        for line in lines {
            bars.push_str(line);
            bars.push('\n');
        }
    }
    print!("{bars}");
    Ok(())
}

/// Measures tollgate beside its peers, which only this command compiles; `--write` writes docs/peers.md and
/// docs/peers.svg anew, `--json` ends with one line per figure.
pub(crate) fn peers(args: &[&str]) -> Result<(), Failure> {
    let directory = PathBuf::from(metadata::target_directory()?).join("peers");
    let manifest = "benches/peers/Cargo.toml";
    Run::cargo(["build", "--release", "--bins", "--manifest-path", manifest, "--target-dir"])
        .args([directory.to_string_lossy()])
        .or("a peer does not compile")?;
    Run::program(&directory.join("release/peers"))
        .args(args)
        .or("a contender did not decide as it should, or the page could not be written")
}
