//! Envoy's log, in its component `dynamic_modules`.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::abi::level;
use crate::host;

/// Something happened as it should.
pub(crate) fn info(message: &str) {
    host::log(level::INFO, &format!("tollgate: {message}"));
}

/// Something to look at.
pub(crate) fn warn(message: &str) {
    host::log(level::WARN, &format!("tollgate: {message}"));
}

/// Something is lost, or does not work.
pub(crate) fn error(message: &str) {
    host::log(level::ERROR, &format!("tollgate: {message}"));
}

/// A message that every request would repeat: at most once a second.
pub(crate) struct Seldom(AtomicU64);

impl Seldom {
    /// Not said yet.
    pub(crate) const fn new() -> Self {
        Seldom(AtomicU64::new(0))
    }

    /// Says it, unless it was said within a second.
    pub(crate) fn warn(&self, now_ms: u64, message: impl FnOnce() -> String) {
        let last = self.0.load(Ordering::Relaxed);
        // A clock that was set back says it again.
        if now_ms.abs_diff(last) < 1000 {
            return;
        }
        if self.0.compare_exchange(last, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            warn(&message());
        }
    }
}
