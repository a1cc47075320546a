//! Every file in `tests/vectors` of the workspace, on LMDB.
#![cfg(test)]

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use tollgate::{Command, Outcome, Store, StoreError};
use tollgate_lmdb::{LmdbBackend, LmdbOptions, LmdbStore, SyncPolicy};
use tollgate_scenario::Backend;

#[test]
fn every_scenario_replies_as_expected() {
    replies_as_expected(Borrowed(&LmdbBackend::default()));
}

/// One backend for all scenarios; each has a fresh directory.
#[derive(Clone, Copy)]
struct Borrowed<'b>(&'b LmdbBackend);

impl Backend for Borrowed<'_> {
    fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
        self.0.fresh()
    }

    fn reopen(&self, store: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
        self.0.reopen(store)
    }

    fn keeps_state(&self) -> bool {
        self.0.keeps_state()
    }
}

/// And leaves a store in which all records agree.
#[test]
fn every_scenario_leaves_its_store_in_order() {
    replies_as_expected(VerifyingBackend);
}

#[derive(Clone, Copy)]
struct VerifyingBackend;

struct Verifying {
    store: Option<LmdbStore>,
    directory: Arc<TempDir>,
}

impl Store for Verifying {
    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        self.store.as_ref().unwrap().perform(command, now_ms)
    }
}

impl Drop for Verifying {
    fn drop(&mut self) {
        let found = self.store.take().unwrap().verify();
        assert!(found.is_ok(), "{found:?} in {}", self.directory.path().display());
    }
}

impl Backend for VerifyingBackend {
    fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
        let directory = Arc::new(TempDir::new().unwrap());
        let mut options = LmdbOptions::default();
        options.sync = SyncPolicy::Never;
        let store = Some(LmdbStore::open(directory.path(), &options).unwrap());
        Ok(Arc::new(Verifying { store, directory }))
    }

    fn reopen(&self, store: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
        Ok(store) // the other test opens it again
    }

    fn keeps_state(&self) -> bool {
        true
    }
}

fn replies_as_expected(backend: impl Backend + Copy) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let report = tollgate_conformance::vectors(&directory, backend).unwrap();
    println!("{report}");
    assert!(report.scenarios.len() >= 600, "only {} scenarios", report.scenarios.len());
    assert!(report.passed(), "{report}");
}
