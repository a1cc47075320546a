//! Histories on real stores, many of them.

#[cfg(feature = "lmdb")]
mod lmdb;
#[cfg(all(feature = "lmdb", feature = "redis"))]
pub mod processes;
#[cfg(feature = "redis")]
mod redis_server;

use std::ops::Range;

#[cfg(feature = "lmdb")]
pub use lmdb::lmdb;
#[cfg(feature = "redis")]
pub use redis_server::{RedisServer, redis};
use tollgate::{MemoryStore, Store};

use crate::account::LookUps;
use crate::record::{History, record};
use crate::verdict::{Report, Violation, judge};

/// Histories that are recorded before they are looked at.
const BATCH: u64 = 100;
/// Threads of a history.
const THREADS: usize = 4;

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A history is not linearizable.
    #[error("{0}")]
    Violation(Box<Violation>),
    /// Something that the run needs failed.
    #[error("{0}")]
    Broken(String),
}

/// What goes wrong outside the stores.
pub(crate) fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::Broken(error.to_string())
}

/// Counts a history that is linearizable.
///
/// # Errors
/// When it is not.
pub(crate) fn look_at(
    history: &History,
    look_ups: LookUps,
    report: &mut Report,
) -> Result<(), Failure> {
    judge(history, look_ups).map_err(Failure::Violation)?;
    report.add(history);
    Ok(())
}

/// Histories of these numbers on one store after the other, each from `open` and for a batch.
///
/// # Errors
/// [`Failure`].
pub fn on_stores<S: Store>(
    numbers: Range<u64>,
    look_ups: LookUps,
    mut open: impl FnMut() -> Result<S, Failure>,
) -> Result<Report, Failure> {
    let mut report = Report::default();
    for first in numbers.clone().step_by(BATCH as usize) {
        let store = open()?;
        let batch = first..(first + BATCH).min(numbers.end);
        for history in record(&store, batch, THREADS).map_err(broken)? {
            look_at(&history, look_ups, &mut report)?;
        }
    }
    Ok(report)
}

/// On the memory store.
///
/// # Errors
/// [`Failure`].
pub fn memory(numbers: Range<u64>) -> Result<Report, Failure> {
    on_stores(numbers, LookUps::Fresh, || Ok(MemoryStore::default()))
}
