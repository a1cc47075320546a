//! Admission: limits, idempotency claim, spend caps and wallet as one compare-and-apply.

use alloc::boxed::Box;
use alloc::sync::Arc;

use arrayvec::ArrayVec;

use crate::command::{
    Admission, Admit, AdmitDetail, AdmitVerdict, CapHolder, Denial, Idempotency, LimitReport, Mode,
    Shadows,
};
use crate::idempotency::{Claim, ClaimKey, OnOrphan, StoredResponse};
use crate::ledger::{
    Amount, CountedIn, Reservation, ReservationId, ReservationState, Spend, SpendCap, Wallet,
};
use crate::limit::{Cell, CellKey, Check, Counts, Limit, Quota, Subject, check, expires_ms};
#[cfg(feature = "std")]
use crate::limit::{
    TokenQuota,
    gcra::{self, Rate},
};
use crate::policy::MAX_LIMITS_PER_ROUTE;
use crate::transition::expire::foresee;
use crate::transition::{Change, Changes, Records, expire_account};

/// Decides an admission and applies it.
///
/// The order of the checks is the order of [`Status`](crate::Status). A refusal by a limit consumes
/// nothing in any limit; any other refusal counts in the limits that count requests.
///
/// # Errors
/// Those of `records`; nothing is changed then.
pub fn admit<R: Records>(
    records: &mut R,
    admit: &Admit<'_>,
    now_ms: u64,
) -> Result<Admission, R::Error> {
    // Kilobytes, of which a request uses a few dozen bytes: made where they stay, never moved.
    let mut limits = Checked { limits: ArrayVec::new() };
    limits.read(records, admit, now_ms)?;
    let mut shadows = limits.shadows();
    let touches_account =
        admit.charge.is_some() || matches!(admit.idempotency, Idempotency::Key { .. });
    if admit.mode == Mode::Apply && touches_account {
        // What fell due is over, whether or not a sweep came by: it neither holds money nor a key.
        // A peek only foresees it.
        expire_account(records, admit.account, now_ms)?;
    }
    let detail = if admit.detail { Some(limits.detail(records, admit, now_ms)?) } else { None };
    let (verdict, counted) = if admit.mode == Mode::Observe {
        (AdmitVerdict::Admitted { reservation: None }, Counted::Nothing)
    } else {
        decide(records, admit, &limits, &mut shadows, now_ms)?
    };
    let refused_by = match verdict {
        AdmitVerdict::Denied(Denial::RateLimited { limit, .. }) => Some(limit),
        _ => None,
    };
    let counted = if admit.mode == Mode::Apply { counted } else { Counted::Nothing };
    let tightest = limits.tightest(refused_by, counted);
    Ok(Admission { verdict, tightest, shadows, detail })
}

/// Which limits a verdict counts in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    Nothing,
    Requests,
    All,
}

impl Counted {
    fn counts(self, limit: &Limit) -> bool {
        match self {
            Counted::Nothing => false,
            Counted::Requests => limit.counts == Counts::Requests,
            Counted::All => true,
        }
    }
}

fn decide<R: Records>(
    records: &mut R,
    admit: &Admit<'_>,
    limits: &Checked<'_>,
    shadows: &mut Shadows,
    now_ms: u64,
) -> Result<(AdmitVerdict, Counted), R::Error> {
    if let Some(denial) = limits.refusal(Counts::Requests, now_ms) {
        return Ok((AdmitVerdict::Denied(denial), Counted::Nothing));
    }
    let verdict = match before_executions(records, admit, now_ms)? {
        Some(verdict) => verdict,
        None => {
            if let Some(denial) = limits.refusal(Counts::Executions, now_ms) {
                return Ok((AdmitVerdict::Denied(denial), Counted::Nothing));
            }
            match Money::read(records, admit, shadows, now_ms)? {
                Err(denial) => AdmitVerdict::Denied(denial),
                Ok(money) => {
                    let reservation = apply_all(records, admit, limits, money, now_ms)?;
                    return Ok((AdmitVerdict::Admitted { reservation }, Counted::All));
                }
            }
        }
    };
    if admit.mode == Mode::Apply {
        let mut cells = Cells::new();
        limits.cells(Counted::Requests, &mut cells);
        records.commit(Changes { cells: &cells, ..Changes::default() })?;
    }
    Ok((verdict, Counted::Requests))
}

