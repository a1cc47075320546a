//! The locks and atomics of the memory store, in one place, so that tests can put a scheduler's in theirs.
//!
//! Nothing else in the store may name a lock, an atomic or a wait. Under `--cfg tollgate_shuttle` every use of
//! them is a point at which another thread may go on: `proof/schedules` chooses which.
#![allow(unused_imports, reason = "what the store might use is offered as a whole")]

#[cfg(not(tollgate_shuttle))]
pub(super) use machine::*;
#[cfg(tollgate_shuttle)]
pub(super) use scheduled::*;

/// Waiting for what takes another thread some nanoseconds, unless it was put to sleep.
pub(super) struct Wait {
    moments: u32,
}

impl Wait {
    /// So often the processor is asked to wait before the scheduler is.
    const SPINS: u32 = 64;

    #[inline]
    pub(super) fn new() -> Self {
        Wait { moments: 0 }
    }

    pub(super) fn a_moment(&mut self) {
        if self.moments < Self::SPINS {
            self.moments = self.moments.wrapping_add(1);
            spin_loop();
        } else {
            yield_now();
        }
    }
}

/// The machine's own.
#[cfg(not(tollgate_shuttle))]
mod machine {
    pub(in super::super) use core::hint::spin_loop;
    pub(in super::super) use core::sync::atomic::*;
    pub(in super::super) use std::sync::OnceLock;
    pub(in super::super) use std::thread::yield_now;

    pub(in super::super) use parking_lot::{
        Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
    };
}

/// Those of a scheduler that decides who goes on. It takes every order of memory for the strongest one.
#[cfg(tollgate_shuttle)]
mod scheduled {
    pub(in super::super) use shuttle::hint::spin_loop;
    pub(in super::super) use shuttle::sync::atomic::*;
    pub(in super::super) use shuttle::thread::yield_now;
    pub(in super::super) use shuttle_parking_lot::{
        Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
    };

    /// [`std::sync::OnceLock`], of which the scheduler has none.
    #[derive(Debug, Default)]
    pub(in super::super) struct OnceLock<T> {
        value: std::sync::OnceLock<T>,
        /// Whether others see the value.
        there: AtomicBool,
        /// Held while the value is made.
        making: Mutex<()>,
    }

    #[allow(dead_code, reason = "what the store might use is offered as a whole")]
    impl<T> OnceLock<T> {
        pub(in super::super) const fn new() -> Self {
            OnceLock {
                value: std::sync::OnceLock::new(),
                there: AtomicBool::new(false),
                making: shuttle_parking_lot::const_mutex(()),
            }
        }

        pub(in super::super) fn get(&self) -> Option<&T> {
            if self.there.load(Ordering::Acquire) { self.value.get() } else { None }
        }

        pub(in super::super) fn get_mut(&mut self) -> Option<&mut T> {
            self.value.get_mut()
        }

        pub(in super::super) fn into_inner(self) -> Option<T> {
            self.value.into_inner()
        }

        pub(in super::super) fn set(&self, value: T) -> Result<(), T> {
            let _making = self.making.lock();
            let set = self.value.set(value);
            self.there.store(true, Ordering::Release);
            set
        }

        pub(in super::super) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
            if let Some(value) = self.get() {
                return value;
            }
            let _making = self.making.lock();
            let value = self.value.get_or_init(make);
            self.there.store(true, Ordering::Release);
            value
        }
    }
}
