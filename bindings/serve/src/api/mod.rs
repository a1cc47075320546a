//! `POST /v1/decide` and `POST /v1/settle`: decisions as JSON, for gateways and services that speak neither forward-auth nor C.

mod bytes;
mod decide;
mod openapi;
mod settle;

use std::sync::Arc;

use ::bytes::Bytes;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::reply::{Fault, JSON};
use crate::shared::Shared;

pub use openapi::description;
pub(crate) use openapi::{Error, handle as openapi_handle};
pub(crate) use settle::{Upstream, settle};

pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/decide", post(decide::handle))
        .route("/v1/settle", post(settle::handle))
        .route("/openapi.json", get(async || openapi::handle()))
}

/// Whether the caller may ask.
fn authorize(shared: &Shared, request: &Request) -> Result<(), Fault> {
    let Some(token) = &shared.options.api_token else { return Ok(()) };
    let shown = request.headers().get(header::AUTHORIZATION);
    if shown.is_some_and(|header| token.is_bearer(header.as_bytes())) {
        return Ok(());
    }
    let message = "send the server's API token: Authorization: Bearer TOKEN";
    Err(Fault::new(StatusCode::UNAUTHORIZED, "unauthorized", message))
}

/// Reads a JSON body.
///
/// # Errors
/// Another media type, too many bytes, no JSON, or not what is documented. What was sent is not repeated: it may be a secret.
pub(crate) async fn read_json<T: DeserializeOwned>(
    max_bytes: usize,
    request: Request<Body>,
) -> Result<T, Fault> {
    let media_type = request.headers().get(header::CONTENT_TYPE);
    let is_json = media_type.and_then(|value| value.to_str().ok()).is_some_and(|value| {
        let essence = value.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/json")
    });
    if !is_json {
        let message = "send a body of JSON with Content-Type: application/json";
        return Err(Fault::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            message,
        ));
    }
    let body = request.into_body();
    let too_long = || {
        let message = format!("the body is over {max_bytes} bytes");
        Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
    };
    let size = body.size_hint();
    if size.lower() > u64::try_from(max_bytes).unwrap_or(u64::MAX) {
        return Err(too_long());
    }
    let _room = room_for(size.upper(), max_bytes)?;
    let body: Bytes = match Limited::new(body, max_bytes).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(too_long()),
        Err(_) => return Err(Fault::malformed("the body did not come to its end")),
    };
    serde_json::from_slice(&body).map_err(|error| {
        Fault::malformed(format!(
            "line {}, column {}: {}",
            error.line(),
            error.column(),
            without_texts(&error)
        ))
    })
}

/// What bodies that arrive may take together, in KiB; short ones are not counted, or long ones could keep them out.
const ROOM_KIB: u32 = 256 << 10;
const SHORT_KIB: u64 = 16;
static ROOM: Semaphore = Semaphore::const_new(ROOM_KIB as usize);

/// Room for a body of this length, or of any up to `max_bytes`.
fn room_for(
    bytes: Option<u64>,
    max_bytes: usize,
) -> Result<Option<SemaphorePermit<'static>>, Fault> {
    let bytes = bytes.unwrap_or(u64::MAX).min(u64::try_from(max_bytes).unwrap_or(u64::MAX));
    let kib = bytes.div_ceil(1024);
    if kib <= SHORT_KIB {
        return Ok(None);
    }
    let kib = u32::try_from(kib).unwrap_or(u32::MAX).min(ROOM_KIB);
    ROOM.try_acquire_many(kib).map(Some).map_err(|_| {
        let message = "too many long bodies arrive at once; send the same again, or a body of up to 16 KiB with its length";
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
    })
}

/// serde quotes what it did not want, and that may be a secret in the wrong place. What it wanted instead is its own words.
fn without_texts(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    for (begins, said) in [
        ("invalid type: string ", "invalid type: a string"),
        ("invalid value: string ", "invalid value: a string"),
        ("unknown variant ", "unknown variant"),
        ("unknown field ", "unknown field"),
    ] {
        if text.starts_with(begins) {
            let expected = text.rsplit_once(", expected ").map(|(_, expected)| expected);
            return match expected {
                Some(expected) => format!("{said}, expected {expected}"),
                None => said.to_owned(),
            };
        }
    }
    text.to_owned()
}

pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (
            status,
            [
                (header::CONTENT_TYPE, JSON),
                (header::CACHE_CONTROL, http::HeaderValue::from_static("no-store")),
            ],
            body,
        )
            .into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

type Answered = Result<Response, Fault>;

async fn handled(
    shared: State<Arc<Shared>>,
    request: Request,
    handler: impl AsyncFnOnce(&Arc<Shared>, Request) -> Answered,
) -> Response {
    if let Err(fault) = authorize(&shared, &request) {
        return fault.into_response();
    }
    handler(&shared, request).await.unwrap_or_else(IntoResponse::into_response)
}
