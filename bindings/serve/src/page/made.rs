//! A new API key, shown once.

use askama::Template;
use http::StatusCode;

use super::ask::{Account, Answered, Ask};
use super::figures::Moment;
use super::shell::{self, Shell};
use crate::record::short;

#[derive(Template)]
#[template(path = "made.html")]
struct MadePage {
    shell: Shell,
    account: Account,
    key: Option<Shown>,
}

struct Shown {
    text: String,
    short: String,
    replaces_until: Option<Moment>,
}

pub(super) async fn show(ask: Ask) -> Answered {
    let (account, _) = ask.account("keys").await?;
    let engine = ask.desk.shared.live.load();
    let key = ask.take_made(&account.id).map(|made| Shown {
        short: short(&engine.digest(&made.text)),
        text: made.text.expose().to_owned(),
        replaces_until: made.replaces_until_ms.map(Moment),
    });
    let shell = ask.shell("New API key", "accounts");
    Ok(shell::page(StatusCode::OK, &MadePage { shell, account, key }))
}
