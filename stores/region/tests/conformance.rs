//! The suites that every store of limits, and every store, passes.
#![cfg(test)]

mod region {
    use tempfile::TempDir;
    use tollgate::{Cell, CellKey, Check, Limit, LimitStore, Quota, StoreError};
    use tollgate_region::{Region, RegionOptions};

    /// A region over a file, which goes with it.
    struct Filed(Region, #[allow(dead_code, reason = "kept until the region is dropped")] TempDir);

    fn over_a_file(cells: usize, windows: usize) -> Filed {
        let directory = TempDir::new().unwrap();
        let options = RegionOptions { cells, windows };
        let region = Region::open(directory.path().join("limits"), &options, b"a key for tests.");
        Filed(region.unwrap(), directory)
    }

    impl LimitStore for Filed {
        fn take(
            &self,
            key: &CellKey,
            limit: &Limit,
            quota: &Quota,
            now_ms: u64,
        ) -> Result<Check, StoreError> {
            self.0.take(key, limit, quota, now_ms)
        }

        fn peek(
            &self,
            key: &CellKey,
            limit: &Limit,
            quota: &Quota,
            now_ms: u64,
        ) -> Result<Check, StoreError> {
            self.0.peek(key, limit, quota, now_ms)
        }

        fn give_back(
            &self,
            key: &CellKey,
            limit: &Limit,
            quota: &Quota,
            taken: &Cell,
            now_ms: u64,
        ) -> Result<(), StoreError> {
            self.0.give_back(key, limit, quota, taken, now_ms)
        }

        fn expire(&self, now_ms: u64) -> Result<(), StoreError> {
            self.0.expire(now_ms)
        }
    }

    tollgate_conformance::limit_store_suite!(
        store = over_a_file(2_000, 1_000),
        bounded = over_a_file(32, 16)
    );
}

mod composite {
    use std::cell::RefCell;
    use std::sync::Arc;

    use tempfile::TempDir;
    use tollgate::{CompositeStore, MemoryStore, Store, StoreError};
    use tollgate_region::{Region, RegionOptions};
    use tollgate_scenario::Backend;

    thread_local! {
        /// Where the regions of the test on this thread are.
        static FILES: RefCell<Vec<TempDir>> = const { RefCell::new(Vec::new()) };
    }

    /// Limits in a region, accounts in memory.
    struct Apart;

    impl Backend for Apart {
        fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
            let directory = TempDir::new().unwrap();
            let options = RegionOptions { cells: 2_000, windows: 1_000 };
            let path = directory.path().join("limits");
            let region = Region::open(path, &options, b"a key for tests.").unwrap();
            FILES.with_borrow_mut(|files| files.push(directory));
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
