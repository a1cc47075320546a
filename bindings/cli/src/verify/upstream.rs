//! The API behind the gateway, where it is this command: it carries nothing out, and counts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::exit::Failure;

/// Nothing is held for longer.
const MAX_HOLD: Duration = Duration::from_secs(8);

struct Counters {
    calls: AtomicU64,
    holds: watch::Sender<bool>,
    arrived: Notify,
}

/// A running one.
pub(super) struct Upstream {
    counters: Arc<Counters>,
    server: JoinHandle<()>,
    address: SocketAddr,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Upstream {
    pub(super) async fn start(address: SocketAddr) -> Result<Upstream, Failure> {
        let fail = |error| Failure::at(format!("--upstream {address}"), error);
        let listener = TcpListener::bind(address).await.map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        let counters = Arc::new(Counters {
            calls: AtomicU64::new(0),
            holds: watch::Sender::new(false),
            arrived: Notify::new(),
        });
        let app = Router::new().fallback(answer).with_state(Arc::clone(&counters));
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Ok(Upstream { counters, server, address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests came.
    pub(super) fn calls(&self) -> u64 {
        self.counters.calls.load(Ordering::SeqCst)
    }

    /// Holds what comes from now on, until [`release`](Self::release).
    pub(super) fn hold(&self) {
        self.counters.holds.send_replace(true);
    }

    /// Answers what is held, and holds nothing more.
    pub(super) fn release(&self) {
        self.counters.holds.send_replace(false);
    }

    /// Waits until something came.
    pub(super) async fn arrival(&self) {
        self.counters.arrived.notified().await;
    }
}

async fn answer(State(counters): State<Arc<Counters>>) -> Response {
    let number = counters.calls.fetch_add(1, Ordering::SeqCst).saturating_add(1);
    counters.arrived.notify_one();
    let mut holds = counters.holds.subscribe();
    let _ = tokio::time::timeout(MAX_HOLD, holds.wait_for(|holds| !holds)).await;
    // Never the same twice, so that a second execution is seen.
    let body = format!("{{\"execution\":{number}}}");
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}
