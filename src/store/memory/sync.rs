//! The locks and atomics of the memory store, in one place, so that tests can put a scheduler's in theirs.

pub(super) use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
pub(super) use std::sync::OnceLock;

pub(super) use parking_lot::{Mutex, MutexGuard, RwLock};

/// Waiting for what takes another thread some nanoseconds, unless it was put to sleep.
pub(super) struct Wait {
    moments: u32,
}

impl Wait {
    /// So often the processor is asked to wait before the scheduler is.
    const SPINS: u32 = 64;

    pub(super) fn new() -> Self {
        Wait { moments: 0 }
    }

    pub(super) fn a_moment(&mut self) {
        if self.moments < Self::SPINS {
            self.moments = self.moments.wrapping_add(1);
            core::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}
