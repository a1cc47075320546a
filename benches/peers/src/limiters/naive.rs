//! A limiter that is wrong on purpose: races must find it.

use dashmap::DashMap;

use super::{Limiter, Terms};

/// Reads how much was taken, lets others run, and writes one more.
#[derive(Debug)]
pub struct ReadThenWrite {
    taken: DashMap<u64, u32>,
    units: u32,
}

impl ReadThenWrite {
    /// An empty limiter; its window never ends.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        ReadThenWrite { taken: DashMap::new(), units: terms.units }
    }
}

impl Limiter for ReadThenWrite {
    type Key = u64;

    fn key(&self, number: u64) -> u64 {
        number
    }

    fn take(&self, key: &u64, _: u64) -> bool {
        let taken = self.taken.get(key).map_or(0, |taken| *taken);
        if taken >= self.units {
            return false;
        }
        std::thread::yield_now();
        self.taken.insert(*key, taken + 1);
        true
    }
}
