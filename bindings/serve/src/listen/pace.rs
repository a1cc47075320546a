//! How far a connection's requests are, and until when it may stay so.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::options::Bounds;

/// How an HTTP/2 connection begins (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection's stream and its requests report, and what follows from it.
pub(super) struct Pace {
    bounds: Bounds,
    state: Mutex<State>,
}

struct State {
    /// How much of the preface came, until it is known which version is spoken.
    preface: usize,
    version: Version,
    /// Requests that are not answered to their end.
    open: usize,
    /// When a request came or was answered.
    changed: Instant,
    /// Since when an HTTP/1 request arrives, as long as its head is not whole.
    arriving: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Unknown,
    Http1,
    Http2,
}

/// What happens at a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nobody asks any more: it is closed as its protocol wants it.
    Close,
    /// The client is too slow: it is cut off.
    Cut,
}

impl Pace {
    pub(super) fn new(bounds: Bounds) -> Self {
        let now = Instant::now();
        let state = State {
            preface: 0,
            version: Version::Unknown,
            open: 0,
            changed: now,
            // A connection's first request is waited for as if it had begun with it.
            arriving: Some(now),
        };
        Pace { bounds, state: Mutex::new(state) }
    }

    pub(super) fn version(&self) -> Version {
        self.state.lock().version
    }

    /// Whether a part of an HTTP/1 head came, or of what may become one.
    pub(super) fn is_arriving(&self) -> bool {
        let state = self.state.lock();
        let nothing_came = state.version == Version::Unknown && state.preface == 0;
        state.arriving.is_some() && !nothing_came
    }

    /// Bytes came from the client.
    pub(super) fn received(&self, bytes: &[u8]) {
        let state = &mut *self.state.lock();
        if state.version == Version::Unknown {
            state.look_for_preface(bytes);
        }
        if state.version == Version::Http1 && state.open == 0 && state.arriving.is_none() {
            state.arriving = Some(Instant::now());
        }
    }

    /// A request's head is whole. The request is open until the guard is gone, which its answer has.
    pub(super) fn begin(self: &Arc<Self>) -> Open {
        let mut state = self.state.lock();
        state.arriving = None;
        state.open = state.open.saturating_add(1);
        state.changed = Instant::now();
        Open(Arc::clone(self))
    }

    /// Until when it may stay as it is, and what happens then.
    ///
    /// HTTP/2 frames are not looked into. A head that trickles in on such a connection opens no request, and so the connection
    /// counts as idle.
    pub(super) fn deadline(&self) -> (Instant, Due) {
        let Bounds { receive_timeout, idle_timeout, answer_timeout, .. } = self.bounds;
        let state = self.state.lock();
        if state.open > 0 {
            // The answer's own time includes that of the request's body; then the client has to take it.
            let patience = answer_timeout.saturating_add(receive_timeout);
            return (at(state.changed, patience), Due::Cut);
        }
        match state.arriving {
            Some(since) => (at(since, receive_timeout), Due::Cut),
            None => (at(state.changed, idle_timeout), Due::Close),
        }
    }
}

impl State {
    fn look_for_preface(&mut self, bytes: &[u8]) {
        let rest = PREFACE.get(self.preface..).unwrap_or_default();
        let common = rest.iter().zip(bytes).take_while(|(expected, byte)| expected == byte).count();
        self.preface = self.preface.saturating_add(common);
        if common == rest.len() {
            self.version = Version::Http2;
            self.arriving = None;
            self.changed = Instant::now();
        } else if common < bytes.len() {
            self.version = Version::Http1;
        }
    }
}

/// A request that is not answered to its end.
pub(super) struct Open(Arc<Pace>);

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.open = state.open.saturating_sub(1);
        state.changed = Instant::now();
    }
}

pub(super) fn at(since: Instant, patience: Duration) -> Instant {
    // A patience beyond what a clock can tell is a year.
    since.checked_add(patience.min(Duration::from_secs(31_536_000))).unwrap_or(since)
}
