//! Tokens: made, imported, rotated, revoked.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tollgate::{Token, TokenDigest, TokenPatch, TokenText};
use utoipa::{OpenApi, ToSchema};

use super::given::{self, Cap, Quota, Segments, account_id, given, token_digest};
use crate::api::{json, read_json};
use crate::reply::Fault;
use crate::shared::Shared;

#[derive(OpenApi)]
#[openapi(paths(list, create, put, revoke, rotate))]
pub(crate) struct Description;

/// A token to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    /// The text of a token that exists elsewhere, to be imported; without it one is made.
    token: Option<String>,
    /// What it may do. None: nothing.
    #[serde(default)]
    scopes: Vec<String>,
    /// From where it may be used: addresses, or networks as ADDRESS/LENGTH. Empty: from anywhere.
    networks: Option<Vec<String>>,
    /// Its own quota, in place of the policy's; `null`: the policy's.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Quota>)]
    quota: Option<Option<Quota>>,
    /// What it may spend.
    spend_caps: Option<Vec<Cap>>,
    /// When it expires, in Unix milliseconds; `null`: never.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u64>)]
    expires_ms: Option<Option<u64>>,
}

/// A token's settings as they are to be. What is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenSettings {
    /// What it may do.
    scopes: Option<Vec<String>>,
    /// From where it may be used: addresses, or networks as ADDRESS/LENGTH. Empty: from anywhere.
    networks: Option<Vec<String>>,
    /// Its own quota, in place of the policy's; `null`: the policy's.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Quota>)]
    quota: Option<Option<Quota>>,
    /// What it may spend.
    spend_caps: Option<Vec<Cap>>,
    /// When it expires, in Unix milliseconds; `null`: never.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u64>)]
    expires_ms: Option<Option<u64>>,
}

impl TokenSettings {
    fn checked(self) -> Result<TokenPatch, Fault> {
        Ok(TokenPatch {
            scopes: given::texts(self.scopes),
            networks: given::networks(self.networks)?,
            quota: match self.quota {
                Some(Some(quota)) => Some(Some(quota.checked()?)),
                Some(None) => Some(None),
                None => None,
            },
            spend_caps: given::caps(self.spend_caps),
            expires_ms: self.expires_ms,
        })
    }
}

/// How to rotate.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotation {
    /// The text of the new token, to be imported; without it one is made.
    token: Option<String>,
    /// How long the old token still works, in milliseconds.
    #[serde(default)]
    grace_ms: u64,
}

/// A token that was made: its text is told this once.
#[derive(Serialize, ToSchema)]
struct MadeToken {
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    digest: String,
}

/// A token as it is kept.
#[derive(Serialize, ToSchema)]
struct KeptToken {
    digest: String,
    /// `live`, `expires`, `expired` or `revoked`.
    state: &'static str,
    scopes: Vec<String>,
    networks: Vec<String>,
    quota: Option<Quota>,
    spend_caps: Vec<Cap>,
    expires_ms: Option<u64>,
}

/// An account's tokens.
#[derive(Serialize, ToSchema)]
struct Tokens {
    tokens: Vec<KeptToken>,
}

impl KeptToken {
    fn of(digest: &TokenDigest, token: &Token, now_ms: u64) -> Self {
        KeptToken {
            digest: digest.to_string(),
            state: state(token, now_ms),
            scopes: token.scopes.iter().map(ToString::to_string).collect(),
            networks: token.networks.iter().map(ToString::to_string).collect(),
            quota: token.quota.map(Quota::from),
            spend_caps: token.spend_caps.iter().map(Cap::from).collect(),
            expires_ms: token.expires_ms,
        }
    }
}

pub(crate) fn state(token: &Token, now_ms: u64) -> &'static str {
    match token.expires_ms {
        _ if token.revoked => "revoked",
        Some(expires_ms) if expires_ms <= now_ms => "expired",
        Some(_) => "expires",
        None => "live",
    }
}

/// Makes a token of the system's entropy.
pub(crate) fn new_token() -> Result<TokenText, Fault> {
    let mut entropy = [0; 32];
    getrandom::fill(&mut entropy).map_err(|_| {
        let message = "the system gives no entropy; no token was made";
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, "no_entropy", message)
    })?;
    Ok(TokenText::generate(&entropy))
}

/// List an account's tokens.
#[utoipa::path(
    get, path = "/api/accounts/{account}/tokens", tag = "tokens", params(("account" = String, Path)),
    responses((status = 200, body = Tokens), (status = 400, body = crate::api::Error), (status = 401, body = crate::api::Error), (status = 404, body = crate::api::Error), (status = 503, body = crate::api::Error)),
    security(("admin_token" = []))
)]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Segments(account): Segments<String>,
) -> Result<Response, Fault> {
    let id = account_id(&account)?;
    let now_ms = shared.clock.now_ms();
    let tokens = shared.store.administer(move |admin| admin.tokens(&id, now_ms)).await?;
    let tokens =
        tokens.iter().map(|(digest, token)| KeptToken::of(digest, token, now_ms)).collect();
    Ok(json(StatusCode::OK, &Tokens { tokens }))
}

