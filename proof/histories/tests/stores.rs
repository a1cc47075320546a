//! A few hundred histories on every store, by the program that records as many as one likes.
#![cfg(all(feature = "lmdb", feature = "redis"))]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::process::Command;

fn histories(store: &str, number: u64) {
    let program = env!("CARGO_BIN_EXE_tollgate-histories");
    let number = number.to_string();
    let output =
        Command::new(program).args(["--store", store, "--histories", &number]).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{store}:\n{printed}\n{complaint}");
    assert!(printed.contains(&format!("{store}: {number} histories linearizable")), "{printed}");
    // Histories in which nothing meets would say nothing.
    assert!(!printed.contains(" 0 histories with overlapping"), "{printed}");
}

#[test]
fn memory() {
    histories("memory", 2_000);
}

#[test]
fn lmdb() {
    histories("lmdb", 300);
}

#[test]
fn lmdb_by_two_processes() {
    histories("lmdb-processes", 300);
}

#[test]
fn redis() {
    histories("redis", 300);
}

#[test]
fn redis_by_two_processes() {
    histories("redis-processes", 300);
}

#[test]
fn a_wrong_command_line_is_refused() {
    let program = env!("CARGO_BIN_EXE_tollgate-histories");
    for arguments in [&["--histories", "x"][..], &["memory"], &[]] {
        let output = Command::new(program).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}
