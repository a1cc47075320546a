//! Limits in one store, everything else in another.

use alloc::sync::Arc;

use arrayvec::ArrayVec;

use crate::MAX_NOW_MS;
use crate::command::{
    Administration, Admission, Admit, AdmitVerdict, Command, LookedUp, Lookup, Mode, Outcome,
    Refusal,
};
use crate::limit::{Cell, CellKey, Check, Counts, Limit, Quota};
use crate::policy::MAX_LIMITS_PER_ROUTE;
use crate::store::{Store, StoreError};
use crate::transition::{CheckedLimit, CheckedLimits, Counted};

/// A store that only counts limits, each cell on its own.
///
/// What [`check`](crate::check) says is what it answers; between reading a cell and writing it, nobody
/// else writes it. What GCRA would note for a time after the year 2536 a store may refuse.
pub trait LimitStore: Send + Sync {
    /// Checks a limit at `now_ms` and counts [`Limit::cost`] units where it does not refuse.
    ///
    /// # Errors
    /// [`StoreError`] when the cell cannot be read or written, for instance because there are too many;
    /// nothing was counted then. The same holds for all that follow.
    fn take(
        &self,
        key: &CellKey,
        limit: &Limit,
        quota: &Quota,
        now_ms: u64,
    ) -> Result<Check, StoreError>;

    /// Checks a limit at `now_ms` and counts nothing.
    #[allow(clippy::missing_errors_doc)]
    fn peek(
        &self,
        key: &CellKey,
        limit: &Limit,
        quota: &Quota,
        now_ms: u64,
    ) -> Result<Check, StoreError>;

    /// Gives back what [`take`](Self::take) counted by storing `taken`: see
    /// [`give_back`](crate::give_back).
    #[allow(clippy::missing_errors_doc)]
    fn give_back(
        &self,
        key: &CellKey,
        limit: &Limit,
        quota: &Quota,
        taken: &Cell,
        now_ms: u64,
    ) -> Result<(), StoreError>;

    /// Reclaims cells that say no more than absent ones.
    #[allow(clippy::missing_errors_doc)]
    fn expire(&self, now_ms: u64) -> Result<(), StoreError>;
}

impl<L: LimitStore + ?Sized> LimitStore for Arc<L> {
    fn take(
        &self,
        key: &CellKey,
        limit: &Limit,
        quota: &Quota,
        now_ms: u64,
    ) -> Result<Check, StoreError> {
        (**self).take(key, limit, quota, now_ms)
    }

    fn peek(
        &self,
        key: &CellKey,
        limit: &Limit,
        quota: &Quota,
        now_ms: u64,
    ) -> Result<Check, StoreError> {
        (**self).peek(key, limit, quota, now_ms)
    }

    fn give_back(
        &self,
        key: &CellKey,
        limit: &Limit,
        quota: &Quota,
        taken: &Cell,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        (**self).give_back(key, limit, quota, taken, now_ms)
    }

    fn expire(&self, now_ms: u64) -> Result<(), StoreError> {
        (**self).expire(now_ms)
    }
}

/// Limits in one store, accounts, tokens, money and idempotency in another: limits in memory that worker
/// processes share, say, and a ledger on disk.
///
/// An admission is two steps here. What may be taken is looked at first; what is then taken in the
/// limits is given back when a later check refuses, so that a denial consumes what it does on one
/// store. So no limit is ever overshot, but for the blink of an eye a request may meet a unit that
/// another one takes and gives back; what [`give_back`](crate::give_back) keeps back of a GCRA limit refills
/// within a second; and a process that dies, or a limit store that fails, between the two steps leaves
/// its units counted until they refill. The store of accounts must answer within a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct CompositeStore<L, S> {
    limits: L,
    accounts: S,
}

impl<L: LimitStore, S: Store> CompositeStore<L, S> {
    /// Counts limits in `limits` and asks `accounts` for everything else.
    pub const fn new(limits: L, accounts: S) -> Self {
        CompositeStore { limits, accounts }
    }

    /// The store of limits.
    pub const fn limits(&self) -> &L {
        &self.limits
    }

