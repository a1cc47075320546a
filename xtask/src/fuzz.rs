//! `cargo xtask fuzz`: fuzz targets, built by the stable toolchain.
//!
//! Coverage comes from a pass that stable rustc has; AddressSanitizer is behind a flag that it takes only with
//! `RUSTC_BOOTSTRAP`, which is set for this build alone. Nothing that is released is built so.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::metadata;
use crate::run::{Failure, Run, root};

/// A binary of `fuzz/Cargo.toml`.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    name: &'static str,
    /// The longest input, in bytes: as long as its structure makes use of.
    max_len: u32,
}

/// Those that take longest to reach something new come first: they are the last to be waited for.
const TARGETS: &[Target] = &[
    Target { name: "evaluate_vs_model", max_len: 1024 },
    Target { name: "policy", max_len: 4096 },
    Target { name: "scenario_lines", max_len: 8192 },
    Target { name: "stored_records", max_len: 1024 },
    Target { name: "ffi_sequences", max_len: 2048 },
    Target { name: "redis_replies", max_len: 2048 },
    Target { name: "credentials", max_len: 1024 },
    Target { name: "addresses", max_len: 1024 },
    Target { name: "paths", max_len: 1024 },
    Target { name: "wasm_flat", max_len: 1024 },
];

const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Zsanitizer=address -Ccodegen-units=16";

/// What to fuzz, and for how long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    seconds: u32,
    targets: Vec<&'static Target>,
}

impl Plan {
    /// From the command line.
    pub(crate) fn parse(args: &[&str]) -> Result<Self, String> {
        let (seconds, names) = match args {
            ["--seconds", seconds, rest @ ..] => {
                let seconds =
                    seconds.parse().map_err(|_| format!("{seconds:?} is no number of seconds"))?;
                (seconds, rest)
            }
            _ => (60, args),
        };
        if names.is_empty() {
            return Ok(Plan { seconds, targets: TARGETS.iter().collect() });
        }
        let targets = names.iter().map(|name| {
            let all = || TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
            let found = TARGETS.iter().find(|target| target.name == *name);
            found.ok_or_else(|| format!("there is no target {name:?}; there are {}", all()))
        });
        Ok(Plan { seconds, targets: targets.collect::<Result<_, _>>()? })
    }
}

/// Runs each target for so many seconds, after everything that failed once; as many at a time as there are cores.
pub(crate) fn fuzz(plan: &Plan) -> Result<(), Failure> {
    let directory = PathBuf::from(metadata::target_directory()?).join("fuzz");
    let programs = build(&directory, &host()?, &plan.targets)?;
    let left = Mutex::new(plan.targets.iter());
    let (failed, first_failure) = (AtomicBool::new(false), Mutex::new(Ok(())));
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let Some(target) = left.lock().ok().and_then(|mut left| left.next()) else { return };
            let program = programs.join(target.name);
            let done = known_failures(&program, target)
                .and_then(|()| hunt(&directory, &program, target, plan.seconds));
            if let Err(failure) = done
                && !failed.swap(true, Ordering::Relaxed)
                && let Ok(mut first) = first_failure.lock()
            {
                *first = Err(failure);
            }
        }
    };
    let jobs = thread::available_parallelism().map_or(1, usize::from).min(plan.targets.len());
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(work);
        }
    });
    first_failure
        .into_inner()
        .unwrap_or_else(|_| Err(Failure("a thread of this program panicked".into())))
}

/// Every target for 10 seconds.
pub(crate) fn briefly() -> Result<(), Failure> {
    fuzz(&Plan { seconds: 10, targets: TARGETS.iter().collect() })
}

fn host() -> Result<String, Failure> {
    let printed = Run::program(Path::new("rustc")).args(["-vV"]).read()?;
    let host = printed.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_string).ok_or_else(|| Failure("`rustc -vV` names no host".into()))
}

/// Builds the targets together; gives the directory of their programs.
fn build(directory: &Path, triple: &str, targets: &[&Target]) -> Result<PathBuf, Failure> {
    let chosen = targets.iter().flat_map(|target| ["--bin", target.name]);
    // With a target, so that build scripts and macros are left as they are.
    Run::cargo(["build", "--release", "--manifest-path", "fuzz/Cargo.toml"])
        .args(chosen)
        .args(["--target", triple, "--target-dir", &directory.to_string_lossy()])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", FLAGS)
        .or("the fuzz targets do not build; they need a C++ compiler for libFuzzer")?;
    Ok(directory.join(triple).join("release"))
}

/// Inputs that once failed do not fail any more.
fn known_failures(program: &Path, target: &Target) -> Result<(), Failure> {
    let regressions = root().join("fuzz/regressions").join(target.name);
    let entries = fs::read_dir(&regressions).into_iter().flatten().flatten();
    let inputs: Vec<String> =
        entries.map(|entry| entry.path().to_string_lossy().into_owned()).collect();
    if inputs.is_empty() {
        return Ok(());
    }
    run(Run::program(program).args(inputs), "what was mended fails again").map(drop)
}

