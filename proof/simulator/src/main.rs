//! Many seeds, or one of them in full.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a command that says what it found")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tollgate_simulator::{Bug, Catalogue, Failure, Plan, Totals, explain, simulate};

const USAGE: &str = "\
usage: tollgate-simulator [--seeds N] [--seed S] [--events E] [--threads T] [--bug NAME] [--trace]

  --seeds N    so many simulations (1000); with --seed and without this, one
  --seed S     the first seed (0)
  --events E   events in each (200)
  --threads T  simulations at once (as many as there are processors)
  --bug NAME   plants a bug between host and store, to see it found: ClaimForgotten, …
  --trace      tells everything that happens in the one seed that --seed names";

/// Seeds that a thread takes at a time.
const BATCH: u64 = 64;

struct Arguments {
    first: u64,
    seeds: u64,
    plan: Plan,
    threads: usize,
    trace: bool,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let arguments = match parse(&args) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let result = if arguments.trace { trace(&arguments) } else { many(&arguments) };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: &[String]) -> Result<Arguments, String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut arguments =
        Arguments { first: 0, seeds: 0, plan: Plan::default(), threads, trace: false };
    let mut one = false;
    let mut args = args.iter();
    while let Some(name) = args.next() {
        if name == "--trace" {
            arguments.trace = true;
            continue;
        }
        let value = args.next().ok_or_else(|| format!("{name} needs a number"))?;
        if name == "--bug" {
            let bug = Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == *value);
            arguments.plan.bug =
                Some(bug.ok_or_else(|| format!("{value:?} is none of the bugs {:?}", Bug::ALL))?);
            continue;
        }
        let value: u64 = value.parse().map_err(|_| format!("{value:?} is no number"))?;
        match name.as_str() {
            "--seeds" => arguments.seeds = value,
            "--seed" => (arguments.first, one) = (value, true),
            "--events" => arguments.plan.events = value,
            "--threads" => arguments.threads = usize::try_from(value).unwrap_or(1).max(1),
            _ => return Err(format!("there is no option {name:?}")),
        }
    }
    if arguments.seeds == 0 {
        arguments.seeds = if one { 1 } else { 1_000 };
    }
    Ok(arguments)
}

fn trace(arguments: &Arguments) -> Result<(), Failure> {
    let catalogue = Catalogue::default();
    match explain(&catalogue, arguments.first, &arguments.plan) {
        Ok(lines) => {
            println!("{}\n\nseed {} holds", lines.join("\n"), arguments.first);
            Ok(())
        }
        Err(mut failure) => {
            println!("{}", std::mem::take(&mut failure.lines).join("\n"));
            Err(failure)
        }
    }
}

fn many(arguments: &Arguments) -> Result<(), Failure> {
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let shown = AtomicU64::new(0);
    let sum = Mutex::new((Totals::default(), None::<Failure>));
    let progress = |totals: &Totals| {
        let seconds = began.elapsed().as_secs_f64();
        let rate = totals.events as f64 / seconds.max(0.001);
        eprint!("\r{} of {} seeds, {rate:.0} events/s  ", totals.seeds, arguments.seeds);
    };
    let work = || {
        let catalogue = Catalogue::default();
        while !failed.load(Ordering::Relaxed) {
            let from = next.fetch_add(BATCH, Ordering::Relaxed);
            if from >= arguments.seeds {
                break;
            }
            let mut totals = Totals::default();
            let mut found = None;
            for offset in from..arguments.seeds.min(from.saturating_add(BATCH)) {
                let seed = arguments.first.wrapping_add(offset);
                match simulate(&catalogue, seed, &arguments.plan) {
                    Ok(one) => totals.add(&one),
                    Err(failure) => {
                        failed.store(true, Ordering::Relaxed);
                        found = Some(failure);
                        break;
                    }
                }
            }
            let Ok(mut sum) = sum.lock() else { return };
            sum.0.add(&totals);
            sum.1 = sum.1.take().or(found);
            let seconds = began.elapsed().as_secs();
            if shown.swap(seconds, Ordering::Relaxed) != seconds {
                progress(&sum.0);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads {
            scope.spawn(work);
        }
    });
    let (totals, failure) = sum.into_inner().unwrap_or_default();
    progress(&totals);
    eprintln!();
    if let Some(failure) = failure {
        return Err(explain(&Catalogue::default(), failure.seed, &arguments.plan)
            .err()
            .unwrap_or(failure));
    }
    println!("{totals}");
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "seeds {} to {} hold; {seconds:.1} s, {:.0} events/s",
        arguments.first,
        arguments.first.wrapping_add(arguments.seeds.saturating_sub(1)),
        totals.events as f64 / seconds.max(0.001)
    );
    Ok(())
}
