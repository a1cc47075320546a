//! What is asked about a request, whoever asks: a proxy, Envoy, or a service with JSON.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use tollgate::{Amount, Body, Engine, Headers, Request};

/// How a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Via {
    /// A proxy's forward-auth request.
    ForwardAuth,
    /// nginx's `auth_request`.
    Nginx,
    /// Envoy's `ext_authz` over HTTP.
    EnvoyHttp,
    /// Envoy's `ext_authz` over gRPC.
    EnvoyGrpc,
    /// `POST /v1/decide`.
    Api,
}

impl Via {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Via::ForwardAuth => "forward-auth",
            Via::Nginx => "nginx",
            Via::EnvoyHttp => "envoy-http",
            Via::EnvoyGrpc => "envoy-grpc",
            Via::Api => "api",
        }
    }
}

/// Header names and values, of which the engine reads those that it knows.
#[derive(Clone, Default)]
pub(crate) struct HeaderList(pub Vec<(Bytes, Bytes)>);

impl Headers for HeaderList {
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        self.0.as_slice().value(name, nth)
    }

    fn each_value<'h>(&'h self, name: &str, each: &mut dyn FnMut(&'h [u8]) -> bool) {
        self.0.as_slice().each_value(name, each);
    }
}

/// A request to decide, with all that is known about it.
pub(crate) struct Question {
    /// Under which policy it is read, decided and answered: a reload does not mix two.
    pub engine: Arc<Engine>,
    pub via: Via,
    /// The caller's name for it, for logs.
    pub id: Option<Box<str>>,
    pub method: Bytes,
    pub target: Bytes,
    pub headers: HeaderList,
    pub peer: Option<IpAddr>,
    pub body: Payload,
    pub cost: Option<Amount>,
    pub sender: Option<Box<str>>,
    pub invalid: Option<Box<str>>,
    pub peek: bool,
    /// Whether the trace is wanted.
    pub explain: bool,
}

/// A request's body as far as it is known.
#[derive(Clone)]
pub(crate) enum Payload {
    Bytes(Bytes),
    Sha256([u8; 32]),
}

impl Question {
    pub(crate) fn new(engine: Arc<Engine>, via: Via, method: Bytes, target: Bytes) -> Self {
        Question {
            engine,
            via,
            id: None,
            method,
            target,
            headers: HeaderList::default(),
            peer: None,
            body: Payload::Bytes(Bytes::new()),
            cost: None,
            sender: None,
            invalid: None,
            peek: false,
            explain: false,
        }
    }

    pub(crate) fn request(&self, now_ms: u64) -> Request<'_> {
        Request {
            peer: self.peer,
            body: match &self.body {
                Payload::Bytes(bytes) => Body::Bytes(bytes),
                Payload::Sha256(digest) => Body::Sha256(*digest),
            },
            cost: self.cost,
            sender: self.sender.as_deref(),
            invalid: self.invalid.as_deref(),
            peek: self.peek,
            ..Request::new(&self.method, &self.target, now_ms).with_headers(&self.headers)
        }
    }

    /// The path without the query, which may hold customers' data.
    pub(crate) fn path(&self) -> &[u8] {
        self.target.split(|byte| *byte == b'?').next().unwrap_or_default()
    }

    pub(crate) fn source(&self, now_ms: u64) -> Option<IpAddr> {
        self.engine.source_address(&self.request(now_ms))
    }
}
