//! The memory store.
#![cfg(test)]

use std::sync::Arc;

use tollgate::{MemoryOptions, MemoryStore, Store, StoreError};
use tollgate_conformance::Bound;
use tollgate_scenario::MemoryBackend;

/// Bounds that are reached after one to a few entries in each part.
fn bounded(bound: Bound) -> Option<Result<Arc<dyn Store>, StoreError>> {
    let mut options = MemoryOptions::default();
    match bound {
        Bound::Accounts => options.max_accounts = 20,
        Bound::Tokens => options.max_tokens = 2_048,
        Bound::Cells => options.max_cells = 128,
        Bound::Claims => options.max_claims = 20,
        Bound::Reservations => options.max_reservations = 20,
        Bound::PerAccount => options.max_per_account = 20,
    }
    Some(Ok(Arc::new(MemoryStore::new(options))))
}

tollgate_conformance::store_suite!(
    backend = MemoryBackend,
    // Threads share it as processes share others.
    shared = |store| Ok(Arc::clone(store)),
    bounded = bounded,
);

mod limits {
    use super::*;

    fn full_at_128() -> MemoryStore {
        let mut options = MemoryOptions::default();
        options.max_cells = 128;
        MemoryStore::new(options)
    }

    tollgate_conformance::limit_store_suite!(
        store = MemoryStore::default(),
        bounded = full_at_128()
    );
}
