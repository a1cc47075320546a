//! Every file in `tests/vectors` with its limits in a region.
#![cfg(test)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use tollgate::{CompositeStore, MemoryStore, Store, StoreError};
use tollgate_region::{Region, RegionOptions};
use tollgate_scenario::Backend;

/// Limits in a region over a file, accounts in memory. Scenarios expect a restart to forget both.
struct RegionBackend {
    directory: TempDir,
}

impl Backend for &RegionBackend {
    fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
        let path = self.directory.path().join("limits");
        let _ = fs::remove_file(&path);
        let options = RegionOptions { cells: 2_000, windows: 500 };
        let region = Region::open(path, &options, b"a key for tests.")
            .map_err(|error| StoreError::Unavailable { reason: error.to_string().into() })?;
        Ok(Arc::new(CompositeStore::new(region, MemoryStore::default())))
    }

    fn reopen(&self, _: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
        self.fresh()
    }

    fn keeps_state(&self) -> bool {
        false
    }
}

#[test]
fn every_scenario_replies_as_expected_with_limits_in_a_region() {
    let backend = RegionBackend { directory: TempDir::new().unwrap() };
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let report = tollgate_conformance::vectors(&directory, &backend).unwrap();
    println!("{report}");
    assert!(report.scenarios.len() >= 600, "only {} scenarios", report.scenarios.len());
    assert!(report.passed(), "{report}");
}
