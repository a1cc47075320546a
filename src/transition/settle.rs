//! Settlement: how a request that went through ended.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::command::{Finish, Refusal, Settled};
use crate::idempotency::{Claim, ClaimKey, StoredResponse};
use crate::ledger::{AccountRef, Reservation, ReservationId, ReservationState};
use crate::transition::admit::unrecorded_response;
use crate::transition::expire::close;
use crate::transition::{Change, Changes, Records, expire_account};

/// Whose word an outcome is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The host that ran the request.
    Host,
    /// A person who looked at what nobody reported.
    Operator,
}

/// Finishes a reservation and its claim together.
///
/// The same outcome twice is the same as once. Anything else after the end is refused and changes
/// nothing, as is the outcome of an execution whose key was taken over.
pub(super) fn finish<R: Records>(
    records: &mut R,
    account: &AccountRef,
    id: ReservationId,
    finish: &Finish,
    by: By,
    now_ms: u64,
) -> Result<Result<Settled, Refusal>, R::Error> {
    if by == By::Operator && *finish == Finish::Unknown {
        return Ok(Err(Refusal::NotAResolution));
    }
    // A lease that has ended is over, whether or not a sweep came by.
    expire_account(records, account, now_ms)?;
    let Some(reservation) = records.reservation(account, id)? else {
        return Ok(Err(Refusal::UnknownReservation));
    };
    let claim = match reservation.claim {
        None => None,
        Some(key) => records.claim(account, &key)?.map(|claim| (key, claim)),
    };
    match reservation.state {
        ReservationState::Held => {
            // The key may also have come free since: after an execution that took it over gave it up,
            // or after its retention. Who no longer holds it has nothing to say.
            let fenced_off = reservation.claim.is_some()
                && claim.as_ref().is_none_or(|(_, claim)| claim.fence != id);
            if fenced_off && by == By::Host {
                return Ok(Err(Refusal::StaleFence));
            }
            // Held money is the operator's to end also when a later execution has the key by now,
            // which then stays that one's: nobody else could ever free it.
            let claim = claim.filter(|_| !fenced_off);
            finish_held(records, account, id, reservation, claim, finish, now_ms)
        }
        ReservationState::Voided { by_expiry: true }
        | ReservationState::Posted { by_expiry: true, .. }
            if by == By::Operator =>
        {
            release(records, account, id, &reservation, claim, finish)
        }
        _ => Ok(again(&reservation, claim.map(|(_, claim)| claim), id, finish)),
    }
}

#[inline]
fn finish_held<R: Records>(
    records: &mut R,
    account: &AccountRef,
    id: ReservationId,
    mut reservation: Reservation,
    claim: Option<(ClaimKey, Claim)>,
    finish: &Finish,
    now_ms: u64,
) -> Result<Result<Settled, Refusal>, R::Error> {
    let response = match finish {
        Finish::Unknown => return Ok(Ok(Settled { posted: None })),
        Finish::Settle { amount, response } => {
            let amount = amount.unwrap_or(reservation.amount);
            if amount > reservation.amount {
                return Ok(Err(Refusal::MoreThanReserved));
            }
            reservation.state =
                ReservationState::Posted { amount, refunds: Vec::new(), by_expiry: false };
            Some(response.clone().unwrap_or_else(unrecorded_response))
        }
        Finish::Void { response } => {
            reservation.state = ReservationState::Voided { by_expiry: false };
            response.clone()
        }
    };
    let claim = claim.map(|(key, claim)| (key, completed(claim, response)));
    let posted = Some(reservation.state.posted());
    close(records, account, id, reservation, claim, now_ms)?;
    Ok(Ok(Settled { posted }))
}

/// A claim with its answer; without one the key is free again.
fn completed(claim: Claim, response: Option<Arc<StoredResponse>>) -> Change<Claim> {
    match response {
        None => Change::Remove,
        Some(response) => {
            let due_ms = claim.expires_ms;
            Change::Put { record: Claim { response: Some(response), ..claim }, due_ms }
        }
    }
}

/// An operator ends what is left of an execution whose money was freed or posted by the end of its
/// lease: the claim on its key. What became of the money stays.
fn release<R: Records>(
    records: &mut R,
    account: &AccountRef,
    id: ReservationId,
    reservation: &Reservation,
    claim: Option<(ClaimKey, Claim)>,
    finish: &Finish,
) -> Result<Result<Settled, Refusal>, R::Error> {
    let posted = reservation.state.posted();
    let (given, answer) = match (&reservation.state, finish) {
        (ReservationState::Voided { .. }, Finish::Void { response }) => {
            (response, response.clone())
        }
        (ReservationState::Posted { .. }, Finish::Settle { amount, response })
            if amount.is_none_or(|amount| amount == posted) =>
        {
            (response, Some(response.clone().unwrap_or_else(unrecorded_response)))
        }
        _ => return Ok(Err(Refusal::LeaseEnded)),
    };
    if let Some((key, claim)) = claim.filter(|(_, claim)| claim.fence == id) {
        match &claim.response {
            None => {
                let claim = Some((key, completed(claim, answer)));
                records.commit(Changes { account: Some(account), claim, ..Changes::default() })?;
            }
            Some(stored) if given.as_ref().is_some_and(|given| given != stored) => {
                return Ok(Err(Refusal::AlreadyFinished));
            }
            Some(_) => {}
        }
    }
    Ok(Ok(Settled { posted: Some(posted) }))
}

/// The answer to an outcome for a reservation that has one already.
fn again(
    reservation: &Reservation,
    claim: Option<Claim>,
    id: ReservationId,
    finish: &Finish,
) -> Result<Settled, Refusal> {
    let stored = claim.filter(|claim| claim.fence == id).and_then(|claim| claim.response);
    let (same, response) = match (&reservation.state, finish) {
        (ReservationState::Posted { by_expiry: true, .. }, _)
        | (ReservationState::Voided { by_expiry: true }, _) => return Err(Refusal::LeaseEnded),
        (ReservationState::Posted { amount: posted, .. }, Finish::Settle { amount, response }) => {
            (amount.unwrap_or(reservation.amount) == *posted, response)
        }
        (ReservationState::Voided { .. }, Finish::Void { response }) => (true, response),
        _ => return Err(Refusal::AlreadyFinished),
    };
    let same_response = match (response, &stored) {
        (Some(given), Some(stored)) => given == stored,
        (Some(_), None) => reservation.claim.is_none(),
        (None, _) => true,
    };
    if same && same_response {
        Ok(Settled { posted: Some(reservation.state.posted()) })
    } else {
        Err(Refusal::AlreadyFinished)
    }
}
