//! LMDB, in directories that are gone afterwards.

use std::ops::Range;
use std::path::Path;

use tollgate_lmdb::{LmdbOptions, LmdbStore, SyncPolicy};

use super::{Failure, broken, on_stores};
use crate::account::LookUps;
use crate::verdict::Report;

/// A store in this directory. What is tested is who sees what when, not what a power cut leaves: nothing is synced.
pub(super) fn open(directory: &Path) -> Result<LmdbStore, Failure> {
    let mut options = LmdbOptions::default();
    options.sync = SyncPolicy::Never;
    LmdbStore::open(directory, &options).map_err(broken)
}

/// On LMDB, by the threads of this process.
///
/// # Errors
/// [`Failure`].
pub fn lmdb(numbers: Range<u64>) -> Result<Report, Failure> {
    let directory = tempfile::tempdir().map_err(broken)?;
    let store = open(directory.path())?;
    on_stores(numbers, LookUps::Fresh, || Ok(&store))
}
