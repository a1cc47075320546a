//! Records as bytes: a version, the record in postcard, and a CRC-32 over its key and both of them.
//!
//! The key is in the checksum so that a record under another's key is seen too.

use crc32fast::Hasher;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tollgate::{AccountId, AccountSettings, Cell, Claim, Reservation, Wallet};

use crate::fault::{Fault, corrupt};
use crate::response::ClaimRecord;

/// Of every record. Another one would come with another format of the store.
const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 4;

/// What the store holds in all, and the number of its next account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub accounts: u32,
    pub tokens: u64,
    pub cells: u64,
    pub claims: u64,
    pub reservations: u64,
}

/// Who an account is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) id: AccountId,
    pub(crate) settings: AccountSettings,
}

/// What changes with an account's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Purse {
    pub(crate) wallet: Wallet,
    pub(crate) claims: u64,
    pub(crate) reservations: u64,
    /// The time of its entry among the accounts with something due: at or before the first of that.
    /// [`NEVER_MS`](tollgate::transition::NEVER_MS): it has none.
    pub(crate) registered_ms: u64,
}

/// A claim, when it falls due, and the time of its entry in the list of that. As long as the entry is not
/// later than the claim, it stays: most claims and reservations are put off once, and are moved in
/// that list only when the entry comes up. [`NEVER_MS`](tollgate::transition::NEVER_MS): it has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DueClaim {
    #[serde(with = "ClaimRecord")]
    pub(crate) claim: Claim,
    pub(crate) due_ms: u64,
    pub(crate) noted_ms: u64,
}

/// A reservation, alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DueReservation {
    pub(crate) reservation: Reservation,
    pub(crate) due_ms: u64,
    pub(crate) noted_ms: u64,
}

/// A limiter cell, and from when on it says no more than an absent one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExpiringCell {
    pub(crate) cell: Cell,
    pub(crate) expires_ms: u64,
}

/// A token, and the number of its account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NumberedToken {
    pub(crate) number: u32,
    pub(crate) token: tollgate::Token,
}

/// Writes a record as bytes into `bytes`, whose content goes.
pub(crate) fn seal<T: Serialize>(key: &[u8], record: &T, bytes: &mut Vec<u8>) -> Result<(), Fault> {
    bytes.clear();
    bytes.push(VERSION);
    let written = postcard::to_extend(record, core::mem::take(bytes));
    *bytes = written.map_err(|_| corrupt("what was to be written"))?;
    let checksum = checksum(key, bytes);
    bytes.extend_from_slice(&checksum);
    Ok(())
}

/// The record that `seal` wrote under the same key.
pub fn open<T: DeserializeOwned>(key: &[u8], bytes: &[u8], what: &'static str) -> Result<T, Fault> {
    let Some((content, found)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Err(corrupt(what));
    };
    let (Some((&VERSION, payload)), true) =
        (content.split_first(), checksum(key, content) == *found)
    else {
        return Err(corrupt(what));
    };
    match postcard::take_from_bytes(payload) {
        Ok((record, [])) => Ok(record),
        _ => Err(corrupt(what)),
    }
}

fn checksum(key: &[u8], content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = Hasher::new();
    hasher.update(key);
    hasher.update(content);
    hasher.finalize().to_le_bytes()
}
