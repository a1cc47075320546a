//! Health, readiness, metrics, and a reload on request.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use crate::api::json;
use crate::reply::Fault;
use crate::shared::Shared;

#[derive(OpenApi)]
#[openapi(paths(expire, reload))]
pub(crate) struct Description;

/// `/healthz`: the process answers. `/readyz`: it may be sent requests.
pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new().route("/healthz", get(async || "ok\n")).route("/readyz", get(ready))
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    if shared.is_stopping() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    if !shared.store_answers.load(Ordering::Acquire) {
        return (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n").into_response();
    }
    (StatusCode::OK, "ready\n").into_response()
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

/// How much ended.
#[derive(Serialize, ToSchema)]
struct Expired {
    /// Leases and claims.
    expired: u64,
}

/// End leases and claims that are due, in all accounts. The server does this on its own every few seconds.
#[utoipa::path(
    post, path = "/api/expire", tag = "server",
    responses((status = 200, body = Expired), (status = 401, body = crate::api::Error), (status = 503, body = crate::api::Error)),
    security(("admin_token" = []))
)]
pub(super) async fn expire(State(shared): State<Arc<Shared>>) -> Result<Response, Fault> {
    let now_ms = shared.clock.now_ms();
    let expired = shared.store.administer(move |admin| admin.expire(now_ms)).await?;
    Ok(json(StatusCode::OK, &Expired { expired }))
}

/// Read the policy again now. One with errors changes nothing.
#[utoipa::path(
    post, path = "/api/policy/reload", tag = "server",
    responses((status = 204, description = "The policy is in force"), (status = 401, body = crate::api::Error), (status = 409, description = "What is wrong with it, by line", body = crate::api::Error)),
    security(("admin_token" = []))
)]
pub(super) async fn reload(State(shared): State<Arc<Shared>>) -> Result<Response, Fault> {
    match crate::policy::reload(&shared).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(error) => {
            let message = format!("the policy stays as it was: {error}");
            Err(Fault::new(StatusCode::CONFLICT, "policy_not_loaded", message))
        }
    }
}
