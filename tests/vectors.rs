//! Every file in `tests/vectors` through the library, on the stores of the core.
#![cfg(test)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tollgate::{CompositeStore, MemoryStore, Store, StoreError};
use tollgate_scenario::{Backend, MemoryBackend, Runner, VectorFile};

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

fn files() -> Vec<(PathBuf, VectorFile)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "tests/vectors has no files");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let file =
            VectorFile::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, file)
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn every_scenario_replies_as_expected_in_memory() {
    replies_as_expected(MemoryBackend);
}

#[test]
fn every_scenario_replies_as_expected_on_a_composite() {
    replies_as_expected(CompositeBackend);
}

fn replies_as_expected<B: Backend + Copy>(backend: B) {
    let (mut scenarios, mut steps, mut failed) = (0, 0, Vec::new());
    let files = files();
    for (path, file) in &files {
        for scenario in &file.run(|| Runner::new(backend)).scenarios {
            scenarios += 1;
            steps += scenario.steps;
            if !scenario.passed() {
                failed.push(format!("{}: {scenario}", path.display()));
            }
        }
    }
    println!("{scenarios} scenarios with {steps} steps in {} files", files.len());
    assert!(failed.is_empty(), "{} scenarios failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn names_are_unique_and_files_say_what_they_cover() {
    let mut names = BTreeMap::new();
    for (path, file) in files() {
        assert!(!file.about.is_empty() && !file.covers.is_empty(), "{}", path.display());
        for scenario in file.scenarios {
            let other = names.insert(scenario.name.clone(), path.clone());
            assert_eq!(other, None, "{} is also in {}", scenario.name, path.display());
        }
    }
}
