//! Admission: limits, idempotency claim, spend caps and wallet as one compare-and-apply.

use alloc::boxed::Box;
use alloc::sync::Arc;

use crate::command::{
    Admission, Admit, AdmitDetail, AdmitVerdict, CapHolder, Denial, Idempotency, Mode, Shadows,
};
use crate::idempotency::{Claim, ClaimKey, OnOrphan, StoredResponse};
use crate::ledger::{
    Amount, CountedIn, Reservation, ReservationId, ReservationState, Spend, SpendCap, Wallet,
};
use crate::limit::Counts;
use crate::transition::expire::foresee;
use crate::transition::limits::{Cells, CheckedLimits, Counted};
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
    let mut limits = CheckedLimits::new();
    limits.read(records, admit, now_ms)?;
    if let Some(revision) = admit.revision
        && revision != records.revision(admit.account)?
    {
        return Ok(limits.admission(AdmitVerdict::CredentialChanged, admit.mode));
    }
    let mut shadows = limits.shadows();
    let touches_account =
        admit.charge.is_some() || matches!(admit.idempotency, Idempotency::Key { .. });
    if admit.mode == Mode::Apply && touches_account {
        // What fell due is over, whether or not a sweep came by: it neither holds money nor a key.
        // A peek only foresees it.
        expire_account(records, admit.account, now_ms)?;
    }
    let detail = if admit.detail { Some(detail(records, admit, &limits, now_ms)?) } else { None };
    let verdict = if admit.mode == Mode::Observe {
        AdmitVerdict::Admitted { reservation: None }
    } else {
        decide(records, admit, &limits, &mut shadows, now_ms)?
    };
    let tightest = limits.tightest(&verdict, Counted::of(&verdict, admit.mode));
    Ok(Admission { verdict, tightest, shadows, detail })
}

fn decide<R: Records>(
    records: &mut R,
    admit: &Admit<'_>,
    limits: &CheckedLimits<'_>,
    shadows: &mut Shadows,
    now_ms: u64,
) -> Result<AdmitVerdict, R::Error> {
    if let Some(denial) = limits.refusal(Counts::Requests, now_ms) {
        return Ok(AdmitVerdict::Denied(denial));
    }
    let verdict = match before_executions(records, admit, now_ms)? {
        Some(verdict) => verdict,
        None => {
            let refused = limits.refusal(Counts::Executions, now_ms);
            if let Some(denial) = refused.or_else(|| admit.refused_elsewhere.cloned()) {
                return Ok(AdmitVerdict::Denied(denial));
            }
            match Money::read(records, admit, shadows, now_ms)? {
                Err(denial) => AdmitVerdict::Denied(denial),
                Ok(money) => {
                    let reservation = apply_all(records, admit, limits, money, now_ms)?;
                    return Ok(AdmitVerdict::Admitted { reservation });
                }
            }
        }
    };
    if admit.mode == Mode::Apply {
        let mut cells = Cells::new();
        limits.cells(Counted::Requests, &mut cells);
        records.commit(Changes { cells: &cells, ..Changes::default() })?;
    }
    Ok(verdict)
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

fn detail<R: Records>(
    records: &mut R,
    admit: &Admit<'_>,
    limits: &CheckedLimits<'_>,
    now_ms: u64,
) -> Result<Box<AdmitDetail>, R::Error> {
    let mut detail = AdmitDetail::default();
    limits.write_detail(&mut detail);
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
    limits: &CheckedLimits<'_>,
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

/// What is replayed for an execution that was settled without its response.
pub(super) fn unrecorded_response() -> Arc<StoredResponse> {
    Arc::new(StoredResponse { status: 200, headers: Box::default(), body: None })
}
