//! What the documentation promises, as obvious code: maps, lists and sums, nothing fast.
//!
//! It reads the same policy text as the engine, and takes requests whose facts are already split.

pub mod decide;
pub mod limits;
pub mod money;

use std::collections::BTreeMap;

use ipnet::IpNet;
use tollgate::{OnExpiry, Period, PolicyConfig, Refusal};

use limits::Cell;
use money::{Reservation, Spent, State};

/// Route and key.
pub type ClaimName = (String, String);

#[derive(Clone, Debug)]
pub struct Cap {
    pub per: Period,
    pub amount: u64,
    pub shadow: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    pub status: u16,
    pub body: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
pub struct Claim {
    /// Target and body of the request.
    pub request: (String, u8),
    pub holder: u64,
    pub lease_until_ms: u64,
    pub expires_ms: u64,
    pub response: Option<Response>,
}

#[derive(Clone, Debug, Default)]
pub struct Account {
    pub networks: Vec<IpNet>,
    pub caps: Vec<Cap>,
    pub senders: Vec<String>,
    pub deposits: Vec<u64>,
    pub refunds: Vec<u64>,
    pub posted: Vec<u64>,
    pub spent: Spent,
    pub spent_by_token: BTreeMap<usize, Spent>,
    pub reservations: BTreeMap<u64, Reservation>,
    pub claims: BTreeMap<ClaimName, Claim>,
    pub last_number: u64,
}

impl Account {
    pub fn held(&self) -> u64 {
        let held = self.reservations.values().filter(|one| one.state == State::Held);
        held.map(|one| one.amount).sum()
    }

    pub fn open(&self) -> u64 {
        let open = |one: &&Reservation| one.state == State::Held && one.amount > 0;
        self.reservations.values().filter(open).count() as u64
    }

    pub fn balance(&self) -> u64 {
        let sum = |list: &[u64]| list.iter().sum::<u64>();
        sum(&self.deposits) + sum(&self.refunds) - sum(&self.posted)
    }

    /// Gives a reservation that was held its end.
    fn close(&mut self, number: u64, state: State, now_ms: u64) {
        let reservation = self.reservations.get_mut(&number).unwrap();
        reservation.state = state;
        reservation.due_ms = Some(now_ms + reservation.retention_ms);
        if reservation.amount > 0 {
            let posted = reservation.posted();
            self.posted.push(posted);
            self.spent.keep(number, posted);
            let by_token = self.spent_by_token.get_mut(&reservation.spends_as).unwrap();
            by_token.keep(number, posted);
        }
    }

    /// What time does. Gives how many leases and claims ended.
    pub fn pass(&mut self, now_ms: u64) -> u64 {
        let claims_before = self.claims.len();
        self.claims.retain(|_, claim| claim.expires_ms > now_ms);
        let mut ended = (claims_before - self.claims.len()) as u64;
        let due = |one: &Reservation| one.due_ms.is_some_and(|due_ms| due_ms <= now_ms);
        let numbers: Vec<u64> = self
            .reservations
            .iter()
            .filter(|(_, one)| due(one))
            .map(|(number, _)| *number)
            .collect();
        for number in numbers {
            let one = self.reservations.get_mut(&number).unwrap();
            if one.state != State::Held || one.amount == 0 {
                self.reservations.remove(&number);
                continue;
            }
            ended += 1;
            let amount = one.amount;
            match one.on_expiry {
                OnExpiry::Void => self.close(number, State::Voided { by_expiry: true }, now_ms),
                OnExpiry::Settle => {
                    let refunds = Vec::new();
                    let state = State::Posted { amount, by_expiry: true, refunds };
                    self.close(number, state, now_ms);
                }
                OnExpiry::Hold => one.due_ms = None,
            }
        }
        ended
    }
}

#[derive(Clone, Debug)]
pub struct Token {
    pub account: usize,
    pub scopes: Vec<String>,
    pub networks: Vec<IpNet>,
    pub quota: Option<(u64, u64)>,
    pub caps: Vec<Cap>,
    pub expires_ms: Option<u64>,
    pub revoked: bool,
    pub ancestor: Option<usize>,
}

/// How a request ended.
#[derive(Clone, Debug)]
pub enum End {
    Settle { amount: Option<u64>, response: Option<Response> },
    Void { response: Option<Response> },
    Unknown,
}

#[derive(Clone, Debug)]
pub struct World {
    pub policy: PolicyConfig,
    pub accounts: Vec<Account>,
    pub tokens: Vec<Token>,
    pub cells: BTreeMap<(String, u8, String), Cell>,
}

impl World {
    pub fn new(policy: PolicyConfig) -> World {
        World { policy, accounts: Vec::new(), tokens: Vec::new(), cells: BTreeMap::new() }
    }

