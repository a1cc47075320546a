//! Limits in one memory store, everything else in another.
#![cfg(test)]

use std::sync::Arc;

use tollgate::{CompositeStore, MemoryOptions, MemoryStore, Store, StoreError};
use tollgate_conformance::Bound;
use tollgate_scenario::Backend;

#[derive(Clone, Copy)]
struct Composite;

impl Backend for Composite {
    fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(CompositeStore::new(MemoryStore::default(), MemoryStore::default())))
    }

    fn reopen(&self, _: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
        self.fresh()
    }

    fn keeps_state(&self) -> bool {
        false
    }
}

fn bounded(bound: Bound) -> Option<Result<Arc<dyn Store>, StoreError>> {
    let (mut limits, mut accounts) = (MemoryOptions::default(), MemoryOptions::default());
    match bound {
        Bound::Accounts => accounts.max_accounts = 20,
        Bound::Tokens => accounts.max_tokens = 2_048,
        Bound::Cells => limits.max_cells = 128,
        Bound::Claims => accounts.max_claims = 20,
        Bound::Reservations => accounts.max_reservations = 20,
        Bound::PerAccount => accounts.max_per_account = 20,
    }
    Some(Ok(Arc::new(CompositeStore::new(MemoryStore::new(limits), MemoryStore::new(accounts)))))
}

tollgate_conformance::store_suite!(
    backend = Composite,
    shared = |store| Ok(Arc::clone(store)),
    bounded = bounded,
    limits_apart,
);
