//! The suites that every store of limits, and every store, passes.
#![cfg(test)]

mod region {
    use tempfile::TempDir;
    use tollgate_region::{Region, RegionOptions};

    /// The file goes at once; its mapping stays as long as the region.
    fn over_a_file(cells: usize, windows: usize) -> Region {
        let directory = TempDir::new().unwrap();
        let options = RegionOptions { cells, windows };
        let region = Region::open(directory.path().join("limits"), &options, b"a key for tests.");
        region.unwrap()
    }

    tollgate_conformance::limit_store_suite!(
        store = over_a_file(2_000, 1_000),
        bounded = over_a_file(32, 16)
    );
}

mod composite {
    use std::sync::Arc;

    use tempfile::TempDir;
    use tollgate::{CompositeStore, MemoryStore, Store, StoreError};
    use tollgate_region::{Region, RegionOptions};
    use tollgate_scenario::Backend;

    /// Limits in a region, accounts in memory.
    struct Apart;

    impl Backend for Apart {
        fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
            let directory = TempDir::new().unwrap();
            let options = RegionOptions { cells: 2_000, windows: 1_000 };
            let path = directory.path().join("limits");
            let region = Region::open(path, &options, b"a key for tests.").unwrap();
            Ok(Arc::new(CompositeStore::new(region, MemoryStore::default())))
        }

        fn reopen(&self, _: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
            self.fresh()
        }

        fn keeps_state(&self) -> bool {
            false
        }
    }

    tollgate_conformance::store_suite!(
        backend = Apart,
        shared = |store| Ok(Arc::clone(store)),
        limits_apart,
    );
}
