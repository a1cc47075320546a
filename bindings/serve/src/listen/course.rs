//! When a connection is closed, and when it is cut off.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Stop;
use super::pace::{Due, Pace, Version, at};

/// How long an HTTP/1 connection may still bring a request when the server stops. Its answer says that it is the last one; a
/// connection that is closed without that could lose the request that is on its way.
const LAST_REQUEST_WITHIN: Duration = Duration::from_secs(1);

/// A connection's way to its end.
pub(super) struct Course {
    stop: watch::Receiver<Stop>,
    state: Way,
    timer: Pin<Box<Sleep>>,
}

struct Way {
    pace: Arc<Pace>,
    /// How long it may take to end once it was told to.
    patience: Duration,
    /// Since when the server stops.
    stopping: Option<Instant>,
    /// When it was told to end.
    closing: Option<Instant>,
}

impl Course {
    pub(super) fn new(pace: Arc<Pace>, patience: Duration, stop: watch::Receiver<Stop>) -> Self {
        let timer = Box::pin(sleep_until(pace.deadline().0));
        Course { stop, state: Way { pace, patience, stopping: None, closing: None }, timer }
    }

    /// What is to be done with the connection next.
    pub(super) async fn next(&mut self) -> Due {
        let Course { stop, state, timer } = self;
        if state.stopping.is_none() {
            tokio::select! {
                due = poll_fn(|cx| state.poll_due(timer, cx)) => return state.told(due),
                _ = stop.wait_for(|stop| *stop != Stop::No) => state.stopping = Some(Instant::now()),
            }
        }
        let due = poll_fn(|cx| state.poll_due(timer, cx)).await;
        state.told(due)
    }
}

impl Way {
    fn told(&mut self, due: Due) -> Due {
        if due == Due::Close {
            self.closing = Some(Instant::now());
        }
        due
    }

    /// Ready when a deadline is over. The timer is set anew when it fires, which is seldom, or when the deadline came nearer.
    fn poll_due(&self, timer: &mut Pin<Box<Sleep>>, cx: &mut Context<'_>) -> Poll<Due> {
        loop {
            let (deadline, due) = self.deadline();
            if timer.deadline() > deadline {
                timer.as_mut().reset(deadline);
            }
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(due);
            }
            timer.as_mut().reset(deadline);
        }
    }

    fn deadline(&self) -> (Instant, Due) {
        let (deadline, due) = self.pace.deadline();
        if let Some(since) = self.closing {
            // Told already: it ends when its requests do.
            return match due {
                Due::Close => (at(since, self.patience), Due::Cut),
                Due::Cut => (deadline, due),
            };
        }
        let Some(since) = self.stopping else { return (deadline, due) };
        let close = match self.pace.version() {
            // The protocol says which requests are served still.
            Version::Http2 => since,
            // The rest of it is on its way.
            _ if self.pace.is_arriving() => return (deadline, due),
            _ => at(since, LAST_REQUEST_WITHIN),
        };
        if close <= deadline { (close, Due::Close) } else { (deadline, due) }
    }
}
