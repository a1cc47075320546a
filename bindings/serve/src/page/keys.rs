//! An account's API keys: the list, rotation, revocation.

use std::sync::Arc;

use askama::Template;
use axum::response::{IntoResponse, Redirect};
use http::StatusCode;
use tollgate::{Token, TokenDigest};

use super::ask::{Account, Answered, Ask, Halt};
use super::draft::Draft;
use super::figures::{self, Moment};
use super::session::Made;
use super::shell::{self, Shell};
use crate::admin::{new_token, token_state};
use crate::record::short;

/// Keys on one page.
const PAGE: usize = 100;

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage {
    shell: Shell,
    account: Account,
    keys: Vec<Key>,
    next: Option<String>,
}

/// A key as it is shown.
pub(super) struct Key {
    pub digest: String,
    pub short: String,
    pub state: &'static str,
    pub scopes: Vec<String>,
    pub networks: Vec<String>,
    pub quota: Option<String>,
    pub caps: Vec<String>,
    pub expires: Option<Moment>,
    pub is_live: bool,
}

impl Key {
    pub(super) fn new(digest: &TokenDigest, token: &Token, now_ms: u64) -> Self {
        let state = token_state(token, now_ms);
        Key {
            digest: digest.to_string(),
            short: short(digest),
            state,
            scopes: token.scopes.iter().map(ToString::to_string).collect(),
            networks: token.networks.iter().map(ToString::to_string).collect(),
            quota: token.quota.map(|quota| figures::rate(quota.limit, quota.window_ms)),
            caps: token.spend_caps.iter().map(figures::cap).collect(),
            expires: token.expires_ms.map(Moment),
            is_live: matches!(state, "live" | "expires"),
        }
    }
}

pub(super) type Tokens = Vec<(TokenDigest, Arc<Token>)>;

/// The account's keys, those that work first.
pub(super) async fn of(ask: &Ask, account: &Account) -> Result<Tokens, Halt> {
    let (id, now_ms) = (account.id.clone(), ask.now_ms);
    let mut tokens = ask.administer(move |admin| admin.tokens(&id, now_ms)).await?;
    tokens.sort_by_key(|(_, token)| {
        let state = token_state(token, now_ms);
        ["live", "expires", "expired"].iter().position(|known| *known == state).unwrap_or(3)
    });
    Ok(tokens)
}

pub(super) async fn list(ask: Ask) -> Answered {
    let (account, _) = ask.account("keys").await?;
    let tokens = of(&ask, &account).await?;
    let skipped = ask.query.get("skip").parse().unwrap_or(0_usize);
    let end = skipped.saturating_add(PAGE);
    let shown = tokens.iter().skip(skipped).take(PAGE);
    let keys = shown.map(|(digest, token)| Key::new(digest, token, ask.now_ms)).collect();
    let query = &account.query;
    let next = (tokens.len() > end).then(|| format!("/settings/keys?{query}&skip={end}"));
    let shell = ask.shell(format!("API keys of {}", account.name()), "accounts");
    Ok(shell::page(StatusCode::OK, &KeysPage { shell, account, keys, next }))
}

/// The key that the address names: one of this account's.
async fn named(ask: &Ask, account: &Account) -> Result<(TokenDigest, Arc<Token>), Halt> {
    let digest = TokenDigest::from_hex(ask.query.get("key")).ok();
    let tokens = of(ask, account).await?;
    let found = tokens.into_iter().find(|(known, _)| Some(*known) == digest);
    found.ok_or(Halt::NotFound("This account has no such API key."))
}

#[derive(Template)]
#[template(path = "revoke.html")]
struct RevokePage {
    shell: Shell,
    account: Account,
    key: Key,
    draft: Draft,
}

async fn revoke_page(ask: &Ask, status: StatusCode, draft: Draft) -> Answered {
    let (account, _) = ask.account("keys").await?;
    let (digest, token) = named(ask, &account).await?;
    let key = Key::new(&digest, &token, ask.now_ms);
    let shell = ask.shell(format!("Revoke key {}", key.short), "accounts");
    Ok(shell::page(status, &RevokePage { shell, account, key, draft }))
}

