//! A decision in the form in which a proxy can carry it out.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use percent_encoding::{CONTROLS, utf8_percent_encode};
use tollgate::{Answer, Finish, Status, Verdict};

use crate::decide::{Decided, void};
use crate::options::Settlement;
use crate::record;
use crate::reply::{Fault, add_headers, response};
use crate::shared::Shared;

/// How a proxy takes an answer.
pub(super) enum Carrier {
    /// 2xx lets the request pass, anything else is the client's answer.
    Status,
    /// 200 lets the request pass; 5xx becomes an answer of the proxy's own; anything else is the client's answer.
    StatusOk,
    /// `X-Tollgate-Verdict` decides, and any status can be the client's answer.
    Verdict,
    /// nginx's `auth_request`: 2xx lets it pass, 403 with a name under which the answer can be fetched.
    AuthRequest,
    /// 2xx lets the request pass, and a request with the name of an answer is sent here for it in place of the upstream.
    Loop,
    /// nginx: sent on to this location, or answered.
    Accel(String),
}

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// In place of a value that there is not.
const NOTHING: HeaderValue = HeaderValue::from_static("-");

const VERDICT: HeaderName = HeaderName::from_static("x-tollgate-verdict");
const ANSWER: HeaderName = HeaderName::from_static("x-tollgate-answer");
const ACCEL_REDIRECT: HeaderName = HeaderName::from_static("x-accel-redirect");

/// Gives a decision to the proxy that asked.
pub(super) async fn give(shared: &Arc<Shared>, decided: Decided, carrier: &Carrier) -> Response {
    let verdict = decided.decision.verdict();
    let mut given = match verdict {
        Verdict::Allow => match allow(shared, &decided, carrier).await {
            Ok(given) => given,
            Err(fault) => return refuse(shared, fault, carrier),
        },
        Verdict::Deny | Verdict::Replay => match carrier {
            Carrier::Status if decided.answer.status / 100 == 2 => unreplayable().into_response(),
            Carrier::StatusOk if verdict == Verdict::Replay && is_own(decided.answer.status) => {
                unreplayable().into_response()
            }
            Carrier::AuthRequest => keep(shared, decided.answer, StatusCode::FORBIDDEN),
            Carrier::Loop if decided.answer.status / 100 == 2 => {
                keep(shared, decided.answer, StatusCode::OK)
            }
            _ => response(&decided.answer),
        },
    };
    given.headers_mut().insert(VERDICT, HeaderValue::from_static(record::verdict(verdict)));
    given
}

/// Whether Envoy takes this status for itself: 200 is its yes, and 5xx an outage of who was asked.
fn is_own(status: u16) -> bool {
    status == 200 || status >= 500
}

/// An error of this server, in the form that the proxy can carry.
fn refuse(shared: &Shared, fault: Fault, carrier: &Carrier) -> Response {
    match carrier {
        Carrier::AuthRequest => keep(shared, fault.into_answer(), StatusCode::FORBIDDEN),
        _ => fault.into_response(),
    }
}

async fn allow(
    shared: &Arc<Shared>,
    decided: &Decided,
    carrier: &Carrier,
) -> Result<Response, Fault> {
    settle_at_once(shared, decided).await?;
    let mut given = Response::new(Body::empty());
    add_headers(given.headers_mut(), &decided.answer);
    // Each of them, always: what a client sent in its place must not reach the upstream, and some proxies only replace what is there.
    for (name, value) in upstream_headers(shared, decided) {
        given.headers_mut().insert(name, value.unwrap_or(NOTHING));
    }
    match carrier {
        // nginx would give the client `Cache-Control` of ours in place of the upstream's.
        Carrier::Accel(location) => {
            if let Ok(location) = HeaderValue::try_from(format!("@{location}")) {
                given.headers_mut().insert(ACCEL_REDIRECT, location);
            }
        }
        // A proxy's cache must not keep a yes.
        _ => drop(given.headers_mut().insert(header::CACHE_CONTROL, NO_STORE)),
    }
    Ok(given)
}

/// Posts the price of a request that may pass, where nobody will report how it ends.
///
/// # Errors
/// A store that fails between the two; nothing was passed on, and what is held ends with its lease.
pub(crate) async fn settle_at_once(shared: &Arc<Shared>, decided: &Decided) -> Result<(), Fault> {
    if shared.options.settlement == Settlement::Reported {
        return Ok(());
    }
    let Some(ticket) = decided.decision.ticket() else { return Ok(()) };
    let finish = Finish::Settle { amount: None, response: None };
    let now_ms = shared.clock.now_ms();
    let settled = decided.engine.finish_async(&shared.store, ticket, finish, now_ms).await;
    let Err(error) = settled else {
        shared.metrics.settled("settle");
        return Ok(());
    };
    shared.metrics.settled("failed");
    tracing::warn!(%error, "a request was refused because its price could not be posted");
    void(shared, decided).await;
    let row = Status::StoreUnavailable.row();
    Err(Fault::new(
        StatusCode::from_u16(row.http).unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
        row.code,
        row.message,
    ))
}

/// What the upstream is told of a request that may pass. A proxy removes those without a value from what the client sent.
pub(crate) fn upstream_headers(
    shared: &Shared,
    decided: &Decided,
) -> [(HeaderName, Option<HeaderValue>); 4] {
    let text = |value: Option<&str>| {
        let value = value.map(|text| match text {
            // Else it would be none.
            "-" => "%2D".to_owned(),
            _ => utf8_percent_encode(text, CONTROLS).to_string(),
        });
        value.and_then(|value| HeaderValue::try_from(value).ok())
    };
    let reports = shared.options.settlement == Settlement::Reported;
    let ticket = decided.ticket.as_deref().filter(|_| reports);
    let reserved = decided.decision.reserved().map(|amount| HeaderValue::from(amount.0));
    let account = decided.account.as_ref().map(tollgate::AccountId::as_str);
    [
        (HeaderName::from_static("x-tollgate-account"), text(account)),
        (HeaderName::from_static("x-tollgate-route"), text(decided.route())),
        (HeaderName::from_static("x-tollgate-reserved"), reserved),
        (HeaderName::from_static("x-tollgate-ticket"), text(ticket)),
    ]
}

/// A stored response with 2xx would let the request pass, and it would be carried out again.
pub(crate) fn unreplayable() -> Fault {
    Fault::new(
        StatusCode::CONFLICT,
        "replay_not_carried",
        "This request was carried out before, and its response cannot be given again here. Do not send it with another key.",
    )
}

/// Keeps an answer, and gives its name with a status that the proxy can carry; for `auth_request` 403 always, as nginx would add
/// its own `WWW-Authenticate` to 401.
fn keep(shared: &Shared, answer: Answer, status: StatusCode) -> Response {
    let kept = shared.answers.keep(answer, shared.clock.now_ms());
    let id = kept.map(HeaderValue::try_from);
    let Ok(Ok(id)) = id else {
        if let Err(error) = id {
            tracing::warn!(%error, "an answer could not be kept; the client gets an error");
        }
        let message = "Too many answers wait to be fetched. Send the request again.";
        return Fault::new(StatusCode::SERVICE_UNAVAILABLE, "answer_lost", message).into_response();
    };
    let mut given = Response::new(Body::empty());
    *given.status_mut() = status;
    given.headers_mut().insert(ANSWER, id);
    given
}