    /// The store of everything else.
    pub const fn accounts(&self) -> &S {
        &self.accounts
    }

    /// Into `checked`, which is kilobytes and stays where it is.
    fn peek_all<'a>(
        &self,
        admit: &Admit<'a>,
        checked: &mut CheckedLimits<'a>,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        for limit in admit.limits {
            let (key, quota) = CheckedLimit::cell_and_quota(limit, admit);
            let check = self.limits.peek(&key, limit, &quota, now_ms)?;
            checked.push(CheckedLimit { limit, quota, key, check });
        }
        Ok(())
    }

    /// Takes in every limit that counts `counts`, unless one of them refuses; then in none.
    fn take_all(
        &self,
        checked: &mut CheckedLimits<'_>,
        counts: Counts,
        taken: &mut Taken<'_, L>,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        if checked.refusal(counts, now_ms).is_some() {
            return Ok(());
        }
        let mut refused = false;
        for (place, one) in checked.as_mut_slice().iter_mut().enumerate() {
            if one.limit.counts != counts || one.check.verdict.is_err() {
                continue;
            }
            one.check = self.limits.take(&one.key, one.limit, &one.quota, now_ms)?;
            match one.check.verdict {
                Ok(cell) => taken.places.extend([(place, cell)]),
                Err(_) => refused |= !one.limit.shadow,
            }
        }
        if refused {
            taken.give_back(checked, |limit| limit.counts == counts);
        }
        Ok(())
    }

    /// With no other limit beside it, what it says when it is taken is all that there is to look at.
    fn take_only<'a>(
        &self,
        admit: &Admit<'a>,
        limit: &'a Limit,
        checked: &mut CheckedLimits<'a>,
        taken: &mut Taken<'_, L>,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let (key, quota) = CheckedLimit::cell_and_quota(limit, admit);
        let check = self.limits.take(&key, limit, &quota, now_ms)?;
        if let Ok(cell) = check.verdict {
            taken.places.extend([(0, cell)]);
        }
        checked.push(CheckedLimit { limit, quota, key, check });
        Ok(())
    }

    /// Takes, asks, and gives back what the verdict does not count; all of it where there is none.
    fn admit_taking<'a>(
        &self,
        admit: &Admit<'a>,
        checked: &mut CheckedLimits<'a>,
        now_ms: u64,
    ) -> Result<Admission, StoreError> {
        let mut taken = Taken { limits: &self.limits, places: ArrayVec::new(), now_ms };
        let outcome = self.admit_with(admit, checked, &mut taken, now_ms);
        let counted = match &outcome {
            Ok(admission) => Counted::of(&admission.verdict, admit.mode),
            Err(_) => Counted::Nothing,
        };
        taken.give_back(checked, |limit| !counted.counts(limit));
        outcome
    }

    fn admit_with<'a>(
        &self,
        admit: &Admit<'a>,
        checked: &mut CheckedLimits<'a>,
        taken: &mut Taken<'_, L>,
        now_ms: u64,
    ) -> Result<Admission, StoreError> {
        match only_limit(admit) {
            Some(limit) => self.take_only(admit, limit, checked, taken, now_ms)?,
            None => self.take_all(checked, Counts::Requests, taken, now_ms)?,
        }
        if let Some(denial) = checked.refusal(Counts::Requests, now_ms) {
            return Ok(checked.admission(AdmitVerdict::Denied(denial), admit.mode));
        }
        self.take_all(checked, Counts::Executions, taken, now_ms)?;
        self.ask_accounts(admit, checked, now_ms)
    }

    /// The rest of an admission, now that it is known what its limits say.
    fn ask_accounts<'a>(
        &self,
        admit: &Admit<'a>,
        checked: &CheckedLimits<'a>,
        now_ms: u64,
    ) -> Result<Admission, StoreError> {
        let refused = checked.refusal(Counts::Executions, now_ms);
        // Whether the credential is still so is the accounts' to say.
        if admit.asks_limits_only() && admit.revision.is_none() {
            let verdict = match refused {
                Some(denial) => AdmitVerdict::Denied(denial),
                None => AdmitVerdict::Admitted { reservation: None },
            };
            return Ok(checked.admission(verdict, admit.mode));
        }
        let asked = Admit { limits: &[], refused_elsewhere: refused.as_ref(), ..*admit };
        let answered = self.accounts.admit(&asked, now_ms)?;
        let mut admission = checked.admission(answered.verdict, admit.mode);
        admission.shadows.spend_caps = answered.shadows.spend_caps;
        admission.detail = answered.detail.map(|mut detail| {
            checked.write_detail(&mut detail);
            detail
        });
        Ok(admission)
    }
}

