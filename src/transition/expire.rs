//! What time alone does: leases end, records pass their retention.

use alloc::vec::Vec;

use crate::idempotency::{Claim, ClaimKey};
use crate::ledger::{
    AccountRef, Amount, OnExpiry, Reservation, ReservationId, ReservationState, Spend, Wallet,
};
use crate::token::TokenDigest;
use crate::transition::{Change, Changes, NEVER_MS, Records};

/// Deals with all that fell due in an account until `now_ms`. Gives how many leases and claims ended.
///
/// # Errors
/// Those of `records`; what was dealt with before stays so.
#[inline]
pub fn expire_account<R: Records>(
    records: &mut R,
    account: &AccountRef,
    now_ms: u64,
) -> Result<u64, R::Error> {
    let mut ended = 0_u64;
    loop {
        let (claims, lease) = records.sweep(account, now_ms)?;
        ended = ended.saturating_add(claims);
        let Some((id, reservation)) = lease else { return Ok(ended) };
        ended = ended.saturating_add(1);
        end_lease(records, account, id, reservation, now_ms)?;
    }
}

#[inline(never)] // out of the way of the common case
fn end_lease<R: Records>(
    records: &mut R,
    account: &AccountRef,
    id: ReservationId,
    reservation: Reservation,
    now_ms: u64,
) -> Result<(), R::Error> {
    let Some(state) = end_of_lease(&reservation) else {
        let reservation = Some((id, reservation, NEVER_MS));
        return records.commit(Changes {
            account: Some(account),
            reservation,
            ..Changes::default()
        });
    };
    close(records, account, id, Reservation { state, ..reservation }, None, now_ms)
}

/// What the end of its lease makes of a reservation; `None`: it stays held.
fn end_of_lease(reservation: &Reservation) -> Option<ReservationState> {
    match reservation.on_expiry {
        OnExpiry::Void => Some(ReservationState::Voided { by_expiry: true }),
        OnExpiry::Settle => Some(ReservationState::Posted {
            amount: reservation.amount,
            refunds: Vec::new(),
            by_expiry: true,
        }),
        OnExpiry::Hold => None,
    }
}

/// An account's money, and what a token has spent, as they will be when what fell due until `now_ms`
/// is dealt with. Changes nothing.
pub(super) fn foresee<R: Records>(
    records: &mut R,
    account: &AccountRef,
    spends_as: &TokenDigest,
    now_ms: u64,
) -> Result<(Wallet, Spend), R::Error> {
    let mut wallet = records.wallet(account)?;
    let mut spend = records.token_spend(account, spends_as)?;
    // Looking through all reservations is slow, and mostly nothing is due.
    if records.due(account, now_ms)?.is_none() {
        return Ok((wallet, spend));
    }
    for (_, reservation) in records.reservations(account)? {
        if !reservation.holds_money() || reservation.lease_until_ms > now_ms {
            continue;
        }
        if let Some(state) = end_of_lease(&reservation) {
            let ended = Reservation { state, ..reservation };
            wallet = wallet_after(wallet, &ended);
            if ended.token == *spends_as {
                spend = spend.take_back(ended.freed(), ended.token_counted);
            }
        }
    }
    Ok((wallet, spend))
}

/// The money of an account in which this reservation was held, and now has its final state.
fn wallet_after(mut wallet: Wallet, reservation: &Reservation) -> Wallet {
    let posted = reservation.state.posted();
    wallet.held = wallet.held.saturating_sub(reservation.amount);
    wallet.balance = wallet.balance.saturating_sub(posted);
    wallet.posted = Amount(wallet.posted.0.saturating_add(posted.0));
    wallet.spend = wallet.spend.take_back(reservation.freed(), reservation.account_counted);
    wallet.open_reservations = wallet.open_reservations.saturating_sub(1);
    wallet
}

/// Writes a reservation that was held and now has its final state: posts what it says, frees the
/// rest, and changes its claim with it.
#[inline]
pub(super) fn close<R: Records>(
    records: &mut R,
    account: &AccountRef,
    id: ReservationId,
    reservation: Reservation,
    claim: Option<(ClaimKey, Change<Claim>)>,
    now_ms: u64,
) -> Result<(), R::Error> {
    let mut wallet = None;
    let mut token_spend = None;
    if reservation.amount > Amount::ZERO {
        wallet = Some(wallet_after(records.wallet(account)?, &reservation));
        let spent = records.token_spend(account, &reservation.token)?;
        let spent = spent.take_back(reservation.freed(), reservation.token_counted);
        token_spend = Some((reservation.token, spent));
    }
    let due_ms = now_ms.saturating_add(reservation.retention_ms);
    records.commit(Changes {
        account: Some(account),
        wallet,
        token_spend,
        reservation: Some((id, reservation, due_ms)),
        claim,
        ..Changes::default()
    })
}
