//! governor: GCRA, one compare-and-swap a cell, in a concurrent map.

use std::cell::Cell;
use std::time::Duration;

use dashmap::DashMap;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::InMemoryState;
use governor::{Quota, RateLimiter};
use hashbrown::DefaultHashBuilder;

use super::{Limiter, Terms};
use crate::START_MS;

type Cells = DashMap<u64, InMemoryState, DefaultHashBuilder>;
/// A limiter of numbers.
pub type Keyed = RateLimiter<u64, Cells, ToldClock, NoOpMiddleware<Nanos>>;

/// governor with a number as key, in dashmap with hashbrown's quick hasher instead of SipHash.
///
/// It asks a clock; this one tells what the thread was last told, which is cheaper than any real one.
#[derive(Debug)]
pub struct Governor(Keyed);

impl Governor {
    /// An empty limiter.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        Governor(limiter(terms))
    }
}

impl Limiter for Governor {
    type Key = u64;

    fn key(&self, number: u64) -> u64 {
        number
    }

    #[inline]
    fn take(&self, key: &u64, now_ms: u64) -> bool {
        ToldClock::tell(now_ms);
        self.0.check_key(key).is_ok()
    }
}

/// governor's own type, for a stack of several.
///
/// # Panics
/// When the terms have no units.
#[must_use]
pub fn limiter(terms: Terms) -> Keyed {
    ToldClock::tell(START_MS);
    let every = Duration::from_secs(terms.window_s) / terms.units;
    let quota = Quota::with_period(every).expect("a window");
    RateLimiter::new(
        quota.allow_burst(terms.units.try_into().unwrap()),
        Cells::default(),
        ToldClock,
    )
}

thread_local! {
    static NOW_MS: Cell<u64> = const { Cell::new(START_MS) };
}

/// The time that this thread was last told.
#[derive(Clone, Copy, Debug)]
pub struct ToldClock;

impl ToldClock {
    /// Sets the time of this thread, in Unix ms.
    #[inline]
    pub fn tell(now_ms: u64) {
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