    pub fn expire(&mut self, now_ms: u64) -> u64 {
        self.accounts.iter_mut().map(|account| account.pass(now_ms)).sum()
    }

    pub fn rotate(&mut self, old: usize, grace_ms: u64, now_ms: u64) -> Result<(), Refusal> {
        let token = &mut self.tokens[old];
        if token.revoked || token.expires_ms.is_some_and(|until| until <= now_ms) {
            return Err(Refusal::TokenRevoked);
        }
        let next = Token { ancestor: Some(token.ancestor.unwrap_or(old)), ..token.clone() };
        let until = now_ms + grace_ms;
        token.expires_ms = Some(token.expires_ms.map_or(until, |earlier| earlier.min(until)));
        self.tokens.push(next);
        Ok(())
    }

    pub fn deposit(&mut self, account: usize, amount: u64) -> Result<(), Refusal> {
        let account = &mut self.accounts[account];
        let fits = |sum: u64| sum.checked_add(amount).is_some();
        if !fits(account.balance()) || !fits(account.deposits.iter().sum()) {
            return Err(Refusal::AmountOverflow);
        }
        account.deposits.push(amount);
        Ok(())
    }

    pub fn refund(
        &mut self,
        account: usize,
        number: u64,
        amount: u64,
        reference: &str,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        let account = &mut self.accounts[account];
        account.pass(now_ms);
        let Some(one) = account.reservations.get_mut(&number) else {
            return Err(Refusal::UnknownReservation);
        };
        let State::Posted { amount: posted, refunds, .. } = &mut one.state else {
            return Err(Refusal::NotPosted);
        };
        if let Some((_, earlier)) = refunds.iter().find(|(name, _)| name == reference) {
            return if *earlier == amount { Ok(()) } else { Err(Refusal::ReferenceReused) };
        }
        if refunds.iter().map(|(_, amount)| amount).sum::<u64>() + amount > *posted {
            return Err(Refusal::MoreThanPosted);
        }
        refunds.push((reference.to_owned(), amount));
        one.due_ms = Some(now_ms + one.retention_ms);
        account.refunds.push(amount);
        Ok(())
    }

    /// What the host reports. Gives what was posted, or `None` while it is unknown.
    pub fn finish(
        &mut self,
        account: usize,
        number: u64,
        end: &End,
        now_ms: u64,
    ) -> Result<Option<u64>, Refusal> {
        let account = &mut self.accounts[account];
        account.pass(now_ms);
        let Some(one) = account.reservations.get(&number).cloned() else {
            return Err(Refusal::UnknownReservation);
        };
        let claim = one.claim.as_ref().and_then(|name| account.claims.get(name)).cloned();
        if one.state != State::Held {
            return again(&one, claim.filter(|claim| claim.holder == number), end);
        }
        if one.claim.is_some() && claim.as_ref().is_none_or(|claim| claim.holder != number) {
            return Err(Refusal::StaleFence);
        }
        end_held(account, number, &one, claim.is_some(), end, now_ms)
    }

