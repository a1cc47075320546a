//! Lines that callers can cause, and must not fill a disk with.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long it is quiet after a line.
const QUIET: Duration = Duration::from_secs(5);

/// Says when it is time for a line again.
pub(crate) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    pub(crate) const fn new() -> Self {
        Seldom(Mutex::new(None))
    }

    pub(crate) fn is_time(&self) -> bool {
        let mut last = self.0.lock();
        let is_time = last.is_none_or(|last| last.elapsed() >= QUIET);
        if is_time {
            *last = Some(Instant::now());
        }
        is_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_and_then_quiet() {
        let seldom = Seldom::new();
        assert!(seldom.is_time());
        assert!(!seldom.is_time());
    }
}
