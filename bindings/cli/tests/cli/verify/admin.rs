//! The JSON API for administration, as `tollgate serve` has it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, post, put};
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tollgate::{
    AccountId, AccountPatch, Admin, Amount, SpendCap, TokenDigest, TokenPatch, TokenQuota,
    TokenText, parse_network,
};

use super::gateway::Parts;

pub(super) const ADMIN_TOKEN: &str = "admin-secret-of-the-test";

pub(super) fn router(parts: Arc<Parts>) -> Router {
    Router::new()
        .route("/api/accounts/{id}", put(put_account))
        .route("/api/accounts/{id}/deposits", post(deposit))
        .route("/api/accounts/{id}/tokens", post(issue))
        .route("/api/tokens/{digest}", delete(revoke))
        .with_state(parts)
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_millis().try_into().unwrap()
}

async fn body(request: Request) -> Value {
    let authorization = request.headers().get("authorization").map(|v| v.to_str().unwrap());
    assert_eq!(authorization, Some(format!("Bearer {ADMIN_TOKEN}").as_str()));
    let bytes = request.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

fn done(result: Result<Value, tollgate::AdminError>) -> Response {
    match result {
        Ok(value) => (StatusCode::OK, value.to_string()).into_response(),
        Err(error) => {
            let body = json!({ "message": error.to_string() });
            (StatusCode::CONFLICT, body.to_string()).into_response()
        }
    }
}

fn caps(body: &Value) -> Option<Vec<SpendCap>> {
    body.get("spend_caps").map(|caps| serde_json::from_value(caps.clone()).unwrap())
}

fn networks(body: &Value) -> Option<Vec<tollgate::IpNet>> {
    let list = body.get("networks")?.as_array().unwrap();
    Some(list.iter().map(|text| parse_network(text.as_str().unwrap()).unwrap()).collect())
}

pub(super) fn account(
    parts: &Parts,
    id: &str,
    body: &Value,
) -> Result<Value, tollgate::AdminError> {
    let balance = Amount(body.get("balance").and_then(Value::as_u64).unwrap_or(0));
    let settings = AccountPatch { networks: networks(body), spend_caps: caps(body), senders: None };
    let id = AccountId::new(id).unwrap();
    Admin::new(&*parts.store).put_account(&id, balance, settings, now_ms()).map(|()| json!({}))
}

pub(super) fn token(parts: &Parts, id: &str, body: &Value) -> Result<Value, tollgate::AdminError> {
    let text = body["token"].as_str().unwrap();
    let token = TokenText::parse(parts.config.tokens.format, text).unwrap();
    let digest = parts.live.load().digest(&token);
    let quota: Option<TokenQuota> =
        body.get("quota").and_then(|quota| serde_json::from_value(quota.clone()).unwrap());
    let settings = TokenPatch {
        scopes: Some(serde_json::from_value(body["scopes"].clone()).unwrap()),
        networks: networks(body),
        quota: quota.map(Some),
        spend_caps: caps(body),
        expires_ms: body.get("expires_ms").map(Value::as_u64),
    };
    let account = AccountId::new(id).unwrap();
    Admin::new(&*parts.store).put_token(&digest, &account, settings, now_ms())?;
    parts.memory.lock().unwrap().accounts.insert(text.to_owned(), id.to_owned());
    Ok(json!({ "token": text, "digest": digest.to_string() }))
}

async fn put_account(
    State(parts): State<Arc<Parts>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    done(account(&parts, &id, &body(request).await))
}

async fn issue(
    State(parts): State<Arc<Parts>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    done(token(&parts, &id, &body(request).await))
}

async fn deposit(
    State(parts): State<Arc<Parts>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let amount = Amount(body(request).await["amount"].as_u64().unwrap());
    let id = AccountId::new(&id).unwrap();
    done(Admin::new(&*parts.store).deposit(&id, amount, now_ms()).map(|()| json!({})))
}

async fn revoke(
    State(parts): State<Arc<Parts>>,
    Path(digest): Path<String>,
    request: Request,
) -> Response {
    body(request).await;
    let digest = TokenDigest::from_hex(&digest).unwrap();
    done(Admin::new(&*parts.store).revoke_token(&digest, now_ms()).map(|()| json!({})))
}