    /// What an operator says of a request whose end nobody reported.
    pub fn resolve(
        &mut self,
        account: usize,
        number: u64,
        end: &End,
        now_ms: u64,
    ) -> Result<Option<u64>, Refusal> {
        if matches!(end, End::Unknown) {
            return Err(Refusal::NotAResolution);
        }
        let account = &mut self.accounts[account];
        account.pass(now_ms);
        let Some(one) = account.reservations.get(&number).cloned() else {
            return Err(Refusal::UnknownReservation);
        };
        let claim = one.claim.as_ref().and_then(|name| account.claims.get(name)).cloned();
        let claim = claim.filter(|claim| claim.holder == number);
        let (same, response) = match (&one.state, end) {
            // Money that waits for an operator is his to end, whoever has the key by now.
            (State::Held, _) => {
                return end_held(account, number, &one, claim.is_some(), end, now_ms);
            }
            (State::Voided { by_expiry: true }, End::Void { response }) => (true, response.clone()),
            (
                State::Posted { by_expiry: true, amount: posted, .. },
                End::Settle { amount, response },
            ) => {
                let response = response.clone().or(Some(unrecorded()));
                (amount.unwrap_or(one.amount) == *posted, response)
            }
            (State::Voided { by_expiry: true } | State::Posted { by_expiry: true, .. }, _) => {
                (false, None)
            }
            _ => return again(&one, claim, end),
        };
        if !same {
            return Err(Refusal::LeaseEnded);
        }
        // The money had its end; what is left is the key.
        match claim {
            Some(Claim { response: Some(stored), .. }) => {
                let given = match end {
                    End::Settle { response, .. } | End::Void { response } => response.as_ref(),
                    End::Unknown => None,
                };
                if given.is_some_and(|given| *given != stored) {
                    return Err(Refusal::AlreadyFinished);
                }
            }
            Some(_) => answer_key(account, one.claim.as_ref().unwrap(), response),
            None => {}
        }
        Ok(Some(one.posted()))
    }
}

pub fn unrecorded() -> Response {
    Response { status: 200, body: None }
}

/// The key's answer; without one it is free again.
fn answer_key(account: &mut Account, name: &ClaimName, response: Option<Response>) {
    match response {
        Some(response) => account.claims.get_mut(name).unwrap().response = Some(response),
        None => {
            account.claims.remove(name);
        }
    }
}

fn end_held(
    account: &mut Account,
    number: u64,
    one: &Reservation,
    has_key: bool,
    end: &End,
    now_ms: u64,
) -> Result<Option<u64>, Refusal> {
    let (state, response) = match end {
        End::Unknown => return Ok(None),
        End::Settle { amount, response } => {
            let amount = amount.unwrap_or(one.amount);
            if amount > one.amount {
                return Err(Refusal::MoreThanReserved);
            }
            let state = State::Posted { amount, by_expiry: false, refunds: Vec::new() };
            (state, Some(response.clone().unwrap_or_else(unrecorded)))
        }
        End::Void { response } => (State::Voided { by_expiry: false }, response.clone()),
    };
    account.close(number, state, now_ms);
    if has_key {
        answer_key(account, one.claim.as_ref().unwrap(), response);
    }
    Ok(Some(account.reservations[&number].posted()))
}

/// Twice is the same as once; anything else is refused.
fn again(one: &Reservation, claim: Option<Claim>, end: &End) -> Result<Option<u64>, Refusal> {
    let (same, given) = match (&one.state, end) {
        (State::Posted { by_expiry: true, .. } | State::Voided { by_expiry: true }, _) => {
            return Err(Refusal::LeaseEnded);
        }
        (State::Posted { amount: posted, .. }, End::Settle { amount, response }) => {
            (amount.unwrap_or(one.amount) == *posted, response)
        }
        (State::Voided { .. }, End::Void { response }) => (true, response),
        _ => (false, &None),
    };
    let stored = claim.and_then(|claim| claim.response);
    let same_response = match given {
        None => true,
        Some(_) if one.claim.is_none() => true,
        Some(given) => stored.as_ref() == Some(given),
    };
    if same && same_response { Ok(Some(one.posted())) } else { Err(Refusal::AlreadyFinished) }
}
