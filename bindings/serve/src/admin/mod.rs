//! Administration: a JSON API behind the operator's token, metrics, health, and the settings page.

mod accounts;
mod given;
mod probes;
mod reservations;
mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use http::{StatusCode, header};
use tollgate::{AdminError, Refusal};

use crate::reply::Fault;
use crate::shared::Shared;

pub(crate) use accounts::Description as AccountsDescription;
pub(crate) use probes::{Description as HousekeepingDescription, metrics, router as probes};
pub(crate) use reservations::Description as ReservationsDescription;
pub(crate) use tokens::Description as TokensDescription;
pub(crate) use tokens::{new_token, state as token_state};

/// The API of an operator.
pub(crate) fn router(shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/accounts", get(accounts::list))
        .route("/api/accounts/{account}", get(accounts::show).put(accounts::put))
        .route("/api/accounts/{account}/deposits", post(accounts::deposit))
        .route("/api/accounts/{account}/tokens", get(tokens::list).post(tokens::create))
        .route("/api/accounts/{account}/reservations", get(reservations::list))
        .route(
            "/api/accounts/{account}/reservations/{reservation}/resolve",
            post(reservations::resolve),
        )
        .route(
            "/api/accounts/{account}/reservations/{reservation}/refunds",
            post(reservations::refund),
        )
        .route("/api/accounts/{account}/tokens/{digest}", put(tokens::put))
        .route("/api/expire", post(probes::expire))
        .route("/api/tokens/{digest}", axum::routing::delete(tokens::revoke))
        .route("/api/tokens/{digest}/rotate", post(tokens::rotate))
        .route("/api/policy/reload", post(probes::reload))
        .layer(middleware::from_fn_with_state(Arc::clone(shared), authorize))
}

async fn authorize(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let token = shared.options.admin.as_ref().map(|admin| &admin.token);
    let shown = request.headers().get(header::AUTHORIZATION);
    let is_operator =
        token.zip(shown).is_some_and(|(token, header)| token.is_bearer(header.as_bytes()));
    if is_operator {
        return next.run(request).await;
    }
    let message = "send the operator's token: Authorization: Bearer TOKEN";
    Fault::new(StatusCode::UNAUTHORIZED, "unauthorized", message).into_response()
}

/// An operator's change that the store refused.
pub(crate) fn refused(refusal: Refusal) -> Fault {
    let status = match refusal {
        Refusal::UnknownAccount | Refusal::UnknownToken | Refusal::UnknownReservation => {
            StatusCode::NOT_FOUND
        }
        Refusal::ClockOutOfRange => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::CONFLICT,
    };
    Fault::new(status, refusal.code(), refusal.to_string())
}

impl From<AdminError> for Fault {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Refused(refusal) => refused(refusal),
            AdminError::Store(error) => {
                tracing::warn!(%error, "an operator's command failed");
                let message = "the store is not available, or full; nothing was changed";
                Fault::new(StatusCode::SERVICE_UNAVAILABLE, error.code(), message)
            }
        }
    }
}
