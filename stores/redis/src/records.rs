//! Records as they are kept: those that scripts read are binary, tokens and settings are JSON.

use std::sync::Arc;

use serde::de::value::{Error as FieldError, MapDeserializer};
use serde::{Deserialize, Serialize};
use tollgate::{
    AccountSettings, Amount, Cell, Claim, ClaimKey, CountedIn, Fingerprint, FixedCell, GcraCell,
    OnExpiry, Period, Reservation, ReservationId, ReservationState, SlidingCell, Spend, SpendCap,
    StoreError, StoredResponse, Token, TokenDigest, Wallet,
};

use crate::bytes::{Reader, push_part};

/// What is read, or why it cannot be.
pub(crate) type Read<T> = Result<T, StoreError>;

/// A record does not have the form that it is written in.
pub(crate) fn damaged<T>(what: &'static str, read: Option<T>) -> Read<T> {
    read.ok_or(StoreError::Corrupt { what })
}

fn amount(reader: &mut Reader<'_>) -> Option<Amount> {
    reader.u64().map(Amount)
}

fn read_spend(reader: &mut Reader<'_>) -> Option<Spend> {
    let day = u64::from(reader.u32()?);
    let day_amount = reader.u64()?;
    let month = u64::from(reader.u32()?);
    let fields = [
        ("day", day),
        ("day_amount", day_amount),
        ("month", month),
        ("month_amount", reader.u64()?),
        ("lifetime_amount", reader.u64()?),
    ];
    Spend::deserialize(MapDeserializer::<_, FieldError>::new(fields.into_iter())).ok()
}

/// An account's money; no bytes are an account without any.
pub(crate) fn wallet(bytes: &[u8]) -> Read<Wallet> {
    if bytes.is_empty() {
        return Ok(Wallet::default());
    }
    let mut reader = Reader(bytes);
    let mut read = || {
        Some(Wallet {
            balance: amount(&mut reader)?,
            held: amount(&mut reader)?,
            posted: amount(&mut reader)?,
            deposited: amount(&mut reader)?,
            refunded: amount(&mut reader)?,
            open_reservations: reader.u64()?,
            sequence: reader.u64()?,
            spend: read_spend(&mut reader)?,
        })
    };
    damaged("an account", read())
}

/// The money of a new account, of which nothing is spent yet.
pub(crate) fn new_wallet(wallet: &Wallet) -> Vec<u8> {
    let Wallet { balance, held, posted, deposited, refunded, open_reservations, sequence, .. } =
        wallet;
    let amounts =
        [balance.0, held.0, posted.0, deposited.0, refunded.0, *open_reservations, *sequence];
    let mut bytes: Vec<u8> = amounts.iter().flat_map(|amount| amount.to_be_bytes()).collect();
    bytes.resize(88, 0);
    bytes
}

/// What a token spent; no bytes are nothing.
pub(crate) fn spend(bytes: &[u8]) -> Read<Spend> {
    if bytes.is_empty() {
        return Ok(Spend::default());
    }
    damaged("a token's spend", read_spend(&mut Reader(bytes)))
}

/// Caps as scripts read them: period, shadow, amount.
pub(crate) fn caps(caps: &[SpendCap]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(caps.len().saturating_mul(10));
    for cap in caps {
        bytes.push(match cap.per {
            Period::Day => b'1',
            Period::Month => b'2',
            Period::Lifetime => b'3',
        });
        bytes.push(if cap.shadow { b'1' } else { b'0' });
        bytes.extend_from_slice(&cap.amount.0.to_be_bytes());
    }
    bytes
}

fn counted(reader: &mut Reader<'_>) -> Option<CountedIn> {
    Some(CountedIn { day: u64::from(reader.u32()?), month: u64::from(reader.u32()?) })
}

pub(crate) fn reservation(bytes: &[u8]) -> Read<Reservation> {
    damaged("a reservation", read_reservation(bytes))
}

fn read_reservation(bytes: &[u8]) -> Option<Reservation> {
    let mut reader = Reader(bytes);
    let [state, by_expiry, on_expiry, has_claim] = reader.array()?;
    let (held, posted) = (amount(&mut reader)?, amount(&mut reader)?);
    let (lease_until_ms, retention_ms) = (reader.u64()?, reader.u64()?);
    let (account_counted, token_counted) = (counted(&mut reader)?, counted(&mut reader)?);
    let token = TokenDigest::new(reader.array()?);
    let claim = ClaimKey(reader.array()?);
    let mut refunds = Vec::new();
    for _ in 0..reader.u32()? {
        let name = std::str::from_utf8(reader.part()?).ok()?;
        refunds.push((name.into(), amount(&mut reader)?));
    }
    let by_expiry = by_expiry == b'1';
    Some(Reservation {
        amount: held,
        token,
        account_counted,
        token_counted,
        lease_until_ms,
        on_expiry: match on_expiry {
            b'v' => OnExpiry::Void,
            b's' => OnExpiry::Settle,
            b'h' => OnExpiry::Hold,
            _ => return None,
        },
        retention_ms,
        claim: (has_claim == b'1').then_some(claim),
        state: match state {
            b'h' => ReservationState::Held,
            b'p' => ReservationState::Posted { amount: posted, refunds, by_expiry },
            b'v' => ReservationState::Voided { by_expiry },
            _ => return None,
        },
    })
}

