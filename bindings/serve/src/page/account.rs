//! How an account stands, at a glance.

use askama::Template;
use http::StatusCode;
use tollgate::{AdminError, Wallet};

use super::ask::{Account, Answered, Ask};
use super::chart::Columns;
use super::decisions::{self, Row};
use super::figures::CapRow;
use super::shell::{self, Shell};
use crate::admin::token_state;

/// Decisions on this page.
const DECISIONS: usize = 5;

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    shell: Shell,
    account: Account,
    wallet: Wallet,
    caps: Vec<CapRow>,
    networks: usize,
    live_keys: usize,
    orphans: usize,
    columns: Columns,
    decisions: Vec<Row>,
}

pub(super) async fn show(ask: Ask) -> Answered {
    let (account, view) = ask.account("overview").await?;
    let (id, now_ms) = (account.id.clone(), ask.now_ms);
    let counted = ask.administer(move |admin| {
        let tokens = admin.tokens(&id, now_ms)?;
        let live = tokens
            .iter()
            .filter(|(_, token)| matches!(token_state(token, now_ms), "live" | "expires"));
        let reservations = admin.reservations(&id, now_ms)?;
        let orphans = reservations.iter().filter(|(_, kept)| kept.is_orphan(now_ms));
        Ok::<_, AdminError>((live.count(), orphans.count()))
    });
    let (live_keys, orphans) = counted.await?;
    let latest = &ask.desk.shared.latest;
    let is_own = |kept: &crate::latest::Kept| kept.record.account.as_ref() == Some(&account.id);
    let columns = Columns::new(&latest.minutes_of(is_own), now_ms);
    let decisions = latest.list(DECISIONS, is_own).iter().map(decisions::Row::new).collect();
    let spend = &view.wallet.spend;
    let caps = &view.settings.spend_caps;
    let caps =
        caps.iter().map(|cap| CapRow::new("", cap, spend.within(cap.per, now_ms).0)).collect();
    let page = AccountPage {
        shell: ask.shell(account.name(), "accounts"),
        wallet: view.wallet,
        caps,
        networks: view.settings.networks.len(),
        live_keys,
        orphans,
        columns,
        decisions,
        account,
    };
    Ok(shell::page(StatusCode::OK, &page))
}
