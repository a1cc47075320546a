//! Limits of a cluster that count in a slot of their own: those by source address, and global ones.
//!
//! They are looked at first, then taken; the account's script is told what they said; and what does not
//! count in the end is given back. If the connection breaks in between, units stay counted until they
//! refill: less is let through than may be, never more.

use tollgate::transition::{CheckedLimit, Counted};
use tollgate::{Admission, Admit, Cell, CellKey, Counts, Limit, StoreError};

use crate::admit::{Failed, read, run};
use crate::bytes::parts;
use crate::exchange::{Call, Io, ScriptCall, bulk, wrong_shape};
use crate::failure::CallError;
use crate::keys::is_of_account;
use crate::limits::{Said, describe, to_give_back};
use crate::protocol::Protocol;
use crate::records;
use crate::scripts::{GIVE_BACK, TAKE};

/// A limit that spans accounts, and what it said.
#[derive(Clone, Debug)]
pub(crate) struct Spanning {
    /// Its place among the limits of the request.
    pub(crate) place: usize,
    /// Its cell before the request was counted.
    pub(crate) cell: Option<Cell>,
    key: CellKey,
    passes: bool,
    taken: bool,
}

impl Spanning {
    pub(crate) fn said(&self) -> Said {
        if self.passes { Said::Passes } else { Said::Refuses }
    }
}

/// Reads a cell.
pub(crate) async fn peek(
    protocol: &Protocol,
    io: &Io,
    key: &CellKey,
) -> Result<Option<Cell>, StoreError> {
    let reply = io.call(Call::new("GET", protocol.keys.cell(key))).await?;
    records::cell(&bulk(reply)?.unwrap_or_default())
}

pub(crate) async fn admit(
    protocol: &Protocol,
    io: &Io,
    admit: &Admit<'_>,
    now_ms: u64,
) -> Result<Admission, StoreError> {
    let mut spanning = look(protocol, io, admit, now_ms).await?;
    if let Err(failed) = take_all(protocol, io, admit, &mut spanning, now_ms).await {
        give_back(protocol, io, admit, &spanning, now_ms, |_| true).await;
        return Err(failed.into());
    }
    let admission = match run(protocol, io, admit, &spanning, now_ms).await {
        Ok(reply) => read(protocol, io, admit, &spanning, &reply, now_ms).await,
        // Nobody knows whether the account's script has admitted the request: its units stay counted.
        Err(Failed::Call(CallError::Lost { reason })) => {
            return Err(StoreError::Unavailable { reason });
        }
        Err(failed) => Err(failed.into()),
    };
    let counted = match &admission {
        Ok(admission) => Counted::of(&admission.verdict, admit.mode),
        Err(_) => Counted::Nothing,
    };
    give_back(protocol, io, admit, &spanning, now_ms, |limit| !counted.counts(limit)).await;
    admission
}

async fn look(
    protocol: &Protocol,
    io: &Io,
    admit: &Admit<'_>,
    now_ms: u64,
) -> Result<Vec<Spanning>, StoreError> {
    let mut spanning = Vec::new();
    for (place, limit) in admit.limits.iter().enumerate() {
        if is_of_account(limit) {
            continue;
        }
        let key = limit.cell_key(admit.token, admit.account, admit.source);
        let cell = peek(protocol, io, &key).await?;
        let passes = CheckedLimit::new(limit, admit, cell.as_ref(), now_ms).check.verdict.is_ok();
        spanning.push(Spanning { place, cell, key, passes, taken: false });
    }
    Ok(spanning)
}

/// Whether an enforced limit that counts `counts` refuses.
fn refuses(admit: &Admit<'_>, spanning: &[Spanning], counts: Counts) -> bool {
    spanning.iter().any(|one| {
        let limit = admit.limits.get(one.place);
        !one.passes && limit.is_some_and(|limit| !limit.shadow && limit.counts == counts)
    })
}

/// Takes in the limits that count requests, unless one of them refuses; then the same with executions.
async fn take_all(
    protocol: &Protocol,
    io: &Io,
    admit: &Admit<'_>,
    spanning: &mut [Spanning],
    now_ms: u64,
) -> Result<(), Failed> {
    for counts in [Counts::Requests, Counts::Executions] {
        if refuses(admit, spanning, counts) {
            return Ok(());
        }
        for place in 0..spanning.len() {
            let Some(one) = spanning.get_mut(place) else { continue };
            let Some(limit) = admit.limits.get(one.place) else { continue };
            if limit.counts == counts && one.passes {
                take(protocol, io, admit, limit, one, now_ms).await?;
            }
        }
        if refuses(admit, spanning, counts) {
            give_back(protocol, io, admit, spanning, now_ms, |limit| limit.counts == counts).await;
            for one in spanning.iter_mut() {
                let limit = admit.limits.get(one.place);
                one.taken &= limit.is_some_and(|limit| limit.counts != counts);
            }
            return Ok(());
        }
    }
    Ok(())
}

async fn take(
    protocol: &Protocol,
    io: &Io,
    admit: &Admit<'_>,
    limit: &Limit,
    one: &mut Spanning,
    now_ms: u64,
) -> Result<(), Failed> {
    let nonce = protocol.keys.cell_nonce(&one.key, &io.next_nonce());
    let script = ScriptCall {
        script: &TAKE,
        keys: vec![protocol.keys.cell(&one.key), nonce],
        args: vec![
            protocol.remember_ms.clone(),
            now_ms.to_string().into_bytes(),
            now_ms.saturating_mul(1_000_000).to_be_bytes().to_vec(),
            describe(limit, admit, Said::Nothing),
        ],
    };
    let reply = io.script(script).await.map_err(Failed::Call)?;
    let read = || {
        let reply = bulk(reply)?.ok_or_else(wrong_shape)?;
        let parts = parts(&reply).ok_or_else(wrong_shape)?;
        let [passes, cell] = parts[..] else { return Err(wrong_shape()) };
        Ok((passes == b"1", records::cell(cell)?))
    };
    let (passes, cell) = read().map_err(Failed::Before)?;
    one.passes = passes;
    one.taken = passes;
    one.cell = cell;
    Ok(())
}

/// Gives back what was taken in some of the limits.
async fn give_back(
    protocol: &Protocol,
    io: &Io,
    admit: &Admit<'_>,
    spanning: &[Spanning],
    now_ms: u64,
    which: impl Fn(&Limit) -> bool,
) {
    for one in spanning.iter().filter(|one| one.taken) {
        let Some(limit) = admit.limits.get(one.place).filter(|limit| which(limit)) else {
            continue;
        };
        let checked = CheckedLimit::new(limit, admit, one.cell.as_ref(), now_ms);
        let Some((taken, units)) = to_give_back(&checked, one.cell.as_ref(), now_ms) else {
            continue;
        };
        let nonce = protocol.keys.cell_nonce(&one.key, &io.next_nonce());
        let script = ScriptCall {
            script: &GIVE_BACK,
            keys: vec![protocol.keys.cell(&one.key), nonce],
            args: vec![
                protocol.remember_ms.clone(),
                records::cell_bytes(&taken),
                units.to_be_bytes().to_vec(),
                one.cell.as_ref().map(records::cell_bytes).unwrap_or_default(),
            ],
        };
        // One that fails leaves its units counted: less is let through than may be, never more.
        let _ = io.script(script).await;
    }
}
