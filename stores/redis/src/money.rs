//! What moves an account's money after an admission: settlement, resolution, deposit, refund.

use tollgate::transition::MAX_REFUNDS;
use tollgate::{
    AccountId, Amount, Finish, Outcome, Refusal, ReservationId, Settle, Settled, StoreError,
    StoredResponse,
};

use crate::bytes::{Reader, parts};
use crate::exchange::{Io, ScriptCall, bulk, wrong_shape};
use crate::protocol::{Protocol, named};
use crate::records;
use crate::scripts::{DEPOSIT, REFUND, SETTLE, ServerScript};

/// Finishes what an admission began.
pub(crate) async fn settle(
    protocol: &Protocol,
    io: &Io,
    settle: &Settle<'_>,
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    let id = named(settle.account)?;
    finish(protocol, io, id, settle.reservation, settle.finish, b"h", now_ms).await
}

/// An operator's word.
pub(crate) async fn resolve(
    protocol: &Protocol,
    io: &Io,
    id: &AccountId,
    reservation: ReservationId,
    how: &Finish,
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    finish(protocol, io, id, reservation, how, b"o", now_ms).await
}

async fn finish(
    protocol: &Protocol,
    io: &Io,
    id: &AccountId,
    ReservationId(reservation): ReservationId,
    finish: &Finish,
    by: &[u8],
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    let (kind, amount, response) = match finish {
        Finish::Settle { amount, response } => (b"s", *amount, response.as_deref()),
        Finish::Void { response } => (b"v", None, response.as_deref()),
        Finish::Unknown => (b"u", None, None),
    };
    let unrecorded = StoredResponse { status: 200, headers: Box::default(), body: None };
    let args = vec![
        now_ms.to_string().into_bytes(),
        reservation.to_be_bytes().to_vec(),
        kind.to_vec(),
        amount.map(|Amount(amount)| amount.to_be_bytes().to_vec()).unwrap_or_default(),
        if response.is_some() { b"1".to_vec() } else { b"0".to_vec() },
        response.map(records::response_bytes).unwrap_or_default(),
        by.to_vec(),
        records::response_bytes(&unrecorded),
    ];
    match run(protocol, io, &SETTLE, id, args).await? {
        outcome @ (Outcome::Settled(_) | Outcome::Refused(_)) => Ok(outcome),
        _ => Err(wrong_shape()),
    }
}

/// Pays in.
pub(crate) async fn deposit(
    protocol: &Protocol,
    io: &Io,
    id: &AccountId,
    amount: Amount,
) -> Result<Outcome, StoreError> {
    done(run(protocol, io, &DEPOSIT, id, vec![amount.0.to_be_bytes().to_vec()]).await?)
}

/// The outcome of what is done or refused.
fn done(outcome: Outcome) -> Result<Outcome, StoreError> {
    match outcome {
        Outcome::Done | Outcome::Refused(_) => Ok(outcome),
        _ => Err(wrong_shape()),
    }
}

/// What to give back.
pub(crate) struct Refund<'r> {
    pub(crate) reservation: ReservationId,
    pub(crate) amount: Amount,
    pub(crate) reference: &'r str,
}

pub(crate) async fn refund(
    protocol: &Protocol,
    io: &Io,
    id: &AccountId,
    refund: Refund<'_>,
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    let args = vec![
        now_ms.to_string().into_bytes(),
        refund.reservation.0.to_be_bytes().to_vec(),
        refund.amount.0.to_be_bytes().to_vec(),
        refund.reference.as_bytes().to_vec(),
        MAX_REFUNDS.to_string().into_bytes(),
    ];
    done(run(protocol, io, &REFUND, id, args).await?)
}

/// Runs a script that answers with one letter and a number, until it is done with all that fell due.
async fn run(
    protocol: &Protocol,
    io: &Io,
    script: &'static ServerScript,
    id: &AccountId,
    args: Vec<Vec<u8>>,
) -> Result<Outcome, StoreError> {
    let account = protocol.keys.account(id);
    let mut all_args = vec![protocol.remember_ms.clone()];
    all_args.extend(args);
    loop {
        let mut keys = account.records().to_vec();
        keys.push(account.nonce(&io.next_nonce()));
        let reply = io.script(ScriptCall { script, keys, args: all_args.clone() }).await?;
        let reply = bulk(reply)?.ok_or_else(wrong_shape)?;
        let parts = parts(&reply).ok_or_else(wrong_shape)?;
        let [kind, extra] = parts[..] else { return Err(wrong_shape()) };
        return match kind {
            b"M" => continue,
            b"D" => Ok(Outcome::Done),
            b"S" if extra.is_empty() => Ok(Outcome::Settled(Settled { posted: None })),
            b"S" => {
                let posted = Reader(extra).u64().ok_or_else(wrong_shape)?;
                Ok(Outcome::Settled(Settled { posted: Some(Amount(posted)) }))
            }
            b"R" => refusal(extra).map(Outcome::Refused).ok_or_else(wrong_shape),
            _ => Err(wrong_shape()),
        };
    }
}

fn refusal(code: &[u8]) -> Option<Refusal> {
    Some(match code {
        b"a" => Refusal::UnknownAccount,
        b"n" => Refusal::NotAResolution,
        b"u" => Refusal::UnknownReservation,
        b"s" => Refusal::StaleFence,
        b"m" => Refusal::MoreThanReserved,
        b"l" => Refusal::LeaseEnded,
        b"f" => Refusal::AlreadyFinished,
        b"p" => Refusal::NotPosted,
        b"e" => Refusal::ReferenceReused,
        b"t" => Refusal::TooManyRefunds,
        b"o" => Refusal::MoreThanPosted,
        b"w" => Refusal::AmountOverflow,
        _ => return None,
    })
}
