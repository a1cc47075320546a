//! A connection to the gateway.

use std::sync::Arc;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::{HeaderMap, Request};
use tokio::runtime::Runtime;
use tollgate_gateway_tests::TOKEN;

/// What a stream answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn trailer(&self, name: &str) -> Option<&str> {
        self.trailers.as_ref()?.get(name)?.to_str().ok()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The status with the `code` of a denial's body.
    pub(crate) fn verdict(&self) -> (u16, String) {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        (self.status, body["code"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) fn is_replay(&self) -> bool {
        self.header("idempotent-replayed") == Some("true")
    }
}

/// A connection, with prior knowledge that the other side speaks HTTP/2.
#[derive(Clone)]
pub(crate) struct Http2 {
    runtime: Arc<Runtime>,
    send: SendRequest<Bytes>,
}

/// A request on its way.
pub(crate) struct Call {
    runtime: Arc<Runtime>,
    response: ResponseFuture,
    body: SendStream<Bytes>,
}

impl Http2 {
    pub(crate) fn connect(port: u16) -> Http2 {
        let runtime = Arc::new(
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap(),
        );
        let send = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (send, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(async move { drop(connection.await) });
            send
        });
        Http2 { runtime, send }
    }

    /// Begins a request, of which there is a body to come unless it `ends`.
    pub(crate) fn begin(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        ends: bool,
    ) -> Call {
        let mut request = Request::builder().method(method).uri(format!("http://test{target}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        let (response, body) = self.runtime.block_on(async {
            let mut send = self.send.clone().ready().await.unwrap();
            send.send_request(request, ends).unwrap()
        });
        Call { runtime: Arc::clone(&self.runtime), response, body }
    }

    pub(crate) fn ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut call = self.begin(method, target, headers, body.is_empty());
        if !body.is_empty() {
            call.write(body, true);
        }
        call.answer().unwrap()
    }

    /// A request of the account's.
    pub(crate) fn ask_as_account(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.ask(method, target, &as_account(headers), body)
    }

    /// A payment, the same as the gateway's over HTTP/1.1.
    pub(crate) fn pay(&self, key: &str) -> Answer {
        self.ask_as_account("POST", "/pay", &[("idempotency-key", key)], b"{\"to\":1}")
    }

    pub(crate) fn begin_to_pay(&self, key: &str) -> Call {
        let headers = as_account(&[("idempotency-key", key)]);
        let mut call = self.begin("POST", "/pay", &headers, false);
        call.write(b"{\"to\":1}", true);
        call
    }
}

/// With the account's token.
pub(crate) fn as_account<'h>(headers: &[(&'h str, &'h str)]) -> Vec<(&'h str, &'h str)> {
    const { assert!(TOKEN.len() == 6) }
    let mut all = vec![("authorization", "Bearer t-acme")];
    all.extend_from_slice(headers);
    all
}

impl Call {
    /// Some of the body, as a frame of its own or more.
    pub(crate) fn write(&mut self, body: &[u8], ends: bool) {
        let _entered = self.runtime.enter();
        // A stream that was reset meanwhile takes no more.
        let _ = self.body.send_data(Bytes::copy_from_slice(body), ends);
    }

    pub(crate) fn end_with_trailers(&mut self, trailers: &[(&'static str, &str)]) {
        let _entered = self.runtime.enter();
        let trailers = trailers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        self.body.send_trailers(trailers.collect()).unwrap();
    }

    /// `RST_STREAM`; the connection stays.
    pub(crate) fn reset(mut self) {
        let runtime = Arc::clone(&self.runtime);
        let _entered = runtime.enter();
        self.body.send_reset(Reason::CANCEL);
    }

    /// Once there is a head and at least a byte of the body.
    pub(crate) fn until_body(self) -> (Resetting, u16) {
        let Call { runtime, response, body } = self;
        let (response, status) = runtime.block_on(async {
            let response = response.await.unwrap();
            let status = response.status().as_u16();
            let mut response = response.into_body();
            response.data().await.unwrap().unwrap();
            (response, status)
        });
        (Resetting { runtime, body, _response: response }, status)
    }

    pub(crate) fn answer(self) -> Result<Answer, h2::Error> {
        let Call { runtime, response, body: _body } = self;
        runtime.block_on(read(response))
    }

    /// What the answer is, without waiting for it here.
    pub(crate) fn spawn(self) -> tokio::task::JoinHandle<Result<Answer, h2::Error>> {
        let Call { runtime, response, body } = self;
        runtime.spawn(async move {
            let answer = read(response).await;
            drop(body);
            answer
        })
    }
}

/// A call of which a part of the response was read.
pub(crate) struct Resetting {
    runtime: Arc<Runtime>,
    body: SendStream<Bytes>,
    _response: h2::RecvStream,
}

impl Resetting {
    pub(crate) fn reset(mut self) {
        let _entered = self.runtime.enter();
        self.body.send_reset(Reason::CANCEL);
    }
}

impl Http2 {
    pub(crate) fn join(
        &self,
        calls: Vec<tokio::task::JoinHandle<Result<Answer, h2::Error>>>,
    ) -> Vec<Answer> {
        let join = async {
            let mut answers = Vec::new();
            for call in calls {
                answers.push(call.await.unwrap().unwrap());
            }
            answers
        };
        self.runtime.block_on(join)
    }
}

async fn read(response: ResponseFuture) -> Result<Answer, h2::Error> {
    let (head, mut stream) = response.await?.into_parts();
    let mut body = Vec::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk?;
        stream.flow_control().release_capacity(chunk.len())?;
        body.extend_from_slice(&chunk);
    }
    let trailers = stream.trailers().await?;
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body, trailers })
}
