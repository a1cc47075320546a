//! `tollgate-histories --store STORE --histories N`: records histories on a store and checks them.

#![allow(clippy::print_stdout, reason = "a command that says what it found")]

use std::env;
use std::process::ExitCode;

use tollgate_histories::Report;
use tollgate_histories::stores::{self, Failure, processes};

const USAGE: &str = "\
usage: tollgate-histories --store STORE [--histories N] [--first NUMBER]

  STORE           memory, lmdb, redis, lmdb-processes or redis-processes
  --histories N   how many (1000)
  --first NUMBER  the number of the first (0); histories of other numbers do other things

Exit codes: 0 all are linearizable, 1 one is not, 2 wrong usage, 3 a store or server could not be used.";

struct Plan {
    store: String,
    first: u64,
    histories: u64,
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if let [word, store, location, process] = args[..]
        && word == processes::WORKER
    {
        let process = process.parse().unwrap_or(0);
        return end(processes::work(store, location, process).err());
    }
    let Some(plan) = parse(&args) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&plan) {
        Ok(Report { histories, calls, overlapping }) => {
            println!(
                "{}: {histories} histories linearizable, {calls} commands, {overlapping} histories \
                 with overlapping commands",
                plan.store
            );
            ExitCode::SUCCESS
        }
        Err(failure) => end(Some(failure)),
    }
}

fn parse(args: &[&str]) -> Option<Plan> {
    let mut plan = Plan { store: String::new(), first: 0, histories: 1_000 };
    for pair in args.chunks(2) {
        match pair {
            ["--store", store] => plan.store = (*store).to_owned(),
            ["--histories", number] => plan.histories = number.parse().ok()?,
            ["--first", number] => plan.first = number.parse().ok()?,
            _ => return None,
        }
    }
    (!plan.store.is_empty()).then_some(plan)
}

fn run(plan: &Plan) -> Result<Report, Failure> {
    let numbers = plan.first..plan.first.saturating_add(plan.histories);
    let program = || env::current_exe().map_err(|error| Failure::Broken(error.to_string()));
    match plan.store.as_str() {
        "memory" => stores::memory(numbers),
        "lmdb" => stores::lmdb(numbers),
        "redis" => stores::redis(numbers),
        "lmdb-processes" => processes::lmdb_processes(&program()?, numbers),
        "redis-processes" => processes::redis_processes(&program()?, numbers),
        other => Err(Failure::Broken(format!("no store {other:?}\n{USAGE}"))),
    }
}

fn end(failure: Option<Failure>) -> ExitCode {
    match failure {
        None => ExitCode::SUCCESS,
        Some(Failure::Violation(violation)) => {
            println!("{violation}");
            println!(
                "the same threads do the same again with --first {} --histories 1, or more histories from there: when they meet is the machine's",
                violation.number
            );
            ExitCode::from(1)
        }
        Some(Failure::Broken(what)) => {
            eprintln!("{what}");
            ExitCode::from(3)
        }
    }
}
