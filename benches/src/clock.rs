//! The simulated clock, and governor's view of it.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::clock::Clock;
use governor::nanos::Nanos;

use crate::START_MS;

/// What passes between two requests: with a thousand tokens, each makes some 15 requests a minute, and
/// none comes near its quota.
const STEP_MS: u64 = 4;
/// So many steps are taken from the shared clock at once: threads do not contend for it.
const BATCH: u64 = 64;

/// A clock that steps at every request. Clones share the time, which never runs backwards for one of
/// them; those of two threads are apart by what the scheduler makes of a batch.
#[derive(Clone, Debug)]
pub struct SimulatedClock {
    next_batch_ms: Arc<AtomicU64>,
    now_ms: u64,
    left: u64,
}

impl SimulatedClock {
    pub(crate) fn new() -> Self {
        let next_batch_ms = Arc::new(AtomicU64::new(START_MS));
        SimulatedClock { next_batch_ms, now_ms: START_MS, left: 0 }
    }

    /// The same time, read by another reader.
    pub(crate) fn reader(&self) -> Self {
        SimulatedClock { left: 0, ..self.clone() }
    }

    #[inline]
    pub(crate) fn step(&mut self) -> u64 {
        if self.left == 0 {
            self.now_ms = self.next_batch_ms.fetch_add(STEP_MS * BATCH, Ordering::Relaxed);
            self.left = BATCH;
        }
        self.left -= 1;
        self.now_ms += STEP_MS;
        self.now_ms
    }
}

thread_local! {
    static NOW_MS: Cell<u64> = const { Cell::new(START_MS) };
}

/// The time that this thread was last told. governor asks a clock where the others are given the time:
/// this is the cheapest way to give it, and threads share nothing in it.
#[derive(Clone, Debug)]
pub(crate) struct ToldClock;

impl ToldClock {
    #[inline]
    pub(crate) fn tell(now_ms: u64) {
        NOW_MS.set(now_ms);
    }
}

impl Clock for ToldClock {
    type Instant = Nanos;

    #[inline]
    fn now(&self) -> Nanos {
        Nanos::new(NOW_MS.get() * 1_000_000)
    }
}