pub(crate) fn claim(bytes: &[u8]) -> Read<Option<Claim>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    damaged("an idempotency key", read_claim(bytes)).map(Some)
}

fn read_claim(bytes: &[u8]) -> Option<Claim> {
    let mut reader = Reader(bytes);
    let fingerprint = Fingerprint(reader.array()?);
    let fence = ReservationId(reader.u64()?);
    let (lease_until_ms, expires_ms) = (reader.u64()?, reader.u64()?);
    let response = match reader.u8()? {
        b'0' => None,
        _ => Some(Arc::new(read_response(reader)?)),
    };
    Some(Claim { fingerprint, fence, lease_until_ms, expires_ms, response })
}

/// A stored answer. Equal answers are equal bytes: scripts compare them so.
pub(crate) fn response_bytes(response: &StoredResponse) -> Vec<u8> {
    let mut bytes = response.status.to_be_bytes().to_vec();
    bytes.extend_from_slice(
        &u32::try_from(response.headers.len()).unwrap_or(u32::MAX).to_be_bytes(),
    );
    for (name, value) in &response.headers {
        push_part(&mut bytes, name.as_bytes());
        push_part(&mut bytes, value);
    }
    match &response.body {
        None => bytes.push(b'0'),
        Some(body) => {
            bytes.push(b'1');
            bytes.extend_from_slice(body);
        }
    }
    bytes
}

pub(crate) fn response(bytes: &[u8]) -> Read<Arc<StoredResponse>> {
    damaged("a stored answer", read_response(Reader(bytes))).map(Arc::new)
}

fn read_response(mut reader: Reader<'_>) -> Option<StoredResponse> {
    let status = reader.u16()?;
    let mut headers = Vec::new();
    for _ in 0..reader.u32()? {
        let name = std::str::from_utf8(reader.part()?).ok()?;
        headers.push((name.into(), reader.part()?.into()));
    }
    let body = match reader.u8()? {
        b'0' => None,
        _ => Some(reader.0.into()),
    };
    Some(StoredResponse { status, headers: headers.into(), body })
}

/// A limiter cell; no bytes are none.
pub(crate) fn cell(bytes: &[u8]) -> Read<Option<Cell>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    damaged("a limit", read_cell(bytes)).map(Some)
}

fn read_cell(bytes: &[u8]) -> Option<Cell> {
    let mut reader = Reader(bytes);
    let cell = match reader.u8()? {
        b'g' => Cell::Gcra(GcraCell { tat_ns: reader.u64()? }),
        b'f' => Cell::FixedWindow(FixedCell { start_ms: reader.u64()?, used: reader.u64()? }),
        b's' => {
            let (part_ms, newest) = (reader.u64()?, reader.u64()?);
            let mut counts = [0; 17];
            for count in &mut counts {
                *count = reader.u32()?;
            }
            Cell::SlidingWindow(SlidingCell { part_ms, newest, counts })
        }
        _ => return None,
    };
    reader.is_empty().then_some(cell)
}

/// A cell as scripts write it.
pub(crate) fn cell_bytes(cell: &Cell) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(85);
    match cell {
        Cell::Gcra(cell) => {
            bytes.push(b'g');
            bytes.extend_from_slice(&cell.tat_ns.to_be_bytes());
        }
        Cell::FixedWindow(cell) => {
            bytes.push(b'f');
            bytes.extend_from_slice(&cell.start_ms.to_be_bytes());
            bytes.extend_from_slice(&cell.used.to_be_bytes());
        }
        Cell::SlidingWindow(cell) => {
            bytes.push(b's');
            bytes.extend_from_slice(&cell.part_ms.to_be_bytes());
            bytes.extend_from_slice(&cell.newest.to_be_bytes());
            for count in cell.counts {
                bytes.extend_from_slice(&count.to_be_bytes());
            }
        }
        // A kind that a later version of the core may have: as no cell.
        _ => {}
    }
    bytes
}

pub(crate) fn json<T: Serialize>(record: &T) -> Read<Vec<u8>> {
    serde_json::to_vec(record).map_err(|_| StoreError::Corrupt { what: "what was to be written" })
}

pub(crate) fn settings(bytes: &[u8]) -> Read<Arc<AccountSettings>> {
    if bytes.is_empty() {
        return Ok(Arc::default());
    }
    damaged("an account's settings", serde_json::from_slice(bytes).ok()).map(Arc::new)
}

/// A token and its revision, as the account keeps them; no bytes are no token.
pub(crate) fn token(bytes: &[u8]) -> Read<Option<(u64, Arc<Token>)>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut reader = Reader(bytes);
    let mut read = || Some((reader.u64()?, Arc::new(serde_json::from_slice(reader.0).ok()?)));
    damaged("a token", read()).map(Some)
}
