//! A new API key.

use askama::Template;
use axum::response::{IntoResponse, Redirect};
use http::StatusCode;
use tollgate::{AdminError, CompiledPolicy, Period, SpendCap, TokenPatch};

use super::ask::{Account, Answered, Ask};
use super::draft::Draft;
use super::session::Made;
use super::shell::{self, Shell};
use crate::admin::new_token;
use crate::record::short;

#[derive(Template)]
#[template(path = "new_key.html")]
struct NewKeyPage {
    shell: Shell,
    account: Account,
    scopes: Vec<Scope>,
    draft: Draft,
}

/// A scope, and the routes that it grants.
struct Scope {
    name: String,
    routes: Vec<String>,
}

fn scopes_of(policy: &CompiledPolicy) -> Vec<Scope> {
    let table = policy.scopes();
    let routes_of = |name: &str| {
        let set = table.set([name]);
        let granted = policy.routes().iter().filter(|route| route.granted_by().intersects(set));
        granted.map(|route| route.name.to_string()).collect()
    };
    table
        .names()
        .iter()
        .map(|name| Scope { name: name.to_string(), routes: routes_of(name) })
        .collect()
}

async fn page(ask: &Ask, status: StatusCode, draft: Draft) -> Answered {
    let (account, _) = ask.account("keys").await?;
    let engine = ask.desk.shared.live.load();
    let scopes = scopes_of(engine.policy());
    let shell = ask.shell(format!("New API key for {}", account.name()), "accounts");
    Ok(shell::page(status, &NewKeyPage { shell, account, scopes, draft }))
}

pub(super) async fn form(ask: Ask) -> Answered {
    page(&ask, StatusCode::OK, Draft::default()).await
}

const CAPS: [(&str, Period); 3] =
    [("cap_day", Period::Day), ("cap_month", Period::Month), ("cap_lifetime", Period::Lifetime)];

/// What the form says, or problems in it.
fn settings(draft: &mut Draft, known: &[Box<str>], now_ms: u64) -> TokenPatch {
    let scopes: Vec<Box<str>> = draft.all("scopes").map(Box::from).collect();
    if scopes.is_empty() {
        draft.wrong("scopes", "Choose at least one scope: a key without any may do nothing.");
    } else if scopes.iter().any(|scope| !known.contains(scope)) {
        draft.wrong(
            "scopes",
            "The policy has changed and one of these scopes is gone. Choose again.",
        );
    }
    let networks = draft.networks("networks");
    let quota = draft.quota();
    let mut spend_caps = Vec::new();
    for (name, per) in CAPS {
        let amount = draft.amount(name);
        spend_caps.extend(amount.map(|amount| SpendCap { per, amount, shadow: false }));
    }
    let expires_ms = draft.time_to_come("expires", now_ms);
    TokenPatch {
        scopes: Some(scopes),
        networks: Some(networks),
        quota: Some(quota),
        spend_caps: Some(spend_caps),
        expires_ms: Some(expires_ms),
    }
}

pub(super) async fn create(ask: Ask) -> Answered {
    let (account, _) = ask.account("keys").await?;
    let engine = ask.desk.shared.live.load();
    let mut draft = ask.draft();
    let settings = settings(&mut draft, engine.policy().scopes().names(), ask.now_ms);
    if !draft.is_good() {
        return page(&ask, StatusCode::UNPROCESSABLE_ENTITY, draft).await;
    }
    let Ok(text) = new_token() else {
        draft.wrong("form", "The system gives no entropy. No key was made; try again.");
        return page(&ask, StatusCode::SERVICE_UNAVAILABLE, draft).await;
    };
    let digest = engine.digest(&text);
    let (id, now_ms) = (account.id.clone(), ask.now_ms);
    let put = ask.administer(move |admin| admin.put_token(&digest, &id, settings, now_ms));
    let put: Result<(), AdminError> = put.await;
    if let Err(error) = put {
        draft.refused("form", &error);
        return page(&ask, StatusCode::UNPROCESSABLE_ENTITY, draft).await;
    }
    tracing::info!(account = account.name(), key = short(&digest), "an operator made an API key");
    let made = Made { account: account.id.clone(), text, replaces_until_ms: None };
    ask.desk.sessions.leave_made(&ask.visitor, made, now_ms);
    // The key goes to the page that shows it by way of the session: no address has it, and a reload shows no second one.
    Ok(Redirect::to(&format!("/settings/keys/made?{}", account.query)).into_response())
}
