//! A client that takes no more than it is told: of time, bytes, requests and requests a second.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::call::Call;
use crate::exit::Failure;

/// The longest body that is read of an answer.
const MAX_BODY_BYTES: usize = 4 << 20;

/// What came back.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(super) fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The `code` of a denial's body.
    pub(super) fn code(&self) -> Option<String> {
        Some(self.json()?.get("code")?.as_str()?.to_owned())
    }
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("no connection: {0}")]
    Connect(#[from] std::io::Error),
    #[error("no HTTP answer: {0}")]
    Exchange(#[from] hyper::Error),
    #[error("an answer that cannot be read: {0}")]
    Body(String),
    #[error("no answer within {0:?}")]
    TooLate(Duration),
    #[error("HTTP cannot carry the request: {0}")]
    Request(#[from] http::Error),
    #[error("{0} requests were made, which is all that --max-requests allows")]
    Spent(u64),
}

/// Bounds of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) timeout: Duration,
    pub(super) max_requests: u64,
    /// Between the starts of two requests.
    pub(super) pause: Duration,
}

/// Where requests go.
pub(super) struct Client {
    host: String,
    port: u16,
    authority: String,
    /// Without a slash at its end.
    base_path: String,
    base: String,
    tls: Option<TlsConnector>,
    bounds: Bounds,
    made: AtomicU64,
    next: Mutex<Instant>,
}

impl Client {
    pub(super) fn new(url: &str, bounds: Bounds) -> Result<Client, Failure> {
        let wrong = |why: &str| Failure::at(url, why);
        let uri: Uri = url.parse().map_err(|error| Failure::at(url, error))?;
        let authority = uri.authority().ok_or_else(|| wrong("give http://HOST[:PORT][/PATH]"))?;
        if authority.as_str().contains('@') {
            return Err(Failure::new("a URL with a password: other users can see arguments"));
        }
        let (tls, port) = match uri.scheme_str() {
            Some("http") => (None, 80),
            Some("https") => (Some(connector()?), 443),
            _ => return Err(wrong("the scheme is neither http nor https")),
        };
        if uri.query().is_some() {
            return Err(wrong("leave the query out"));
        }
        Ok(Client {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(port),
            authority: authority.to_string(),
            base_path: uri.path().trim_end_matches('/').to_owned(),
            base: url.trim_end_matches('/').to_owned(),
            tls,
            bounds,
            made: AtomicU64::new(0),
            next: Mutex::new(Instant::now()),
        })
    }

    /// The URL, without a slash at its end.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    pub(super) fn left(&self) -> u64 {
        self.bounds.max_requests.saturating_sub(self.made())
    }

    /// The address from which a connection to the gateway goes out.
    pub(super) async fn own_address(&self) -> Option<IpAddr> {
        let stream = self.connect().await.ok()?;
        stream.local_addr().ok().map(|address| address.ip())
    }

    async fn connect(&self) -> Result<TcpStream, ClientError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    /// Makes one request on a connection of its own, once it may.
    pub(super) async fn send(&self, call: &Call) -> Result<Reply, ClientError> {
        self.take_turn().await;
        self.send_now(call).await
    }

    /// The same at once: its turn was [taken](Self::take_turn).
    pub(super) async fn send_now(&self, call: &Call) -> Result<Reply, ClientError> {
        if self.made.fetch_add(1, Ordering::Relaxed) >= self.bounds.max_requests {
            return Err(ClientError::Spent(self.bounds.max_requests));
        }
        let bound = self.bounds.timeout;
        let done = tokio::time::timeout(bound, self.exchange(call)).await;
        done.map_err(|_| ClientError::TooLate(bound))?
    }

    /// Waits until there may be one more request.
    pub(super) async fn take_turn(&self) {
        let mut next = self.next.lock().await;
        tokio::time::sleep_until(*next).await;
        let now = Instant::now();
        *next = now.checked_add(self.bounds.pause).unwrap_or(now);
    }

    async fn exchange(&self, call: &Call) -> Result<Reply, ClientError> {
        let request = self.request(call)?;
        let stream = self.connect().await?;
        match &self.tls {
            None => exchange(stream, request).await,
            Some(tls) => {
                let name = ServerName::try_from(self.host.clone())
                    .map_err(|error| ClientError::Body(error.to_string()))?;
                exchange(tls.connect(name, stream).await?, request).await
            }
        }
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, ClientError> {
        let target = format!("{}{}", self.base_path, call.target);
        let mut request = Request::builder()
            .method(call.method.as_str())
            .uri(target)
            .header("Host", &self.authority)
            .header("Connection", "close")
            .header("User-Agent", concat!("tollgate-verify/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        Ok(request.body(Full::new(call.body.clone()))?)
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Reply, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut connection = http1::Builder::new();
    connection.title_case_headers(true);
    let (mut sender, connection) = connection.handshake(TokioIo::new(stream)).await?;
    // Ends when the sender is dropped.
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_BODY_BYTES).collect().await;
    let body = body.map_err(|error| ClientError::Body(error.to_string()))?.to_bytes();
    drop(sender);
    driver.abort();
    Ok(Reply { status: head.status.as_u16(), headers: head.headers, body })
}

fn connector() -> Result<TlsConnector, Failure> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(Failure::new(
            "this system has no certificate authorities: install its package",
        ));
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
