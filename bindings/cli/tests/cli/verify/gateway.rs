//! A gateway over HTTP, with one fault or none, and its admin API.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tollgate::{Amount, Engine, LiveEngine, MemoryStore, PolicyConfig};
use tollgate_tower::{Facts, TollgateLayer};

use super::admin;
use super::faults::{self, Fault};

/// What a gateway is made of.
pub(super) struct Parts {
    pub(super) fault: Fault,
    pub(super) store: Arc<MemoryStore>,
    pub(super) live: Arc<LiveEngine>,
    pub(super) config: PolicyConfig,
    /// Where the API behind it listens, once that is known.
    upstream: watch::Sender<Option<SocketAddr>>,
    pub(super) memory: Mutex<Memory>,
}

/// What faults remember.
#[derive(Default)]
pub(super) struct Memory {
    /// Accounts by the text of their tokens.
    pub(super) accounts: HashMap<String, String>,
    /// Tokens that were let through once.
    pub(super) passed: HashSet<String>,
    /// Keys that are in use, and those that were.
    pub(super) running: HashSet<String>,
    pub(super) done: HashMap<String, (StatusCode, Bytes)>,
    /// Denials that cost something later.
    pub(super) debts: HashMap<String, u64>,
}

pub(super) struct Gateway {
    pub(super) parts: Arc<Parts>,
    pub(super) address: SocketAddr,
    pub(super) admin: SocketAddr,
    // Ends the servers when it is dropped.
    pub(super) runtime: Runtime,
}

/// Prices that only the host knows, as for the preset.
pub(super) fn host_price(path: &str) -> Option<Amount> {
    match path {
        "/sms/send" => Some(Amount(5)),
        "/otp/send" => Some(Amount(3)),
        "/voice/send" => Some(Amount(20)),
        _ => None,
    }
}

impl Gateway {
    pub(super) fn start(config: PolicyConfig, fault: Fault) -> Gateway {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.unwrap();
        let store = Arc::new(MemoryStore::default());
        let live = Arc::new(LiveEngine::new(Engine::new(config.compile().unwrap())));
        let (upstream, memory) = (watch::Sender::new(None), Mutex::default());
        let parts = Arc::new(Parts { fault, store, live, config, upstream, memory });
        let layer = TollgateLayer::builder(Arc::clone(&parts.live), Arc::clone(&parts.store))
            .facts(|head| Facts { cost: host_price(head.uri.path()), ..Facts::default() })
            .build();
        let app = Router::new()
            .fallback(forward)
            .with_state(Arc::clone(&parts))
            .layer(layer)
            .layer(middleware::from_fn_with_state(Arc::clone(&parts), faulty));
        let address = serve(&runtime, app);
        let admin = serve(&runtime, admin::router(Arc::clone(&parts)));
        Gateway { parts, address, admin, runtime }
    }

    /// Has an API of its own behind it.
    pub(super) fn with_api(self) -> Gateway {
        let number = Arc::new(AtomicU64::new(0));
        let app = Router::new().fallback(move || {
            let number = number.fetch_add(1, Ordering::SeqCst);
            async move {
                // So long that duplicates meet.
                tokio::time::sleep(Duration::from_millis(50)).await;
                format!("{{\"number\":{number}}}")
            }
        });
        let address = serve(&self.runtime, app);
        self.set_upstream(address);
        self
    }

    pub(super) fn set_upstream(&self, address: SocketAddr) {
        self.parts.upstream.send_replace(Some(address));
    }
}

fn serve(runtime: &Runtime, app: Router) -> SocketAddr {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    runtime.spawn(async move { axum::serve(listener, service).await });
    address
}

/// Passes a request on to the API; without one, answers itself, never the same twice.
async fn forward(State(parts): State<Arc<Parts>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    pass_on(&parts, head, body).await
}

pub(super) async fn pass_on(parts: &Parts, head: http::request::Parts, body: Bytes) -> Response {
    let mut told = parts.upstream.subscribe();
    let told = tokio::time::timeout(Duration::from_secs(20), told.wait_for(Option::is_some)).await;
    let address = told.unwrap().unwrap().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let request = http::Request::builder()
        .method(head.method.clone())
        .uri(target)
        .header("host", "upstream")
        .body(Full::new(body))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let (mut head, body) = response.into_parts();
    head.headers.remove("connection");
    Response::from_parts(head, Body::new(body)).into_response()
}

async fn faulty(State(parts): State<Arc<Parts>>, request: Request, next: Next) -> Response {
    faults::answer(&parts, request, next).await
}
