//! Every file in `tests/vectors` of the workspace, on LMDB.
#![cfg(test)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use tollgate::{Command, Outcome, Store, StoreError};
use tollgate_lmdb::{LmdbBackend, LmdbOptions, LmdbStore, SyncPolicy};
use tollgate_scenario::{Backend, Runner, VectorFile};

#[test]
fn every_scenario_replies_as_expected() {
    replies_as_expected(LmdbBackend::default);
}

/// And leaves a store in which all records agree.
#[test]
fn every_scenario_leaves_its_store_in_order() {
    replies_as_expected(|| VerifyingBackend);
}

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

fn replies_as_expected<B: Backend>(backend: impl Fn() -> B) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let (mut scenarios, mut failed) = (0_usize, Vec::new());
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let file = VectorFile::parse(&fs::read_to_string(&path).unwrap()).unwrap();
        scenarios = scenarios.saturating_add(file.scenarios.len());
        for scenario in &file.run(|| Runner::new(backend())).scenarios {
            if !scenario.passed() {
                failed.push(format!("{}: {scenario}", path.display()));
            }
        }
    }
    println!("{scenarios} scenarios");
    assert!(scenarios > 600, "{scenarios} scenarios");
    assert!(failed.is_empty(), "{} scenarios failed:\n{}", failed.len(), failed.join("\n"));
}
