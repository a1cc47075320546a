//! What time alone does: leases end, records pass their retention.

use alloc::vec::Vec;

use crate::idempotency::{Claim, ClaimKey};
use crate::ledger::{AccountRef, Amount, OnExpiry, Reservation, ReservationId, ReservationState};
use crate::transition::{Change, Changes, Due, NEVER_MS, Records};

/// Deals with all that fell due in an account until `now_ms`. Gives how many leases and claims ended.
///
/// # Errors
/// Those of `records`; what was dealt with before stays so.
pub fn expire_account<R: Records>(
    records: &mut R,
    account: &AccountRef,
    now_ms: u64,
) -> Result<u64, R::Error> {
    let mut ended = 0_u64;
    while let Some(due) = records.due(account, now_ms)? {
        match due {
            Due::Claim(key) => {
                ended = ended.saturating_add(1);
                let claim = Some((key, Change::Remove));
                records.commit(Changes { account: Some(account), claim, ..Changes::default() })?;
            }
            Due::Reservation(id) => {
                let Some(reservation) = records.reservation(account, id)? else {
                    remove(records, account, id)?;
                    continue;
                };
                let open = reservation.state == ReservationState::Held;
                if open && reservation.amount > Amount::ZERO {
                    ended = ended.saturating_add(1);
                    end_lease(records, account, id, reservation, now_ms)?;
                } else {
                    remove(records, account, id)?;
                }
            }
        }
    }
    Ok(ended)
}

fn remove<R: Records>(
    records: &mut R,
    account: &AccountRef,
    id: ReservationId,
) -> Result<(), R::Error> {
    let reservation = Some((id, Change::Remove));
    records.commit(Changes { account: Some(account), reservation, ..Changes::default() })
}

fn end_lease<R: Records>(
    records: &mut R,
    account: &AccountRef,
    id: ReservationId,
    reservation: Reservation,
    now_ms: u64,
) -> Result<(), R::Error> {
    let state = match reservation.on_expiry {
        OnExpiry::Void => ReservationState::Voided { by_expiry: true },
        OnExpiry::Settle => ReservationState::Posted {
            amount: reservation.amount,
            refunds: Vec::new(),
            by_expiry: true,
        },
        OnExpiry::Hold => {
            let reservation = Some((id, Change::Put { record: reservation, due_ms: NEVER_MS }));
            return records.commit(Changes {
                account: Some(account),
                reservation,
                ..Changes::default()
            });
        }
    };
    close(records, account, id, Reservation { state, ..reservation }, None, now_ms)
}

/// Writes a reservation that was held and now has its final state: posts what it says, frees the
/// rest, and changes its claim with it.
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
        let posted = reservation.state.posted();
        let freed = reservation.amount.saturating_sub(posted);
        let mut money = records.wallet(account)?;
        money.held = money.held.saturating_sub(reservation.amount);
        money.balance = money.balance.saturating_sub(posted);
        money.posted = Amount(money.posted.0.saturating_add(posted.0));
        money.spend = money.spend.take_back(freed, reservation.account_counted);
        money.open_reservations = money.open_reservations.saturating_sub(1);
        wallet = Some(money);
        let spent = records.token_spend(account, &reservation.token)?;
        token_spend = Some((reservation.token, spent.take_back(freed, reservation.token_counted)));
    }
    let due_ms = now_ms.saturating_add(reservation.retention_ms);
    records.commit(Changes {
        account: Some(account),
        wallet,
        token_spend,
        reservation: Some((id, Change::Put { record: reservation, due_ms })),
        claim,
        ..Changes::default()
    })
}
