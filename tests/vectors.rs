//! Every file in `tests/vectors` through the library, on the stores of the core.
#![cfg(test)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tollgate::{CompositeStore, MemoryStore, Store, StoreError};
use tollgate_conformance::{ModelBackend, vector_files, vectors};
use tollgate_scenario::{Backend, MemoryBackend};

/// Limits in one memory store, accounts in another.
#[derive(Clone, Copy)]
struct CompositeBackend;

impl Backend for CompositeBackend {
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

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

#[test]
fn every_scenario_replies_as_expected_in_memory() {
    replies_as_expected(MemoryBackend);
}

#[test]
fn every_scenario_replies_as_expected_on_a_composite() {
    replies_as_expected(CompositeBackend);
}

/// The memory store takes shorter ways than `transition`; here every command goes the one that is defined.
#[test]
fn every_scenario_replies_as_expected_on_plain_records() {
    replies_as_expected(ModelBackend);
}

fn replies_as_expected<B: Backend + Copy>(backend: B) {
    let report = vectors(&directory(), backend).unwrap();
    println!("{report}");
    assert!(report.passed(), "{report}");
}

#[test]
fn names_are_unique_and_files_say_what_they_cover() {
    let mut names = BTreeMap::new();
    for (path, file) in vector_files(&directory()).unwrap() {
        assert!(!file.about.is_empty() && !file.covers.is_empty(), "{}", path.display());
        for scenario in file.scenarios {
            let other = names.insert(scenario.name.clone(), path.clone());
            assert_eq!(other, None, "{} is also in {}", scenario.name, path.display());
        }
    }
}
