//! Health, readiness, metrics, and a reload on request.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};

use crate::reply::Fault;
use crate::shared::Shared;

/// `/healthz`: the process answers. `/readyz`: it may be sent requests.
pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new().route("/healthz", get(async || "ok\n")).route("/readyz", get(ready))
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    if shared.is_stopping() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    let now_ms = shared.clock.now_ms();
    match shared.store.administer(move |admin| admin.accounts(None, 1, now_ms)).await {
        Ok(_) => (StatusCode::OK, "ready\n").into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n").into_response(),
    }
}

pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match shared.metrics.encode() {
        Ok(text) => {
            ([(header::CONTENT_TYPE, HeaderValue::from_static(media_type))], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

pub(super) async fn reload(State(shared): State<Arc<Shared>>) -> Result<Response, Fault> {
    match crate::policy::reload(&shared).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(error) => {
            let message = format!("the policy stays as it was: {error}");
            Err(Fault::new(StatusCode::CONFLICT, "policy_not_loaded", message))
        }
    }
}
