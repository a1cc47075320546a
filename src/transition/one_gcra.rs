//! The commonest admission, without records: one GCRA limit whose cell the caller has at hand.

use crate::command::{Admission, AdmitVerdict, Denial, LimitReport, Shadows};
use crate::limit::gcra::{self, Rate};
use crate::limit::{Limit, Quota, Refused, TokenQuota};

/// What one GCRA limit said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OneGcra {
    /// The cell's next value.
    pub(crate) tat_ns: u64,
    quota: Quota,
    rate: Rate,
    refused: Option<Refused>,
}

/// Counts a request that only one GCRA limit holds back, whose cell is `tat_ns` (0: whole). What is to be told
/// of it is worked out by [`OneGcra::admission`], for which the cell need not be held any longer. Together they are
/// the same as [`admit`](super::admit) for such a request, and quicker.
#[cfg_attr(not(feature = "small"), inline(always))]
pub(crate) fn admit_one_gcra(
    limit: &Limit,
    own_quota: Option<TokenQuota>,
    tat_ns: u64,
    now_ms: u64,
) -> OneGcra {
    let quota = limit.quota_for(own_quota);
    let rate = if own_quota.is_some() { Rate::of(&quota) } else { limit.rate };
    match gcra::admit(rate, tat_ns, now_ms, limit.cost) {
        Ok(tat_ns) => OneGcra { tat_ns, quota, rate, refused: None },
        Err(refused) => OneGcra { tat_ns, quota, rate, refused: Some(refused) },
    }
}

impl OneGcra {
    /// The admission.
    #[cfg_attr(not(feature = "small"), inline(always))]
    pub(crate) fn admission(&self, limit: &Limit, now_ms: u64) -> Admission {
        let mut shadows = Shadows::default();
        let verdict = match self.refused {
            None => AdmitVerdict::Admitted { reservation: None },
            Some(_) if limit.shadow => {
                shadows.limits = 1;
                AdmitVerdict::Admitted { reservation: None }
            }
            Some(refused) => {
                let retry_at_ms = refused.retry_at_ms(&self.quota, now_ms);
                AdmitVerdict::Denied(Denial::RateLimited { limit: 0, retry_at_ms })
            }
        };
        let left = gcra::left(self.rate, self.tat_ns, now_ms);
        let tightest = (!limit.shadow).then_some(LimitReport { limit: 0, quota: self.quota, left });
        Admission { verdict, tightest, shadows, detail: None }
    }
}
