//! Admissions: to be applied, by a script; else over what a script read.

use std::sync::Arc;

use tollgate::transition::{CheckedLimit, CheckedLimits, perform};
use tollgate::{
    Admission, Admit, AdmitDetail, AdmitVerdict, Amount, CapHolder, Cell, Command, Counts, Denial,
    Idempotency, Limit, Mode, OnExpiry, OnOrphan, Outcome, Period, ReservationId, StoreError,
    TokenDigest,
};

use crate::bytes::{Reader, parts};
use crate::cache::Found;
use crate::exchange::{Io, ScriptCall, bulk, wrong_shape};
use crate::keys::is_of_account;
use crate::limits::{Said, describe};
use crate::look::{Wanted, look as look_at, revision};
use crate::look_up::{publish, unpublish};
use crate::protocol::{Protocol, named};
use crate::records;
use crate::scripts::{ADMIT, LIMITS};
use crate::spanning::{self, Spanning};

/// The digest under which what the token spends is counted.
fn spends_as(admit: &Admit<'_>) -> TokenDigest {
    admit.token_record.map_or(*admit.token, |token| token.spends_as(admit.token))
}

/// Whether a script on the account's slot reaches the limit's cell.
fn in_reach(protocol: &Protocol, limit: &Limit) -> bool {
    !protocol.cluster || is_of_account(limit)
}

/// Decides and applies.
pub(crate) async fn apply(
    protocol: &Protocol,
    io: &Io,
    admit: &Admit<'_>,
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    let detail = match admit.detail {
        true => detail(protocol, io, admit, now_ms).await?,
        false => None,
    };
    let spanning = admit.limits.iter().any(|limit| !in_reach(protocol, limit));
    let mut admission = if spanning {
        spanning::admit(protocol, io, admit, now_ms).await?
    } else {
        let reply = run(protocol, io, admit, &[], now_ms).await;
        read(protocol, io, admit, &[], &reply?, now_ms).await?
    };
    admission.detail = detail;
    Ok(Outcome::Admission(admission))
}

/// Runs the account's script until it is done with all that fell due.
pub(crate) async fn run(
    protocol: &Protocol,
    io: &Io,
    admit: &Admit<'_>,
    elsewhere: &[Spanning],
    now_ms: u64,
) -> Result<Vec<u8>, Failed> {
    loop {
        let script = script(protocol, io, admit, elsewhere, now_ms).map_err(Failed::Before)?;
        let reply = io.script(script).await.map_err(Failed::Call)?;
        let reply = bulk(reply).and_then(|reply| reply.ok_or_else(wrong_shape));
        let reply = reply.map_err(Failed::Before)?;
        if !reply.starts_with(b"\0\0\0\x01M") {
            return Ok(reply);
        }
    }
}

/// Why the account's script gave no answer.
pub(crate) enum Failed {
    Before(StoreError),
    Call(crate::failure::CallError),
}

impl From<Failed> for StoreError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Before(error) => error,
            Failed::Call(error) => error.into(),
        }
    }
}

fn script(
    protocol: &Protocol,
    io: &Io,
    admit: &Admit<'_>,
    elsewhere: &[Spanning],
    now_ms: u64,
) -> Result<ScriptCall, StoreError> {
    let account = protocol.keys.account(named(admit.account)?);
    let nonce = account.nonce(&io.next_nonce());
    let limits_only = admit.asks_limits_only();
    let mut keys = if limits_only {
        vec![account.account(), account.tokens(), nonce]
    } else {
        let mut keys = account.records().to_vec();
        keys.extend([account.senders(), nonce, account.tokens()]);
        keys
    };
    let mut limits = Vec::with_capacity(admit.limits.len());
    for (place, limit) in admit.limits.iter().enumerate() {
        let cell = limit.cell_key(admit.token, admit.account, admit.source);
        let said = match elsewhere.iter().find(|one| one.place == place) {
            Some(one) => one.said(),
            None => Said::Nothing,
        };
        if said == Said::Nothing {
            let of_account = is_of_account(limit);
            keys.push(if of_account { account.cell(&cell) } else { protocol.keys.cell(&cell) });
        }
        limits.push(describe(limit, admit, said));
    }
    let mut args = first_arguments(protocol, admit, now_ms);
    if !limits_only {
        args.extend(other_arguments(admit, now_ms));
    }
    args.extend(limits);
    Ok(ScriptCall { script: if limits_only { &LIMITS } else { &ADMIT }, keys, args })
}

fn flag(set: bool) -> Vec<u8> {
    if set { b"1".to_vec() } else { b"0".to_vec() }
}

