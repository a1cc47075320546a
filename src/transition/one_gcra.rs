//! The commonest admission, without records: one GCRA limit whose cell the caller has at hand.

use crate::command::{Admission, AdmitVerdict, Denial, LimitReport, Shadows};
use crate::limit::gcra::{self, Rate};
use crate::limit::{Limit, TokenQuota};

/// The admission of a request that only one GCRA limit holds back, whose cell is `tat_ns` (0: whole).
/// Gives the cell's next value too. The same as [`admit`] for such a request, and quicker.
#[inline]
pub(crate) fn admit_one_gcra(
    limit: &Limit,
    own_quota: Option<TokenQuota>,
    tat_ns: u64,
    now_ms: u64,
) -> (Admission, u64) {
    let quota = limit.quota_for(own_quota);
    let rate = if own_quota.is_some() { Rate::of(&quota) } else { limit.rate };
    let report = |tat_ns| {
        let left = gcra::left(rate, tat_ns, now_ms);
        (!limit.shadow).then_some(LimitReport { limit: 0, quota, left })
    };
    let mut shadows = Shadows::default();
    let (verdict, tat_ns) = match gcra::admit(rate, tat_ns, now_ms, limit.cost) {
        Ok(next_ns) => (AdmitVerdict::Admitted { reservation: None }, next_ns),
        Err(_) if limit.shadow => {
            shadows.limits = 1;
            (AdmitVerdict::Admitted { reservation: None }, tat_ns)
        }
        Err(refused) => {
            let retry_at_ms = refused.retry_at_ms(&quota, now_ms);
            (AdmitVerdict::Denied(Denial::RateLimited { limit: 0, retry_at_ms }), tat_ns)
        }
    };
    (Admission { verdict, tightest: report(tat_ns), shadows, detail: None }, tat_ns)
}