fn hunt(directory: &Path, program: &Path, target: &Target, seconds: u32) -> Result<(), Failure> {
    let name = target.name;
    // What is new goes where it is not committed; the committed corpus is only read.
    let [corpus, artifacts] = ["corpus", "artifacts"].map(|kind| directory.join(kind).join(name));
    for made in [&corpus, &artifacts] {
        fs::create_dir_all(made)
            .map_err(|error| Failure(format!("{} could not be made: {error}", made.display())))?;
    }
    let [committed, dictionary] = [format!("corpus/{name}"), format!("dictionaries/{name}.dict")]
        .map(|of| root().join("fuzz").join(of));
    let artifacts = artifacts.to_string_lossy();
    let advice = format!(
        "the input is in {artifacts}: make it small with `-minimize_crash=1`, mend the cause, and put it into \
         fuzz/regressions/{name}"
    );
    let words = dictionary.exists().then(|| format!("-dict={}", dictionary.display()));
    let output = run(
        Run::program(program)
            .args(["-len_control=0", "-timeout=20", "-print_final_stats=1", "-print_funcs=0"])
            .args([format!("-max_len={}", target.max_len), format!("-max_total_time={seconds}")])
            .args([format!("-artifact_prefix={artifacts}/")])
            .args(words)
            .args([corpus.to_string_lossy(), committed.to_string_lossy()]),
        &advice,
    )?;
    let summary = Summary::read(&output)
        .ok_or_else(|| Failure(format!("{name} did not say what it ran:\n{output}")))?;
    println!("ok: {name} found nothing in {seconds} s: {summary}");
    Ok(())
}

/// Runs a program whose output is shown if it fails, and given if it does not.
fn run(program: Run, advice: &str) -> Result<String, Failure> {
    let (ok, output) = program.output()?;
    if ok {
        return Ok(output);
    }
    println!("{output}");
    Err(Failure(advice.to_string()))
}

/// What a run came to, in libFuzzer's own counters.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    executions: u64,
    per_second: u64,
    /// Edges that were reached.
    edges: u64,
    /// Edges, and how often they were passed, and what was compared on them.
    features: u64,
}

impl Summary {
    fn read(output: &str) -> Option<Self> {
        let stat = |name: &str| -> Option<u64> {
            let line = output.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse().ok()
        };
        let done = output.lines().rfind(|line| line.contains(" cov: "))?;
        let counter = |name: &str| -> Option<u64> {
            done.split_once(name)?.1.split_whitespace().next()?.parse().ok()
        };
        Some(Summary {
            executions: stat("stat::number_of_executed_units:")?,
            per_second: stat("stat::average_exec_per_sec:")?,
            edges: counter(" cov: ")?,
            features: counter(" ft: ")?,
        })
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Summary { executions, per_second, edges, features } = self;
        write!(f, "{executions} executions, {per_second} a second, cov {edges}, ft {features}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read() {
        let plan = Plan::parse(&["--seconds", "5", "ffi_sequences", "policy"]).unwrap();
        assert_eq!(plan.seconds, 5);
        let names: Vec<&str> = plan.targets.iter().map(|target| target.name).collect();
        assert_eq!(names, ["ffi_sequences", "policy"]);
        let all = Plan::parse(&[]).unwrap();
        assert_eq!((all.seconds, all.targets.len()), (60, TARGETS.len()));
        assert!(Plan::parse(&["--seconds", "soon"]).unwrap_err().contains("soon"));
        assert!(Plan::parse(&["policy", "nothing"]).unwrap_err().contains("ffi_sequences"));
    }

    #[test]
    fn every_target_is_in_the_manifest() {
        let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
        assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
        for Target { name, .. } in TARGETS {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        }
    }

    #[test]
    fn every_target_has_a_corpus_within_its_bounds() {
        for Target { name, max_len } in TARGETS {
            let corpus = root().join("fuzz/corpus").join(name);
            let sizes: Vec<u64> = fs::read_dir(&corpus)
                .unwrap_or_else(|error| panic!("{}: {error}", corpus.display()))
                .map(|entry| entry.unwrap().metadata().unwrap().len())
                .collect();
            assert!((1..=200).contains(&sizes.len()), "{name} has {} inputs", sizes.len());
            assert!(sizes.iter().sum::<u64>() <= 300 * 1024, "{name} is too large");
            assert!(
                sizes.iter().all(|size| *size <= u64::from(*max_len)),
                "{name} has a long input"
            );
        }
    }

    #[test]
    fn what_the_fuzzer_says_is_read() {
        let output = "#2\tINITED cov: 2 ft: 2 corp: 1/1b exec/s: 0 rss: 30Mb\n\
            #1200\tDONE   cov: 3015 ft: 9213 corp: 250/12Kb lim: 1024 exec/s: 411 rss: 99Mb\n\
            Done 1200 runs in 3 second(s)\n\
            stat::number_of_executed_units: 1200\n\
            stat::average_exec_per_sec:     411\n";
        let summary = Summary { executions: 1200, per_second: 411, edges: 3015, features: 9213 };
        assert_eq!(Summary::read(output), Some(summary));
        assert_eq!(Summary::read("nothing of the kind"), None);
    }
}
