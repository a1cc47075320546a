//! Listeners: sockets, TLS, bounds, and a graceful end.

mod connection;
mod socket;
mod timed;
mod tls;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

pub use socket::Bound;
pub(crate) use socket::Socket;
pub(crate) use tls::Tls;

use crate::options::Bounds;
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

/// Serves until `stop` says so; then connections are ended once the requests under way are answered, at the latest
/// after the grace.
pub(crate) fn serve(
    socket: Socket,
    serving: Serving,
    stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(accept(socket, Arc::new(serving), stop))
}

async fn accept(socket: Socket, serving: Arc<Serving>, mut stop: watch::Receiver<bool>) {
    let bounds = serving.shared.options.bounds;
    let ending = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, caller)) => connection::start(&serving, &ending, stream, caller),
            Err(error) => pause(&error).await,
        }
    }
    // Nobody is accepted any more; what waits in the queue of the system is refused.
    drop(socket);
    end(ending, &bounds).await;
}

async fn end(ending: GracefulShutdown, bounds: &Bounds) {
    if tokio::time::timeout(bounds.shutdown_grace, ending.shutdown()).await.is_err() {
        tracing::warn!("requests that were still under way after the grace are cut off");
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
        tracing::warn!(%error, "connections cannot be accepted");
        tokio::time::sleep(PAUSE).await;
    }
}
