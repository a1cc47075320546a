//! One connection.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use http::{HeaderValue, Version, header};
use hyper::body::{Body, Frame, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::course::Course;
use super::pace::{Due, Open, Pace};
use super::socket::Stream;
use super::timed::Timed;
use super::{Serving, Stop};
use crate::caller::Caller;
use crate::options::Bounds;

/// How often an HTTP/2 connection without streams is asked whether it is still there, and how long it may take to answer.
const PING_EVERY: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// Serves a connection on a task of its own; closes it at once when there are too many. `alive` goes with it.
pub(super) fn start(
    serving: &Arc<Serving>,
    mut stop: watch::Receiver<Stop>,
    alive: watch::Receiver<()>,
    stream: Stream,
    caller: Caller,
) {
    let Ok(permit) = Arc::clone(&serving.connections).try_acquire_owned() else {
        serving.shared.metrics.connections_refused.inc();
        return;
    };
    let serving = Arc::clone(serving);
    tokio::spawn(async move {
        let counted = Counted::new(&serving, permit);
        let served = serve(&serving, stop.clone(), stream, caller);
        tokio::select! {
            () = served => {}
            // Also when nobody is there any more who could say so.
            _ = stop.wait_for(|stop| *stop == Stop::Cut) => {}
        }
        drop((counted, alive));
    });
}

async fn serve(serving: &Serving, stop: watch::Receiver<Stop>, stream: Stream, caller: Caller) {
    let bounds = serving.shared.options.bounds;
    let router = serving.router.clone();
    let Some(tls) = &serving.tls else {
        return run(stream, router, caller, bounds, stop).await;
    };
    let shake = TlsAcceptor::from(tls.config()).accept(stream);
    // Who does not finish a handshake in the time of a request is no client.
    let shaken = tokio::time::timeout(bounds.receive_timeout, shake).await;
    if let Ok(Ok(stream)) = shaken {
        run(stream, router, caller, bounds, stop).await;
    }
}

pub(super) async fn run<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: Router,
    caller: Caller,
    bounds: Bounds,
    stop: watch::Receiver<Stop>,
) {
    let pace = Arc::new(Pace::new(bounds));
    let stream = Timed::new(stream, Arc::clone(&pace), bounds.receive_timeout);
    let (opening, stopping) = (Arc::clone(&pace), stop.clone());
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        let open = opening.begin();
        let stopping = stopping.clone();
        let says_when_it_closes = request.version() <= Version::HTTP_11;
        request.extensions_mut().insert(caller);
        let answer = router.clone().oneshot(request.map(axum::body::Body::new));
        async move {
            let mut response = answer.await?;
            if says_when_it_closes && *stopping.borrow() != Stop::No {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            Ok::<_, std::convert::Infallible>(response.map(|body| Answered { body, _open: open }))
        }
    });
    let server = builder(&bounds);
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service));
    let mut course = Course::new(pace, bounds.receive_timeout, stop);
    loop {
        tokio::select! {
            // First: what it reads moves the deadline.
            biased;
            // How a client ends its connection is its own affair.
            _ = connection.as_mut() => return,
            due = course.next() => match due {
                Due::Close => connection.as_mut().graceful_shutdown(),
                Due::Cut => return,
            },
        }
    }
}

fn builder(bounds: &Bounds) -> auto::Builder<TokioExecutor> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    let max_head = u32::try_from(bounds.max_head_bytes).unwrap_or(u32::MAX);
    server
        .http1()
        .timer(TokioTimer::new())
        // It would count the wait between two requests too.
        .header_read_timeout(None)
        .max_buf_size(bounds.max_head_bytes.max(8192));
    server
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(max_head)
        .max_concurrent_streams(bounds.max_streams)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN);
    server
}

/// An answer's body, which keeps its request open until it is taken or given up.
struct Answered {
    body: axum::body::Body,
    _open: Open,
}

impl Body for Answered {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
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
