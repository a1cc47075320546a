//! Several processes on one store, and processes that are killed. The program starts itself again for the
//! other processes; what they are to do is in the environment.
//!
//! `TOLLGATE_KILLS=500` kills as many processes; 60 without it.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects)] // a test, but not one that the lints know as such

#[path = "../common/mod.rs"]
mod common;
mod crash;
mod disk_full;
mod driver;
mod race;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What a process is started as, and with what.
const ROLE: &str = "TOLLGATE_LMDB_ROLE";
const DIRECTORY: &str = "TOLLGATE_LMDB_DIRECTORY";
const ARGUMENT: &str = "TOLLGATE_LMDB_ARGUMENT";

/// Starts this program again.
fn start(role: &str, directory: &Path, argument: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .env(ROLE, role)
        .env(DIRECTORY, directory)
        .env(ARGUMENT, argument)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn main() {
    if let Ok(role) = env::var(ROLE) {
        let directory = PathBuf::from(env::var_os(DIRECTORY).unwrap());
        let argument = env::var(ARGUMENT).unwrap();
        match role.as_str() {
            "race" => race::part(&directory),
            "read" => race::read(&directory),
            "grow" => race::grow(&directory),
            "disk_full" => disk_full::part(&directory),
            "driver" => driver::run(&directory, &argument),
            other => panic!("no role {other}"),
        }
        return;
    }
    let tests: [(&str, fn()); 5] = [
        ("two_processes_never_overshoot", race::two_processes_never_overshoot),
        ("a_map_that_another_process_outgrew", race::a_map_that_another_process_outgrew),
        (
            "slots_of_a_killed_process_are_free_again",
            race::slots_of_a_killed_process_are_free_again,
        ),
        ("a_full_disk_loses_nothing", disk_full::a_full_disk_loses_nothing),
        ("a_killed_process_loses_nothing_it_was_told", crash::a_killed_process_loses_nothing),
    ];
    let filter = env::args().skip(1).find(|argument| !argument.starts_with('-'));
    for (name, test) in tests {
        if filter.as_ref().is_none_or(|filter| name.contains(filter.as_str())) {
            test();
            println!("test {name} ... ok");
        }
    }
}
