//! Forward-auth over HTTP: a proxy asks about a request before it passes it on.
//!
//! Each path speaks one proxy's language, because what one proxy sets another lets clients set: `X-Original-URI` is nginx's word,
//! and Traefik passes it on from anybody. `docs/serve-proxies.md` has the configurations.

mod answers;
mod asked;
mod given;
mod settle;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::StatusCode;

pub(crate) use answers::Answers;
pub(crate) use asked::request_id;
pub(crate) use given::{settle_at_once, unreplayable, upstream_headers};

use crate::caller::Caller;
use crate::decide::decide;
use crate::question::{Question, Via};
use crate::reply::Fault;
use crate::shared::Shared;
use asked::Dialect;
use given::Carrier;

pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/forward-auth", any(plain))
        .route("/forward-auth/caddy", any(caddy))
        .route("/forward-auth/traefik-loop", any(traefik_loop))
        .route("/forward-auth/nginx", any(auth_request))
        .route("/forward-auth/answer", any(kept_answer))
        .route("/forward-auth/accel/{location}", any(accel))
        .route("/forward-auth/settle", any(settled))
        .route("/ext-authz/{*path}", any(ext_authz))
        .route("/ext-authz/", any(ext_authz))
}

/// Traefik's, Caddy's and anybody's who takes 2xx for yes and passes everything else to the client.
async fn plain(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    answer(&shared, request, Via::ForwardAuth, Dialect::Forwarded, &Carrier::Status).await
}

/// Caddy's, and anybody's who can choose by a header.
async fn caddy(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    answer(&shared, request, Via::ForwardAuth, Dialect::Forwarded, &Carrier::Verdict).await
}

/// Traefik's, where what may pass goes through Traefik again: a request that was answered before comes back here for its answer.
async fn traefik_loop(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    answer(&shared, request, Via::ForwardAuth, Dialect::Forwarded, &Carrier::Loop).await
}

/// nginx's `auth_request`, which passes 401 and 403 on, without a body, and fails at anything else.
async fn auth_request(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    answer(&shared, request, Via::Nginx, Dialect::Original, &Carrier::AuthRequest).await
}

/// nginx's `X-Accel-Redirect`: the request itself comes here, and is sent on to a location of nginx's.
async fn accel(
    State(shared): State<Arc<Shared>>,
    Path(location): Path<String>,
    request: Request,
) -> Response {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if location.is_empty() || !location.bytes().all(is_name) {
        let message =
            "the path ends with a location's name: /forward-auth/accel/api is for `location @api`";
        return Fault::malformed(message).into_response();
    }
    answer(&shared, request, Via::Nginx, Dialect::Original, &Carrier::Accel(location)).await
}

/// Envoy's `ext_authz` over HTTP, with `path_prefix: /ext-authz`.
async fn ext_authz(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    answer(&shared, request, Via::EnvoyHttp, Dialect::Prefixed("/ext-authz"), &Carrier::StatusOk)
        .await
}

/// What was kept to be fetched, whole.
async fn kept_answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let caller = Caller::of(request.extensions());
    if let Err(fault) = caller.must_be_one_of(&shared.options.proxies) {
        return fault.into_response();
    }
    let id = request.headers().get("x-tollgate-answer").and_then(|id| id.to_str().ok());
    let kept = id.and_then(|id| shared.answers.take(id, shared.clock.now_ms()));
    let Some(kept) = kept else {
        let message = "The answer is no longer here. Send the request again.";
        return Fault::new(StatusCode::SERVICE_UNAVAILABLE, "answer_lost", message).into_response();
    };
    crate::reply::response(&kept)
}

/// How a request ended, by nginx's `post_action`.
async fn settled(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let caller = Caller::of(request.extensions());
    if let Err(fault) = caller.must_be_one_of(&shared.options.proxies) {
        return fault.into_response();
    }
    settle::settle(&shared, request.headers()).await
}

async fn answer(
    shared: &Arc<Shared>,
    request: Request<Body>,
    via: Via,
    dialect: Dialect,
    carrier: &Carrier,
) -> Response {
    let question = match question(shared, request, via, dialect).await {
        Ok(question) => question,
        Err(fault) => return fault.into_response(),
    };
    let decided = decide(shared, question).await;
    given::give(shared, decided, carrier).await
}

async fn question(
    shared: &Shared,
    request: Request<Body>,
    via: Via,
    dialect: Dialect,
) -> Result<Question, Fault> {
    let (parts, body) = request.into_parts();
    let mut question = asked::head(shared, &parts, via, dialect)?;
    asked::body(shared, &parts, body, &mut question).await;
    Ok(question)
}
