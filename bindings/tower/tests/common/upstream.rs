//! An upstream that counts its executions and behaves as the header `x-mode` says.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tollgate_tower::Admitted;

pub type Chunk = Result<&'static str, std::io::Error>;

pub struct Upstream {
    pub executions: AtomicUsize,
    /// One permit for each call that began.
    pub entered: Semaphore,
    /// Calls in mode `slow` wait for a permit.
    pub release: Semaphore,
    /// The body of the next call in mode `stream`.
    pub chunks: Mutex<Option<UnboundedReceiver<Chunk>>>,
    /// What the last call was told about its admission.
    pub admitted: Mutex<Option<(Option<String>, u64)>>,
}

impl Default for Upstream {
    fn default() -> Self {
        Upstream {
            executions: AtomicUsize::new(0),
            entered: Semaphore::new(0),
            release: Semaphore::new(0),
            chunks: Mutex::new(None),
            admitted: Mutex::new(None),
        }
    }
}

impl Upstream {
    /// The sender of the next streamed body.
    pub fn stream(&self) -> UnboundedSender<Chunk> {
        let (sender, receiver) = unbounded_channel();
        *self.chunks.lock().unwrap() = Some(receiver);
        sender
    }

    pub async fn next_call(&self) {
        super::within(self.entered.acquire()).await.unwrap().forget();
    }
}

pub struct Stream(pub UnboundedReceiver<Chunk>);

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let chunk = std::task::ready!(self.0.poll_recv(cx));
        Poll::Ready(chunk.map(|chunk| match chunk {
            Ok("panic") => panic!("as the test wants"),
            chunk => chunk.map(|text| Frame::data(Bytes::from_static(text.as_bytes()))),
        }))
    }
}

pub fn router(upstream: Arc<Upstream>) -> Router {
    Router::new().fallback(handle).with_state(upstream)
}

async fn handle(State(upstream): State<Arc<Upstream>>, request: Request) -> Response {
    let number = upstream.executions.fetch_add(1, Ordering::SeqCst) + 1;
    let admitted = request.extensions().get::<Admitted>();
    *upstream.admitted.lock().unwrap() =
        admitted.map(|a| (a.route().map(str::to_owned), a.reserved.0));
    upstream.entered.add_permits(1);
    let headers = request.headers().clone();
    let header =
        |name: &str| headers.get(name).map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
    let head = [
        ("content-type", "application/json".to_owned()),
        ("location", format!("/messages/{number}")),
        ("set-cookie", "session=secret".to_owned()),
    ];
    let status = header("x-status").parse().unwrap_or(201);
    let status = http::StatusCode::from_u16(status).unwrap();
    match header("x-mode").as_str() {
        "slow" => upstream.release.acquire().await.unwrap().forget(),
        "hang" => std::future::pending().await,
        "panic" => panic!("as the test wants"),
        "echo" => {
            let body = request.into_body().collect().await.unwrap();
            let trailers = body.trailers().map_or(0, http::HeaderMap::len);
            let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
            return (status, head, format!("{text}|{trailers}")).into_response();
        }
        "stream" => {
            let chunks = upstream.chunks.lock().unwrap().take().unwrap();
            return (status, head, Body::new(Stream(chunks))).into_response();
        }
        "empty" => return (status, head).into_response(),
        _ => {}
    }
    let size = header("x-size").parse().unwrap_or(0);
    (status, head, format!("{{\"id\":{number}}}{}", " ".repeat(size))).into_response()
}
