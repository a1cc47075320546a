//! A small HTTP client: one connection, one request after another.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tollgate::TokenText;

/// No answer of the demo takes longer.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// A request to make.
#[derive(Clone)]
pub(super) struct Call {
    method: &'static str,
    path: &'static str,
    authorization: Option<String>,
    key: Option<String>,
    body: String,
}

impl Call {
    pub(super) fn get(path: &'static str, token: &TokenText) -> Call {
        Call { method: "GET", ..Call::post(path, token, "") }
    }

    pub(super) fn post(path: &'static str, token: &TokenText, body: &str) -> Call {
        let authorization = Some(format!("Bearer {}", token.expose()));
        Call { method: "POST", path, authorization, key: None, body: body.into() }
    }

    pub(super) fn key(self, key: &str) -> Call {
        Call { key: Some(key.into()), ..self }
    }

    pub(super) fn authorization(self, value: Option<&str>) -> Call {
        Call { authorization: value.map(str::to_owned), ..self }
    }

    /// As it is shown in a row.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What came back.
pub(super) struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The `code` of an error's body.
    pub(super) fn code(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        Some(body.get("code")?.as_str()?.to_owned())
    }
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("no such request: {0}")]
    Request(#[from] http::Error),
    #[error("no answer: {0}")]
    Exchange(#[from] hyper::Error),
    #[error("no answer within {PATIENCE:?}")]
    TooLate(#[from] tokio::time::error::Elapsed),
}

/// A connection.
pub(super) struct Client(SendRequest<Full<Bytes>>);

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Result<Client, ClientError> {
        let stream = TcpStream::connect(address).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends when the sender is dropped.
        tokio::spawn(connection);
        Ok(Client(sender))
    }

    pub(super) async fn send(&mut self, call: &Call) -> Result<Reply, ClientError> {
        tokio::time::timeout(PATIENCE, self.exchange(call)).await?
    }

    async fn exchange(&mut self, call: &Call) -> Result<Reply, ClientError> {
        self.0.ready().await?;
        let mut request = Request::builder()
            .method(call.method)
            .uri(call.path)
            .header("host", "localhost")
            .header("content-type", "application/json");
        if let Some(value) = &call.authorization {
            request = request.header("authorization", value);
        }
        if let Some(value) = &call.key {
            request = request.header("idempotency-key", value);
        }
        let request = request.body(Full::new(Bytes::from(call.body.clone())))?;
        let (head, body) = self.0.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Reply { status: head.status.as_u16(), headers: head.headers, body })
    }
}

/// One request on a connection of its own.
pub(super) async fn send(address: SocketAddr, call: &Call) -> Result<Reply, ClientError> {
    Client::connect(address).await?.send(call).await
}