/// Idempotency, sender and validation: what may end a request that the limits let in.
fn before_executions<R: Records>(
    records: &mut R,
    admit: &Admit<'_>,
    now_ms: u64,
) -> Result<Option<AdmitVerdict>, R::Error> {
    let denied = |denial| Ok(Some(AdmitVerdict::Denied(denial)));
    match *admit.idempotency {
        Idempotency::Absent => {}
        Idempotency::Invalid => return denied(Denial::KeyInvalid),
        Idempotency::Key { claim: key, fingerprint, rule } => {
            if let Some(claim) = live_claim(records, admit, &key, now_ms)? {
                let orphaned = rule.on_orphan == OnOrphan::Rerun && claim.lease_until_ms <= now_ms;
                match claim.response {
                    _ if claim.fingerprint != fingerprint => return denied(Denial::KeyReused),
                    Some(response) => return Ok(Some(AdmitVerdict::Replay(response))),
                    None if orphaned => {}
                    None => return denied(Denial::InFlight),
                }
            }
        }
    }
    if let Some(sender) = admit.sender {
        let settings = records.settings(admit.account)?;
        if !settings.senders.iter().any(|approved| **approved == *sender) {
            return denied(Denial::SenderNotApproved);
        }
    }
    if admit.invalid {
        return denied(Denial::ValidationFailed);
    }
    Ok(None)
}

fn live_claim<R: Records>(
    records: &mut R,
    admit: &Admit<'_>,
    key: &ClaimKey,
    now_ms: u64,
) -> Result<Option<Claim>, R::Error> {
    Ok(records.claim(admit.account, key)?.filter(|claim| claim.expires_ms > now_ms))
}

/// The limits of a request, each checked against its cell.
struct Checked<'a> {
    limits: ArrayVec<(&'a Limit, Quota, CellKey, Check), MAX_LIMITS_PER_ROUTE>,
}

type Cells = ArrayVec<(CellKey, Cell, u64), MAX_LIMITS_PER_ROUTE>;

impl<'a> Checked<'a> {
    fn read<R: Records>(
        &mut self,
        records: &mut R,
        admit: &Admit<'a>,
        now_ms: u64,
    ) -> Result<(), R::Error> {
        let subject = Subject { token: admit.token, account: admit.account, source: admit.source };
        for limit in admit.limits {
            let quota = limit.quota_for(admit.own_quota());
            let key = CellKey::of(limit, &subject);
            let cell = records.cell(&key)?;
            let checked = check(limit.algorithm, &quota, cell.as_ref(), now_ms, limit.cost);
            // Policies have at most as many limits on a route: `compile` has checked it.
            let _ = self.limits.try_push((limit, quota, key, checked));
        }
        Ok(())
    }

    /// The refusal that ends last, among enforced limits that count `counts`. The time is that of the
    /// last of all: whoever comes back then must not meet a limit that counts something else.
    fn refusal(&self, counts: Counts, now_ms: u64) -> Option<Denial> {
        let mut latest: Option<(u16, u64)> = None;
        let mut last_ms = 0;
        for ((limit, quota, _, check), index) in self.limits.iter().zip(0_u16..) {
            let Err(refused) = check.verdict else { continue };
            if limit.shadow {
                continue;
            }
            let retry_at_ms = refused.retry_at_ms(quota, now_ms);
            last_ms = retry_at_ms.max(last_ms);
            if limit.counts == counts && latest.is_none_or(|(_, earlier)| retry_at_ms > earlier) {
                latest = Some((index, retry_at_ms));
            }
        }
        latest.map(|(limit, _)| Denial::RateLimited { limit, retry_at_ms: last_ms })
    }

    fn shadows(&self) -> Shadows {
        let mut shadows = Shadows::default();
        for ((limit, _, _, check), bit) in self.limits.iter().zip(0_u32..) {
            if limit.shadow && check.verdict.is_err() {
                shadows.limits |= 1_u64.wrapping_shl(bit);
            }
        }
        shadows
    }

