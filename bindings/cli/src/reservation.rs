//! `tollgate reservation`: what requests hold, and what became of it.

use std::io::Write;

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};
use tollgate::{Amount, Finish, Reservation, ReservationId, ReservationState};

use crate::exit::{Done, Exit, Failure};
use crate::settings::account_id;
use crate::store::StoreArgs;
use crate::table::write_table;

/// List reservations, and end those whose request nobody reported on.
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
    /// List an account's reservations by number: the open ones, and the finished ones that are still
    /// kept.
    List {
        account: String,
        /// Only those that are open
        #[arg(long)]
        open: bool,
        /// Only those whose lease ended without a word of how the request did: still open, or ended by
        /// their expiry rule with an idempotency key that stays in flight until it is resolved
        #[arg(long)]
        orphans: bool,
    },
    /// Say how a request ended whose end nobody reported. Its idempotency key is free again after
    /// `void`; after `settle` the key replays an empty answer with status 200.
    Resolve {
        account: String,
        /// The reservation's number
        number: u64,
        /// What happened
        outcome: Ended,
        /// What it cost, at most what was reserved [default: all of it]
        #[arg(long, value_name = "AMOUNT")]
        amount: Option<u64>,
    },
    /// Give back a part of what a reservation posted, once per reference.
    Refund {
        account: String,
        /// The reservation's number
        number: u64,
        /// How much, in the ledger's minor unit
        amount: u64,
        /// The refund's own name: the same one again changes nothing
        reference: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Ended {
    /// It was carried out
    Settle,
    /// It was not
    Void,
}

pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Done {
    let (store, now_ms) = args.store.open()?;
    let admin = store.admin();
    match &args.command {
        Command::List { account, open, orphans } => {
            let mut all = admin.reservations(&account_id(account)?, now_ms)?;
            all.retain(|(_, reservation)| {
                let is_open = reservation.state == ReservationState::Held;
                (!open || is_open) && (!orphans || reservation.is_orphan(now_ms))
            });
            list(&all, now_ms, args.json, out)
        }
        Command::Resolve { account, number, outcome, amount } => {
            let finish = match (outcome, amount) {
                (Ended::Settle, amount) => {
                    Finish::Settle { amount: amount.map(Amount), response: None }
                }
                (Ended::Void, None) => Finish::Void { response: None },
                (Ended::Void, Some(_)) => {
                    let message = "what was not carried out costs nothing; leave the amount out";
                    return Err(Failure::at("--amount", message));
                }
            };
            let id = ReservationId(*number);
            let settled = admin.resolve(&account_id(account)?, id, finish, now_ms)?;
            let posted = settled.posted.unwrap_or(Amount::ZERO);
            said(args.json, &json!({ "posted": posted }), &format!("posted {posted}"), out)
        }
        Command::Refund { account, number, amount, reference } => {
            let account = tollgate::AccountRef::Id(account_id(account)?);
            let (id, amount) = (ReservationId(*number), Amount(*amount));
            admin.refund(&account, id, amount, reference, now_ms)?;
            said(args.json, &json!({ "refunded": amount }), &format!("refunded {amount}"), out)
        }
    }
}

fn said(as_json: bool, report: &Value, text: &str, out: &mut dyn Write) -> Done {
    if as_json {
        writeln!(out, "{report}")?
    } else {
        writeln!(out, "{text}")?
    }
    Ok(Exit::Yes)
}

/// What became of a reservation, in a word, and what it posted.
fn state(reservation: &Reservation, now_ms: u64) -> (&'static str, Amount) {
    let posted = reservation.state.posted();
    let word = match &reservation.state {
        ReservationState::Held if reservation.lease_until_ms <= now_ms => "orphan",
        ReservationState::Held => "open",
        ReservationState::Posted { by_expiry: false, .. } => "posted",
        ReservationState::Posted { by_expiry: true, .. } => "posted at its end",
        ReservationState::Voided { by_expiry: false } => "voided",
        ReservationState::Voided { by_expiry: true } => "voided at its end",
    };
    (word, posted)
}

fn list(
    reservations: &[(ReservationId, Reservation)],
    now_ms: u64,
    as_json: bool,
    out: &mut dyn Write,
) -> Done {
    if as_json {
        let all: Vec<Value> = reservations
            .iter()
            .map(|(ReservationId(number), reservation)| {
                let (word, posted) = state(reservation, now_ms);
                json!({
                    "number": number,
                    "state": word,
                    "reserved": reservation.amount,
                    "posted": posted,
                    "lease_until_ms": reservation.lease_until_ms,
                    "holds_key": reservation.claim.is_some(),
                    "token": reservation.token.to_string(),
                })
            })
            .collect();
        serde_json::to_writer_pretty(&mut *out, &all)?;
        writeln!(out)?;
        return Ok(Exit::Yes);
    }
    let titles = ["number", "state", "reserved", "posted", "lease until (ms)", "key"];
    let mut rows = vec![titles.map(str::to_owned)];
    rows.extend(reservations.iter().map(|(ReservationId(number), reservation)| {
        let (word, posted) = state(reservation, now_ms);
        let key = if reservation.claim.is_some() { "yes" } else { "no" };
        [
            number.to_string(),
            word.to_owned(),
            reservation.amount.to_string(),
            posted.to_string(),
            reservation.lease_until_ms.to_string(),
            key.to_owned(),
        ]
    }));
    write_table(out, "", &rows)?;
    Ok(Exit::Yes)
}
