//! The API behind the gateway: it sends nothing, and counts what it would have sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use http::header::{CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tollgate::{Admin, Amount, Store};
use tollgate_tower::{Admitted, Facts};

pub(super) const SMS_PRICE: u64 = 5;

/// What each send costs.
fn price(path: &str) -> Option<Amount> {
    match path {
        "/sms/send" => Some(Amount(SMS_PRICE)),
        "/otp/send" => Some(Amount(3)),
        "/voice/send" => Some(Amount(20)),
        _ => None,
    }
}

/// What the host knows about a request: its price, its sender, and whether it makes sense.
pub(super) fn facts(parts: &Parts, body: &bytes::Bytes) -> Facts {
    let Some(cost) = price(parts.uri.path()) else { return Facts::default() };
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let invalid = match (&json, json.get("to").and_then(Value::as_str)) {
        (Value::Object(_), Some(to)) if !to.is_empty() => None,
        (Value::Object(_), _) => Some("'to' is missing. Give the number to send to."),
        _ => Some("The body is not a JSON object. Send {\"to\": …, \"message\": …}."),
    };
    Facts {
        cost: Some(cost),
        sender: json.get("sender").and_then(Value::as_str).map(str::to_owned),
        invalid: invalid.map(str::to_owned),
    }
}

type Now = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The API's state.
pub(super) struct Upstream {
    sends: AtomicU64,
    store: Arc<dyn Store>,
    now: Now,
    /// One permit for each message `hold` that began.
    pub held: Semaphore,
    /// A message `hold` waits for a permit.
    pub release: Semaphore,
}

impl Upstream {
    pub(super) fn new(store: Arc<dyn Store>, now: Now) -> Self {
        let (held, release) = (Semaphore::new(0), Semaphore::new(0));
        Upstream { sends: AtomicU64::new(0), store, now, held, release }
    }

    /// How often something was sent.
    pub(super) fn sends(&self) -> u64 {
        self.sends.load(Ordering::SeqCst)
    }
}

/// Longest wait that a body's `delay_ms` may ask for: the hold must end by itself.
const MAX_DELAY: Duration = Duration::from_secs(10);

pub(super) fn router(upstream: Arc<Upstream>) -> Router {
    Router::new()
        .route("/sms/send", post(send))
        .route("/otp/send", post(send))
        .route("/voice/send", post(send))
        .route("/balance", get(balance))
        .fallback(anything)
        .with_state(upstream)
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], Body::from(body.to_string())).into_response()
}

async fn send(State(upstream): State<Arc<Upstream>>, request: Request) -> Response {
    let Ok(body) = request.into_body().collect().await else {
        return answer(StatusCode::BAD_REQUEST, &json!({"message": "The body broke off."}));
    };
    let json: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
    if json.get("message").and_then(Value::as_str) == Some("hold") {
        upstream.held.add_permits(1);
        if let Ok(Ok(permit)) = tokio::time::timeout(MAX_DELAY, upstream.release.acquire()).await {
            permit.forget();
        }
    }
    if let Some(delay_ms) = json.get("delay_ms").and_then(Value::as_u64) {
        tokio::time::sleep(Duration::from_millis(delay_ms).min(MAX_DELAY)).await;
    }
    let number = upstream.sends.fetch_add(1, Ordering::SeqCst).saturating_add(1);
    let id = format!("msg_{number}");
    let body = json!({"id": id, "to": json.get("to"), "status": "sent"});
    let mut response = answer(StatusCode::CREATED, &body);
    if let Ok(location) = format!("/messages/{id}").parse() {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

async fn balance(State(upstream): State<Arc<Upstream>>, request: Request) -> Response {
    let now_ms = (upstream.now)();
    let admin = Admin::new(&*upstream.store);
    let account = request.extensions().get::<Admitted>().and_then(|admitted| {
        let id = admin.account_id(&admitted.account, now_ms).ok()?;
        let wallet = admin.account(&id, now_ms).ok()?.wallet;
        Some(json!({"account": id.as_str(), "balance": wallet.balance, "held": wallet.held}))
    });
    match account {
        Some(account) => answer(StatusCode::OK, &account),
        None => answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({"message": "No account."})),
    }
}

async fn anything() -> Response {
    answer(StatusCode::OK, &json!({"data": []}))
}
