//! Who counts requests: one check of one limit, per key.

mod governed;
mod limited;
mod naive;
mod tollgate;

use std::hash::Hash;

use crate::START_MS;

pub use governed::{Governor, Keyed, ToldClock, limiter as governor_limiter};
pub use limited::{Limitador, context as limitador_context};
pub use naive::ReadThenWrite;
pub use tollgate::{MemoryCells, RegionCells};

/// So many units in so much time.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Units per window, at least 1; all of them may be taken at once.
    pub units: u32,
    /// The window, in whole seconds.
    pub window_s: u64,
}

impl Terms {
    /// So many units that no measurement uses them up.
    pub const AMPLE: Terms = Terms { units: 1_000_000_000, window_s: 60 };
}

/// A limiter of many keys.
pub trait Limiter: Sync {
    /// A key in the form that this limiter takes; it is made outside the measured time.
    type Key: Clone + Eq + Hash + Sync;

    /// The key with this number.
    fn key(&self, number: u64) -> Self::Key;

    /// Whether one more unit may be taken at this time (Unix ms), and if so takes it. Limiters with a
    /// clock of their own do not look at the time.
    fn take(&self, key: &Self::Key, now_ms: u64) -> bool;

    /// Memory that no allocator sees.
    fn mapped_bytes(&self) -> usize {
        0
    }
}

/// Takes until it is refused, at most `at_most` times, and returns how often it was not.
pub fn drain<L: Limiter>(limiter: &L, key: u64, at_most: usize) -> usize {
    let key = limiter.key(key);
    (0..at_most).take_while(|_| limiter.take(&key, START_MS)).count()
}
