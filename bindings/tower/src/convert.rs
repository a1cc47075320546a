//! Between http's types and the core's.

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, ETAG};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, response};
use http_body::SizeHint;
use tollgate::{Answer, Decision, Engine, Headers, StoredResponse};

/// A header map as the core reads it.
pub(crate) struct ByName<'a>(pub &'a HeaderMap);

impl Headers for ByName<'_> {
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        self.0.get_all(name).iter().nth(nth).map(HeaderValue::as_bytes)
    }
}

/// A denial or a replay as it is sent.
pub(crate) fn response(answer: Answer) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(answer.body));
    // What the core answers are valid statuses and headers; what a store gave back may not be.
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in answer.headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_maybe_shared(Bytes::from(value))) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// Puts the engine's headers on an allowed request's response, in place of the upstream's own.
pub(crate) fn add_headers(engine: &Engine, decision: &Decision, headers: &mut HeaderMap) {
    engine.for_each_header(decision, |name, value| {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            headers.insert(name, value);
        }
    });
}

/// The answer when the upstream gave none in time.
pub(crate) fn upstream_timeout() -> Response<Bytes> {
    let body = Bytes::from_static(
        b"{\"message\":\"The request was passed on, but no answer came in time. It may have been \
          carried out: check before you send it again.\",\"code\":\"upstream_timeout\"}",
    );
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The head of an upstream's response, as it is kept for replays.
pub(crate) struct KeptHead {
    status: u16,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl KeptHead {
    pub(crate) fn new(head: &response::Parts, names: &[HeaderName]) -> KeptHead {
        let kept = |name: &HeaderName| {
            let values = head.headers.get_all(name).iter();
            values.map(|value| (name.clone(), value.clone())).collect::<Vec<_>>()
        };
        KeptHead { status: head.status.as_u16(), headers: names.iter().flat_map(kept).collect() }
    }

    /// The same for an answer to HEAD: with the length of what GET would give.
    pub(crate) fn of_head_request(mut self, head: &response::Parts, size: &SizeHint) -> KeptHead {
        let told = head.headers.get(CONTENT_LENGTH).cloned();
        if let Some(length) = told.or_else(|| size.exact().map(HeaderValue::from)) {
            self.headers.push((CONTENT_LENGTH, length));
        }
        self
    }

    /// With its body; without one, headers that describe the bytes of a body are left out too.
    pub(crate) fn with_body(self, body: Option<Vec<u8>>) -> StoredResponse {
        let whole = body.is_some();
        let headers = self
            .headers
            .into_iter()
            .filter(|(name, _)| whole || !(*name == CONTENT_ENCODING || *name == ETAG))
            .map(|(name, value)| (name.as_str().into(), value.as_bytes().into()))
            .collect();
        StoredResponse { status: self.status, headers, body: body.map(Vec::into_boxed_slice) }
    }
}
