//! Reservations: what requests hold, and an operator's word on those whose end nobody reported.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tollgate::{AccountRef, Amount, Finish, Reservation, ReservationId, ReservationState};
use utoipa::{OpenApi, ToSchema};

use super::given::{Segments, account_id};
use crate::api::{Upstream, json, read_json};
use crate::reply::Fault;
use crate::shared::Shared;

#[derive(OpenApi)]
#[openapi(paths(list, resolve, refund))]
pub(crate) struct Description;

/// A reservation.
#[derive(Serialize, ToSchema)]
struct KeptReservation {
    number: u64,
    /// `open`, `orphan` (its lease ended without a word), `posted`, `voided`, `posted_at_end` or `voided_at_end`.
    state: &'static str,
    reserved: u64,
    posted: u64,
    lease_until_ms: u64,
    holds_key: bool,
    token: String,
}

/// An account's reservations.
#[derive(Serialize, ToSchema)]
struct Reservations {
    reservations: Vec<KeptReservation>,
}

/// An operator's word.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Resolution {
    /// What happened.
    outcome: Ended,
    /// What it cost, at most what was reserved; all of it if absent. With `settle` alone.
    amount: Option<u64>,
    /// The upstream's response, for replays.
    response: Option<Upstream>,
}

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Ended {
    Settle,
    Void,
}

/// Money to give back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Refund {
    /// How much, in the ledger's minor unit.
    amount: u64,
    /// The refund's own name: the same one again changes nothing.
    reference: String,
}

/// What was posted or given back.
#[derive(Serialize, ToSchema)]
struct Moved {
    /// In the ledger's minor unit; absent for a request that reserved nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<u64>,
}

/// What became of it, in a word.
pub(crate) fn state(reservation: &Reservation, now_ms: u64) -> &'static str {
    match &reservation.state {
        ReservationState::Held if reservation.lease_until_ms <= now_ms => "orphan",
        ReservationState::Held => "open",
        ReservationState::Posted { by_expiry: false, .. } => "posted",
        ReservationState::Posted { by_expiry: true, .. } => "posted_at_end",
        ReservationState::Voided { by_expiry: false } => "voided",
        ReservationState::Voided { by_expiry: true } => "voided_at_end",
    }
}

/// List an account's reservations: the open ones, and the finished ones that are still kept.
#[utoipa::path(
    get, path = "/api/accounts/{account}/reservations", tag = "reservations", params(("account" = String, Path)),
    responses((status = 200, body = Reservations), (status = 400, body = crate::api::Error), (status = 401, body = crate::api::Error), (status = 404, body = crate::api::Error), (status = 503, body = crate::api::Error)),
    security(("admin_token" = []))
)]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Segments(account): Segments<String>,
) -> Result<Response, Fault> {
    let id = account_id(&account)?;
    let now_ms = shared.clock.now_ms();
    let all = shared.store.administer(move |admin| admin.reservations(&id, now_ms)).await?;
    let reservations = all
        .iter()
        .map(|(ReservationId(number), reservation)| KeptReservation {
            number: *number,
            state: state(reservation, now_ms),
            reserved: reservation.amount.0,
            posted: reservation.state.posted().0,
            lease_until_ms: reservation.lease_until_ms,
            holds_key: reservation.claim.is_some(),
            token: reservation.token.to_string(),
        })
        .collect();
    Ok(json(StatusCode::OK, &Reservations { reservations }))
}

/// Say how a request ended whose end nobody reported.
#[utoipa::path(
    post, path = "/api/accounts/{account}/reservations/{reservation}/resolve", tag = "reservations",
    params(("account" = String, Path), ("reservation" = u64, Path)), request_body = Resolution,
    responses((status = 200, body = Moved), (status = 400, body = crate::api::Error), (status = 401, body = crate::api::Error), (status = 404, body = crate::api::Error), (status = 409, body = crate::api::Error), (status = 413, body = crate::api::Error), (status = 415, body = crate::api::Error), (status = 503, body = crate::api::Error)),
    security(("admin_token" = []))
)]
pub(super) async fn resolve(
    State(shared): State<Arc<Shared>>,
    Segments((account, reservation)): Segments<(String, String)>,
    request: Request,
) -> Result<Response, Fault> {
    let (id, reservation) = (account_id(&account)?, number(&reservation)?);
    let given: Resolution = read_json(shared.options.bounds.max_body_bytes, request).await?;
    let max = shared.options.bounds.max_body_bytes;
    let response = given.response.map(|response| response.stored(max)).transpose()?.map(Arc::new);
    let finish = match (given.outcome, given.amount) {
        (Ended::Settle, amount) => Finish::Settle { amount: amount.map(Amount), response },
        (Ended::Void, None) => Finish::Void { response },
        (Ended::Void, Some(_)) => {
            return Err(Fault::malformed("`amount` goes with `settle` alone"));
        }
    };
    let now_ms = shared.clock.now_ms();
    let settled = shared
        .store
        .administer(move |admin| admin.resolve(&id, reservation, finish, now_ms))
        .await?;
    let amount = settled.posted.map(|amount| amount.0);
    Ok(json(StatusCode::OK, &Moved { amount }))
}

/// Give back a part of what a reservation posted, once per reference.
#[utoipa::path(
    post, path = "/api/accounts/{account}/reservations/{reservation}/refunds", tag = "reservations",
    params(("account" = String, Path), ("reservation" = u64, Path)), request_body = Refund,
    responses((status = 200, body = Moved), (status = 400, body = crate::api::Error), (status = 401, body = crate::api::Error), (status = 404, body = crate::api::Error), (status = 409, body = crate::api::Error), (status = 413, body = crate::api::Error), (status = 415, body = crate::api::Error), (status = 503, body = crate::api::Error)),
    security(("admin_token" = []))
)]
pub(super) async fn refund(
    State(shared): State<Arc<Shared>>,
    Segments((account, reservation)): Segments<(String, String)>,
    request: Request,
) -> Result<Response, Fault> {
    let (id, reservation) = (AccountRef::Id(account_id(&account)?), number(&reservation)?);
    let given: Refund = read_json(shared.options.bounds.max_body_bytes, request).await?;
    let amount = Amount(given.amount);
    let now_ms = shared.clock.now_ms();
    shared
        .store
        .administer(move |admin| admin.refund(&id, reservation, amount, &given.reference, now_ms))
        .await?;
    Ok(json(StatusCode::OK, &Moved { amount: Some(amount.0) }))
}

fn number(text: &str) -> Result<ReservationId, Fault> {
    let number = text.parse().map_err(|_| Fault::malformed("a reservation is a number"))?;
    Ok(ReservationId(number))
}
