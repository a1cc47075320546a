//! Which format the store has, and how an older one becomes the present one.

use heed::{AnyTls, RoTxn, RwTxn};
use serde::{Deserialize, Serialize};
use tollgate::transition::NEVER_MS;
use tollgate::{StoreError, Wallet};

use crate::error::{Fault, corrupt};
use crate::key;
use crate::record::{Purse, Totals};
use crate::view::{Shared, View, Writing};

/// The format that this version writes.
pub(crate) const FORMAT: u32 = 2;
const MAGIC: [u8; 8] = *b"tollgate";

/// From format `n` (its place, counted from 1) to `n + 1`. Runs in one transaction with all that follow,
/// so a store is upgraded or as it was.
const UPGRADES: &[Upgrade] = &[count_in_accounts];

type Upgrade = fn(&mut View<'_, '_>) -> Result<(), Fault>;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing is in it.
    Empty,
    /// Something that is not ours.
    Foreign,
    /// A store.
    Format(u32),
}

/// Says what the file is. The record of the format never changes its own layout: eight letters, and
/// the number, little-endian.
pub(crate) fn found(txn: &RoTxn<'_, AnyTls>, shared: &Shared) -> Result<Found, Fault> {
    let Some(bytes) = shared.database.get(txn, key::FORMAT)? else {
        let empty = shared.database.is_empty(txn)?;
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
pub(crate) fn is_present(txn: &RoTxn<'_, AnyTls>, shared: &Shared) -> Result<(), Fault> {
    let found = shared.database.get(txn, key::FORMAT)?.and_then(|bytes| bytes.split_first_chunk());
    match found {
        Some((&MAGIC, number)) if *number == FORMAT.to_le_bytes() => Ok(()),
        Some((&MAGIC, number)) => {
            let number = number.try_into().map_err(|_| corrupt("the format"))?;
            let found = u32::from_le_bytes(number);
            Err(Fault::Broken(StoreError::NewerFormat { found, known: FORMAT }))
        }
        _ => Err(corrupt("the format")),
    }
}

/// Makes an empty file a store, and a store of an older format one of the present format.
pub(crate) fn bring_up_to_date(mut txn: RwTxn<'_>, shared: &Shared) -> Result<(), Fault> {
    let from = match found(&txn, shared)? {
        Found::Format(FORMAT) => return Ok(()), // another process was first
        Found::Empty => {
            write_format(&mut txn, shared)?;
            let mut bytes = Vec::new();
            crate::record::seal(key::TOTALS, &Totals::default(), &mut bytes)?;
            shared.database.put(&mut txn, key::TOTALS, &bytes)?;
            return Ok(txn.commit()?);
        }
        Found::Format(from) if from < FORMAT && from > 0 => from,
        Found::Format(found) => {
            return Err(Fault::Broken(StoreError::NewerFormat { found, known: FORMAT }));
        }
        Found::Foreign => return Err(corrupt("the format")),
    };
    let mut writing = Writing::new(txn, shared)?;
    for (upgrade, format) in UPGRADES.iter().zip(1_u32..) {
        if format >= from {
            upgrade(&mut View::write(&mut writing, shared, 0))?;
        }
    }
    write_format(&mut writing.txn, shared)?;
    writing.commit(shared)
}

fn write_format(txn: &mut RwTxn<'_>, shared: &Shared) -> Result<(), Fault> {
    let bytes = [MAGIC.as_slice(), &FORMAT.to_le_bytes()].concat();
    Ok(shared.database.put(txn, key::FORMAT, &bytes)?)
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
    for entry in view.shared.database.prefix_iter(view.txn(), prefix)? {
        entry?;
        count = count.saturating_add(1);
    }
    Ok(count)
}
