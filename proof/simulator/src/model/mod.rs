//! What the documentation promises, as obvious code: lists and sums, nothing fast, nothing of the product's own rules.

pub(crate) mod admit;
pub(crate) mod ending;
pub(crate) mod limits;
pub(crate) mod money;

use std::collections::BTreeMap;

use tollgate::{OnExpiry, Refusal, SpendCap};

use crate::catalogue::{ACCOUNTS, TOKENS_AT_START};
use limits::Cell;
use money::{Reservation, Spent, State};

/// A claim on an idempotency key.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) route: usize,
    pub(crate) key: u8,
    /// The body of its request; everything else is the same for a route.
    pub(crate) body: u8,
    pub(crate) holder: u64,
    pub(crate) lease_until_ms: u64,
    pub(crate) expires_ms: u64,
    pub(crate) response: Option<u8>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    /// Only callers within the network.
    pub(crate) networks: bool,
    pub(crate) caps: Vec<SpendCap>,
    /// One bit an approved sender.
    pub(crate) senders: u8,
    pub(crate) deposited: u64,
    pub(crate) refunded: u64,
    pub(crate) posted: u64,
    pub(crate) spent: Spent,
    pub(crate) spent_by_token: BTreeMap<usize, Spent>,
    pub(crate) reservations: Vec<Reservation>,
    pub(crate) claims: Vec<Claim>,
    pub(crate) last_number: u64,
    /// How often its settings were changed, and those of any of its tokens.
    pub(crate) changes: u64,
    pub(crate) changes_of_tokens: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Token {
    pub(crate) account: usize,
    pub(crate) may_write: bool,
    pub(crate) networks: bool,
    pub(crate) caps: Vec<SpendCap>,
    pub(crate) expires_ms: Option<u64>,
    pub(crate) revoked: bool,
    pub(crate) ancestor: Option<usize>,
    pub(crate) changes: u64,
}

impl Token {
    pub(crate) fn is_live(&self, now_ms: u64) -> bool {
        !self.revoked && self.expires_ms.is_none_or(|until| until > now_ms)
    }
}

/// Bounds of the store, over all accounts and for each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) claims: usize,
    pub(crate) reservations: usize,
    pub(crate) per_account: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) accounts: Vec<Account>,
    pub(crate) tokens: Vec<Token>,
    /// By limit and partition.
    pub(crate) cells: BTreeMap<(usize, u32), Cell>,
    pub(crate) bounds: Bounds,
}

impl Account {
    pub(crate) fn held(&self) -> u64 {
        self.reservations.iter().filter(|one| one.is_held()).map(|one| one.amount).sum()
    }

    pub(crate) fn open(&self) -> u64 {
        self.reservations.iter().filter(|one| one.is_held() && one.amount > 0).count() as u64
    }

    pub(crate) fn balance(&self) -> u64 {
        self.deposited + self.refunded - self.posted
    }

    pub(crate) fn reservation(&self, number: u64) -> Option<&Reservation> {
        self.reservations.iter().find(|one| one.number == number)
    }

    fn reservation_mut(&mut self, number: u64) -> &mut Reservation {
        self.reservations.iter_mut().find(|one| one.number == number).unwrap()
    }

    pub(crate) fn claim(&self, route: usize, key: u8) -> Option<&Claim> {
        self.claims.iter().find(|claim| claim.route == route && claim.key == key)
    }

    /// Gives a reservation that was held its end.
    fn close(&mut self, number: u64, state: State, now_ms: u64) {
        let one = self.reservation_mut(number);
        one.state = state;
        one.due_ms = Some(now_ms + one.retention_ms);
        let (amount, posted, spends_as) = (one.amount, one.posted(), one.spends_as);
        if amount > 0 {
            self.posted += posted;
            self.spent.keep(number, posted);
            self.spent_by_token.entry(spends_as).or_default().keep(number, posted);
        }
    }

    /// What time does. Gives how many leases and claims ended.
    pub(crate) fn pass(&mut self, now_ms: u64) -> u64 {
        let before = self.claims.len();
        self.claims.retain(|claim| claim.expires_ms > now_ms);
        let mut ended = (before - self.claims.len()) as u64;
        let due = |one: &Reservation| one.due_ms.is_some_and(|due_ms| due_ms <= now_ms);
        // A record of what is over goes; the lease of what holds money ends.
        self.reservations.retain(|one| !due(one) || (one.is_held() && one.amount > 0));
        while let Some(one) = self.reservations.iter_mut().find(|one| one.is_held() && due(one)) {
            ended += 1;
            let (number, amount) = (one.number, one.amount);
            match one.on_expiry {
                OnExpiry::Void => self.close(number, State::Voided { by_expiry: true }, now_ms),
                OnExpiry::Settle => {
                    let state = State::Posted { amount, by_expiry: true, refunds: Vec::new() };
                    self.close(number, state, now_ms);
                }
                OnExpiry::Hold => one.due_ms = None,
            }
        }
        ended
    }
}

