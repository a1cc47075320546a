//! The suite that every store passes, over a map whose writers wait, and over one whose writers conflict.
#![cfg(test)]

mod common;

use std::cell::RefCell;
use std::sync::Arc;

use common::{bounded, put_raw};
use tollgate::{Store, StoreError};
use tollgate_conformance::{Bound, Damage};
use tollgate_kv::{KvOptions, KvStore, MemoryMap, key, record};
use tollgate_scenario::Backend;

thread_local! {
    /// The map of the test on this thread: what damages records needs more than a `dyn Store`.
    static CURRENT: RefCell<Option<Arc<MemoryMap>>> = const { RefCell::new(None) };
}

fn open(map: Arc<MemoryMap>, options: &KvOptions) -> Arc<dyn Store> {
    CURRENT.set(Some(Arc::clone(&map)));
    Arc::new(KvStore::open(map, options).unwrap())
}

/// Makes stores over maps that this makes.
struct Over(fn() -> MemoryMap);

impl Backend for Over {
    fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(open(Arc::new((self.0)()), &KvOptions::default()))
    }

    fn reopen(&self, store: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
        drop(store);
        Ok(open(CURRENT.take().unwrap(), &KvOptions::default()))
    }

    fn keeps_state(&self) -> bool {
        true
    }
}

/// Another process would have a store of its own over the same map.
fn shared(_: &Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
    let map = CURRENT.with_borrow(|current| Arc::clone(current.as_ref().unwrap()));
    Ok(open(map, &bounded(|options| options.max_attempts = 1_000)))
}

fn with_bound(bound: Bound) -> Option<Result<Arc<dyn Store>, StoreError>> {
    let options = bounded(|options| {
        let bound = match bound {
            Bound::Accounts => &mut options.max_accounts,
            Bound::Tokens => &mut options.max_tokens,
            Bound::Cells => &mut options.max_cells,
            Bound::Claims => &mut options.max_claims,
            Bound::Reservations => &mut options.max_reservations,
            Bound::PerAccount => &mut options.max_per_account,
        };
        *bound = 20;
    });
    Some(Ok(open(Arc::default(), &options)))
}

/// Flips a bit of the record.
fn damage(_: &Arc<dyn Store>, damage: &Damage) -> bool {
    let map = CURRENT.with_borrow(|current| Arc::clone(current.as_ref().unwrap()));
    let records = map.entries();
    let number = |account: &tollgate::AccountId| {
        let name = key::name(account.as_str());
        let (_, bytes) = records.iter().find(|(key, _)| **key == name[..]).unwrap();
        record::open::<u32>(&name, bytes, "an account's name").unwrap()
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
    put_raw(&map, &wanted, &bytes);
    true
}

tollgate_conformance::store_suite!(
    backend = Over(MemoryMap::default),
    durable,
    shared = shared,
    bounded = with_bound,
    corruptible = damage,
);

mod optimistic {
    use super::*;

    tollgate_conformance::store_suite!(
        backend = Over(MemoryMap::optimistic),
        durable,
        shared = |store| Ok(Arc::clone(store)),
    );
}
