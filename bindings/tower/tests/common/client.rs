//! One HTTP/1.1 exchange on a connection of its own.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A request under construction: `POST /sms/send` with token 1, unless told otherwise.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: &'static str,
    pub target: String,
    pub headers: Vec<(&'static str, Vec<u8>)>,
    pub body: Bytes,
}

impl Call {
    pub fn new(method: &'static str, target: &str) -> Call {
        Call { method, target: target.into(), headers: Vec::new(), body: Bytes::new() }.token(1)
    }

    pub fn sms() -> Call {
        Call {
            body: Bytes::from_static(b"{\"to\":\"+15550100\"}"),
            ..Call::new("POST", "/sms/send")
        }
    }

    pub fn header(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Call {
        self.headers.push((name, value.as_ref().into()));
        self
    }

    pub fn without(mut self, name: &str) -> Call {
        self.headers.retain(|(known, _)| *known != name);
        self
    }

    pub fn token(self, seed: u8) -> Call {
        let value = format!("Bearer {}", super::token(seed).expose());
        self.without("authorization").header("authorization", value)
    }

    pub fn key(self, key: &str) -> Call {
        self.header("idempotency-key", key)
    }

    pub fn mode(self, mode: &str) -> Call {
        self.header("x-mode", mode)
    }

    pub fn body(self, body: impl Into<Bytes>) -> Call {
        Call { body: body.into(), ..self }
    }

    pub fn request<B>(&self, body: B) -> Request<B> {
        let mut request = Request::builder().method(self.method).uri(&self.target);
        for (name, value) in &self.headers {
            request = request.header(*name, &value[..]);
        }
        request.header("host", "gateway").body(body).unwrap()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The `code` of a denial.
    pub fn code(&self) -> String {
        let value: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        value["code"].as_str().unwrap().into()
    }

    pub fn is_replay(&self) -> bool {
        self.header("idempotent-replayed") == Some("true")
    }
}

pub type Sender = http1::SendRequest<Full<Bytes>>;

pub async fn connect(address: SocketAddr) -> Sender {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub async fn send(address: SocketAddr, call: Call) -> Reply {
    send_on(&mut connect(address).await, &call).await
}

pub async fn send_on(sender: &mut Sender, call: &Call) -> Reply {
    sender.ready().await.unwrap();
    let response = sender.send_request(call.request(Full::new(call.body.clone()))).await.unwrap();
    reply(response).await.unwrap()
}

pub async fn reply(response: Response<Incoming>) -> Result<Reply, hyper::Error> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
}
