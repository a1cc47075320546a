//! Panics on demand, for tests of the boundary that must stop them. No part of the interface.

use std::cell::Cell;

thread_local! {
    static PANICS: Cell<bool> = const { Cell::new(false) };
}

/// Makes the next call of the interface on this thread panic.
pub fn panic_at_the_next_call() {
    PANICS.set(true);
}

pub(crate) fn within<T>(body: impl FnOnce() -> T) -> T {
    if PANICS.take() {
        #[allow(clippy::panic, reason = "it is what tests ask for")]
        {
            panic!("injected");
        }
    }
    body()
}
