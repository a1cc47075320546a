//! The rules, as an onlooker would apply them who never sees the records: what was admitted when, and
//! what was said about it, decide what every answer must be.

use tollgate::{OnExpiry, OnOrphan, Period};

use crate::clock::ms;
use crate::rows::{RowState, Rows};
use crate::setup::{Call, Setup};
use crate::word::{Stored, Word};
use crate::world::{Account, Grant};

/// An account at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) account: &'a Account,
    pub(crate) now: u8,
}

/// What has become of a grant's money, or will have at the next sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Held,
    Posted(u8),
    Voided,
}

/// Where a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyState {
    Free,
    Running { body: u8 },
    Orphaned { body: u8 },
    Answered { body: u8, stored: Stored },
}

/// What comes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Admitted,
    Rerun,
    Replayed(Stored),
    Mismatched,
    InFlight,
    Capped,
    Poor,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The host that has the call in hand, or had.
    Host,
    /// Somebody who looked what became of it.
    Operator,
}

/// What comes of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hearing {
    /// It ends the reservation.
    Ends,
    /// The money was dealt with; it ends what is left of the key.
    Releases,
    /// It is taken, and changes nothing.
    Noted,
    /// Its host no longer has the key.
    Stale,
    /// The end of the lease came first.
    Late,
    /// There was an end; this is the same or another.
    Ended { same: bool },
    /// It says too much, or there is nothing that it could be about.
    Refused,
}

