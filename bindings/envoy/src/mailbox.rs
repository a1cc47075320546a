//! A result on its way from another thread to a stream that waits for it, or is gone.

use parking_lot::Mutex;

use crate::host::Scheduler;

/// Where one result is left for a filter.
///
/// The filter's thread is woken under the lock, and a filter that is destroyed takes the scheduler away under the same lock: Envoy asks
/// that nothing is scheduled for a worker that ends.
pub(crate) struct Mailbox<T>(Mutex<State<T>>);

enum State<T> {
    Waiting(Scheduler),
    Arrived(T),
    Taken,
}

impl<T> Mailbox<T> {
    /// Nothing has arrived; `scheduler` wakes who waits.
    pub(crate) fn new(scheduler: Scheduler) -> Self {
        Mailbox(Mutex::new(State::Waiting(scheduler)))
    }

    /// Leaves the result and wakes the filter.
    ///
    /// # Errors
    /// Gives the result back when nobody waits any more.
    pub(crate) fn deliver(&self, result: T) -> Result<(), T> {
        let mut state = self.0.lock();
        match core::mem::replace(&mut *state, State::Taken) {
            State::Waiting(scheduler) => {
                *state = State::Arrived(result);
                scheduler.wake();
                Ok(())
            }
            State::Arrived(_) | State::Taken => Err(result),
        }
    }

    /// What has arrived, once.
    pub(crate) fn take(&self) -> Option<T> {
        let mut state = self.0.lock();
        if matches!(*state, State::Waiting(_)) {
            return None;
        }
        match core::mem::replace(&mut *state, State::Taken) {
            State::Arrived(result) => Some(result),
            _ => None,
        }
    }

    /// Nobody waits any more; what has arrived meanwhile is given.
    pub(crate) fn close(&self) -> Option<T> {
        match core::mem::replace(&mut *self.0.lock(), State::Taken) {
            State::Arrived(result) => Some(result),
            State::Waiting(_) | State::Taken => None,
        }
    }
}
