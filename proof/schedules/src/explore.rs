//! Runs a test under many schedules: random ones, such as change threads seldom (PCT), or all that there are.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};

use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, Runner};

/// Schedules are the same in every run. `SHUTTLE_RANDOM_SEED` chooses others.
const SEED: u64 = 0x746f_6c6c_6761_7465;
/// How often the threads of a PCT schedule are changed.
const DEPTH: usize = 3;
/// Bytes: commands need more than the scheduler gives by itself.
const STACK: usize = 1 << 20;

/// So many schedules, or as many times more as `TOLLGATE_SCHEDULES` says.
#[must_use]
pub fn iterations(few: usize) -> usize {
    let times = env::var("TOLLGATE_SCHEDULES").map_or(1, |times| times.parse().unwrap());
    few * times
}

fn config(failure_persistence: FailurePersistence) -> Config {
    let mut config = Config::new();
    config.stack_size = STACK;
    config.failure_persistence = failure_persistence;
    // It would say once that weak orders of memory are taken for strong ones: the README does.
    config.silence_warnings = true;
    config
}

fn run(scheduler: impl Scheduler + 'static, test: impl Fn() + Send + Sync + 'static) -> usize {
    Runner::new(scheduler, config(FailurePersistence::Print)).run(test)
}

/// Runs `test` under so many schedules of each kind. A failure prints the schedule, for `shuttle::replay`.
pub fn explore(few: usize, test: impl Fn() + Clone + Send + Sync + 'static) {
    run(RandomScheduler::new_from_seed(SEED, iterations(few)), test.clone());
    run(PctScheduler::new_from_seed(SEED, DEPTH, iterations(few)), test);
}

/// Runs `test` under every schedule, of which there must be fewer than `most`. Gives how many there are.
pub fn every(most: usize, test: impl Fn() + Send + Sync + 'static) -> usize {
    let schedules = run(DfsScheduler::new(Some(most), false), test);
    assert!(schedules < most, "there are {most} schedules or more");
    schedules
}

/// What `test` fails with under one of so many schedules of each kind; `None` when it fails under none.
pub fn finds(few: usize, test: impl Fn() + Clone + Send + Sync + 'static) -> Option<String> {
    let quiet = || config(FailurePersistence::None);
    let random = RandomScheduler::new_from_seed(SEED, few);
    let pct = PctScheduler::new_from_seed(SEED, DEPTH, few);
    let again = test.clone();
    let runs: [Box<dyn FnOnce() -> usize>; 2] = [
        Box::new(move || Runner::new(random, quiet()).run(again)),
        Box::new(move || Runner::new(pct, quiet()).run(test)),
    ];
    runs.into_iter().find_map(|run| {
        let panic = catch_unwind(AssertUnwindSafe(run)).err()?;
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
    })
}