/// The one limit of a request that is to be applied, if it counts requests: most have no other.
fn only_limit<'a>(admit: &Admit<'a>) -> Option<&'a Limit> {
    match admit.limits {
        [limit] if admit.mode == Mode::Apply && limit.counts == Counts::Requests => Some(limit),
        _ => None,
    }
}

/// What was taken so far, by its place among the limits.
struct Taken<'l, L> {
    limits: &'l L,
    places: ArrayVec<(usize, Cell), MAX_LIMITS_PER_ROUTE>,
    now_ms: u64,
}

impl<L: LimitStore> Taken<'_, L> {
    fn give_back(&mut self, checked: &CheckedLimits<'_>, which: impl Fn(&Limit) -> bool) {
        self.places.retain(|(place, cell)| {
            let Some(one) = checked.as_slice().get(*place).filter(|one| which(one.limit)) else {
                return true;
            };
            // One that fails leaves its units counted: less is let through than may be, never more.
            let _ = self.limits.give_back(&one.key, one.limit, &one.quota, cell, self.now_ms);
            false
        });
    }
}

impl<L: LimitStore, S: Store> Store for CompositeStore<L, S> {
    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        if now_ms > MAX_NOW_MS {
            return Ok(Outcome::Refused(Refusal::ClockOutOfRange));
        }
        match command {
            Command::Lookup(lookup) => self.look_up(lookup, now_ms).map(Outcome::LookedUp),
            Command::Admit(admit) => self.admit(admit, now_ms).map(Outcome::Admission),
            Command::Administer(Administration::Expire) => {
                let outcome = self.accounts.perform(command, now_ms)?;
                if matches!(outcome, Outcome::Expired(_)) {
                    self.limits.expire(now_ms)?;
                }
                Ok(outcome)
            }
            Command::Settle(_) | Command::Administer(_) => self.accounts.perform(command, now_ms),
        }
    }

    fn look_up(&self, lookup: &Lookup<'_>, now_ms: u64) -> Result<LookedUp, StoreError> {
        let found = self.accounts.look_up(&Lookup { plain: None, ..*lookup }, now_ms)?;
        let Some(credential) = found.credential else { return Ok(found) };
        let admission = match lookup.plain.filter(|plain| plain.suits(&credential)) {
            Some(plain) => {
                let admit = Admit::limits_only(lookup.digest, &credential.account, plain.limits);
                Some(self.admit(&admit, now_ms)?)
            }
            None => None,
        };
        Ok(LookedUp { credential: Some(credential), admission })
    }

    fn admit(&self, admit: &Admit<'_>, now_ms: u64) -> Result<Admission, StoreError> {
        let mut checked = CheckedLimits::new();
        if only_limit(admit).is_none() {
            self.peek_all(admit, &mut checked, now_ms)?;
        }
        if admit.mode == Mode::Apply {
            return self.admit_taking(admit, &mut checked, now_ms);
        }
        match checked.refusal(Counts::Requests, now_ms) {
            Some(denial) if admit.mode == Mode::Peek && !admit.detail => {
                Ok(checked.admission(AdmitVerdict::Denied(denial), admit.mode))
            }
            Some(denial) if admit.mode == Mode::Peek => {
                let admission = self.ask_accounts(admit, &checked, now_ms)?;
                let refused = checked.admission(AdmitVerdict::Denied(denial), admit.mode);
                Ok(Admission { detail: admission.detail, ..refused })
            }
            _ => self.ask_accounts(admit, &checked, now_ms),
        }
    }
}
