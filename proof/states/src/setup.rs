//! What a setup is: a policy, accounts, calls, and what their environment may do to them.

use tollgate::{OnExpiry, OnOrphan, Period};

use crate::event::Event;

/// A small world, all of whose states are explored. Amounts are few units, times are ticks.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Its name.
    pub name: &'static str,
    /// What is in it.
    pub about: &'static str,
    /// What becomes of a key whose holder is lost.
    pub on_orphan: OnOrphan,
    /// What becomes of money whose lease ends.
    pub on_expiry: OnExpiry,
    /// How long a host may take.
    pub lease: u8,
    /// How long a key is kept.
    pub key_retention: u8,
    /// How long the record of a reservation that ended is kept.
    pub record_retention: u8,
    /// The last tick: time stands still then, and everything else goes on.
    pub last_tick: u8,
    /// The accounts, by what they start with.
    pub accounts: &'static [u8],
    /// The caps of each account.
    pub caps: &'static [Cap],
    /// The tokens.
    pub tokens: &'static [TokenPlan],
    /// The calls that clients make.
    pub calls: &'static [Call],
    /// What a settlement for a part of the price posts.
    pub part: u8,
    /// Whether an operator resolves orphans.
    pub operator: bool,
    /// How many units may be paid in to each account, one by one.
    pub deposits: u8,
    /// Refunds that are asked for again and again: by reference, how much.
    pub refunds: &'static [(u8, u8)],
    /// What must be seen to happen.
    pub sees: &'static [Event],
}

/// A spend cap.
#[derive(Clone, Copy, Debug)]
pub struct Cap {
    /// Its period.
    pub per: Period,
    /// The most that may be spent in it.
    pub units: u8,
}

/// A token.
#[derive(Clone, Copy, Debug)]
pub struct TokenPlan {
    /// Its account.
    pub account: u8,
    /// Its caps.
    pub caps: &'static [Cap],
}

/// A call, which arrives any number of times and in any order with others: sent again by its client,
/// or delivered again by the network. Each arrival that is admitted has a host of its own.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its token.
    pub token: u8,
    /// Its idempotency key.
    pub key: Option<u8>,
    /// Its body.
    pub body: u8,
    /// Its price; 0: it is free.
    pub price: u8,
    /// How many arrivals may be admitted. Those that are denied or replayed are not counted.
    pub times: u8,
}

impl Setup {
    /// For how long after its admission an execution has its key to itself: what a host must heed.
    pub(crate) fn protected(&self) -> u8 {
        match self.on_orphan {
            OnOrphan::Conflict => self.key_retention,
            OnOrphan::Rerun => self.lease.min(self.key_retention),
        }
    }
}
