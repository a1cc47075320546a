//! What stores beside the memory store cost, in one run with it: LMDB, Redis, a shared region.
//!
//! With `--json` the last lines are one JSON object per bar. The exit code is 0 whether the bars hold
//! or not: they are measures. It is 1 when something could not be measured, and 2 on wrong usage.
#![allow(clippy::print_stdout, reason = "a command that prints a table")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)] // measures

mod load;
mod redis_server;
mod takes;

use std::process::ExitCode;

use tollgate::{Algorithm, CompositeStore, MemoryOptions, MemoryStore};
use tollgate_bench::{Bar, print_bars};
use tollgate_lmdb::{LmdbOptions, LmdbStore, SyncPolicy};
use tollgate_redis::{RedisOptions, RedisStore};

use load::{Figures, Kind, Load};
use redis_server::RedisServer;
use takes::Takes;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg != "--json") {
        eprintln!("usage: stores-table [--json]");
        return ExitCode::from(2);
    }
    let bars = match measure() {
        Ok(bars) => bars,
        Err(problem) => {
            eprintln!("stores-table: {problem}");
            return ExitCode::FAILURE;
        }
    };
    print_bars(&bars, !args.is_empty());
    ExitCode::SUCCESS
}

fn measure() -> Result<Vec<Bar>, String> {
    println!("\nDecisions on a store, each caller on an account of its own");
    println!("  {:<44}{:>10}{:>10}{:>10}", "", "per s", "p50 us", "p99 us");
    let mut bars = Vec::new();
    memory();
    lmdb(&mut bars)?;
    redis(&mut bars)?;
    println!("\nNanoseconds a take");
    println!("  {:<44}{:>10}{:>10}{:>10}", "", "memory", "region", "ratio");
    region(&mut bars)?;
    Ok(bars)
}

fn show(name: &str, kind: Kind, callers: usize, figures: Figures) -> Figures {
    let Figures { per_second, p50_us, p99_us } = figures;
    let label = format!("{name}, {kind:?}, {callers} callers");
    println!("  {label:<44}{per_second:>10.0}{p50_us:>10.1}{p99_us:>10.1}");
    figures
}

fn memory() {
    let load = Load::new(64);
    let mut options = MemoryOptions::default();
    // What comes in within two seconds.
    options.max_claims = 1 << 24;
    options.max_reservations = 1 << 24;
    options.max_per_account = 1 << 24;
    let store = MemoryStore::new(options);
    load.set_up(&store);
    for kind in [Kind::Get, Kind::Post] {
        for callers in [1, 8, 64] {
            show("memory", kind, callers, load.run(&store, kind, callers));
        }
    }
}

fn open_lmdb(sync: SyncPolicy) -> Result<(tempfile::TempDir, LmdbStore), String> {
    // Where the build is: a disk, and not a file system in memory, as /tmp may be.
    let below = std::env::current_exe().map_err(|error| error.to_string())?;
    let below = below.parent().ok_or("the program is nowhere")?;
    let directory = tempfile::tempdir_in(below).map_err(|error| error.to_string())?;
    let mut options = LmdbOptions::default();
    options.sync = sync;
    let store = LmdbStore::open(directory.path(), &options).map_err(|error| error.to_string())?;
    Ok((directory, store))
}

fn lmdb(bars: &mut Vec<Bar>) -> Result<(), String> {
    let load = Load::new(64);
    for (name, sync) in [
        ("lmdb, every commit", SyncPolicy::EveryCommit),
        ("lmdb, interval", SyncPolicy::IntervalMs(200)),
        ("lmdb, never", SyncPolicy::Never),
    ] {
        let (_directory, store) = open_lmdb(sync)?;
        load.set_up(&store);
        for kind in [Kind::Get, Kind::Post] {
            let [one, _, many] = [1, 8, 64]
                .map(|callers| show(name, kind, callers, load.run(&store, kind, callers)));
            match (sync, kind) {
                (SyncPolicy::EveryCommit, kind) => {
                    let name = match kind {
                        Kind::Get => "lmdb_sync_get_64_callers_vs_1",
                        Kind::Post => "lmdb_sync_post_64_callers_vs_1",
                    };
                    bars.push(Bar::at_least(name, many.per_second / one.per_second, 10.0));
                }
                (SyncPolicy::IntervalMs(_), Kind::Get) => {
                    bars.push(Bar::at_most("lmdb_interval_get_us", one.p50_us, 15.0));
                }
                _ => {}
            }
        }
    }
    let (_directory, accounts) = open_lmdb(SyncPolicy::IntervalMs(200))?;
    let store = CompositeStore::new(MemoryStore::default(), accounts);
    load.set_up(&store);
    for kind in [Kind::Get, Kind::Post] {
        for callers in [1, 8, 64] {
            let figures = load.run(&store, kind, callers);
            show("limits in memory, lmdb, interval", kind, callers, figures);
        }
    }
    Ok(())
}

fn redis(bars: &mut Vec<Bar>) -> Result<(), String> {
    let server = RedisServer::start()?;
    let load = Load::new(64);
    let store = RedisStore::new(&RedisOptions::new(&server.url()));
    let store = store.map_err(|error| error.to_string())?;
    load.set_up(&store);
    let fresh = RedisStore::new(&RedisOptions::new(&server.url()));
    let fresh = fresh.map_err(|error| error.to_string())?;
    let trips = |caller: usize| {
        let before = fresh.round_trips();
        load.run_once(&fresh, Kind::Get, caller);
        (fresh.round_trips() - before) as f64
    };
    // The first decision of all connects and loads the scripts; that of the next token does not.
    trips(0);
    let (first, repeated) = (trips(1), trips(1));
    bars.push(Bar::at_most("redis_round_trips_first", first, 2.0));
    bars.push(Bar::at_most("redis_round_trips_repeated", repeated, 1.0));
    for kind in [Kind::Get, Kind::Post] {
        for callers in [1, 64] {
            show("redis", kind, callers, load.run(&store, kind, callers));
        }
    }
    Ok(())
}

fn region(bars: &mut Vec<Bar>) -> Result<(), String> {
    for (name, algorithm) in [
        ("GCRA", Algorithm::Gcra),
        ("fixed window", Algorithm::FixedWindow),
        ("sliding window", Algorithm::SlidingWindow),
    ] {
        for (size, keys) in [("1k", 1_000), ("1M", 1_000_000)] {
            let takes = Takes::measure(algorithm, keys)?;
            let label = format!("{name}, {size} keys");
            let Takes { memory, region } = takes;
            println!("  {label:<44}{memory:>10.0}{region:>10.0}{:>10.2}", takes.ratio());
            if algorithm == Algorithm::Gcra {
                let bar = if keys == 1_000 {
                    "region_take_1k_vs_memory"
                } else {
                    "region_take_1m_vs_memory"
                };
                bars.push(Bar::at_most(bar, takes.ratio(), 1.5));
            }
        }
    }
    Ok(())
}
