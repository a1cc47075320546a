//! The suite that every store passes, with a cache and without one.
#![cfg(test)]

mod common;

use std::cell::RefCell;
use std::sync::Arc;

use common::{Caller, World};
use tollgate::{AccountId, Store, StoreError};
use tollgate_conformance::{Bound, Damage};
use tollgate_kv::{KvMap, KvOptions, KvWrite, MemoryMap, key};
use tollgate_objects::name;
use tollgate_scenario::Backend;

thread_local! {
    /// The world of the test on this thread: what damages records needs more than a `dyn Store`.
    static CURRENT: RefCell<Option<Arc<World>>> = const { RefCell::new(None) };
}

fn current() -> Arc<World> {
    CURRENT.with_borrow(|current| Arc::clone(current.as_ref().unwrap()))
}

fn enter(options: KvOptions, make: fn(&Arc<World>) -> Caller) -> Arc<dyn Store> {
    let world = World::bounded(options);
    CURRENT.set(Some(Arc::clone(&world)));
    Arc::new(make(&world))
}

struct Callers(fn(&Arc<World>) -> Caller);

impl Backend for Callers {
    fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(enter(KvOptions::default(), self.0))
    }

    fn reopen(&self, store: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
        drop(store);
        current().restart();
        Ok(Arc::new((self.0)(&current())))
    }

    fn keeps_state(&self) -> bool {
        true
    }
}

fn with_bound(bound: Bound) -> Option<Result<Arc<dyn Store>, StoreError>> {
    let mut options = KvOptions::default();
    let place = match bound {
        Bound::Accounts => &mut options.max_accounts,
        Bound::Tokens => &mut options.max_tokens,
        // Every address has an object of its own, with its own bound: see `tests/objects.rs`.
        Bound::Cells => return None,
        Bound::Claims => &mut options.max_claims,
        Bound::Reservations => &mut options.max_reservations,
        Bound::PerAccount => &mut options.max_per_account,
    };
    *place = 20;
    Some(Ok(enter(options, Caller::new)))
}

/// Flips a bit of the record, wherever it is.
fn damage(_: &Arc<dyn Store>, damage: &Damage) -> bool {
    let world = current();
    let of_account = |account: &AccountId, key: key::Key| {
        let object = world.object(&name::account(account));
        let map = Arc::clone(object.lock().unwrap().map());
        flip(&map, &key)
    };
    match damage {
        // In the account's object alone: the directory's record says only whose it is.
        Damage::Token(digest) => damage_anywhere(&world, "account/", &key::token(digest)),
        Damage::Cell(cell) => damage_anywhere(&world, "", &key::cell(cell)),
        // The account of an object has its first number.
        Damage::Account(account) => of_account(account, key::head(0)),
        Damage::Wallet(account) => of_account(account, key::purse(0)),
        Damage::Claim(account, claim) => of_account(account, key::claim(0, claim)),
        Damage::Reservation(account, id) => of_account(account, key::reservation(0, *id)),
    }
}

fn damage_anywhere(world: &World, prefix: &str, key: &key::Key) -> bool {
    let mut damaged = false;
    for (name, object) in world.objects() {
        if name.starts_with(prefix) {
            let map = Arc::clone(object.lock().unwrap().map());
            damaged |= flip(&map, key);
        }
    }
    damaged
}

fn flip(map: &MemoryMap, wanted: &key::Key) -> bool {
    let Some((_, mut bytes)) = map.entries().into_iter().find(|(key, _)| **key == wanted[..])
    else {
        return false;
    };
    *bytes.last_mut().unwrap() ^= 4;
    let mut txn = map.write().unwrap();
    txn.put(wanted, &bytes).unwrap();
    txn.commit().unwrap();
    true
}

tollgate_conformance::store_suite!(
    backend = Callers(Caller::new),
    durable,
    shared = |_| Ok(Arc::new(Caller::new(&current()))),
    bounded = with_bound,
);

mod without_cache {
    use super::*;

    tollgate_conformance::store_suite!(
        backend = Callers(Caller::without_cache),
        durable,
        shared = |_| Ok(Arc::new(Caller::without_cache(&current()))),
        // What was read before a record was damaged may be at hand still: so this is for all without.
        corruptible = damage,
    );
}