pub(super) async fn ask_revoke(ask: Ask) -> Answered {
    revoke_page(&ask, StatusCode::OK, Draft::default()).await
}

pub(super) async fn revoke(ask: Ask) -> Answered {
    let (account, _) = ask.account("keys").await?;
    let (digest, _) = named(&ask, &account).await?;
    let now_ms = ask.now_ms;
    match ask.administer(move |admin| admin.revoke_token(&digest, now_ms)).await {
        Ok(()) => {
            let key = short(&digest);
            tracing::info!(account = account.name(), key, "an operator revoked an API key");
            let notice =
                format!("Key {key} was revoked. Requests with it are refused from now on.");
            ask.done(&format!("/settings/keys?{}", account.query), notice)
        }
        Err(error) => {
            let mut draft = ask.draft();
            draft.refused("form", &error);
            revoke_page(&ask, StatusCode::UNPROCESSABLE_ENTITY, draft).await
        }
    }
}

/// How long an old key may still work: the value in the form, its words, and the milliseconds.
const GRACES: [(&str, &str, u64); 5] = [
    ("none", "Not at all: it stops now", 0),
    ("hour", "1 hour", 3_600_000),
    ("day", "24 hours", 86_400_000),
    ("week", "7 days", 7 * 86_400_000),
    ("month", "30 days", 30 * 86_400_000),
];

#[derive(Template)]
#[template(path = "rotate.html")]
struct RotatePage {
    shell: Shell,
    account: Account,
    key: Key,
    graces: [(&'static str, &'static str, u64); 5],
    draft: Draft,
}

impl RotatePage {
    fn is_chosen(&self, value: &str) -> bool {
        match self.draft.value("grace") {
            "" => value == "day",
            given => value == given,
        }
    }
}

async fn rotate_page(ask: &Ask, status: StatusCode, draft: Draft) -> Answered {
    let (account, _) = ask.account("keys").await?;
    let (digest, token) = named(ask, &account).await?;
    let key = Key::new(&digest, &token, ask.now_ms);
    let shell = ask.shell(format!("Rotate key {}", key.short), "accounts");
    Ok(shell::page(status, &RotatePage { shell, account, key, graces: GRACES, draft }))
}

pub(super) async fn ask_rotate(ask: Ask) -> Answered {
    rotate_page(&ask, StatusCode::OK, Draft::default()).await
}

pub(super) async fn rotate(ask: Ask) -> Answered {
    let (account, _) = ask.account("keys").await?;
    let (old, _) = named(&ask, &account).await?;
    let mut draft = ask.draft();
    let grace = GRACES.iter().find(|(value, ..)| *value == draft.text("grace"));
    let Some((_, _, grace_ms)) = grace.copied() else {
        draft.wrong("grace", "Choose how long the old key still works.");
        return rotate_page(&ask, StatusCode::UNPROCESSABLE_ENTITY, draft).await;
    };
    let Ok(text) = new_token() else {
        draft.wrong("form", "The system gives no entropy. No key was made; try again.");
        return rotate_page(&ask, StatusCode::SERVICE_UNAVAILABLE, draft).await;
    };
    let new = ask.desk.shared.live.load().digest(&text);
    let now_ms = ask.now_ms;
    match ask.administer(move |admin| admin.rotate_token(&old, &new, grace_ms, now_ms)).await {
        Ok(()) => {
            let key = short(&old);
            tracing::info!(account = account.name(), key, "an operator rotated an API key");
            let replaces_until_ms = Some(now_ms.saturating_add(grace_ms));
            let made = Made { account: account.id.clone(), text, replaces_until_ms };
            ask.desk.sessions.leave_made(&ask.visitor, made, now_ms);
            Ok(Redirect::to(&format!("/settings/keys/made?{}", account.query)).into_response())
        }
        Err(error) => {
            draft.refused("form", &error);
            rotate_page(&ask, StatusCode::UNPROCESSABLE_ENTITY, draft).await
        }
    }
}
