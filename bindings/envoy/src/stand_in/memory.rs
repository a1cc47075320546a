//! The other tests once more, under Valgrind: what was freed is not read, and nothing is lost.

use std::process::Command;

use super::fixture::{Bank, Kept, request};

/// Runs tests of this program under Valgrind, one after the other; random ones are short.
fn valgrind(tests: &[&str]) {
    let program = std::env::current_exe().unwrap();
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["-q", "--error-exitcode=9", "--leak-check=full", "--fair-sched=yes"])
        // Stores and threads are kept as long as the process lives, and are reachable.
        .args(["--show-leak-kinds=definite", "--errors-for-leak-kinds=definite"])
        .arg(program)
        .args(tests)
        .arg("--test-threads=1")
        .env("PROPTEST_CASES", "2")
        .env("RUST_BACKTRACE", "0");
    let output = valgrind.output().expect("Valgrind is needed: apt-get install valgrind");
    let [said, warned] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{}\n{said}\n{warned}", output.status);
    // Each of the names stands for tests that are there.
    for test in tests {
        assert!(said.contains(&format!("test {test}")), "no test {test}:\n{said}");
    }
}

#[test]
fn valgrind_finds_nothing_in_answers_and_bodies() {
    valgrind(&["stand_in::verdicts", "stand_in::bodies", "stand_in::panics", "stand_in::itself"]);
}

#[test]
fn valgrind_finds_nothing_in_endings_and_stories() {
    valgrind(&[
        "stand_in::endings",
        "stand_in::random",
        "stand_in::stores",
        "stand_in::routes",
        "stand_in::configurations",
    ]);
}

#[test]
fn valgrind_would_find_what_was_freed() {
    let output = Command::new("valgrind")
        .args(["-q", "--error-exitcode=9"])
        .arg(std::env::current_exe().unwrap())
        .args(["stand_in::memory::texts_are_freed", "--exact"])
        .env(READ, "1")
        .output()
        .expect("Valgrind is needed: apt-get install valgrind");
    let warned = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(9), "{warned}");
    assert!(warned.contains("Invalid read of size 1"), "{warned}");
}

/// Set where the test below is to read what it has shown to be freed.
const READ: &str = "TOLLGATE_READS_WHAT_WAS_FREED";

#[test]
fn texts_are_freed() {
    let bank = Bank::new("freed", Kept::Memory);
    let proxy = bank.proxy();
    let stream = proxy.stream();
    stream.sends_head(request("GET", "/read", "nobody", &[]), true);
    let text = || stream.state().request[0].1.as_ptr();
    let old = text();
    stream.change().rehouse();
    assert_ne!(old, text());
    if std::env::var_os(READ).is_some() {
        // SAFETY: none. That this is found is what the test above shows.
        std::hint::black_box(unsafe { old.read_volatile() });
    }
    proxy.ends();
}