    /// The enforced limit with the least left; the one that refused, if one did.
    fn tightest(&self, refused_by: Option<u16>, counted: Counted) -> Option<LimitReport> {
        let reports = self.limits.iter().zip(0_u16..).filter(|((limit, ..), _)| !limit.shadow).map(
            |((limit, quota, _, check), index)| LimitReport {
                limit: index,
                quota: *quota,
                left: if counted.counts(limit) { check.after } else { check.before },
            },
        );
        match refused_by {
            Some(refused) => reports.into_iter().find(|report| report.limit == refused),
            None => reports.min_by_key(|report| report.left.remaining),
        }
    }

    fn cells(&self, counted: Counted, cells: &mut Cells) {
        for (limit, quota, key, check) in &self.limits {
            if let (true, Ok(cell)) = (counted.counts(limit), &check.verdict) {
                let _ = cells.try_push((*key, *cell, expires_ms(limit.algorithm, quota, cell)));
            }
        }
    }

    fn detail<R: Records>(
        &self,
        records: &mut R,
        admit: &Admit<'_>,
        now_ms: u64,
    ) -> Result<Box<AdmitDetail>, R::Error> {
        let mut detail = AdmitDetail::default();
        for ((_, quota, _, check), index) in self.limits.iter().zip(0_u16..) {
            let report = LimitReport { limit: index, quota: *quota, left: check.before };
            detail
                .limits
                .push((report, check.verdict.map(|_| ()).map_err(|refused| refused.retry_at_ms)));
        }
        let settings = records.settings(admit.account)?;
        let (wallet, spend) = money_of(records, admit, now_ms)?;
        detail.available = wallet.available();
        if let Some(token) = admit.token_record {
            for cap in &token.spend_caps {
                detail.spend_caps.push((CapHolder::Token, *cap, spend.within(cap.per, now_ms)));
            }
        }
        for cap in &settings.spend_caps {
            let spent = wallet.spend.within(cap.per, now_ms);
            detail.spend_caps.push((CapHolder::Account, *cap, spent));
        }
        Ok(Box::new(detail))
    }
}

/// The digest under which what the request spends is counted.
fn spends_as(admit: &Admit<'_>) -> crate::TokenDigest {
    admit.token_record.map_or(*admit.token, |token| token.spends_as(admit.token))
}

/// The account's money, and what the token has spent.
fn money_of<R: Records>(
    records: &mut R,
    admit: &Admit<'_>,
    now_ms: u64,
) -> Result<(Wallet, Spend), R::Error> {
    let spends_as = spends_as(admit);
    if admit.mode == Mode::Peek {
        return foresee(records, admit.account, &spends_as, now_ms);
    }
    Ok((records.wallet(admit.account)?, records.token_spend(admit.account, &spends_as)?))
}

/// The account's money as it would be with the charge held.
struct Money {
    wallet: Wallet,
    token_spend: Option<(crate::TokenDigest, Spend)>,
    account_counted: CountedIn,
    token_counted: CountedIn,
}

impl Money {
    /// Checks caps and wallet, in this order, the token's before the account's.
    fn read<R: Records>(
        records: &mut R,
        admit: &Admit<'_>,
        shadows: &mut Shadows,
        now_ms: u64,
    ) -> Result<Result<Option<Self>, Denial>, R::Error> {
        let Some(charge) = admit.charge else { return Ok(Ok(None)) };
        let token = admit.token_record;
        let (mut wallet, token_spend) = money_of(records, admit, now_ms)?;
        let settings = records.settings(admit.account)?;

        let token_caps = token.map_or(&[][..], |token| &token.spend_caps);
        for (holder, caps, spend) in [
            (CapHolder::Token, token_caps, &token_spend),
            (CapHolder::Account, &settings.spend_caps[..], &wallet.spend),
        ] {
            if let Some(denial) = exceeded(holder, caps, spend, charge, shadows, now_ms) {
                return Ok(Err(denial));
            }
        }
        let available = wallet.available();
        let held = wallet.held.checked_add(charge).filter(|_| charge <= available);
        let Some(held) = held else { return Ok(Err(Denial::InsufficientBalance { available })) };
        // The counters hold all that was ever spent: a charge that they cannot count is refused
        // here, so that settling never overflows.
        let (Some(spend), Some(token_spend)) =
            (wallet.spend.add(charge, now_ms), token_spend.add(charge, now_ms))
        else {
            let left =
                Amount::MAX.saturating_sub(wallet.spend.within(crate::Period::Lifetime, now_ms));
            let (holder, per) = (CapHolder::Account, crate::Period::Lifetime);
            return Ok(Err(Denial::SpendCapExceeded { holder, per, left }));
        };
        wallet.held = held;
        wallet.spend = spend;
        wallet.open_reservations = wallet.open_reservations.saturating_add(1);
        Ok(Ok(Some(Money {
            wallet,
            account_counted: spend.counted_in(),
            token_counted: token_spend.counted_in(),
            token_spend: Some((spends_as(admit), token_spend)),
        })))
    }
}

