//! Stores that begin empty and leave nothing behind, for scenarios and the demo.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;
use tollgate::{CompositeStore, MemoryStore, Store, StoreError};
use tollgate_lmdb::{LmdbOptions, LmdbStore, SyncPolicy};
use tollgate_redis::{RedisOptions, RedisScratch};
use tollgate_region::{Region, RegionOptions};
use tollgate_scenario::Backend;

use super::{LimitsLocation, Location, unknown_location};
use crate::exit::Failure;

/// Makes stores of one kind.
#[derive(Debug)]
pub(crate) struct Scratch {
    kind: Kind,
    limits: Option<PathBuf>,
}

#[derive(Debug)]
enum Kind {
    Memory,
    /// Below a directory, each in one of its own, which goes with the next one or with this.
    Lmdb {
        below: PathBuf,
        current: Mutex<Option<TempDir>>,
    },
    /// Each behind a prefix of its own, whose keys go likewise.
    Redis {
        options: Box<RedisOptions>,
        current: Mutex<Option<RedisScratch>>,
    },
}

impl Scratch {
    pub(super) fn new(
        location: &Location,
        limits: Option<&LimitsLocation>,
    ) -> Result<Self, Failure> {
        let kind = match location {
            Location::Unknown => return Err(unknown_location()),
            Location::Memory => Kind::Memory,
            Location::Lmdb(path) => {
                fs::create_dir_all(path).map_err(|error| Failure::at(path.display(), error))?;
                Kind::Lmdb { below: path.clone(), current: Mutex::default() }
            }
            Location::Redis(url) => {
                let options = Box::new(RedisOptions::new(url));
                Kind::Redis { options, current: Mutex::default() }
            }
        };
        let limits = limits.map(|LimitsLocation(path)| path.clone());
        if let Some(path) = limits.as_ref().filter(|path| path.exists()) {
            let message =
                "the file is there already; give one that is not, it is removed in the end";
            return Err(Failure::at(path.display(), message));
        }
        Ok(Scratch { kind, limits })
    }

    fn with_limits(&self, accounts: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
        let Some(path) = &self.limits else { return Ok(accounts) };
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(|error| unavailable(&error))?;
        let region = Region::open(path, &RegionOptions::default(), &key);
        let region = region.map_err(|error| unavailable(&error))?;
        Ok(Arc::new(CompositeStore::new(region, accounts)))
    }

    fn remove_limits(&self) {
        if let Some(path) = &self.limits {
            // It need not be there.
            let _ = fs::remove_file(path);
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove_limits();
    }
}

fn open_lmdb(path: &Path) -> Result<Arc<dyn Store>, StoreError> {
    // What goes when the command ends need not outlive a loss of power.
    let mut options = LmdbOptions::default();
    options.sync = SyncPolicy::Never;
    let store = LmdbStore::open(path, &options).map_err(|error| unavailable(&error))?;
    Ok(Arc::new(store))
}

fn unavailable(error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unavailable { reason: error.to_string().into() }
}

fn lock<T>(current: &Mutex<T>) -> MutexGuard<'_, T> {
    current.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Backend for &Scratch {
    fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
        self.remove_limits();
        let store = match &self.kind {
            Kind::Memory => Arc::new(MemoryStore::default()) as Arc<dyn Store>,
            Kind::Lmdb { below, current } => {
                let directory = tempfile::Builder::new().prefix("scratch-").tempdir_in(below);
                let directory = directory.map_err(|error| unavailable(&error))?;
                let store = open_lmdb(directory.path())?;
                *lock(current) = Some(directory);
                store
            }
            Kind::Redis { options, current } => {
                let scratch = RedisScratch::new(options).map_err(|error| unavailable(&error))?;
                let store = scratch.open().map_err(|error| unavailable(&error))?;
                *lock(current) = Some(scratch);
                Arc::new(store)
            }
        };
        self.with_limits(store)
    }

    fn reopen(&self, store: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
        drop(store);
        let none = || unavailable(&"no scenario has begun");
        let store = match &self.kind {
            Kind::Memory => return self.fresh(),
            Kind::Lmdb { current, .. } => {
                open_lmdb(lock(current).as_ref().ok_or_else(none)?.path())?
            }
            Kind::Redis { current, .. } => {
                let store = lock(current).as_ref().ok_or_else(none)?.open();
                Arc::new(store.map_err(|error| unavailable(&error))?) as Arc<dyn Store>
            }
        };
        self.with_limits(store)
    }

    fn keeps_state(&self) -> bool {
        !matches!(self.kind, Kind::Memory)
    }
}
