//! `tollgate account`: accounts, their money and their settings.

use std::io::Write;

use clap::Subcommand;
use serde_json::{Value, json};
use tollgate::{AccountId, AccountPatch, AccountView, Admin, Amount, IpNet, Period, SpendCap};

use crate::exit::{Done, Exit, Failure};
use crate::settings::{Cap, Network, account_id, money};
use crate::store::StoreArgs;
use crate::table::write_table;

/// Create accounts, show them, pay in, and set their caps, networks and senders.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create an account. One that exists is refused, so that nothing is paid in twice.
    Create {
        account: String,
        /// What it starts with, in the ledger's minor unit
        #[arg(long, value_name = "AMOUNT", default_value_t = 0)]
        balance: u64,
    },
    /// List the names of all accounts.
    List,
    /// Show an account's money and settings.
    Show { account: String },
    /// Pay in.
    Deposit {
        account: String,
        /// How much, in the ledger's minor unit
        amount: u64,
    },
    /// Set what the account may spend: these caps take the place of those it had.
    Caps {
        account: String,
        /// day=AMOUNT, month=AMOUNT or lifetime=AMOUNT; with `:shadow` reported and not enforced
        #[arg(value_name = "CAP", required_unless_present = "none")]
        caps: Vec<Cap>,
        /// No caps
        #[arg(long, conflicts_with = "caps")]
        none: bool,
    },
    /// Set from where the account may be used: these networks take the place of those it had.
    Networks {
        account: String,
        /// An address, or a network as ADDRESS/LENGTH
        #[arg(value_name = "NETWORK", required_unless_present = "none")]
        networks: Vec<Network>,
        /// From anywhere
        #[arg(long, conflicts_with = "networks")]
        none: bool,
    },
    /// Set the approved senders: these take the place of those it had.
    Senders {
        account: String,
        /// A sender, as requests name it
        #[arg(value_name = "SENDER", required_unless_present = "none")]
        senders: Vec<String>,
        /// None
        #[arg(long, conflicts_with = "senders")]
        none: bool,
    },
}

pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Done {
    let (store, now_ms) = args.store.open()?;
    let admin = store.admin();
    let set = |account: &str, patch: AccountPatch| -> Result<AccountId, Failure> {
        let account = account_id(account)?;
        // Only what exists is set: a typo must not make an account.
        admin.account(&account, now_ms)?;
        admin.put_account(&account, Amount::ZERO, patch, now_ms)?;
        Ok(account)
    };
    let account = match &args.command {
        Command::List => {
            return list(&admin.accounts(None, usize::MAX, now_ms)?, args.json, out);
        }
        Command::Create { account, balance } => {
            create(&admin, &account_id(account)?, Amount(*balance), now_ms)?
        }
        Command::Show { account } => account_id(account)?,
        Command::Deposit { account, amount } => {
            let account = account_id(account)?;
            admin.deposit(&account, Amount(*amount), now_ms)?;
            account
        }
        Command::Caps { account, caps, .. } => {
            let caps: Vec<SpendCap> = caps.iter().map(|Cap(cap)| *cap).collect();
            set(account, AccountPatch { spend_caps: Some(caps), ..AccountPatch::default() })?
        }
        Command::Networks { account, networks, .. } => {
            let networks: Vec<IpNet> = networks.iter().map(|Network(network)| *network).collect();
            set(account, AccountPatch { networks: Some(networks), ..AccountPatch::default() })?
        }
        Command::Senders { account, senders, .. } => {
            let senders = senders.iter().map(|sender| sender.as_str().into()).collect();
            set(account, AccountPatch { senders: Some(senders), ..AccountPatch::default() })?
        }
    };
    show(&account, &admin.account(&account, now_ms)?, now_ms, args.json, out)
}

fn create(
    admin: &Admin<'_, dyn tollgate::Store>,
    account: &AccountId,
    balance: Amount,
    now_ms: u64,
) -> Result<AccountId, Failure> {
    match admin.account(account, now_ms) {
        Ok(_) => {
            let message = "the account exists already; use `account deposit` to pay in";
            return Err(Failure::at(account, message));
        }
        Err(tollgate::AdminError::Refused(tollgate::Refusal::UnknownAccount)) => {}
        Err(error) => return Err(error.into()),
    }
    admin.put_account(account, balance, AccountPatch::default(), now_ms)?;
    Ok(account.clone())
}

fn list(accounts: &[AccountId], as_json: bool, out: &mut dyn Write) -> Done {
    if as_json {
        let names: Vec<&str> = accounts.iter().map(AccountId::as_str).collect();
        serde_json::to_writer_pretty(&mut *out, &names)?;
        writeln!(out)?;
    } else {
        let rows: Vec<[String; 1]> = accounts.iter().map(|name| [name.to_string()]).collect();
        write_table(out, "", &rows)?;
    }
    Ok(Exit::Yes)
}

fn show(
    account: &AccountId,
    view: &AccountView,
    now_ms: u64,
    as_json: bool,
    out: &mut dyn Write,
) -> Done {
    let AccountView { wallet, settings } = view;
    let spent = |per: Period| wallet.spend.within(per, now_ms);
    if as_json {
        let report = json!({
            "account": account.as_str(),
            "balance": wallet.balance,
            "held": wallet.held,
            "available": wallet.available(),
            "posted": wallet.posted,
            "deposited": wallet.deposited,
            "refunded": wallet.refunded,
            "open_reservations": wallet.open_reservations,
            "spent": {
                "day": spent(Period::Day),
                "month": spent(Period::Month),
                "lifetime": spent(Period::Lifetime),
            },
            "spend_caps": settings.spend_caps,
            "networks": settings.networks,
            "senders": settings.senders,
        });
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
        return Ok(Exit::Yes);
    }
    let mut rows = vec![
        ["account".to_owned(), account.to_string()],
        ["balance".to_owned(), money(wallet.balance)],
        ["held".to_owned(), format!("{} in {} requests", wallet.held, wallet.open_reservations)],
        ["available".to_owned(), money(wallet.available())],
        ["posted".to_owned(), money(wallet.posted)],
        ["deposited".to_owned(), money(wallet.deposited)],
        ["refunded".to_owned(), money(wallet.refunded)],
    ];
    for cap in &settings.spend_caps {
        let shadow = if cap.shadow { ", not enforced" } else { "" };
        let text = format!("{} of {}{shadow}", spent(cap.per), cap.amount);
        rows.push([format!("spent a {}", Cap::period(cap.per)), text]);
    }
    rows.push(["networks".to_owned(), joined(&settings.networks, "any")]);
    rows.push(["senders".to_owned(), joined(&settings.senders, "none")]);
    write_table(out, "", &rows)?;
    Ok(Exit::Yes)
}

fn joined<T: serde::Serialize>(values: &[T], empty: &str) -> String {
    let texts: Vec<String> = values
        .iter()
        .map(|value| match serde_json::to_value(value) {
            Ok(Value::String(text)) => text,
            _ => String::new(),
        })
        .collect();
    if texts.is_empty() { empty.to_owned() } else { texts.join(", ") }
}
