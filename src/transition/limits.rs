//! The limits of one request, each checked against its cell, and what they say together.

use arrayvec::ArrayVec;

use crate::command::{
    Admission, Admit, AdmitDetail, AdmitVerdict, Denial, LimitReport, Mode, Shadows,
};
use crate::limit::{Cell, CellKey, Check, Counts, Limit, Quota, check, expires_ms};
use crate::policy::MAX_LIMITS_PER_ROUTE;
use crate::transition::Records;

/// Which limits a verdict counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// In none: a refusal by a limit consumes nothing in any.
    Nothing,
    /// In those that count requests.
    Requests,
    /// In all of them.
    All,
}

impl Counted {
    /// What a verdict counts in, where it is applied.
    #[must_use]
    pub fn of(verdict: &AdmitVerdict, mode: Mode) -> Self {
        match verdict {
            _ if mode != Mode::Apply => Counted::Nothing,
            AdmitVerdict::Admitted { .. } => Counted::All,
            AdmitVerdict::CredentialChanged | AdmitVerdict::Denied(Denial::RateLimited { .. }) => {
                Counted::Nothing
            }
            AdmitVerdict::Replay(_) | AdmitVerdict::Denied(_) => Counted::Requests,
        }
    }

    /// Whether it counts in this limit.
    #[must_use]
    pub fn counts(self, limit: &Limit) -> bool {
        match self {
            Counted::Nothing => false,
            Counted::Requests => limit.counts == Counts::Requests,
            Counted::All => true,
        }
    }
}

/// A limit of a request, and what it says.
#[derive(Clone, Copy, Debug)]
pub struct CheckedLimit<'a> {
    /// The limit.
    pub limit: &'a Limit,
    /// The quota in force: the token's own or the limit's.
    pub quota: Quota,
    /// The cell it counts in.
    pub key: CellKey,
    /// What it says.
    pub check: Check,
}

impl<'a> CheckedLimit<'a> {
    /// Checks a limit of `admit` against its cell.
    #[must_use]
    pub fn new(limit: &'a Limit, admit: &Admit<'_>, cell: Option<&Cell>, now_ms: u64) -> Self {
        let (key, quota) = Self::cell_and_quota(limit, admit);
        let check = check(limit.algorithm, &quota, cell, now_ms, limit.cost);
        CheckedLimit { limit, quota, key, check }
    }

    /// Where a limit counts a request, and up to what.
    pub(crate) fn cell_and_quota(limit: &Limit, admit: &Admit<'_>) -> (CellKey, Quota) {
        let key = limit.cell_key(admit.token, admit.account, admit.source);
        (key, limit.quota_for(admit.own_quota()))
    }
}

pub(super) type Cells = ArrayVec<(CellKey, Cell, u64), MAX_LIMITS_PER_ROUTE>;

/// The limits of a request, in the order of [`Admit::limits`].
#[derive(Clone, Debug, Default)]
pub struct CheckedLimits<'a> {
    // Kilobytes, of which a request uses a few dozen bytes: made where they stay, never moved.
    limits: ArrayVec<CheckedLimit<'a>, MAX_LIMITS_PER_ROUTE>,
}

impl<'a> CheckedLimits<'a> {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        CheckedLimits { limits: ArrayVec::new() }
    }

    /// Adds the next one.
    pub fn push(&mut self, checked: CheckedLimit<'a>) {
        // Policies have at most as many limits on a route: `compile` has checked it.
        let _ = self.limits.try_push(checked);
    }

    /// Those so far.
    #[must_use]
    pub fn as_slice(&self) -> &[CheckedLimit<'a>] {
        &self.limits
    }

    /// Those so far, to be checked again.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [CheckedLimit<'a>] {
        &mut self.limits
    }

    pub(super) fn read<R: Records>(
        &mut self,
        records: &mut R,
        admit: &Admit<'a>,
        now_ms: u64,
    ) -> Result<(), R::Error> {
        for limit in admit.limits {
            let (key, quota) = CheckedLimit::cell_and_quota(limit, admit);
            let cell = records.cell(&key)?;
            let check = check(limit.algorithm, &quota, cell.as_ref(), now_ms, limit.cost);
            self.push(CheckedLimit { limit, quota, key, check });
        }
        Ok(())
    }

    /// The refusal that ends last, among enforced limits that count `counts`. The time is that of the
    /// last of all: whoever comes back then must not meet a limit that counts something else.
    #[must_use]
    pub fn refusal(&self, counts: Counts, now_ms: u64) -> Option<Denial> {
        let mut latest: Option<(u16, u64)> = None;
        let mut last_ms = 0;
        for (checked, index) in self.limits.iter().zip(0_u16..) {
            let Err(refused) = checked.check.verdict else { continue };
            if checked.limit.shadow {
                continue;
            }
            let retry_at_ms = refused.retry_at_ms(&checked.quota, now_ms);
            last_ms = retry_at_ms.max(last_ms);
            if checked.limit.counts == counts
                && latest.is_none_or(|(_, earlier)| retry_at_ms > earlier)
            {
                latest = Some((index, retry_at_ms));
            }
        }
        latest.map(|(limit, _)| Denial::RateLimited { limit, retry_at_ms: last_ms })
    }

    /// Those in shadow mode that would have refused the request.
    #[must_use]
    pub fn shadows(&self) -> Shadows {
        let mut shadows = Shadows::default();
        for (checked, bit) in self.limits.iter().zip(0_u32..) {
            if checked.limit.shadow && checked.check.verdict.is_err() {
                shadows.limits |= 1_u64.wrapping_shl(bit);
            }
        }
        shadows
    }

    /// The enforced limit with the least left; the one that refused, if one did.
    #[must_use]
    pub fn tightest(&self, verdict: &AdmitVerdict, counted: Counted) -> Option<LimitReport> {
        let mut reports = self
            .limits
            .iter()
            .zip(0_u16..)
            .filter(|(checked, _)| !checked.limit.shadow)
            .map(|(checked, index)| checked.report(index, counted.counts(checked.limit)));
        match verdict {
            AdmitVerdict::Denied(Denial::RateLimited { limit: refused, .. }) => {
                reports.find(|report| report.limit == *refused)
            }
            _ => reports.min_by_key(|report| report.left.remaining),
        }
    }

    /// The answer to an admission whose verdict is this, on the limits' side.
    #[must_use]
    pub fn admission(&self, verdict: AdmitVerdict, mode: Mode) -> Admission {
        let tightest = self.tightest(&verdict, Counted::of(&verdict, mode));
        Admission { verdict, tightest, shadows: self.shadows(), detail: None }
    }

    /// Where each stood before the request, and when it refused, from when it would not.
    pub fn write_detail(&self, detail: &mut AdmitDetail) {
        detail.limits.clear();
        for (checked, index) in self.limits.iter().zip(0_u16..) {
            let verdict = checked.check.verdict.map(|_| ()).map_err(|refused| refused.retry_at_ms);
            detail.limits.push((checked.report(index, false), verdict));
        }
    }

    pub(super) fn cells(&self, counted: Counted, cells: &mut Cells) {
        for checked in &self.limits {
            if let (true, Ok(cell)) = (counted.counts(checked.limit), &checked.check.verdict) {
                let expires_ms = expires_ms(checked.limit.algorithm, &checked.quota, cell);
                let _ = cells.try_push((checked.key, *cell, expires_ms));
            }
        }
    }
}

impl CheckedLimit<'_> {
    fn report(&self, index: u16, counted: bool) -> LimitReport {
        let left = if counted { self.check.after } else { self.check.before };
        LimitReport { limit: index, quota: self.quota, left }
    }
}
