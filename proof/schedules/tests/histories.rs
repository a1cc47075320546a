//! Random stories of a few threads, each under a few schedules: no answer is one that no order explains.
#![cfg(tollgate_shuttle)]
#![allow(missing_docs, reason = "tests")]

use tollgate_histories::Story;
use tollgate_schedules::{explore, race};

/// Three threads at most: schedules of more change them less often than commands need.
const THREADS: usize = 3;

fn stories(numbers: std::ops::Range<u64>) {
    for number in numbers {
        explore(5, move || {
            let told = race(&Story::new(number, THREADS).threads);
            assert!(!told.0.is_empty());
        });
    }
}

#[test]
fn random_stories_are_linearizable() {
    stories(0..40);
}

#[test]
fn more_random_stories_are_linearizable() {
    stories(1_000..1_040);
}
