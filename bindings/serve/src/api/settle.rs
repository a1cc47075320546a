//! `POST /v1/settle`.

use std::sync::Arc;

use ::bytes::Bytes;
use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tollgate::{
    Amount, Finish, FinishError, NEVER_REPLAYED_HEADERS, Settled, StoredResponse, Ticket,
};
use utoipa::ToSchema;

use super::bytes::{Base64, Wire};
use super::{Answered, handled, json, read_json};
use crate::reply::Fault;
use crate::shared::Shared;
use crate::ticket;

/// How a request ended that was allowed with a ticket.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SettleRequest {
    /// The ticket of the decision.
    ticket: String,
    /// What happened.
    outcome: Outcome,
    /// What it cost, at most what was reserved; all of it if absent. With `settle` alone.
    amount: Option<u64>,
    /// The upstream's response, for replays. With `void` it says that the request was carried out and costs nothing; without one the
    /// idempotency key is free again.
    response: Option<Upstream>,
}

/// What happened to a request.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// It was carried out: its price is posted.
    Settle,
    /// It costs nothing.
    Void,
    /// Nobody knows: money stays held and the key in flight until somebody does, or the lease ends.
    Unknown,
}

/// An upstream's response.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Upstream {
    /// Its status.
    #[schema(minimum = 100, maximum = 599)]
    status: u16,
    /// The headers to replay, in order. Those of a connection, `Set-Cookie` and `Date` are never kept.
    #[serde(default)]
    #[schema(schema_with = super::openapi::headers, required = false)]
    headers: Vec<(String, Wire)>,
    /// Its body, as text. At most one of the two; none: the replay's body is empty.
    body: Option<String>,
    /// Its body, in base64.
    #[schema(value_type = Option<String>)]
    body_base64: Option<Base64>,
    /// It was too long to keep: a replay has its status and headers, and no body.
    #[serde(default)]
    body_left_out: bool,
}

/// What became of it.
#[derive(Serialize, ToSchema)]
pub(super) struct SettleResponse {
    /// What was posted in the ledger's minor unit; absent while nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    posted: Option<u64>,
}

/// Say how an allowed request ended. The same outcome again changes nothing; another one is refused.
#[utoipa::path(
    post, path = "/v1/settle", tag = "decisions", request_body = SettleRequest,
    responses(
        (status = 200, description = "Settled", body = SettleResponse),
        (status = 400, description = "Not as documented", body = super::openapi::Error),
        (status = 401, description = "Not the server's API token", body = super::openapi::Error),
        (status = 404, description = "No such account or reservation", body = super::openapi::Error),
        (status = 409, description = "The first outcome, or the expiry rule's, stays", body = super::openapi::Error),
        (status = 413, description = "A body that is too long", body = super::openapi::Error),
        (status = 415, description = "Another media type", body = super::openapi::Error),
        (status = 503, description = "The store failed: send the same again", body = super::openapi::Error),
    ),
    security((), ("api_token" = []))
)]
pub(super) async fn handle(shared: State<Arc<Shared>>, request: Request) -> Response {
    handled(shared, request, answer).await
}

async fn answer(shared: &Arc<Shared>, request: Request) -> Answered {
    let max = shared.options.bounds.max_body_bytes;
    let asked: SettleRequest =
        read_json(max.saturating_mul(2).saturating_add(64 << 10), request).await?;
    let open = ticket::from_text(&asked.ticket)
        .ok_or_else(|| Fault::malformed("`ticket` is what a decision gave, unchanged"))?;
    let finish = asked.into_finish(max)?;
    let settled = settle(shared, open, finish).await?;
    let posted = settled.posted.map(|amount| amount.0);
    Ok(json(StatusCode::OK, &SettleResponse { posted }))
}

/// Says how an allowed request ended.
///
/// # Errors
/// The first outcome, or the expiry rule's, stays; there is no such reservation; the store failed.
pub(crate) async fn settle(
    shared: &Arc<Shared>,
    open: Ticket,
    finish: Finish,
) -> Result<Settled, Fault> {
    let outcome = match &finish {
        Finish::Settle { .. } => "settle",
        Finish::Void { .. } => "void",
        Finish::Unknown => "unknown",
    };
    let engine = shared.live.load();
    let now_ms = shared.clock.now_ms();
    // Carried on to its end, also when the caller goes away.
    let task = {
        let shared = Arc::clone(shared);
        tokio::spawn(async move { engine.finish_async(&shared.store, &open, finish, now_ms).await })
    };
    let settled = task.await.map_err(|_| unavailable("the settlement did not come to its end"))?;
    shared.metrics.settled(match &settled {
        Ok(_) => outcome,
        Err(FinishError::Refused(_)) => "refused",
        Err(FinishError::Store(_)) => "failed",
    });
    settled.map_err(|error| match error {
        FinishError::Refused(refusal) => crate::admin::refused(refusal),
        FinishError::Store(error) => {
            shared.metrics.store_failed(error.code());
            tracing::warn!(%error, "a settlement failed");
            unavailable("the store is not available; send the same again")
        }
    })
}

fn unavailable(message: &str) -> Fault {
    Fault::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", message)
}

impl SettleRequest {
    fn into_finish(self, max_body_bytes: usize) -> Result<Finish, Fault> {
        let response = self.response.map(|response| response.stored(max_body_bytes)).transpose()?;
        let response = response.map(Arc::new);
        match (self.outcome, self.amount, response) {
            (Outcome::Settle, amount, response) => {
                Ok(Finish::Settle { amount: amount.map(Amount), response })
            }
            (Outcome::Void, None, response) => Ok(Finish::Void { response }),
            (Outcome::Unknown, None, None) => Ok(Finish::Unknown),
            _ => Err(Fault::malformed(
                "`amount` goes with `settle` alone, `response` with `settle` and `void`",
            )),
        }
    }
}

impl Upstream {
    pub(crate) fn stored(self, max_body_bytes: usize) -> Result<StoredResponse, Fault> {
        if !(100..=599).contains(&self.status) {
            return Err(Fault::malformed("`response.status` is an HTTP status, 100 to 599"));
        }
        let body: Option<Bytes> = match (self.body, self.body_base64, self.body_left_out) {
            (None, None, left_out) => (!left_out).then(Bytes::new),
            (Some(text), None, false) => Some(text.into()),
            (None, Some(Base64(bytes)), false) => Some(bytes.into()),
            _ => {
                return Err(Fault::malformed(
                    "give at most one of `body`, `body_base64` and `body_left_out` of `response`",
                ));
            }
        };
        let mut headers: Vec<(Box<str>, Box<[u8]>)> = Vec::with_capacity(self.headers.len());
        for (name, Wire(value)) in self.headers {
            let valid = http::HeaderName::from_bytes(name.as_bytes());
            let (Ok(name), Ok(_)) = (valid, http::HeaderValue::from_bytes(&value)) else {
                return Err(Fault::malformed(
                    "`response.headers` has a name or a value that HTTP does not allow",
                ));
            };
            let kept = !NEVER_REPLAYED_HEADERS.contains(&name.as_str());
            if kept
                && !name.as_str().starts_with("x-accel-")
                && !name.as_str().starts_with("x-tollgate-")
            {
                headers.push((name.as_str().into(), value.as_ref().into()));
            }
        }
        Ok(StoredResponse {
            status: self.status,
            headers: headers.into(),
            // A longer one is replayed with an empty body: the fact is kept.
            body: body.filter(|body| body.len() <= max_body_bytes).map(|body| body.as_ref().into()),
        })
    }
}
