//! From where an account may be used.

use std::collections::BTreeMap;
use std::net::IpAddr;

use askama::Template;
use http::StatusCode;
use tollgate::{AccountPatch, AdminError, IpNet, parse_network};

use super::ask::{Account, Answered, Ask, Halt};
use super::draft::Draft;
use super::shell::{self, Shell};

/// Addresses that a warning names.
const NAMED: usize = 10;

#[derive(Template)]
#[template(path = "networks.html")]
struct NetworksPage {
    shell: Shell,
    account: Account,
    networks: Vec<Network>,
    sources: Vec<Source>,
    /// The network that waits for a second word, and whom it would shut out.
    warning: Option<Warning>,
    draft: Draft,
}

struct Network {
    text: String,
    query: String,
}

/// An address that the latest decisions of the account came from.
struct Source {
    address: IpAddr,
    decisions: u64,
    is_inside: bool,
}

struct Warning {
    network: String,
    shut_out: Vec<Source>,
    is_first: bool,
}

/// Addresses of the latest decisions, the most frequent first, and whether these networks let them in.
fn sources(ask: &Ask, account: &Account, networks: &[IpNet]) -> Vec<Source> {
    let mut counts: BTreeMap<IpAddr, u64> = BTreeMap::new();
    ask.desk.shared.latest.each(|kept| {
        let is_own = kept.record.account.as_ref() == Some(&account.id);
        if let Some(address) = kept.record.source.filter(|_| is_own) {
            let count = counts.entry(address).or_default();
            *count = count.saturating_add(1);
        }
    });
    let is_inside = |address: &IpAddr| {
        networks.is_empty() || networks.iter().any(|network| network.contains(address))
    };
    let mut sources: Vec<Source> = counts
        .into_iter()
        .map(|(address, decisions)| Source { address, decisions, is_inside: is_inside(&address) })
        .collect();
    sources.sort_by_key(|source| std::cmp::Reverse(source.decisions));
    sources.truncate(NAMED);
    sources
}

async fn page(ask: &Ask, status: StatusCode, draft: Draft, warning: Option<Warning>) -> Answered {
    let (account, view) = ask.account("networks").await?;
    let set = &view.settings.networks;
    let sources = sources(ask, &account, set);
    let networks = set.iter().map(|network| {
        let text = network.to_string();
        let query = format!("{}&network={}", account.query, super::ask::encoded(&text));
        Network { text, query }
    });
    let page = NetworksPage {
        shell: ask.shell(format!("Source networks of {}", account.name()), "accounts"),
        networks: networks.collect(),
        sources,
        warning,
        draft,
        account,
    };
    Ok(shell::page(status, &page))
}

pub(super) async fn show(ask: Ask) -> Answered {
    page(&ask, StatusCode::OK, Draft::default(), None).await
}

pub(super) async fn add(ask: Ask) -> Answered {
    let (account, _) = ask.account("networks").await?;
    let mut draft = ask.draft();
    let Some(network) = draft.network("network") else {
        return page(&ask, StatusCode::UNPROCESSABLE_ENTITY, draft, None).await;
    };
    let lists = ask.desk.lists.lock().await;
    let (_, view) = ask.account("networks").await?;
    let mut networks = view.settings.networks.clone();
    let is_first = networks.is_empty();
    if networks.contains(&network) {
        draft.wrong("network", "This network is in the list already.");
        return page(&ask, StatusCode::UNPROCESSABLE_ENTITY, draft, None).await;
    }
    networks.push(network);
    // The second word is for the network that was warned of, and not for another one typed since.
    if is_first && draft.text("confirmed") != network.to_string() {
        let mut shut_out = sources(&ask, &account, &networks);
        shut_out.retain(|source| !source.is_inside);
        let warning = Some(Warning { network: network.to_string(), shut_out, is_first });
        return page(&ask, StatusCode::OK, draft, warning).await;
    }
    let put = put(&ask, &account, networks).await;
    drop(lists);
    match put {
        Ok(()) => {
            tracing::info!(account = account.name(), %network, "an operator added a network");
            let notice = format!("Requests from {network} are let in.");
            ask.done(&format!("/settings/networks?{}", account.query), notice)
        }
        Err(error) => {
            draft.refused("network", &error);
            page(&ask, StatusCode::UNPROCESSABLE_ENTITY, draft, None).await
        }
    }
}

async fn put(ask: &Ask, account: &Account, networks: Vec<IpNet>) -> Result<(), AdminError> {
    let settings = AccountPatch { networks: Some(networks), ..AccountPatch::default() };
    let (id, now_ms) = (account.id.clone(), ask.now_ms);
    // The account exists: an opening balance does not count.
    let put = ask
        .administer(move |admin| admin.put_account(&id, tollgate::Amount::ZERO, settings, now_ms));
    put.await
}

#[derive(Template)]
#[template(path = "remove_network.html")]
struct RemovePage {
    shell: Shell,
    account: Account,
    network: String,
    is_last: bool,
    shut_out: Vec<Source>,
    draft: Draft,
}

/// The network that the address names, and those that are left without it.
fn named(ask: &Ask, networks: &[IpNet]) -> Result<(IpNet, Vec<IpNet>), Halt> {
    let network = parse_network(ask.query.get("network")).ok();
    let network = network.filter(|network| networks.contains(network));
    let network = network.ok_or(Halt::NotFound("This network is not in the list."))?;
    let left = networks.iter().copied().filter(|other| *other != network).collect();
    Ok((network, left))
}

async fn remove_page(ask: &Ask, status: StatusCode, draft: Draft) -> Answered {
    let (account, view) = ask.account("networks").await?;
    let (network, left) = named(ask, &view.settings.networks)?;
    let before = sources(ask, &account, &view.settings.networks);
    let mut shut_out = sources(ask, &account, &left);
    let was_inside =
        |address| before.iter().any(|source| source.address == address && source.is_inside);
    shut_out.retain(|source| !source.is_inside && was_inside(source.address));
    let page = RemovePage {
        shell: ask.shell(format!("Remove {network}"), "accounts"),
        account,
        network: network.to_string(),
        is_last: left.is_empty(),
        shut_out,
        draft,
    };
    Ok(shell::page(status, &page))
}

pub(super) async fn ask_remove(ask: Ask) -> Answered {
    remove_page(&ask, StatusCode::OK, Draft::default()).await
}

pub(super) async fn remove(ask: Ask) -> Answered {
    let lists = ask.desk.lists.lock().await;
    let (account, view) = ask.account("networks").await?;
    let (network, left) = named(&ask, &view.settings.networks)?;
    let is_open = left.is_empty();
    let put = put(&ask, &account, left).await;
    drop(lists);
    if let Err(error) = put {
        let mut draft = ask.draft();
        draft.refused("form", &error);
        return remove_page(&ask, StatusCode::UNPROCESSABLE_ENTITY, draft).await;
    }
    tracing::info!(account = account.name(), %network, "an operator removed a network");
    let notice = match is_open {
        true => format!("{network} was removed. The account may be used from anywhere."),
        false => format!("{network} was removed."),
    };
    ask.done(&format!("/settings/networks?{}", account.query), notice)
}