/// The arguments that every admission has, in the order in which scripts read them.
fn first_arguments(protocol: &Protocol, admit: &Admit<'_>, now_ms: u64) -> Vec<Vec<u8>> {
    let now_ns = now_ms.saturating_mul(1_000_000);
    vec![
        protocol.remember_ms.clone(),
        now_ms.to_string().into_bytes(),
        now_ns.to_be_bytes().to_vec(),
        admit.revision.map(|revision| revision.to_be_bytes().to_vec()).unwrap_or_default(),
        admit.token.as_bytes().to_vec(),
    ]
}

/// Those that follow where more than limits can hold the request back.
fn other_arguments(admit: &Admit<'_>, now_ms: u64) -> Vec<Vec<u8>> {
    let (kind, claim, fingerprint, rerun, expires_ms) = match *admit.idempotency {
        Idempotency::Absent => (&b""[..], vec![], vec![], false, 0),
        Idempotency::Invalid => (&b"i"[..], vec![], vec![], false, 0),
        Idempotency::Key { claim, fingerprint, rule } => {
            let expires_ms = now_ms.saturating_add(rule.retention_ms);
            let rerun = rule.on_orphan == OnOrphan::Rerun;
            (&b"k"[..], claim.0.to_vec(), fingerprint.0.to_vec(), rerun, expires_ms)
        }
    };
    let token_caps = admit.token_record.map_or(&[][..], |token| &token.spend_caps);
    let mut rule = vec![match admit.charge_rule.on_expiry {
        OnExpiry::Void => b'v',
        OnExpiry::Settle => b's',
        OnExpiry::Hold => b'h',
    }];
    let lease_until_ms = now_ms.saturating_add(admit.charge_rule.lease_ms);
    rule.extend(lease_until_ms.to_be_bytes());
    rule.extend(admit.charge_rule.retention_ms.to_be_bytes());
    let sender = admit.sender.map(|sender| format!("={sender}").into_bytes());
    let charge = admit.charge.map(|Amount(charge)| charge.to_be_bytes().to_vec());
    vec![
        Period::Day.number(now_ms).to_string().into_bytes(),
        Period::Month.number(now_ms).to_string().into_bytes(),
        kind.to_vec(),
        claim,
        fingerprint,
        flag(rerun),
        expires_ms.to_be_bytes().to_vec(),
        sender.unwrap_or_default(),
        flag(admit.invalid),
        flag(admit.refused_elsewhere.is_some()),
        charge.unwrap_or_default(),
        records::caps(token_caps),
        rule,
        spends_as(admit).as_bytes().to_vec(),
    ]
}

/// Reads the script's answer. What limits say in detail is worked out again from the cells that it
/// saw, so it must agree.
pub(crate) async fn read(
    protocol: &Protocol,
    io: &Io,
    admit: &Admit<'_>,
    elsewhere: &[Spanning],
    reply: &[u8],
    now_ms: u64,
) -> Result<Admission, StoreError> {
    let parts = parts(reply).ok_or_else(wrong_shape)?;
    let [[kind], shadow_cap, extra, cells @ ..] = &parts[..] else { return Err(wrong_shape()) };
    let checked = checked(admit, elsewhere, cells, now_ms)?;
    if *kind == b'C' {
        heal(protocol, io, admit, extra).await?;
    }
    let verdict = verdict(admit, &checked, *kind, extra, now_ms)?;
    let mut admission = checked.admission(verdict, admit.mode);
    admission.shadows.spend_caps = *shadow_cap == b"1";
    Ok(admission)
}

fn checked<'a>(
    admit: &Admit<'a>,
    elsewhere: &[Spanning],
    cells: &[&[u8]],
    now_ms: u64,
) -> Result<CheckedLimits<'a>, StoreError> {
    let mut cells = cells.iter();
    let mut checked = CheckedLimits::new();
    for (place, limit) in admit.limits.iter().enumerate() {
        let cell: Option<Cell> = match elsewhere.iter().find(|one| one.place == place) {
            Some(one) => one.cell,
            None => records::cell(cells.next().ok_or_else(wrong_shape)?)?,
        };
        checked.push(CheckedLimit::new(limit, admit, cell.as_ref(), now_ms));
    }
    Ok(checked)
}

