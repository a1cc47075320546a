//! The list of accounts, and a new one.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use tollgate::{AccountId, AccountPatch, AccountView, Admin, AdminError, Amount, Store};

use super::ask::{Answered, Ask, encoded};
use super::draft::Draft;
use super::shell::{self, Shell};

/// Accounts on one page.
const PAGE: usize = 50;

/// Names that one search looks at; the next page goes on from there.
const SEARCHED: usize = 20_000;

/// Names that are asked for at once.
const AT_ONCE: usize = 1_000;

#[derive(Template)]
#[template(path = "accounts.html")]
struct AccountsPage {
    shell: Shell,
    search: String,
    rows: Vec<Row>,
    is_first_page: bool,
    /// The address of the next page.
    next: Option<String>,
    draft: Draft,
}

struct Row {
    name: String,
    query: String,
    available: u64,
    held: u64,
    networks: usize,
}

impl Row {
    fn new(id: &AccountId, view: &AccountView) -> Self {
        Row {
            name: id.as_str().to_owned(),
            query: format!("account={}", encoded(id.as_str())),
            available: view.wallet.available().0,
            held: view.wallet.held.0,
            networks: view.settings.networks.len(),
        }
    }
}

pub(super) async fn list(ask: Ask) -> Answered {
    page(&ask, StatusCode::OK, Draft::default()).await
}

async fn page(ask: &Ask, status: StatusCode, draft: Draft) -> Answered {
    let search = ask.query.get("search").to_owned();
    let after = AccountId::new(ask.query.exact("after")).ok();
    let is_first_page = after.is_none();
    let (wanted, now_ms) = (search.to_lowercase(), ask.now_ms);
    let found = ask.administer(move |admin| find(&admin, &wanted, after, now_ms)).await?;
    let next = found.next.map(|after| {
        let (search, after) = (encoded(&search), encoded(after.as_str()));
        format!("/settings/accounts?search={search}&after={after}")
    });
    let shell = ask.shell("Accounts", "accounts");
    let rows = found.rows;
    let page = AccountsPage { shell, search, rows, is_first_page, next, draft };
    Ok(shell::page(status, &page))
}

#[derive(Default)]
struct Found {
    rows: Vec<Row>,
    /// After which account to go on.
    next: Option<AccountId>,
}

fn find(
    admin: &Admin<'_, dyn Store>,
    wanted: &str,
    mut after: Option<AccountId>,
    now_ms: u64,
) -> Result<Found, AdminError> {
    let mut found = Found::default();
    // Without a search every name is wanted, and no more are asked for than are shown.
    let at_once = if wanted.is_empty() { PAGE.saturating_add(1) } else { AT_ONCE };
    for _ in 0..SEARCHED / AT_ONCE {
        let names = admin.accounts(after.as_ref(), at_once, now_ms)?;
        for id in &names {
            let is_wanted = wanted.is_empty() || id.as_str().to_lowercase().contains(wanted);
            if is_wanted && found.rows.len() >= PAGE {
                found.next = after;
                return Ok(found);
            }
            if is_wanted {
                found.rows.push(Row::new(id, &admin.account(id, now_ms)?));
            }
            after = Some(id.clone());
        }
        if names.len() < at_once {
            return Ok(found);
        }
    }
    found.next = after;
    Ok(found)
}

pub(super) async fn create(ask: Ask) -> Result<Response, super::ask::Halt> {
    let mut draft = ask.draft();
    let id = draft.account("name");
    let balance = draft.amount("balance").unwrap_or(Amount::ZERO);
    let (true, Some(id)) = (draft.is_good(), id) else {
        return page(&ask, StatusCode::UNPROCESSABLE_ENTITY, draft).await;
    };
    let now_ms = ask.now_ms;
    let asked = id.clone();
    // Two operators may create the same account at once: the second one is told that it is there.
    let lists = ask.desk.lists.lock().await;
    let made = ask.administer(move |admin| {
        if admin.account(&asked, now_ms).is_ok() {
            return Ok(false);
        }
        admin.put_account(&asked, balance, AccountPatch::default(), now_ms)?;
        Ok(true)
    });
    let made = made.await;
    drop(lists);
    match made {
        Ok(true) => {
            tracing::info!(account = id.as_str(), "an operator created an account");
            let to = format!("/settings/account?account={}", encoded(id.as_str()));
            ask.done(&to, "The account was created. It has no API key yet.")
        }
        Ok(false) => {
            draft.wrong("name", "There is an account of this name already.");
            page(&ask, StatusCode::UNPROCESSABLE_ENTITY, draft).await
        }
        Err(error) => {
            draft.refused("name", &error);
            page(&ask, StatusCode::UNPROCESSABLE_ENTITY, draft).await
        }
    }
}
