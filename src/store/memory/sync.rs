//! The locks and atomics of the memory store, in one place, so that tests can put a scheduler's in theirs.

pub(super) use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
pub(super) use std::sync::OnceLock;

pub(super) use parking_lot::{Mutex, MutexGuard, RwLock};