fn exceeded(
    holder: CapHolder,
    caps: &[SpendCap],
    spend: &Spend,
    charge: Amount,
    shadows: &mut Shadows,
    now_ms: u64,
) -> Option<Denial> {
    for cap in caps {
        let left = cap.amount.saturating_sub(spend.within(cap.per, now_ms));
        if charge <= left {
            continue;
        }
        if !cap.shadow {
            return Some(Denial::SpendCapExceeded { holder, per: cap.per, left });
        }
        shadows.spend_caps = true;
    }
    None
}

/// Counts the request in all limits, claims its key and holds its price. Gives the reservation's
/// number where there is something to settle.
fn apply_all<R: Records>(
    records: &mut R,
    admit: &Admit<'_>,
    limits: &Checked<'_>,
    money: Option<Money>,
    now_ms: u64,
) -> Result<Option<ReservationId>, R::Error> {
    if admit.mode != Mode::Apply {
        return Ok(None);
    }
    let mut cells = Cells::new();
    limits.cells(Counted::All, &mut cells);
    let key = match *admit.idempotency {
        Idempotency::Key { claim, fingerprint, rule } => Some((claim, fingerprint, rule)),
        _ => None,
    };
    if money.is_none() && key.is_none() {
        records.commit(Changes { cells: &cells, ..Changes::default() })?;
        return Ok(None);
    }
    let money = match money {
        Some(money) => money,
        None => Money {
            wallet: records.wallet(admit.account)?,
            token_spend: None,
            account_counted: CountedIn::default(),
            token_counted: CountedIn::default(),
        },
    };
    let mut wallet = money.wallet;
    wallet.sequence = wallet.sequence.saturating_add(1);
    let id = ReservationId(wallet.sequence);
    let lease_until_ms = now_ms.saturating_add(admit.charge_rule.lease_ms);
    let claim = key.map(|(key, fingerprint, rule)| {
        let expires_ms = now_ms.saturating_add(rule.retention_ms);
        let claim = Claim { fingerprint, fence: id, lease_until_ms, expires_ms, response: None };
        (key, Change::Put { record: claim, due_ms: expires_ms })
    });
    let amount = admit.charge.unwrap_or(Amount::ZERO);
    let due_ms = match key {
        // Without money a late outcome harms nobody: it is taken for as long as the key is kept.
        Some((.., rule)) if amount == Amount::ZERO => now_ms.saturating_add(rule.retention_ms),
        _ => lease_until_ms,
    };
    let reservation = Reservation {
        amount,
        token: money.token_spend.map_or(*admit.token, |(spends_as, _)| spends_as),
        account_counted: money.account_counted,
        token_counted: money.token_counted,
        lease_until_ms,
        on_expiry: admit.charge_rule.on_expiry,
        retention_ms: admit.charge_rule.retention_ms,
        claim: key.map(|(key, ..)| key),
        state: ReservationState::Held,
    };
    records.commit(Changes {
        account: Some(admit.account),
        cells: &cells,
        wallet: Some(wallet),
        token_spend: money.token_spend,
        reservation: Some((id, reservation, due_ms)),
        claim,
        ..Changes::default()
    })?;
    Ok(Some(id))
}

/// The admission of a request that only one GCRA limit holds back, whose cell is `tat_ns` (0: whole).
/// Gives the cell's next value too. The same as [`admit`] for such a request, and quicker.
#[cfg(feature = "std")] // the memory store's
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

/// What is replayed for an execution that was settled without its response.
pub(super) fn unrecorded_response() -> Arc<StoredResponse> {
    Arc::new(StoredResponse { status: 200, headers: Box::default(), body: None })
}
