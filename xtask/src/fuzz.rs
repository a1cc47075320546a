//! `cargo xtask fuzz`: fuzz targets, built by the stable toolchain.
//!
//! Coverage comes from a pass that stable rustc has; AddressSanitizer is behind a flag that it takes only with
//! `RUSTC_BOOTSTRAP`, which is set for this build alone. Nothing that is released is built so.

use std::fs;
use std::path::{Path, PathBuf};

use crate::metadata;
use crate::run::{Failure, Run, root};

/// Targets: the binaries of `fuzz/Cargo.toml`.
const TARGETS: &[&str] = &["ffi_sequences"];

const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Zsanitizer=address -Ccodegen-units=16";

/// The longest input: some 80 calls.
const MAX_LEN: &str = "-max_len=2048";

/// What to fuzz, and for how long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan<'a> {
    seconds: u32,
    targets: Vec<&'a str>,
}

impl<'a> Plan<'a> {
    /// From the command line.
    pub(crate) fn parse(args: &[&'a str]) -> Result<Self, String> {
        let (seconds, rest) = match args {
            ["--seconds", seconds, rest @ ..] => {
                let seconds =
                    seconds.parse().map_err(|_| format!("{seconds:?} is no number of seconds"))?;
                (seconds, rest)
            }
            _ => (60, args),
        };
        match rest {
            [] => Ok(Plan { seconds, targets: TARGETS.to_vec() }),
            [target] if TARGETS.contains(target) => Ok(Plan { seconds, targets: vec![target] }),
            _ => Err(format!("`fuzz` takes no {rest:?}; the targets are {}", TARGETS.join(", "))),
        }
    }
}

/// Runs each target for so many seconds, after everything that failed once.
pub(crate) fn fuzz(plan: &Plan<'_>) -> Result<(), Failure> {
    let directory = PathBuf::from(metadata::target_directory()?).join("fuzz");
    let triple = host()?;
    for target in &plan.targets {
        let program = build(&directory, &triple, target)?;
        known_failures(&program, target)?;
        hunt(&directory, &program, target, plan.seconds)?;
    }
    Ok(())
}

/// Every target for 30 seconds.
pub(crate) fn briefly() -> Result<(), Failure> {
    fuzz(&Plan { seconds: 30, targets: TARGETS.to_vec() })
}

fn host() -> Result<String, Failure> {
    let printed = Run::program(Path::new("rustc")).args(["-vV"]).read()?;
    let host = printed.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_string).ok_or_else(|| Failure("`rustc -vV` names no host".into()))
}

fn build(directory: &Path, triple: &str, target: &str) -> Result<PathBuf, Failure> {
    // With a target, so that build scripts and macros are left as they are.
    Run::cargo(["build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--bin", target])
        .args(["--target", triple, "--target-dir", &directory.to_string_lossy()])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", FLAGS)
        .or("the fuzz target does not build; it needs a C++ compiler for libFuzzer")?;
    Ok(directory.join(triple).join("release").join(target))
}

/// Inputs that once failed do not fail any more.
fn known_failures(program: &Path, target: &str) -> Result<(), Failure> {
    let regressions = root().join("fuzz/regressions").join(target);
    let entries = fs::read_dir(&regressions).into_iter().flatten().flatten();
    let inputs: Vec<String> =
        entries.map(|entry| entry.path().to_string_lossy().into_owned()).collect();
    if inputs.is_empty() {
        return Ok(());
    }
    Run::program(program).args(inputs).or("what was mended fails again")
}

fn hunt(directory: &Path, program: &Path, target: &str, seconds: u32) -> Result<(), Failure> {
    // What is new goes where it is not committed; the committed corpus is only read.
    let [corpus, artifacts] = ["corpus", "artifacts"].map(|name| directory.join(name).join(target));
    for made in [&corpus, &artifacts] {
        fs::create_dir_all(made)
            .map_err(|error| Failure(format!("{} could not be made: {error}", made.display())))?;
    }
    let committed = root().join("fuzz/corpus").join(target);
    let artifacts = artifacts.to_string_lossy();
    let advice = format!(
        "the input is in {artifacts}: make it small with `-minimize_crash=1`, mend the cause, and put it into \
         fuzz/regressions/{target}"
    );
    Run::program(program)
        .args([MAX_LEN, "-len_control=0", "-timeout=20", "-print_final_stats=1", "-print_funcs=0"])
        .args([format!("-max_total_time={seconds}"), format!("-artifact_prefix={artifacts}/")])
        .args([corpus.to_string_lossy(), committed.to_string_lossy()])
        .or(&advice)?;
    println!("ok: {target} found nothing in {seconds} s");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read() {
        let plan = Plan { seconds: 5, targets: vec!["ffi_sequences"] };
        assert_eq!(Plan::parse(&["--seconds", "5", "ffi_sequences"]).unwrap(), plan);
        assert_eq!(Plan::parse(&[]).unwrap().seconds, 60);
        assert!(Plan::parse(&["--seconds", "soon"]).unwrap_err().contains("soon"));
        assert!(Plan::parse(&["nothing"]).unwrap_err().contains("ffi_sequences"));
    }

    #[test]
    fn every_target_is_in_the_manifest() {
        let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
        assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
        assert!(TARGETS.iter().all(|target| manifest.contains(&format!("name = \"{target}\""))));
    }
}
