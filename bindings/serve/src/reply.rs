//! Responses: the engine's answers as they are sent, and this server's own errors in the same form.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use tollgate::Answer;

/// An error of this server, or of its caller: `{"message": …, "code": …}`, as the engine's denials are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
}

#[derive(Serialize)]
struct FaultBody<'a> {
    message: &'a str,
    code: &'a str,
}

impl Fault {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Fault { status, code, message: message.into() }
    }

    /// As an answer of the engine's, to be kept.
    pub(crate) fn into_answer(self) -> Answer {
        let body = FaultBody { message: &self.message, code: self.code };
        Answer {
            status: self.status.as_u16(),
            headers: vec![("Content-Type".into(), b"application/json".as_slice().into())],
            body: json_bytes(&body),
        }
    }

    /// What the caller sent is not what is documented.
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Fault::new(StatusCode::BAD_REQUEST, "malformed_request", message)
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let body = FaultBody { message: &self.message, code: self.code };
        let mut response = (self.status, json_bytes(&body)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, JSON);
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"tollgate\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

fn json_bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// An answer as it is sent. What a store gave back is not trusted to be valid, nor to be meant for a proxy: nginx would act on
/// `X-Accel-*` of a response that an upstream once gave.
pub(crate) fn response(answer: &Answer) -> Response {
    let body = Bytes::copy_from_slice(&answer.body);
    let mut response = Response::new(Body::from(body));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    add_headers(response.headers_mut(), answer);
    response
}

/// Adds an answer's headers, in order.
pub(crate) fn add_headers(headers: &mut HeaderMap, answer: &Answer) {
    for (name, value) in &answer.headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value))
            && !name.as_str().starts_with("x-accel-")
            && !name.as_str().starts_with("x-tollgate-")
        {
            headers.append(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_proxy_would_act_on_is_not_given_again() {
        let header = |name: &'static str, value: &str| (name.into(), value.as_bytes().to_vec());
        let stored = Answer {
            status: 201,
            headers: vec![
                header("X-Tag", "a"),
                header("X-Accel-Redirect", "/secret"),
                header("x-accel-limit-rate", "1"),
                header("X-Tollgate-Verdict", "allow"),
                header("not a name", "x"),
                header("X-Line", "a\r\nX-Evil: 1"),
                header("x-tag", "b"),
            ],
            body: b"made".to_vec(),
        };
        let given = response(&stored);
        assert_eq!(given.status(), 201);
        let headers: Vec<(&str, &[u8])> =
            given.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(headers, [("x-tag", b"a".as_slice()), ("x-tag", b"b")]);
    }
}
