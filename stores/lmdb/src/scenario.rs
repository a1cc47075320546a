//! Scenarios on LMDB stores.

use std::sync::Arc;

use parking_lot::Mutex;
use tempfile::TempDir;
use tollgate::{Store, StoreError};
use tollgate_scenario::Backend;

use crate::error::{LmdbError, unavailable};
use crate::{LmdbOptions, LmdbStore, SyncPolicy};

/// Makes [`LmdbStore`]s for [`Runner`](tollgate_scenario::Runner)s, each in a temporary directory, which
/// goes with the next one or the backend.
#[derive(Debug)]
pub struct LmdbBackend {
    options: LmdbOptions,
    directory: Mutex<Option<TempDir>>,
}

impl Default for LmdbBackend {
    /// Without syncs: what is in a temporary directory need not outlive a loss of power.
    fn default() -> Self {
        LmdbBackend::new(LmdbOptions { sync: SyncPolicy::Never, ..LmdbOptions::default() })
    }
}

impl LmdbBackend {
    /// On stores with these options.
    #[must_use]
    pub fn new(options: LmdbOptions) -> Self {
        LmdbBackend { options, directory: Mutex::new(None) }
    }

    fn open(&self, directory: &TempDir) -> Result<Arc<dyn Store>, StoreError> {
        match LmdbStore::open(directory.path(), &self.options) {
            Ok(store) => Ok(Arc::new(store)),
            Err(LmdbError::Store(error)) => Err(error),
            Err(error) => Err(unavailable(&error.to_string())),
        }
    }
}

impl Backend for LmdbBackend {
    fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
        let directory = TempDir::new().map_err(|error| unavailable(&error.to_string()))?;
        let store = self.open(&directory)?;
        *self.directory.lock() = Some(directory);
        Ok(store)
    }

    fn reopen(&self, store: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
        drop(store);
        match &*self.directory.lock() {
            Some(directory) => self.open(directory),
            None => Err(unavailable("there is no store to open again; begin with a fresh one")),
        }
    }

    fn keeps_state(&self) -> bool {
        true
    }
}