/// Make a token, or import one.
#[utoipa::path(
    post, path = "/api/accounts/{account}/tokens", tag = "tokens", params(("account" = String, Path)), request_body = NewToken,
    responses((status = 201, body = MadeToken), (status = 400, body = crate::api::Error), (status = 401, body = crate::api::Error), (status = 404, body = crate::api::Error), (status = 409, body = crate::api::Error), (status = 413, body = crate::api::Error), (status = 415, body = crate::api::Error), (status = 503, body = crate::api::Error)),
    security(("admin_token" = []))
)]
pub(super) async fn create(
    State(shared): State<Arc<Shared>>,
    Segments(account): Segments<String>,
    request: Request,
) -> Result<Response, Fault> {
    let id = account_id(&account)?;
    let given: NewToken = read_json(shared.options.bounds.max_body_bytes, request).await?;
    let (made, digest) = made_or_imported(&shared, given.token.as_deref())?;
    let settings = TokenSettings {
        scopes: Some(given.scopes),
        networks: given.networks,
        quota: given.quota,
        spend_caps: given.spend_caps,
        expires_ms: given.expires_ms,
    };
    let settings = settings.checked()?;
    let now_ms = shared.clock.now_ms();
    shared.store.administer(move |admin| admin.put_token(&digest, &id, settings, now_ms)).await?;
    Ok(json(StatusCode::CREATED, &MadeToken { token: made, digest: digest.to_string() }))
}

/// The text of a new token, none if it was given; and its digest.
fn made_or_imported(
    shared: &Shared,
    given: Option<&str>,
) -> Result<(Option<String>, TokenDigest), Fault> {
    let engine = shared.live.load();
    let text = match given {
        None => new_token()?,
        Some(text) => TokenText::parse(engine.policy().token_format(), text)
            .map_err(|error| Fault::malformed(format!("`token`: {error}")))?,
    };
    let made = given.is_none().then(|| text.expose().to_owned());
    Ok((made, engine.digest(&text)))
}

/// Replace the settings that are given of a token that is known by its digest, or import one by its digest alone.
#[utoipa::path(
    put, path = "/api/accounts/{account}/tokens/{digest}", tag = "tokens",
    params(("account" = String, Path), ("digest" = String, Path, pattern = "^[0-9a-fA-F]{64}$")), request_body = TokenSettings,
    responses((status = 204), (status = 400, body = crate::api::Error), (status = 401, body = crate::api::Error), (status = 404, body = crate::api::Error), (status = 409, body = crate::api::Error), (status = 413, body = crate::api::Error), (status = 415, body = crate::api::Error), (status = 503, body = crate::api::Error)),
    security(("admin_token" = []))
)]
pub(super) async fn put(
    State(shared): State<Arc<Shared>>,
    Segments((account, digest)): Segments<(String, String)>,
    request: Request,
) -> Result<StatusCode, Fault> {
    let (id, digest) = (account_id(&account)?, token_digest(&digest)?);
    let given: TokenSettings = read_json(shared.options.bounds.max_body_bytes, request).await?;
    let settings = given.checked()?;
    let now_ms = shared.clock.now_ms();
    shared.store.administer(move |admin| admin.put_token(&digest, &id, settings, now_ms)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Revoke a token for good, at once.
#[utoipa::path(
    delete, path = "/api/tokens/{digest}", tag = "tokens", params(("digest" = String, Path, pattern = "^[0-9a-fA-F]{64}$")),
    responses((status = 204), (status = 400, body = crate::api::Error), (status = 401, body = crate::api::Error), (status = 404, body = crate::api::Error), (status = 503, body = crate::api::Error)),
    security(("admin_token" = []))
)]
pub(super) async fn revoke(
    State(shared): State<Arc<Shared>>,
    Segments(digest): Segments<String>,
) -> Result<StatusCode, Fault> {
    let digest = token_digest(&digest)?;
    let now_ms = shared.clock.now_ms();
    shared.store.administer(move |admin| admin.revoke_token(&digest, now_ms)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Put a new token in the place of an old one.
#[utoipa::path(
    post, path = "/api/tokens/{digest}/rotate", tag = "tokens", params(("digest" = String, Path, pattern = "^[0-9a-fA-F]{64}$")), request_body = Rotation,
    responses((status = 201, body = MadeToken), (status = 400, body = crate::api::Error), (status = 401, body = crate::api::Error), (status = 404, body = crate::api::Error), (status = 409, body = crate::api::Error), (status = 413, body = crate::api::Error), (status = 415, body = crate::api::Error), (status = 503, body = crate::api::Error)),
    security(("admin_token" = []))
)]
pub(super) async fn rotate(
    State(shared): State<Arc<Shared>>,
    Segments(digest): Segments<String>,
    request: Request,
) -> Result<Response, Fault> {
    let old = token_digest(&digest)?;
    let given: Rotation = read_json(shared.options.bounds.max_body_bytes, request).await?;
    let (token, new) = made_or_imported(&shared, given.token.as_deref())?;
    let now_ms = shared.clock.now_ms();
    shared
        .store
        .administer(move |admin| admin.rotate_token(&old, &new, given.grace_ms, now_ms))
        .await?;
    Ok(json(StatusCode::CREATED, &MadeToken { token, digest: new.to_string() }))
}
