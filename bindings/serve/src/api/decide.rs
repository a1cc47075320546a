//! `POST /v1/decide`.

use std::net::IpAddr;
use std::sync::Arc;

use ::bytes::Bytes;
use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tollgate::{Amount, Engine, TraceStep};
use utoipa::ToSchema;

use super::bytes::{Base64, Wire, body_texts};
use super::{Answered, handled, json, read_json};
use crate::decide::{Decided, decide};
use crate::question::{HeaderList, Payload, Question, Via};
use crate::record::verdict;
use crate::reply::Fault;
use crate::shared::Shared;

/// A request to decide. Texts of its head are bytes: each code point U+0000 to U+00FF is one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DecideRequest {
    /// The caller's name for the request, for logs: 1 to 128 visible ASCII characters.
    #[schema(min_length = 1, max_length = 128, pattern = "^[!-~]+$")]
    id: Option<String>,
    /// The method, as sent.
    #[schema(value_type = String, example = "POST", pattern = "^[\\u0000-\\u00ff]*$")]
    method: Wire,
    /// Path and query, as sent.
    #[schema(value_type = String, example = "/sms/send", pattern = "^[\\u0000-\\u00ff]*$")]
    target: Wire,
    /// Names and values in the order in which they came. `Authorization`, `Idempotency-Key` and those of trusted proxies are read.
    #[schema(schema_with = super::openapi::headers, required = false)]
    #[serde(default)]
    headers: Vec<(Wire, Wire)>,
    /// The address of the TCP peer; without one the request has no source address.
    #[schema(value_type = Option<String>, example = "203.0.113.7")]
    peer: Option<IpAddr>,
    /// The body, as text. At most one of the three ways to give it.
    body: Option<String>,
    /// The body, in base64.
    #[schema(value_type = Option<String>)]
    body_base64: Option<Base64>,
    /// The SHA-256 of the body, in hexadecimal, where the body itself is elsewhere.
    #[schema(min_length = 64, max_length = 64, pattern = "^[0-9a-fA-F]{64}$")]
    body_sha256: Option<String>,
    /// The price in the ledger's minor unit, in place of the route's.
    cost: Option<u64>,
    /// The sender that must be approved for the account.
    sender: Option<String>,
    /// The caller's own validation refused the request, with this message.
    invalid: Option<String>,
    /// Decide, and consume nothing.
    #[serde(default)]
    peek: bool,
    /// Tell what every check saw.
    #[serde(default)]
    explain: bool,
}

/// A decision.
#[derive(Serialize, ToSchema)]
pub(super) struct DecideResponse {
    /// `allow`: pass the request on, add `headers` to the response, and settle where there is a ticket. `deny` and `replay`: answer
    /// with `status`, `headers` and the body.
    #[schema(value_type = String, pattern = "^(allow|deny|replay)$")]
    verdict: &'static str,
    /// The HTTP status to answer with; 200 for what is allowed.
    status: u16,
    /// What decided, for programs.
    code: &'static str,
    /// Names and values, in order.
    #[schema(schema_with = super::openapi::headers)]
    headers: Vec<(String, Wire)>,
    /// The body, where it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// The body, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    /// The account, once the token is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    /// The route that matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    /// What is reserved, in the ledger's minor unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    reserved: Option<u64>,
    /// Names what must be settled with `POST /v1/settle` once the upstream has answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<String>,
    /// Whether the response should be given to the settlement, for replays.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    capture: bool,
    /// What every check saw, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    trace: Option<Vec<TraceStep>>,
}

/// Decide a request.
#[utoipa::path(
    post, path = "/v1/decide", tag = "decisions", request_body = DecideRequest,
    responses(
        (status = 200, description = "The decision, whatever it is", body = DecideResponse),
        (status = 400, description = "Not as documented", body = super::openapi::Error),
        (status = 401, description = "Not the server's API token", body = super::openapi::Error),
        (status = 413, description = "A body that is too long", body = super::openapi::Error),
        (status = 415, description = "Another media type", body = super::openapi::Error),
        (status = 503, description = "No decision in time", body = super::openapi::Error),
    ),
    security((), ("api_token" = []))
)]
pub(super) async fn handle(shared: State<Arc<Shared>>, request: Request) -> Response {
    handled(shared, request, answer).await
}

async fn answer(shared: &Arc<Shared>, request: Request) -> Answered {
    // base64 and escapes make a body longer than it is.
    let max_bytes = shared.options.bounds.max_body_bytes.saturating_mul(2).saturating_add(64 << 10);
    let asked: DecideRequest = read_json(max_bytes, request).await?;
    let question = asked.into_question(shared.live.load())?;
    let decided = decide(shared, question).await;
    Ok(json(StatusCode::OK, &DecideResponse::of(decided)))
}

impl DecideRequest {
    fn into_question(self, engine: Arc<Engine>) -> Result<Question, Fault> {
        let id = self.id.map(String::into_boxed_str);
        let is_name = |id: &str| {
            (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if id.as_deref().is_some_and(|id| !is_name(id)) {
            return Err(Fault::malformed("`id` is 1 to 128 visible ASCII characters"));
        }
        let body = match (self.body, self.body_base64, self.body_sha256) {
            (None, None, None) => Payload::Bytes(Bytes::new()),
            (Some(text), None, None) => Payload::Bytes(text.into()),
            (None, Some(Base64(bytes)), None) => Payload::Bytes(bytes.into()),
            (None, None, Some(digest)) => Payload::Sha256(sha256(&digest)?),
            _ => {
                let message = "give at most one of `body`, `body_base64` and `body_sha256`";
                return Err(Fault::malformed(message));
            }
        };
        Ok(Question {
            id,
            headers: HeaderList(
                self.headers.into_iter().map(|(Wire(name), Wire(value))| (name, value)).collect(),
            ),
            peer: self.peer,
            body,
            cost: self.cost.map(Amount),
            sender: self.sender.map(Into::into),
            invalid: self.invalid.map(Into::into),
            peek: self.peek,
            explain: self.explain,
            ..Question::new(engine, Via::Api, self.method.0, self.target.0)
        })
    }
}

fn sha256(hex: &str) -> Result<[u8; 32], Fault> {
    let malformed = || Fault::malformed("`body_sha256` is 64 hexadecimal digits");
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(malformed());
    }
    let mut digest = [0; 32];
    for (byte, start) in digest.iter_mut().zip((0_usize..64).step_by(2)) {
        let digits = hex.get(start..start.saturating_add(2)).ok_or_else(malformed)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| malformed())?;
    }
    Ok(digest)
}

impl DecideResponse {
    fn of(decided: Decided) -> Self {
        let decision = &decided.decision;
        let (body, body_base64) = match decided.answer.body.as_slice() {
            [] => (None, None),
            body => body_texts(body),
        };
        DecideResponse {
            verdict: verdict(decision.verdict()),
            status: decided.answer.status,
            code: decision.status().code(),
            headers: decided
                .answer
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), Wire(Bytes::copy_from_slice(value))))
                .collect(),
            body,
            body_base64,
            account: decided.account.as_ref().map(|account| account.as_str().to_owned()),
            route: decided.route().map(str::to_owned),
            reserved: decision.reserved().map(|amount| amount.0),
            capture: decision.ticket().is_some_and(|ticket| ticket.holds_key),
            ticket: decided.ticket,
            trace: decided.trace,
        }
    }
}