fn verdict(
    admit: &Admit<'_>,
    checked: &CheckedLimits<'_>,
    kind: u8,
    extra: &[u8],
    now_ms: u64,
) -> Result<AdmitVerdict, StoreError> {
    let disagree = StoreError::Corrupt { what: "a limit" };
    let mut reader = Reader(extra);
    let refused = |counts| checked.refusal(counts, now_ms);
    let denial = match kind {
        b'A' => {
            if refused(Counts::Requests).or(refused(Counts::Executions)).is_some() {
                return Err(disagree);
            }
            let reservation = reader.u64().map(ReservationId);
            return Ok(AdmitVerdict::Admitted { reservation });
        }
        b'P' => return Ok(AdmitVerdict::Replay(records::response(extra)?)),
        b'C' => return Ok(AdmitVerdict::CredentialChanged),
        b'L' => refused(Counts::Requests).ok_or(disagree)?,
        b'E' => refused(Counts::Executions)
            .or_else(|| admit.refused_elsewhere.cloned())
            .ok_or(disagree)?,
        b'I' => Denial::KeyInvalid,
        b'F' => Denial::KeyReused,
        b'B' => Denial::InFlight,
        b'S' => Denial::SenderNotApproved,
        b'V' => Denial::ValidationFailed,
        b'W' => {
            Denial::InsufficientBalance { available: Amount(reader.u64().ok_or_else(wrong_shape)?) }
        }
        b'X' => exceeded(&mut reader).ok_or_else(wrong_shape)?,
        _ => return Err(wrong_shape()),
    };
    Ok(AdmitVerdict::Denied(denial))
}

fn exceeded(reader: &mut Reader<'_>) -> Option<Denial> {
    let [holder, per] = reader.array()?;
    let holder = if holder == b't' { CapHolder::Token } else { CapHolder::Account };
    let per = match per {
        b'1' => Period::Day,
        b'2' => Period::Month,
        _ => Period::Lifetime,
    };
    Some(Denial::SpendCapExceeded { holder, per, left: Amount(reader.u64()?) })
}

/// Publishes what the account has of a token whose copy is another: whoever changed it may have died
/// before, or the account's server lost what the copy was made from.
async fn heal(
    protocol: &Protocol,
    io: &Io,
    admit: &Admit<'_>,
    truth: &[u8],
) -> Result<(), StoreError> {
    protocol.cache.forget(admit.token);
    let parts = parts(truth).ok_or_else(wrong_shape)?;
    let [settings_revision, settings, token] = parts[..] else { return Err(wrong_shape()) };
    let Some((own, token)) = records::token(token)? else {
        return match admit.revision {
            Some(wrong) => unpublish(protocol, io, admit.token, named(admit.account)?, wrong).await,
            None => Ok(()),
        };
    };
    let settings = records::settings(settings)?;
    let settings = if settings.networks.is_empty() { Arc::default() } else { settings };
    let revision = own.max(revision(settings_revision)?);
    let found = Found { token, settings, revision };
    publish(protocol, io, &[(*admit.token, found)], admit.revision).await
}

/// Decides over what was read, and changes nothing.
pub(crate) async fn look(
    protocol: &Protocol,
    io: &Io,
    admit: &Admit<'_>,
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    let id = named(admit.account)?;
    let spends_as = spends_as(admit);
    let key = |limit: &Limit| limit.cell_key(admit.token, admit.account, admit.source);
    let own: Vec<_> = admit.limits.iter().filter(|limit| is_of_account(limit)).map(&key).collect();
    let wanted = Wanted {
        due_ms: (admit.mode != Mode::Observe || admit.detail).then_some(now_ms),
        claim: match *admit.idempotency {
            Idempotency::Key { claim, .. } => Some(claim),
            _ => None,
        },
        spends_as: Some(spends_as),
        tokens: &[*admit.token],
        cells: &own,
    };
    let mut seen = look_at(protocol, io, id, wanted).await?;
    for limit in admit.limits.iter().filter(|limit| !is_of_account(limit)) {
        let key = key(limit);
        if let Some(cell) = spanning::peek(protocol, io, &key).await? {
            seen.snapshot.cells.insert(key, cell);
        }
    }
    seen.snapshot.revision = seen.revision(admit.token);
    if admit.revision.is_some_and(|revision| revision != seen.snapshot.revision) {
        protocol.cache.forget(admit.token);
        match (seen.found(admit.token), admit.revision) {
            (Some(found), wrong) => publish(protocol, io, &[(*admit.token, found)], wrong).await?,
            (None, Some(wrong)) => unpublish(protocol, io, admit.token, id, wrong).await?,
            (None, None) => {}
        }
    }
    perform(&mut seen.snapshot, &Command::Admit(*admit), now_ms)
}

/// What the checks see before the admission is applied.
async fn detail(
    protocol: &Protocol,
    io: &Io,
    admit: &Admit<'_>,
    now_ms: u64,
) -> Result<Option<Box<AdmitDetail>>, StoreError> {
    match look(protocol, io, admit, now_ms).await? {
        Outcome::Admission(admission) => Ok(admission.detail),
        _ => Err(StoreError::WrongOutcome),
    }
}
