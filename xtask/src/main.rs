//! `cargo xtask …`: the same commands on a laptop and in CI.

#![allow(clippy::print_stdout, reason = "a command that says what it does")]

mod backends;
mod bench;
mod c;
mod check;
mod counts;
mod files;
mod fuzz;
mod header;
mod install;
mod metadata;
mod modules;
mod page;
mod run;
mod simulate;
mod test;
mod wasm;

use std::process::ExitCode;

use run::{Failure, Run};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  check           formatting, lints, documentation, module directions, file sizes, packages
  test [PART]     everything, or one part: core, no_std, scenario, tower, cli, stores, c, nginx, envoy, serve, wasm,
                  worker, playground, page, schedules, histories, simulator, states, counts, xtask
  bench [--json]  the table of speed and memory bars; --json ends with one line per bar
  bench peers [--json] [--quick | --write]
                  tollgate beside other libraries; --write writes docs/peers.md and docs/peers.svg anew
  counts [--record]
                  instructions of the hot paths beside those on record; --record writes the record anew
  header          writes include/tollgate.h anew
  install --prefix DIR [--libdir DIR]
                  builds the C library and installs it for other builds; respects DESTDIR
  fuzz [--seconds N] [TARGET…]
                  all fuzz targets, or some, for N seconds each (60)
  simulate [--seeds N] [--seed S] [--events E] [--threads T] [--bug NAME] [--trace]
                  N simulations with faults against a model, from seed S on; --trace tells all of one
  wasm            builds the npm package in bindings/wasm/npm
  playground [--serve]
                  builds the playground in target/playground; --serve shows it on 127.0.0.1:8088
  demo [ARG…]     the command line's demo, with its arguments

Each command line is printed before it runs. The first that fails ends the run.
Exit codes: 0 everything passed, 1 something failed, 2 wrong usage.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args.as_slice() {
        ["check"] => check::check(),
        ["test"] => test::all(),
        ["test", part] => match test::Part::named(part) {
            Some(part) => part.test(),
            None => return wrong_usage(&format!("there is no part {part:?}")),
        },
        ["bench", "peers", rest @ ..]
            if rest.iter().all(|arg| ["--json", "--quick", "--write"].contains(arg)) =>
        {
            bench::peers(rest)
        }
        ["bench", rest @ ..] if rest.iter().all(|arg| *arg == "--json") => bench::bench(rest),
        ["counts"] => counts::compare(),
        ["counts", "--record"] => counts::write_record(),
        ["header"] => header::write(),
        ["install", rest @ ..] => match install::Places::parse(rest) {
            Ok(places) => install::install(&places),
            Err(problem) => return wrong_usage(&problem),
        },
        ["fuzz", rest @ ..] => match fuzz::Plan::parse(rest) {
            Ok(plan) => fuzz::fuzz(&plan),
            Err(problem) => return wrong_usage(&problem),
        },
        ["simulate", rest @ ..] => simulate::simulate(rest),
        ["wasm"] => wasm::build(),
        ["playground"] => wasm::build_playground(),
        ["playground", "--serve"] => wasm::serve(),
        ["demo", rest @ ..] => demo(rest),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        [] => return wrong_usage("no command was given"),
        [first, ..] => {
            return wrong_usage(&format!("{first:?} is no command, or takes other arguments"));
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nxtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn wrong_usage(problem: &str) -> ExitCode {
    eprintln!("xtask: {problem}\n\n{USAGE}");
    ExitCode::from(2)
}

fn demo(args: &[&str]) -> Result<(), Failure> {
    Run::cargo(["run", "--release", "--quiet", "--package", "tollgate-cli", "--", "demo", "--run"])
        .args(args)
        .or("the demo says above what went wrong")
}
