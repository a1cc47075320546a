//! The comparison of two surfaces: what is the same passes, and what differs does not.
#![cfg(test)]

use std::path::Path;
use std::sync::Arc;

use tollgate::{MemoryOptions, MemoryStore, Store, StoreError};
use tollgate_conformance::vectors_beside;
use tollgate_scenario::{Backend, MemoryBackend};

/// Stores in memory with room for one account.
struct Small;

impl Backend for Small {
    fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
        let mut options = MemoryOptions::default();
        options.max_accounts = 1;
        Ok(Arc::new(MemoryStore::new(options)))
    }

    fn reopen(&self, _: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
        self.fresh()
    }

    fn keeps_state(&self) -> bool {
        false
    }
}

#[test]
fn the_library_is_as_the_library_and_another_store_is_not() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let compared =
        vectors_beside(&directory, MemoryBackend::default, MemoryBackend::default).unwrap();
    assert!(compared > 3_500, "{compared}");
    let difference = vectors_beside(&directory, MemoryBackend::default, || Small).unwrap_err();
    assert!(difference.contains("the reply of") && difference.contains("full"), "{difference}");
}
