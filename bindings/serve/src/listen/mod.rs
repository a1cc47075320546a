//! Listeners: sockets, TLS, bounds, and a graceful end.

mod connection;
mod course;
mod pace;
mod socket;
#[cfg(test)]
mod tests;
mod timed;
mod tls;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

pub use socket::Bound;
pub(crate) use socket::Socket;
pub(crate) use tls::Tls;

use crate::seldom::Seldom;
use crate::shared::Shared;

/// What a listener serves, and how.
pub(crate) struct Serving {
    pub shared: Arc<Shared>,
    pub router: Router,
    pub tls: Option<Arc<Tls>>,
    /// Connections at once, of all listeners together.
    pub connections: Arc<Semaphore>,
}

/// How long accepting pauses when the system has no more file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// What listeners and connections are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    No,
    /// Nobody is accepted any more, connections end once their requests are answered.
    Gently,
    /// Connections are cut off.
    Cut,
}

/// Accepts until `stop` says so. `alive` is given to each connection and goes with it.
pub(crate) fn serve(
    socket: Socket,
    serving: Serving,
    stop: watch::Receiver<Stop>,
    alive: watch::Receiver<()>,
) -> JoinHandle<()> {
    tokio::spawn(accept(socket, Arc::new(serving), stop, alive))
}

async fn accept(
    socket: Socket,
    serving: Arc<Serving>,
    mut stop: watch::Receiver<Stop>,
    alive: watch::Receiver<()>,
) {
    let stopping = stop.clone();
    let start = |(stream, caller)| {
        connection::start(&serving, stopping.clone(), alive.clone(), stream, caller);
    };
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = stop.wait_for(|stop| *stop != Stop::No) => break,
        };
        match accepted {
            Ok(accepted) => start(accepted),
            Err(error) => pause(&error).await,
        }
    }
    // Clients in the system's queue have sent their requests already, for all that they know.
    while let Some(accepted) = socket.accept_waiting() {
        start(accepted);
    }
}

async fn pause(error: &io::Error) {
    // One client's connection that is gone again is nothing; running out of descriptors is.
    let gone = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    );
    if !gone {
        static FAILED: Seldom = Seldom::new();
        if FAILED.is_time() {
            tracing::warn!(%error, "connections cannot be accepted");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