impl<'a> Rules<'a> {
    pub(crate) fn call(&self, grant: &Grant) -> &'a Call {
        &self.setup.calls[usize::from(grant.call)]
    }

    fn rows(&self) -> &'a Rows {
        &self.account.rows
    }

    /// Whether the lease of a grant is over, and deals with its money.
    pub(crate) fn lease_ends_it(&self, grant: &Grant) -> bool {
        self.call(grant).price > 0
            && self.setup.on_expiry != OnExpiry::Hold
            && self.now >= grant.at + self.setup.lease
    }

    pub(crate) fn fate(&self, grant: &Grant) -> Fate {
        let price = self.call(grant).price;
        match grant.end.filter(|_| !grant.late) {
            Some(word @ (Word::VoidAnswered | Word::NotDone)) => {
                debug_assert_eq!(word.posts(price, self.setup.part), 0);
                Fate::Voided
            }
            Some(word) => Fate::Posted(word.posts(price, self.setup.part)),
            None if !self.lease_ends_it(grant) => Fate::Held,
            None if self.setup.on_expiry == OnExpiry::Settle => Fate::Posted(price),
            None => Fate::Voided,
        }
    }

    /// The last grant under a key, with its number.
    fn last_of(&self, key: u8) -> Option<(u8, &'a Grant)> {
        let of_key = |(_, grant): &(u8, &Grant)| self.call(grant).key == Some(key);
        self.account.numbered().rev().find(of_key)
    }

    pub(crate) fn key_state(&self, key: u8) -> KeyState {
        let Some((number, grant)) = self.last_of(key) else { return KeyState::Free };
        if self.now >= grant.at + self.setup.key_retention {
            return KeyState::Free;
        }
        let body = self.call(grant).body;
        match grant.end {
            Some(word) => match word.stored(number) {
                Some(stored) => KeyState::Answered { body, stored },
                None => KeyState::Free,
            },
            None if self.setup.on_orphan == OnOrphan::Rerun
                && self.now >= grant.at + self.setup.lease =>
            {
                KeyState::Orphaned { body }
            }
            None => KeyState::Running { body },
        }
    }

    /// The number of the execution that has a key, as its claim must say.
    pub(crate) fn holder_of(&self, key: u8) -> Option<u8> {
        let (number, _) = self.last_of(key)?;
        (self.key_state(key) != KeyState::Free).then_some(number)
    }

    /// What was spent, by one token or by all, in the period that now is.
    fn spent(&self, per: Period, token: Option<u8>) -> i32 {
        let counts = |grant: &&Grant| {
            per.number(ms(grant.at)) == per.number(ms(self.now))
                && token.is_none_or(|token| self.call(grant).token == token)
        };
        self.account.grants.iter().filter(counts).map(|grant| self.spends(grant)).sum()
    }

    /// What a grant counts against caps.
    fn spends(&self, grant: &Grant) -> i32 {
        i32::from(match self.fate(grant) {
            Fate::Held => self.call(grant).price,
            Fate::Posted(units) => units,
            Fate::Voided => 0,
        })
    }

    /// What may still be reserved.
    fn available(&self) -> i32 {
        let refunds = self.account.grants.iter().flat_map(|grant| grant.refunds);
        let refunded: i32 = refunds.map(i32::from).sum();
        let spent: i32 = self.account.grants.iter().map(|grant| self.spends(grant)).sum();
        i32::from(self.account.deposited) + refunded - spent
    }

    pub(crate) fn verdict(&self, call: &Call) -> Verdict {
        let key = call.key.map_or(KeyState::Free, |key| self.key_state(key));
        match key {
            KeyState::Running { body }
            | KeyState::Orphaned { body }
            | KeyState::Answered { body, .. }
                if body != call.body =>
            {
                return Verdict::Mismatched;
            }
            KeyState::Running { .. } => return Verdict::InFlight,
            KeyState::Answered { stored, .. } => return Verdict::Replayed(stored),
            KeyState::Orphaned { .. } | KeyState::Free => {}
        }
        let token = &self.setup.tokens[usize::from(call.token)];
        let price = i32::from(call.price);
        let over = |caps: &[crate::setup::Cap], token| {
            let over =
                |cap: &crate::setup::Cap| self.spent(cap.per, token) + price > i32::from(cap.units);
            price > 0 && caps.iter().any(over)
        };
        if over(token.caps, Some(call.token)) || over(self.setup.caps, None) {
            return Verdict::Capped;
        }
        if price > self.available() {
            return Verdict::Poor;
        }
        if matches!(key, KeyState::Orphaned { .. }) { Verdict::Rerun } else { Verdict::Admitted }
    }

    /// What comes of a word on a grant, in an account in which nothing is due.
    pub(crate) fn hearing(&self, number: u8, word: Word, by: By) -> Hearing {
        let Some(row) = self.rows().reservation(number) else { return Hearing::Refused };
        let grant = self.account.grant(number);
        let key = self.call(grant).key;
        let lost_key = key.is_some_and(|key| self.holder_of(key) != Some(number));
        match &row.state {
            RowState::Held if lost_key && by == By::Host => Hearing::Stale,
            RowState::Held if word == Word::Unknown => Hearing::Noted,
            RowState::Held if word.ends() => Hearing::Ends,
            RowState::Held => Hearing::Refused,
            RowState::Posted { by_expiry: true, .. } | RowState::Voided { by_expiry: true }
                if by == By::Host =>
            {
                Hearing::Late
            }
            RowState::Posted { by_expiry: true, .. } if word != Word::SettleBare => {
                Hearing::Refused
            }
            RowState::Voided { by_expiry: true } if word == Word::SettleBare => Hearing::Refused,
            RowState::Posted { by_expiry: true, .. } | RowState::Voided { by_expiry: true }
                if key.is_some() && !lost_key && grant.end.is_none() =>
            {
                Hearing::Releases
            }
            RowState::Posted { .. } | RowState::Voided { .. } => {
                // Without its claim an answer has nothing to be compared with.
                let comparable = !lost_key || word == Word::NotDone;
                Hearing::Ended { same: grant.end == Some(word) && comparable }
            }
        }
    }

    /// Whether a refund is made now, was made before, or is refused.
    pub(crate) fn refund(&self, number: u8, reference: u8, units: u8) -> Refund {
        let Some(row) = self.rows().reservation(number) else { return Refund::Refused };
        let RowState::Posted { .. } = row.state else { return Refund::Refused };
        let grant = self.account.grant(number);
        let Fate::Posted(posted) = self.fate(grant) else { return Refund::Refused };
        let refunded: u8 = grant.refunds.iter().sum();
        match grant.refunds[usize::from(reference)] {
            0 if refunded + units <= posted => Refund::Made,
            earlier if earlier == units => Refund::MadeBefore,
            _ => Refund::Refused,
        }
    }
}

/// What comes of a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refund {
    Made,
    MadeBefore,
    Refused,
}
