//! An account's wallet, caps and senders.

use askama::Template;
use http::StatusCode;
use tollgate::{AccountPatch, AccountSettings, AdminError, Amount, Period, SpendCap, Wallet};

use super::ask::{Account, Answered, Ask};
use super::draft::Draft;
use super::figures::{self, CapRow};
use super::keys;
use super::limits;
use super::shell::{self, Shell};

#[derive(Template)]
#[template(path = "money.html")]
struct MoneyPage {
    shell: Shell,
    account: Account,
    wallet: Wallet,
    caps: Vec<CapRow>,
    key_caps: Vec<CapRow>,
    senders: Vec<String>,
    draft: Draft,
}

async fn page(ask: &Ask, status: StatusCode, draft: Draft) -> Answered {
    let (account, view) = ask.account("money").await?;
    let spend = &view.wallet.spend;
    let caps = view.settings.spend_caps.iter();
    let caps = caps.map(|cap| CapRow::new("", cap, spend.within(cap.per, ask.now_ms).0));
    let tokens = keys::of(ask, &account).await?;
    let key_caps = limits::key_caps(ask, &account, tokens).await?;
    let page = MoneyPage {
        shell: ask.shell(format!("Money of {}", account.name()), "accounts"),
        wallet: view.wallet,
        caps: caps.collect(),
        key_caps,
        senders: view.settings.senders.iter().map(ToString::to_string).collect(),
        draft,
        account,
    };
    Ok(shell::page(status, &page))
}

pub(super) async fn show(ask: Ask) -> Answered {
    page(&ask, StatusCode::OK, Draft::default()).await
}

async fn again(ask: &Ask, draft: Draft) -> Answered {
    page(ask, StatusCode::UNPROCESSABLE_ENTITY, draft).await
}

pub(super) async fn deposit(ask: Ask) -> Answered {
    let (account, _) = ask.account("money").await?;
    let mut draft = ask.draft();
    let Some(amount) = draft.needed_amount("amount") else { return again(&ask, draft).await };
    let (id, now_ms) = (account.id.clone(), ask.now_ms);
    match ask.administer(move |admin| admin.deposit(&id, amount, now_ms)).await {
        Ok(()) => {
            tracing::info!(account = account.name(), %amount, "an operator paid in");
            let to = format!("/settings/money?{}", account.query);
            ask.done(&to, format!("{amount} was paid in."))
        }
        Err(error) => {
            draft.refused("amount", &error);
            again(&ask, draft).await
        }
    }
}

/// Changes a list of the account's settings and writes it back. `change` gives the notice, or a problem at a field.
async fn change(
    ask: &Ask,
    mut draft: Draft,
    field: &'static str,
    change: impl FnOnce(&mut AccountSettings) -> Result<String, &'static str>,
) -> Answered {
    let lists = ask.desk.lists.lock().await;
    let (account, view) = ask.account("money").await?;
    let mut settings = (*view.settings).clone();
    let notice = match change(&mut settings) {
        Ok(notice) => notice,
        Err(problem) => {
            draft.wrong(field, problem);
            return again(ask, draft).await;
        }
    };
    let patch = AccountPatch {
        networks: None,
        spend_caps: Some(settings.spend_caps),
        senders: Some(settings.senders),
    };
    let (id, now_ms) = (account.id.clone(), ask.now_ms);
    // The account exists: an opening balance does not count.
    let put = ask.administer(move |admin| admin.put_account(&id, Amount::ZERO, patch, now_ms));
    let put: Result<(), AdminError> = put.await;
    drop(lists);
    match put {
        Ok(()) => {
            tracing::info!(
                account = account.name(),
                change = notice,
                "an operator changed settings"
            );
            ask.done(&format!("/settings/money?{}", account.query), notice)
        }
        Err(error) => {
            draft.refused(field, &error);
            again(ask, draft).await
        }
    }
}

fn period(text: &str) -> Option<Period> {
    [Period::Day, Period::Month, Period::Lifetime]
        .into_iter()
        .find(|period| figures::period(*period) == text)
}

pub(super) async fn add_cap(ask: Ask) -> Answered {
    let mut draft = ask.draft();
    let per = period(draft.text("cap_per"));
    if per.is_none() {
        draft.wrong("cap_per", "Choose a period.");
    }
    if draft.text("cap_amount").is_empty() {
        draft.wrong(
            "cap_amount",
            "Give an amount, in the ledger's minor unit; 0 stops all spending.",
        );
    }
    let amount = draft.amount("cap_amount");
    let (true, Some(per), Some(amount)) = (draft.is_good(), per, amount) else {
        return again(&ask, draft).await;
    };
    let cap = SpendCap { per, amount, shadow: draft.text("cap_shadow") == "yes" };
    change(&ask, draft, "cap_amount", |settings| {
        if settings.spend_caps.contains(&cap) {
            return Err("This cap is in the list already.");
        }
        settings.spend_caps.push(cap);
        Ok(format!("A cap was added: {}.", figures::cap(&cap)))
    })
    .await
}

pub(super) async fn remove_cap(ask: Ask) -> Answered {
    let draft = ask.draft();
    let (per, shadow) = (period(draft.text("per")), draft.text("shadow") == "true");
    let amount = draft.text("of").parse().map(Amount);
    change(&ask, draft, "form", |settings| {
        let is_named = |cap: &SpendCap| {
            Some(cap.per) == per && Ok(cap.amount) == amount && cap.shadow == shadow
        };
        let place = settings.spend_caps.iter().position(is_named);
        let place = place.ok_or("This cap is no longer in the list.")?;
        let cap = settings.spend_caps.remove(place);
        Ok(format!("The cap of {} was removed.", figures::cap(&cap)))
    })
    .await
}

pub(super) async fn add_sender(ask: Ask) -> Answered {
    let mut draft = ask.draft();
    let sender: Box<str> = draft.text("sender").into();
    if sender.is_empty() || sender.len() > 256 || sender.chars().any(char::is_control) {
        draft.wrong("sender", "Give a sender of 1 to 256 bytes without control characters.");
        return again(&ask, draft).await;
    }
    change(&ask, draft, "sender", |settings| {
        if settings.senders.contains(&sender) {
            return Err("This sender is approved already.");
        }
        settings.senders.push(sender.clone());
        Ok(format!("{sender} is approved as a sender."))
    })
    .await
}

pub(super) async fn remove_sender(ask: Ask) -> Answered {
    let draft = ask.draft();
    let sender: Box<str> = draft.value("approved").into();
    change(&ask, draft, "form", |settings| {
        let place = settings.senders.iter().position(|approved| *approved == sender);
        let place = place.ok_or("This sender is no longer in the list.")?;
        settings.senders.remove(place);
        Ok(format!("{sender} is no longer approved as a sender."))
    })
    .await
}
