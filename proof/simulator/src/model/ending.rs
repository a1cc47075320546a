//! How requests end, in the model.

use tollgate::Refusal;

use super::money::{Reservation, State};
use super::{Account, Claim, Model};
use crate::catalogue::UNRECORDED;

/// What is reported of a request; responses by their numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    Settle { amount: Option<u64>, response: Option<u8> },
    Void { response: Option<u8> },
    Unknown,
}

/// What was posted, or `None` while it is unknown.
pub(crate) type Ended = Result<Option<u64>, Refusal>;

impl Account {
    fn claim_of(&self, one: &Reservation) -> Option<&Claim> {
        one.claim.and_then(|(route, key)| self.claim(route, key))
    }

    /// The key's answer; without one it is free again.
    fn answer_key(&mut self, holder: u64, response: Option<u8>) {
        match response {
            Some(_) => {
                let held = self.claims.iter_mut().filter(|claim| claim.holder == holder);
                held.for_each(|claim| claim.response = response);
            }
            None => self.claims.retain(|claim| claim.holder != holder),
        }
    }

    fn end_held(&mut self, one: &Reservation, end: End, now_ms: u64) -> Ended {
        let (state, response) = match end {
            End::Unknown => return Ok(None),
            End::Settle { amount, response } => {
                let amount = amount.unwrap_or(one.amount);
                if amount > one.amount {
                    return Err(Refusal::MoreThanReserved);
                }
                let state = State::Posted { amount, by_expiry: false, refunds: Vec::new() };
                (state, response.or(Some(UNRECORDED)))
            }
            End::Void { response } => (State::Voided { by_expiry: false }, response),
        };
        self.close(one.number, state, now_ms);
        self.answer_key(one.number, response);
        Ok(Some(self.reservation(one.number).map_or(0, Reservation::posted)))
    }

    /// Twice is the same as once; anything else is refused.
    fn again(&self, one: &Reservation, end: End) -> Ended {
        let (same, given) = match (&one.state, end) {
            (State::Posted { by_expiry: true, .. } | State::Voided { by_expiry: true }, _) => {
                return Err(Refusal::LeaseEnded);
            }
            (State::Posted { amount: posted, .. }, End::Settle { amount, response }) => {
                (amount.unwrap_or(one.amount) == *posted, response)
            }
            (State::Voided { .. }, End::Void { response }) => (true, response),
            _ => (false, None),
        };
        let claim = self.claim_of(one).filter(|claim| claim.holder == one.number);
        let stored = claim.and_then(|claim| claim.response);
        let same_response = given.is_none() || one.claim.is_none() || given == stored;
        if same && same_response { Ok(Some(one.posted())) } else { Err(Refusal::AlreadyFinished) }
    }
}

impl Model {
    /// What the host reports.
    pub(crate) fn finish(&mut self, account: usize, number: u64, end: End, now_ms: u64) -> Ended {
        let account = &mut self.accounts[account];
        account.pass(now_ms);
        let one = account.reservation(number).cloned().ok_or(Refusal::UnknownReservation)?;
        if !one.is_held() {
            return account.again(&one, end);
        }
        // Who no longer holds the key has nothing to say.
        let holds = account.claim_of(&one).is_some_and(|claim| claim.holder == number);
        if one.claim.is_some() && !holds {
            return Err(Refusal::StaleFence);
        }
        account.end_held(&one, end, now_ms)
    }

    /// What an operator says of a request whose end nobody reported.
    pub(crate) fn resolve(&mut self, account: usize, number: u64, end: End, now_ms: u64) -> Ended {
        if end == End::Unknown {
            return Err(Refusal::NotAResolution);
        }
        let account = &mut self.accounts[account];
        account.pass(now_ms);
        let one = account.reservation(number).cloned().ok_or(Refusal::UnknownReservation)?;
        let (given, answer) = match (&one.state, end) {
            // Money that waits for an operator is his to end, whoever has the key by now.
            (State::Held, _) => return account.end_held(&one, end, now_ms),
            (State::Voided { by_expiry: true }, End::Void { response }) => (response, response),
            (
                State::Posted { by_expiry: true, amount: posted, .. },
                End::Settle { amount, response },
            ) if amount.unwrap_or(one.amount) == *posted => {
                (response, response.or(Some(UNRECORDED)))
            }
            (State::Voided { by_expiry: true } | State::Posted { by_expiry: true, .. }, _) => {
                return Err(Refusal::LeaseEnded);
            }
            _ => return account.again(&one, end),
        };
        // The money had its end; what is left is the key.
        let claim = account.claim_of(&one).filter(|claim| claim.holder == number);
        match claim.map(|claim| claim.response) {
            Some(Some(stored)) if given.is_some_and(|given| given != stored) => {
                return Err(Refusal::AlreadyFinished);
            }
            Some(None) => account.answer_key(number, answer),
            _ => {}
        }
        Ok(Some(one.posted()))
    }
}
