//! Which format a store has, and how an older one becomes the present one.

use serde::{Deserialize, Serialize};
use tollgate::transition::NEVER_MS;
use tollgate::{StoreError, Wallet};

use crate::fault::{Fault, corrupt};
use crate::key;
use crate::map::{KvRead, KvWrite};
use crate::options::KvOptions;
use crate::record::{Purse, Totals};
use crate::view::{View, Writing};

/// The format that this version writes.
pub const FORMAT: u32 = 2;
const MAGIC: [u8; 8] = *b"tollgate";

/// From format `n` (its place, counted from 1) to `n + 1`. Runs in one transaction with all that follow,
/// so a store is upgraded or as it was.
const UPGRADES: &[Upgrade] = &[count_in_accounts];

type Upgrade = fn(&mut View<'_, '_>) -> Result<(), Fault>;

/// What a map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing is in it.
    Empty,
    /// Something that is not ours.
    Foreign,
    /// A store.
    Format(u32),
}

/// Says what the map is. The record of the format never changes its own layout: eight letters, and
/// the number, little-endian.
///
/// # Errors
/// [`Fault`].
pub fn found(txn: &dyn KvRead) -> Result<Found, Fault> {
    let Some(bytes) = txn.get(key::FORMAT)? else {
        // No key of a store comes before it.
        let empty = txn.first_at_or_after(key::FORMAT)?.is_none();
        return Ok(if empty { Found::Empty } else { Found::Foreign });
    };
    let Some((MAGIC, number)) = bytes.split_first_chunk().map(|(magic, rest)| (*magic, rest))
    else {
        return Ok(Found::Foreign);
    };
    let number = number.try_into().map_err(|_| corrupt("the format"))?;
    Ok(Found::Format(u32::from_le_bytes(number)))
}

/// Fails unless the store still has the present format: a later version, in another process, may have
/// upgraded it since it was opened.
///
/// # Errors
/// [`Fault`].
pub fn is_present(txn: &dyn KvRead) -> Result<(), Fault> {
    let bytes = txn.get(key::FORMAT)?;
    match bytes.as_deref().and_then(<[u8]>::split_first_chunk) {
        Some((&MAGIC, number)) if *number == FORMAT.to_le_bytes() => Ok(()),
        Some((&MAGIC, number)) => {
            let number = number.try_into().map_err(|_| corrupt("the format"))?;
            let found = u32::from_le_bytes(number);
            Err(Fault::Broken(StoreError::NewerFormat { found, known: FORMAT }))
        }
        _ => Err(corrupt("the format")),
    }
}

/// Makes an empty map a store, and a store of an older format one of the present format. The
/// transaction is to be committed after it.
///
/// # Errors
/// [`Fault`].
pub fn bring_up_to_date(txn: &mut dyn KvWrite) -> Result<(), Fault> {
    let from = match found(&*txn)? {
        Found::Format(FORMAT) => return Ok(()), // another process was first
        Found::Empty => {
            write_format(txn)?;
            let mut bytes = Vec::new();
            crate::record::seal(key::TOTALS, &Totals::default(), &mut bytes)?;
            return Ok(txn.put(key::TOTALS, &bytes)?);
        }
        Found::Format(from) if from < FORMAT && from > 0 => from,
        Found::Format(found) => {
            return Err(Fault::Broken(StoreError::NewerFormat { found, known: FORMAT }));
        }
        Found::Foreign => return Err(corrupt("the format")),
    };
    let options = KvOptions::default(); // an upgrade adds nothing that has a bound
    let mut writing = Writing::new(txn)?;
    for (upgrade, format) in UPGRADES.iter().zip(1_u32..) {
        if format >= from {
            upgrade(&mut View::write(&mut writing, &options, 0))?;
        }
    }
    write_format(writing.txn)?;
    writing.finish()
}

fn write_format(txn: &mut dyn KvWrite) -> Result<(), Fault> {
    let bytes = [MAGIC.as_slice(), &FORMAT.to_le_bytes()].concat();
    Ok(txn.put(key::FORMAT, &bytes)?)
}

/// Format 1 kept an account's wallet alone. Format 2 counts the account's claims and reservations beside
/// it, and lists the accounts by when something in them falls due.
fn count_in_accounts(view: &mut View<'_, '_>) -> Result<(), Fault> {
    #[derive(Serialize, Deserialize)]
    struct WalletAlone {
        wallet: Wallet,
    }
    for number in 0..view.writing()?.totals.accounts {
        let before: Option<WalletAlone> = view.get(&key::purse(number), "an account's money")?;
        let WalletAlone { wallet } = before.ok_or_else(|| corrupt("an account's money"))?;
        let mut purse = Purse { wallet, claims: 0, reservations: 0, registered_ms: NEVER_MS };
        purse.claims = count(view, &key::claims(number))?;
        purse.reservations = count(view, &key::reservations(number))?;
        if let Some((noted_ms, _)) = view.first_note(number, &key::dues(number))? {
            view.register(number, &mut purse, noted_ms)?;
        }
        view.put_purse(number, &purse)?;
    }
    Ok(())
}

fn count(view: &View<'_, '_>, prefix: &[u8]) -> Result<u64, Fault> {
    let mut count = 0_u64;
    view.each_from(prefix, |key, _| {
        let there = key.starts_with(prefix);
        count = count.saturating_add(u64::from(there));
        Ok(there)
    })?;
    Ok(count)
}
