//! Records histories: real threads, released together, that do the steps of a story on a store.

use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::time::{ClockId, clock_gettime};
use tollgate::{AdminError, Store};

use crate::call::Call;
use crate::names::{Names, open_account};
use crate::story::Story;
use crate::teller::Teller;

/// What the threads of a story did.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// Its number, which is also the story's.
    pub number: u64,
    /// Every command, in the order of its threads.
    pub calls: Vec<Call>,
}

impl History {
    /// Whether two threads used one account at the same time.
    #[must_use]
    pub fn overlaps(&self) -> bool {
        let within = |a: &Call, b: &Call| {
            a.thread != b.thread
                && a.account == b.account
                && a.invoked <= b.returned
                && b.invoked <= a.returned
        };
        self.calls.iter().any(|a| self.calls.iter().any(|b| within(a, b)))
    }
}

/// A number that never falls, for all threads and processes of this machine: nanoseconds of its monotonic clock.
#[must_use]
pub fn stamp() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    (now.tv_sec as u64) * 1_000_000_000 + now.tv_nsec as u64
}

/// Where threads wait for each other, again and again. It spins: threads that sleep wake up one after the other.
#[derive(Debug)]
pub struct Barrier {
    threads: usize,
    came: AtomicUsize,
}

impl Barrier {
    /// For so many.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Barrier { threads, came: AtomicUsize::new(0) }
    }

    /// Waits for the others, for the time of this number, counted from 0.
    pub fn wait(&self, time: usize) {
        self.came.fetch_add(1, Ordering::AcqRel);
        let mut spins = 0_u32;
        while self.came.load(Ordering::Acquire) < (time + 1) * self.threads {
            spins = spins.wrapping_add(1);
            if spins.is_multiple_of(64) {
                std::thread::yield_now();
            }
            std::hint::spin_loop();
        }
    }
}

/// Records the stories of these numbers, one after the other, each with accounts of its own.
///
/// # Errors
/// When an account cannot be made.
pub fn record(
    store: &dyn Store,
    numbers: std::ops::Range<u64>,
    most_threads: usize,
) -> Result<Vec<History>, AdminError> {
    let stories: Vec<(u64, Story)> =
        numbers.map(|number| (number, Story::new(number, most_threads))).collect();
    for (number, story) in &stories {
        (0..story.accounts).try_for_each(|account| open_account(store, Names(*number), account))?;
    }
    let barrier = Barrier::new(most_threads);
    let work = &|thread: usize| {
        let mut done = Vec::with_capacity(stories.len());
        for (time, (number, story)) in stories.iter().enumerate() {
            let mut teller = Teller::new(store, Names(*number), thread as u8, &stamp).dawdling();
            barrier.wait(time);
            for step in story.threads.get(thread).into_iter().flatten() {
                teller.step(step);
            }
            done.push(teller.into_calls());
        }
        done
    };
    let by_thread: Vec<Vec<Vec<Call>>> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..most_threads).map(|thread| scope.spawn(move || work(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut histories: Vec<History> =
        stories.iter().map(|(number, _)| History { number: *number, calls: Vec::new() }).collect();
    for thread in by_thread {
        for (history, calls) in histories.iter_mut().zip(thread) {
            history.calls.extend(calls);
        }
    }
    Ok(histories)
}
