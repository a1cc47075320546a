//! Accounts, their money and their settings.

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tollgate::{AccountId, AccountPatch, AccountView, Amount};
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::given::{self, Cap, Segments, account_id};
use crate::api::{json, read_json};
use crate::reply::Fault;
use crate::shared::Shared;

#[derive(OpenApi)]
#[openapi(paths(list, show, put, deposit))]
pub(crate) struct Description;

/// Most names in one answer.
const MAX_NAMES: usize = 1_000;

/// Which accounts to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// Only those after this one.
    after: Option<String>,
    /// At most so many.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Names of accounts, sorted by their bytes.
#[derive(Serialize, ToSchema)]
struct Names {
    accounts: Vec<String>,
}

/// An account as it is to be. What is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountSettings {
    /// What it starts with, in the ledger's minor unit. It counts only where there is no such account yet.
    balance: Option<u64>,
    /// From where it may be used: addresses, or networks as ADDRESS/LENGTH. Empty: from anywhere.
    networks: Option<Vec<String>>,
    /// What it may spend.
    spend_caps: Option<Vec<Cap>>,
    /// Approved senders.
    senders: Option<Vec<String>>,
}

/// A payment.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Deposit {
    /// How much, in the ledger's minor unit.
    amount: u64,
}

/// An account.
#[derive(Serialize, ToSchema)]
pub(crate) struct Account {
    id: String,
    balance: u64,
    held: u64,
    available: u64,
    posted: u64,
    open_reservations: u64,
    networks: Vec<String>,
    spend_caps: Vec<Cap>,
    senders: Vec<String>,
}

impl Account {
    fn of(id: &AccountId, view: &AccountView) -> Self {
        let settings = &view.settings;
        Account {
            id: id.as_str().to_owned(),
            balance: view.wallet.balance.0,
            held: view.wallet.held.0,
            available: view.wallet.available().0,
            posted: view.wallet.posted.0,
            open_reservations: view.wallet.open_reservations,
            networks: settings.networks.iter().map(ToString::to_string).collect(),
            spend_caps: settings.spend_caps.iter().map(Cap::from).collect(),
            senders: settings.senders.iter().map(ToString::to_string).collect(),
        }
    }
}

/// List accounts.
#[utoipa::path(
    get, path = "/api/accounts", tag = "accounts", params(Page),
    responses((status = 200, body = Names), (status = 400, body = crate::api::Error), (status = 401, body = crate::api::Error), (status = 503, body = crate::api::Error)),
    security(("admin_token" = []))
)]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    page: Result<Query<Page>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Fault> {
    let Ok(Query(page)) = page else {
        return Err(Fault::malformed(
            "`after` is an account's name, `limit` a number from 1 to 1000",
        ));
    };
    let after = page.after.as_deref().map(account_id).transpose()?;
    let limit = page.limit.unwrap_or(MAX_NAMES);
    if !(1..=MAX_NAMES).contains(&limit) {
        return Err(Fault::malformed("`limit` is a number from 1 to 1000"));
    }
    let now_ms = shared.clock.now_ms();
    let names = shared.store.administer(move |admin| admin.accounts(after.as_ref(), limit, now_ms));
    let accounts = names.await?.iter().map(|id| id.as_str().to_owned()).collect();
    Ok(json(StatusCode::OK, &Names { accounts }))
}

/// Show an account.
#[utoipa::path(
    get, path = "/api/accounts/{account}", tag = "accounts", params(("account" = String, Path)),
    responses((status = 200, body = Account), (status = 400, body = crate::api::Error), (status = 401, body = crate::api::Error), (status = 404, body = crate::api::Error), (status = 503, body = crate::api::Error)),
    security(("admin_token" = []))
)]
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    Segments(account): Segments<String>,
) -> Result<Response, Fault> {
    shown(&shared, account_id(&account)?).await
}

async fn shown(shared: &Shared, id: AccountId) -> Result<Response, Fault> {
    let now_ms = shared.clock.now_ms();
    let asked = id.clone();
    let view = shared.store.administer(move |admin| admin.account(&asked, now_ms)).await?;
    Ok(json(StatusCode::OK, &Account::of(&id, &view)))
}

/// Create an account, or replace the settings that are given.
#[utoipa::path(
    put, path = "/api/accounts/{account}", tag = "accounts", params(("account" = String, Path)), request_body = AccountSettings,
    responses((status = 200, body = Account), (status = 400, body = crate::api::Error), (status = 401, body = crate::api::Error), (status = 409, body = crate::api::Error), (status = 413, body = crate::api::Error), (status = 415, body = crate::api::Error), (status = 503, body = crate::api::Error)),
    security(("admin_token" = []))
)]
pub(super) async fn put(
    State(shared): State<Arc<Shared>>,
    Segments(account): Segments<String>,
    request: Request,
) -> Result<Response, Fault> {
    let id = account_id(&account)?;
    let given: AccountSettings = read_json(shared.options.bounds.max_body_bytes, request).await?;
    let balance = Amount(given.balance.unwrap_or(0));
    let settings = AccountPatch {
        networks: given::networks(given.networks)?,
        spend_caps: given::caps(given.spend_caps),
        senders: given::texts(given.senders),
    };
    let now_ms = shared.clock.now_ms();
    let asked = id.clone();
    shared
        .store
        .administer(move |admin| admin.put_account(&asked, balance, settings, now_ms))
        .await?;
    shown(&shared, id).await
}

/// Pay in.
#[utoipa::path(
    post, path = "/api/accounts/{account}/deposits", tag = "accounts", params(("account" = String, Path)), request_body = Deposit,
    responses((status = 200, body = Account), (status = 400, body = crate::api::Error), (status = 401, body = crate::api::Error), (status = 404, body = crate::api::Error), (status = 409, body = crate::api::Error), (status = 413, body = crate::api::Error), (status = 415, body = crate::api::Error), (status = 503, body = crate::api::Error)),
    security(("admin_token" = []))
)]
pub(super) async fn deposit(
    State(shared): State<Arc<Shared>>,
    Segments(account): Segments<String>,
    request: Request,
) -> Result<Response, Fault> {
    let id = account_id(&account)?;
    let given: Deposit = read_json(shared.options.bounds.max_body_bytes, request).await?;
    let now_ms = shared.clock.now_ms();
    let asked = id.clone();
    shared
        .store
        .administer(move |admin| admin.deposit(&asked, Amount(given.amount), now_ms))
        .await?;
    shown(&shared, id).await
}
