//! Money that is held, and an operator's word on requests whose end nobody reported.

use askama::Template;
use http::StatusCode;
use tollgate::{Amount, Finish, Reservation, ReservationId, ReservationState};

use super::ask::{Account, Answered, Ask, Halt};
use super::draft::Draft;
use super::figures::Moment;
use super::shell::{self, Shell};
use crate::record::short;

/// Open reservations that are shown.
const OPEN: usize = 50;

/// Orphans that are shown; the rest comes up as these are dealt with.
const ORPHANS: usize = 200;

#[derive(Template)]
#[template(path = "reservations.html")]
struct ReservationsPage {
    shell: Shell,
    account: Account,
    orphans: Vec<Row>,
    more_orphans: usize,
    ended: Vec<Row>,
    open: Vec<Row>,
    more_open: usize,
}

pub(super) struct Row {
    number: u64,
    key: String,
    amount: u64,
    posted: u64,
    lease_until: Moment,
    holds_key: bool,
    was_posted: bool,
}

impl Row {
    fn new((ReservationId(number), reservation): &(ReservationId, Reservation)) -> Self {
        Row {
            number: *number,
            key: short(&reservation.token),
            amount: reservation.amount.0,
            posted: reservation.state.posted().0,
            lease_until: Moment(reservation.lease_until_ms),
            holds_key: reservation.claim.is_some(),
            was_posted: matches!(reservation.state, ReservationState::Posted { .. }),
        }
    }
}

type Kept = Vec<(ReservationId, Reservation)>;

async fn of(ask: &Ask, account: &Account) -> Result<Kept, Halt> {
    let (id, now_ms) = (account.id.clone(), ask.now_ms);
    Ok(ask.administer(move |admin| admin.reservations(&id, now_ms)).await?)
}

pub(super) async fn list(ask: Ask) -> Answered {
    let (account, _) = ask.account("reservations").await?;
    let all = of(&ask, &account).await?;
    let is_held = |kept: &&(ReservationId, Reservation)| kept.1.state == ReservationState::Held;
    let orphaned = all.iter().filter(|(_, kept)| kept.is_orphan(ask.now_ms));
    let open = all.iter().filter(is_held).filter(|(_, kept)| !kept.is_orphan(ask.now_ms));
    let held = orphaned.clone().filter(is_held);
    let ended = orphaned.filter(|kept| !is_held(kept));
    let page = ReservationsPage {
        shell: ask.shell(format!("Reservations of {}", account.name()), "accounts"),
        more_orphans: held.clone().count().saturating_sub(ORPHANS),
        orphans: held.take(ORPHANS).map(Row::new).collect(),
        ended: ended.take(ORPHANS).map(Row::new).collect(),
        more_open: open.clone().count().saturating_sub(OPEN),
        open: open.take(OPEN).map(Row::new).collect(),
        account,
    };
    Ok(shell::page(StatusCode::OK, &page))
}

#[derive(Template)]
#[template(path = "resolve.html")]
struct ResolvePage {
    shell: Shell,
    account: Account,
    row: Row,
    is_held: bool,
    settles: bool,
    /// Where the form is sent.
    action: String,
    draft: Draft,
}

/// The reservation that the address names.
async fn named(ask: &Ask, account: &Account) -> Result<(ReservationId, Reservation), Halt> {
    let number = ask.query.get("number").parse().map(ReservationId).ok();
    let found = of(ask, account).await?.into_iter().find(|(known, _)| Some(*known) == number);
    found
        .ok_or(Halt::NotFound("There is no such reservation, or its record is past its retention."))
}

async fn page(ask: &Ask, status: StatusCode, settles: bool, draft: Draft) -> Answered {
    let (account, _) = ask.account("reservations").await?;
    let kept = named(ask, &account).await?;
    let word = if settles { "settle" } else { "void" };
    let number = kept.0.0;
    let page = ResolvePage {
        shell: ask.shell(format!("Reservation {number}"), "accounts"),
        action: format!("/settings/reservations/{word}?{}&number={number}", account.query),
        account,
        is_held: kept.1.state == ReservationState::Held,
        row: Row::new(&kept),
        settles,
        draft,
    };
    Ok(shell::page(status, &page))
}

pub(super) async fn ask(uri: http::Uri, ask: Ask) -> Answered {
    let settles = uri.path().ends_with("/settle");
    page(&ask, StatusCode::OK, settles, Draft::default()).await
}

pub(super) async fn settle(ask: Ask) -> Answered {
    let mut draft = ask.draft();
    let amount = draft.amount("amount");
    if !draft.is_good() {
        return page(&ask, StatusCode::UNPROCESSABLE_ENTITY, true, draft).await;
    }
    resolve(&ask, draft, true, Finish::Settle { amount, response: None }).await
}

pub(super) async fn void(ask: Ask) -> Answered {
    resolve(&ask, ask.draft(), false, Finish::Void { response: None }).await
}

async fn resolve(ask: &Ask, mut draft: Draft, settles: bool, finish: Finish) -> Answered {
    let (account, _) = ask.account("reservations").await?;
    let (number, _) = named(ask, &account).await?;
    let (id, now_ms) = (account.id.clone(), ask.now_ms);
    match ask.administer(move |admin| admin.resolve(&id, number, finish, now_ms)).await {
        Ok(settled) => {
            let posted = settled.posted.unwrap_or(Amount::ZERO);
            let number = number.0;
            tracing::info!(account = account.name(), number, %posted, "an operator ended a reservation");
            let notice = match settles {
                true => format!("Reservation {number} is settled: {posted} was posted."),
                false => format!("Reservation {number} is void: nothing was posted for it."),
            };
            ask.done(&format!("/settings/reservations?{}", account.query), notice)
        }
        Err(error) => {
            draft.refused(if settles { "amount" } else { "form" }, &error);
            page(ask, StatusCode::UNPROCESSABLE_ENTITY, settles, draft).await
        }
    }
}
