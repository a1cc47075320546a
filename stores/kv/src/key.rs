//! Under which key a record is kept: one letter for its kind, then what names it. Numbers are
//! big-endian, so that the order of keys is theirs. All that belongs to an account stands together.

use arrayvec::ArrayVec;
use tollgate::transition::Due;
use tollgate::{CellKey, ClaimKey, LimitId, ReservationId, TokenDigest};

/// Room for the longest: the name of an account has at most 128 bytes.
pub type Key = ArrayVec<u8, 136>;

pub const FORMAT: &[u8] = &[0];
pub const TOTALS: &[u8] = &[1];
pub const TOKEN: u8 = 2;
pub const NAME: u8 = 3;
const ACCOUNT: u8 = 4;
pub const ACCOUNT_DUE: u8 = 5;
pub const CELL: u8 = 6;
pub const CELL_DUE: u8 = 7;

// Parts of an account.
const HEAD: u8 = 0;
const REVISION: u8 = 1;
const PURSE: u8 = 2;
const SPEND: u8 = 3;
const CLAIM: u8 = 4;
const RESERVATION: u8 = 5;
const DUE: u8 = 6;
const TOKENS: u8 = 7;

fn key(parts: &[&[u8]]) -> Key {
    let mut key = Key::new();
    for part in parts {
        // Nothing is longer than the room: see `Key`.
        let _ = key.try_extend_from_slice(part);
    }
    key
}

fn of_account(number: u32, part: u8, rest: &[u8]) -> Key {
    key(&[&[ACCOUNT], &number.to_be_bytes(), &[part], rest])
}

pub fn token(digest: &TokenDigest) -> Key {
    key(&[&[TOKEN], digest.as_bytes()])
}

pub fn name(id: &str) -> Key {
    key(&[&[NAME], id.as_bytes()])
}

pub fn head(number: u32) -> Key {
    of_account(number, HEAD, &[])
}

pub fn revision(number: u32) -> Key {
    of_account(number, REVISION, &[])
}

pub fn purse(number: u32) -> Key {
    of_account(number, PURSE, &[])
}

pub fn spends(number: u32) -> Key {
    of_account(number, SPEND, &[])
}

pub fn spend(number: u32, digest: &TokenDigest) -> Key {
    of_account(number, SPEND, digest.as_bytes())
}

pub fn claims(number: u32) -> Key {
    of_account(number, CLAIM, &[])
}

pub fn claim(number: u32, claim: &ClaimKey) -> Key {
    of_account(number, CLAIM, &claim.0)
}

pub fn reservations(number: u32) -> Key {
    of_account(number, RESERVATION, &[])
}

pub fn reservation(number: u32, id: ReservationId) -> Key {
    of_account(number, RESERVATION, &id.0.to_be_bytes())
}

pub fn reservation_id(key: &[u8]) -> Option<ReservationId> {
    key.last_chunk().map(|bytes| ReservationId(u64::from_be_bytes(*bytes)))
}

pub fn tokens(number: u32) -> Key {
    of_account(number, TOKENS, &[])
}

pub fn token_of(number: u32, digest: &TokenDigest) -> Key {
    of_account(number, TOKENS, digest.as_bytes())
}

pub fn digest(key: &[u8]) -> Option<TokenDigest> {
    key.last_chunk().map(|bytes| TokenDigest::new(*bytes))
}

pub fn dues(number: u32) -> Key {
    of_account(number, DUE, &[])
}

/// In the order of time, then of [`Due`].
pub fn due(number: u32, due_ms: u64, due: Due) -> Key {
    let start = dues(number);
    let due_ms = due_ms.to_be_bytes();
    match due {
        Due::Claim(claim) => key(&[&start, &due_ms, &[0], &claim.0]),
        Due::Reservation(id) => key(&[&start, &due_ms, &[1], &id.0.to_be_bytes()]),
    }
}

/// What [`due`] wrote.
pub fn read_due(key: &[u8]) -> Option<(u64, Due)> {
    let (_, rest) = key.split_at_checked(6)?;
    let (due_ms, rest) = rest.split_first_chunk()?;
    let due = match rest.split_first()? {
        (0, claim) => Due::Claim(ClaimKey(claim.try_into().ok()?)),
        (1, id) => Due::Reservation(ReservationId(u64::from_be_bytes(id.try_into().ok()?))),
        _ => return None,
    };
    Some((u64::from_be_bytes(*due_ms), due))
}

pub fn account_due(due_ms: u64, number: u32) -> Key {
    key(&[&[ACCOUNT_DUE], &due_ms.to_be_bytes(), &number.to_be_bytes()])
}

/// What [`account_due`] wrote.
pub fn read_account_due(key: &[u8]) -> Option<(u64, u32)> {
    let (due_ms, number) = key.split_first()?.1.split_first_chunk()?;
    Some((u64::from_be_bytes(*due_ms), u32::from_be_bytes(number.try_into().ok()?)))
}

pub fn cell(cell: &CellKey) -> Key {
    key(&[&[CELL], &cell.limit.0.to_be_bytes(), &cell.partition])
}

pub fn cell_due(due_ms: u64, cell: &CellKey) -> Key {
    key(&[&[CELL_DUE], &due_ms.to_be_bytes(), &cell.limit.0.to_be_bytes(), &cell.partition])
}

/// What [`cell_due`] wrote.
pub fn read_cell_due(key: &[u8]) -> Option<(u64, CellKey)> {
    let (due_ms, rest) = key.split_first()?.1.split_first_chunk()?;
    let (limit, partition) = rest.split_first_chunk()?;
    let limit = LimitId(u64::from_be_bytes(*limit));
    let partition = partition.try_into().ok()?;
    Some((u64::from_be_bytes(*due_ms), CellKey { limit, partition }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let cell = CellKey { limit: LimitId(7), partition: [9; 32] };
        assert_eq!(read_cell_due(&cell_due(5, &cell)), Some((5, cell)));
        assert_eq!(read_account_due(&account_due(5, 6)), Some((5, 6)));
        for what in [Due::Claim(ClaimKey([3; 32])), Due::Reservation(ReservationId(8))] {
            assert_eq!(read_due(&due(1, 5, what)), Some((5, what)));
            assert_eq!(read_due(&due(1, 5, what)[..20]), None);
        }
        assert_eq!(reservation_id(&reservation(1, ReservationId(8))), Some(ReservationId(8)));
        let token = TokenDigest::new([4; 32]);
        assert_eq!(digest(&token_of(1, &token)), Some(token));
        assert_eq!(name(&"n".repeat(128)).len(), 129);
    }

    #[test]
    fn what_falls_due_is_in_order() {
        let claim = Due::Claim(ClaimKey([255; 32]));
        let reservation = Due::Reservation(ReservationId(0));
        assert!(due(1, 5, claim) < due(1, 5, reservation));
        assert!(due(1, 5, reservation) < due(1, 6, claim));
        assert!(due(1, 256, claim) < due(2, 1, claim));
    }
}
