//! `cargo xtask bench`: measures, then draws the table.

use std::path::PathBuf;

use crate::metadata;
use crate::run::{Failure, Run};

/// Runs the benchmarks and prints the table of bars; `--json` ends it with one line per bar.
pub(crate) fn bench(args: &[&str]) -> Result<(), Failure> {
    // Said to both: each would find a relative target directory from where it itself runs.
    let estimates = PathBuf::from(metadata::target_directory()?).join("criterion");
    let estimates = estimates.to_string_lossy();
    Run::cargo(["bench", "--package", "tollgate-bench", "--bench", "decisions"])
        .env("CRITERION_HOME", &estimates)
        .or("a contender did not decide as it should, or the benchmarks do not compile")?;
    // In the profile of the benchmarks, so that nothing is compiled twice.
    Run::cargo(["run", "--profile", "bench", "--quiet", "--package", "tollgate-bench", "--"])
        .args(args)
        .env("CRITERION_HOME", &estimates)
        .or("what could not be measured is named above; bars that are missed are no failure")
}
