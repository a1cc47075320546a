//! Whether all records are whole and agree with each other.

use tollgate::transition::{Due, NEVER_MS};
use tollgate::{Amount, ReservationState, Spend};

use crate::fault::{Fault, corrupt};
use crate::key;
use crate::record::{DueClaim, DueReservation, ExpiringCell, Head, NumberedToken, Totals};
use crate::view::{self, View};

/// Reads every record, checks it, and checks what records say of each other: sums of money, counts, and
/// the lists of what falls due. Gives how many there are.
///
/// # Errors
/// [`Fault`], with what is damaged first.
pub fn verify(view: &mut View<'_, '_>) -> Result<u64, Fault> {
    let totals = view::totals(view.txn())?;
    let mut counted = Totals { accounts: totals.accounts, ..Totals::default() };
    check_cells(view, &mut counted)?;
    check_tokens(view, &mut counted)?;
    for number in 0..totals.accounts {
        check_account(view, number, &mut counted)?;
    }
    check_accounts_due(view)?;
    if counted != totals {
        return Err(corrupt("what the store holds"));
    }
    let mut all = 0_u64;
    view.each_from(key::FORMAT, |_, _| {
        all = all.saturating_add(1);
        Ok(true)
    })?;
    Ok(all)
}

fn check_cells(view: &View<'_, '_>, counted: &mut Totals) -> Result<(), Fault> {
    counted.cells = each::<ExpiringCell>(view, &[key::CELL], "a limit's count", |_, _| Ok(()))?;
    let what = "when a limit's count expires";
    let noted = each::<()>(view, &[key::CELL_DUE], what, |key, ()| {
        let (_, cell) = key::read_cell_due(key).ok_or_else(|| corrupt(what))?;
        let found: Option<ExpiringCell> = view.get(&key::cell(&cell), "a limit's count")?;
        found.map(|_| ()).ok_or_else(|| corrupt(what))
    })?;
    if noted == counted.cells { Ok(()) } else { Err(corrupt(what)) }
}

fn check_tokens(view: &View<'_, '_>, counted: &mut Totals) -> Result<(), Fault> {
    counted.tokens = each::<NumberedToken>(view, &[key::TOKEN], "a token", |key, found| {
        let digest = key::digest(key).ok_or_else(|| corrupt("a token"))?;
        let named: Option<u32> = view.get(&key::name(found.token.account.as_str()), "a name")?;
        let listed = view.has(&key::token_of(found.number, &digest))?;
        if named == Some(found.number) && listed { Ok(()) } else { Err(corrupt("a token")) }
    })?;
    Ok(())
}

fn check_account(view: &mut View<'_, '_>, number: u32, counted: &mut Totals) -> Result<(), Fault> {
    let head: Option<Head> = view.get(&key::head(number), "an account's settings")?;
    let head = head.ok_or_else(|| corrupt("an account's settings"))?;
    let named: Option<u32> = view.get(&key::name(head.id.as_str()), "an account's name")?;
    if named != Some(number) {
        return Err(corrupt("an account's name"));
    }
    let revision: Option<u64> = view.get(&key::revision(number), "an account's revision")?;
    revision.ok_or_else(|| corrupt("an account's revision"))?;
    let purse = view.purse(number)?.ok_or_else(|| corrupt("an account's money"))?;

    let mut noted = 0_u64;
    let mut note = |due: Due, due_ms: u64, noted_ms: u64| {
        if noted_ms == NEVER_MS && due_ms == NEVER_MS {
            return Ok(());
        }
        noted = noted.saturating_add(1);
        let there = noted_ms <= due_ms && view.has(&key::due(number, noted_ms, due))?;
        if there { Ok(()) } else { Err(corrupt("what falls due")) }
    };
    let what = "an idempotency claim";
    let claims = each::<DueClaim>(view, &key::claims(number), what, |key, found| {
        let key = key.last_chunk().ok_or_else(|| corrupt(what))?;
        note(Due::Claim(tollgate::ClaimKey(*key)), found.due_ms, found.noted_ms)
    })?;
    let (mut held, mut open) = (Amount::ZERO, 0_u64);
    let what = "a reservation";
    let reservations =
        each::<DueReservation>(view, &key::reservations(number), what, |key, found| {
            let id = key::reservation_id(key).ok_or_else(|| corrupt(what))?;
            let reservation = found.reservation;
            if reservation.state == ReservationState::Held && reservation.amount > Amount::ZERO {
                held = held.checked_add(reservation.amount).ok_or_else(|| corrupt(what))?;
                open = open.saturating_add(1);
            }
            note(Due::Reservation(id), found.due_ms, found.noted_ms)
        })?;
    let notes = each::<()>(view, &key::dues(number), "what falls due", |_, ()| Ok(()))?;
    if notes != noted {
        return Err(corrupt("what falls due"));
    }
    each::<Spend>(view, &key::spends(number), "what a token spent", |_, _| Ok(()))?;
    each::<()>(view, &key::tokens(number), "an account's tokens", |key, ()| {
        let digest = key::digest(key).ok_or_else(|| corrupt("an account's tokens"))?;
        let there = view.has(&key::token(&digest))?;
        if there { Ok(()) } else { Err(corrupt("an account's tokens")) }
    })?;

    let wallet = &purse.wallet;
    let paid_in = wallet.deposited.checked_add(wallet.refunded);
    let agrees = paid_in == wallet.balance.checked_add(wallet.posted)
        && wallet.held <= wallet.balance
        && wallet.held == held
        && wallet.open_reservations == open;
    if !agrees || purse.claims != claims || purse.reservations != reservations {
        return Err(corrupt("an account's money"));
    }
    let first = view.first_note(number, &key::dues(number))?;
    if first.is_some_and(|(noted_ms, _)| noted_ms < purse.registered_ms) {
        return Err(corrupt("what falls due"));
    }
    if purse.registered_ms != NEVER_MS
        && !view.has(&key::account_due(purse.registered_ms, number))?
    {
        return Err(corrupt("what falls due"));
    }
    counted.claims = counted.claims.saturating_add(claims);
    counted.reservations = counted.reservations.saturating_add(reservations);
    Ok(())
}

fn check_accounts_due(view: &mut View<'_, '_>) -> Result<(), Fault> {
    let what = "what falls due";
    let mut found = Vec::new();
    each::<()>(view, &[key::ACCOUNT_DUE], what, |key, ()| {
        found.push(key::read_account_due(key).ok_or_else(|| corrupt(what))?);
        Ok(())
    })?;
    for (due_ms, number) in found {
        let purse = view.purse(number)?;
        if purse.is_none_or(|purse| purse.registered_ms != due_ms) {
            return Err(corrupt(what));
        }
    }
    Ok(())
}

/// Reads all records whose keys begin with `prefix`; gives how many.
fn each<T: serde::de::DeserializeOwned>(
    view: &View<'_, '_>,
    prefix: &[u8],
    what: &'static str,
    mut check: impl FnMut(&[u8], T) -> Result<(), Fault>,
) -> Result<u64, Fault> {
    let mut count = 0_u64;
    view.each(prefix, what, |key, record| {
        check(key, record)?;
        count = count.saturating_add(1);
        Ok(())
    })?;
    Ok(count)
}
