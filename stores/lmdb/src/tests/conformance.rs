//! The suite that every store passes.

use std::cell::RefCell;
use std::sync::Arc;

use tempfile::TempDir;
use tollgate::{Store, StoreError};
use tollgate_conformance::{Bound, Damage};
use tollgate_scenario::Backend;

use super::{put_raw, raw};
use crate::{LmdbOptions, LmdbStore, SyncPolicy, key};

thread_local! {
    /// The store of the test on this thread: what damages records needs more than a `dyn Store`.
    static CURRENT: RefCell<Option<(TempDir, Arc<LmdbStore>)>> = const { RefCell::new(None) };
}

struct Kept;

fn options() -> LmdbOptions {
    LmdbOptions { sync: SyncPolicy::Never, ..LmdbOptions::default() }
}

fn make(options: &LmdbOptions) -> Arc<dyn Store> {
    let directory = TempDir::new().unwrap();
    let store = Arc::new(LmdbStore::open(directory.path(), options).unwrap());
    CURRENT.set(Some((directory, Arc::clone(&store))));
    store
}

impl Backend for Kept {
    fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(make(&options()))
    }

    fn reopen(&self, store: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
        let (directory, kept) = CURRENT.take().unwrap();
        drop((store, kept));
        let store = Arc::new(LmdbStore::open(directory.path(), &options()).unwrap());
        CURRENT.set(Some((directory, Arc::clone(&store))));
        Ok(store)
    }

    fn keeps_state(&self) -> bool {
        true
    }
}

fn bounded(bound: Bound) -> Option<Result<Arc<dyn Store>, StoreError>> {
    let mut options = options();
    let bound = match bound {
        Bound::Accounts => &mut options.max_accounts,
        Bound::Tokens => &mut options.max_tokens,
        Bound::Cells => &mut options.max_cells,
        Bound::Claims => &mut options.max_claims,
        Bound::Reservations => &mut options.max_reservations,
        Bound::PerAccount => &mut options.max_per_account,
    };
    *bound = 20;
    Some(Ok(make(&options)))
}

/// Flips a bit of the record.
fn damage(_: &Arc<dyn Store>, damage: &Damage) -> bool {
    CURRENT.with_borrow(|current| {
        let (_, store) = current.as_ref().unwrap();
        // What this process has read before it goes on using: another one meets the damage.
        store.known.forget_all();
        let records = raw(store);
        let number = |account: &tollgate::AccountId| {
            let name = key::name(account.as_str());
            let (_, bytes) = records.iter().find(|(key, _)| **key == name[..]).unwrap();
            crate::record::open::<u32>(&name, bytes, "an account's name").unwrap()
        };
        let wanted = match damage {
            Damage::Token(digest) => key::token(digest),
            Damage::Account(account) => key::head(number(account)),
            Damage::Wallet(account) => key::purse(number(account)),
            Damage::Claim(account, claim) => key::claim(number(account), claim),
            Damage::Reservation(account, id) => key::reservation(number(account), *id),
            Damage::Cell(cell) => key::cell(cell),
        };
        let Some((_, bytes)) = records.iter().find(|(key, _)| **key == wanted[..]) else {
            return false;
        };
        let mut bytes = bytes.clone();
        *bytes.last_mut().unwrap() ^= 4;
        put_raw(store, &wanted, &bytes);
        true
    })
}

tollgate_conformance::store_suite!(
    backend = Kept,
    durable,
    // Other processes are in `tests/processes`; within one, threads share the store.
    shared = |store| Ok(Arc::clone(store)),
    bounded = bounded,
    corruptible = damage,
);
