//! One connection.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::Serving;
use super::socket::Stream;
use super::timed::{Patience, Timed};
use crate::caller::Caller;
use crate::options::Bounds;

/// How often an HTTP/2 connection without streams is asked whether it is still there, and how long it may take to answer.
const PING_EVERY: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// Serves a connection on a task of its own; closes it at once when there are too many.
pub(super) fn start(
    serving: &Arc<Serving>,
    ending: &GracefulShutdown,
    stream: Stream,
    caller: Caller,
) {
    let Ok(permit) = Arc::clone(&serving.connections).try_acquire_owned() else {
        serving.shared.metrics.connections_refused.inc();
        return;
    };
    let bounds = serving.shared.options.bounds;
    let patience = Patience { receive: bounds.receive_timeout, idle: bounds.idle_timeout };
    let watcher = ending.watcher();
    let serving = Arc::clone(serving);
    tokio::spawn(async move {
        let counted = Counted::new(&serving, permit);
        let stream = Timed::new(stream, patience);
        match &serving.tls {
            None => run(stream, serving.router.clone(), caller, &bounds, watcher).await,
            Some(tls) => {
                let shake = TlsAcceptor::from(tls.config()).accept(stream);
                // Who does not finish a handshake in the time of a request is no client.
                let shaken = tokio::time::timeout(bounds.receive_timeout, shake).await;
                if let Ok(Ok(stream)) = shaken {
                    run(stream, serving.router.clone(), caller, &bounds, watcher).await;
                }
            }
        }
        drop(counted);
    });
}

async fn run<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: Router,
    caller: Caller,
    bounds: &Bounds,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(caller);
        router.clone().oneshot(request.map(axum::body::Body::new))
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    let max_head = u32::try_from(bounds.max_head_bytes).unwrap_or(u32::MAX);
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(bounds.max_head_bytes.max(8192));
    server
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(max_head)
        .max_concurrent_streams(bounds.max_streams)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN);
    let connection = server.serve_connection(TokioIo::new(stream), service);
    // How a client ends its connection is its own affair.
    let _ = watcher.watch(connection.into_owned()).await;
}

/// A connection in the gauge, and its permit.
struct Counted {
    gauge: prometheus_client::metrics::gauge::Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Counted {
    fn new(serving: &Serving, permit: OwnedSemaphorePermit) -> Self {
        let gauge = serving.shared.metrics.connections.clone();
        gauge.inc();
        Counted { gauge, _permit: permit }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}