impl Model {
    pub(crate) fn new(opening: [u64; ACCOUNTS], bounds: Bounds) -> Model {
        let account = |deposited| Account { deposited, ..Account::default() };
        let token = |place: usize| Token {
            account: place % ACCOUNTS,
            // The last one may only read.
            may_write: place != TOKENS_AT_START - 1,
            ..Token::default()
        };
        Model {
            accounts: opening.map(account).into(),
            tokens: (0..TOKENS_AT_START).map(token).collect(),
            cells: BTreeMap::new(),
            bounds,
        }
    }

    pub(crate) fn expire(&mut self, now_ms: u64) -> u64 {
        self.accounts.iter_mut().map(|account| account.pass(now_ms)).sum()
    }

    fn token_changed(&mut self, token: usize) {
        self.tokens[token].changes += 1;
        let account = self.tokens[token].account;
        self.accounts[account].changes_of_tokens += 1;
    }

    pub(crate) fn put_account(
        &mut self,
        account: usize,
        networks: Option<bool>,
        caps: Option<&[SpendCap]>,
        senders: Option<u8>,
    ) {
        let account = &mut self.accounts[account];
        account.networks = networks.unwrap_or(account.networks);
        account.senders = senders.unwrap_or(account.senders);
        if let Some(caps) = caps {
            account.caps = caps.to_vec();
        }
        account.changes += 1;
    }

    pub(crate) fn put_token(
        &mut self,
        token: usize,
        networks: Option<bool>,
        caps: Option<&[SpendCap]>,
        expires_ms: Option<Option<u64>>,
    ) {
        let one = &mut self.tokens[token];
        one.networks = networks.unwrap_or(one.networks);
        one.expires_ms = expires_ms.unwrap_or(one.expires_ms);
        if let Some(caps) = caps {
            one.caps = caps.to_vec();
        }
        self.token_changed(token);
    }

    pub(crate) fn revoke(&mut self, token: usize) {
        self.tokens[token].revoked = true;
        self.token_changed(token);
    }

    /// `new` is the place of the token that comes next, or of the one that an earlier try made.
    pub(crate) fn rotate(
        &mut self,
        old: usize,
        new: usize,
        grace_ms: u64,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        let token = &mut self.tokens[old];
        if !token.is_live(now_ms) {
            return Err(Refusal::TokenRevoked);
        }
        if new < self.tokens.len() {
            return Err(Refusal::TokenExists);
        }
        let token = &mut self.tokens[old];
        let ancestor = Some(token.ancestor.unwrap_or(old));
        let successor = Token { ancestor, ..token.clone() };
        let until = now_ms + grace_ms;
        token.expires_ms = Some(token.expires_ms.map_or(until, |earlier| earlier.min(until)));
        self.tokens.push(successor);
        self.token_changed(old);
        Ok(())
    }

    pub(crate) fn deposit(&mut self, account: usize, amount: u64) {
        self.accounts[account].deposited += amount;
    }

    /// One reference, one refund; never more than was posted.
    pub(crate) fn refund(
        &mut self,
        account: usize,
        number: u64,
        amount: u64,
        reference: u8,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        let account = &mut self.accounts[account];
        account.pass(now_ms);
        let one = account.reservations.iter_mut().find(|one| one.number == number);
        let Some(one) = one else { return Err(Refusal::UnknownReservation) };
        let State::Posted { amount: posted, refunds, .. } = &mut one.state else {
            return Err(Refusal::NotPosted);
        };
        if let Some((_, earlier)) = refunds.iter().find(|(name, _)| *name == reference) {
            return if *earlier == amount { Ok(()) } else { Err(Refusal::ReferenceReused) };
        }
        if refunds.iter().map(|(_, amount)| amount).sum::<u64>() + amount > *posted {
            return Err(Refusal::MoreThanPosted);
        }
        refunds.push((reference, amount));
        one.due_ms = Some(now_ms + one.retention_ms);
        account.refunded += amount;
        Ok(())
    }
}
