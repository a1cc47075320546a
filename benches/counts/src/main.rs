//! Runs what `cargo xtask counts` counts, once each, and says on standard output what ran: a line with
//! the name of the path and how often it was called, and for a path that a hostile caller chose the path
//! of an honest one beside which it is judged.
//!
//! Callgrind counts from when [`counted_calls`] is entered until it is left, and writes a dump when [`dumped_after`]
//! is left (it takes one such rule a function). So the order of the lines is the order of the dumps, and what
//! prepares a path is not in its count. Run without callgrind, the program checks that every path does what its name says.
#![allow(clippy::print_stdout, reason = "a command that says what it ran")]
#![allow(clippy::unwrap_used, clippy::expect_used)] // measures; nothing here is input
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)] // same

mod chosen;
mod paths;
mod world;

use std::hint::black_box;

/// How often each path is called: enough that what the seeds of the maps change is a small part.
const CALLS: usize = 1_000;

/// Calls `call` with the numbers below `calls`. Callgrind knows this function by its name, so it is neither inlined
/// nor made more than once.
#[inline(never)]
fn counted_calls(calls: usize, call: &mut dyn FnMut(usize)) {
    for number in 0..calls {
        call(number);
    }
}

/// Callgrind dumps when this is left.
#[inline(never)]
fn dumped_after(calls: usize, call: &mut dyn FnMut(usize)) {
    counted_calls(calls, call);
    // Else it would be a jump to the other, and the same to callgrind.
    black_box(calls);
}

/// Counts a path that is compared with the record.
fn hot(name: &str, mut call: impl FnMut(usize)) {
    dumped_after(CALLS, &mut call);
    println!("hot {name} {CALLS}");
}

/// Counts a path that is not compared with its own record: what it is for is said where it is read.
fn planted(name: &str, mut call: impl FnMut(usize)) {
    dumped_after(CALLS, &mut call);
    println!("planted {name} {CALLS}");
}

/// Counts what an honest caller sends.
fn honest(name: &str, mut call: impl FnMut(usize)) {
    dumped_after(chosen::CALLS, &mut call);
    println!("honest {name} {}", chosen::CALLS);
}

/// Counts what a hostile caller sends where an honest one sends `beside`; it may cost `at_most` times as much.
fn hostile(name: &str, beside: &str, at_most: u64, mut call: impl FnMut(usize)) {
    dumped_after(chosen::CALLS, &mut call);
    println!("hostile {name} {} {beside} {at_most}", chosen::CALLS);
}

fn main() {
    paths::count();
    chosen::count();
}
