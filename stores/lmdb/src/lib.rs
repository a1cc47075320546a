#![doc = include_str!("../README.md")]

mod combine;
mod environment;
mod error;
mod flush;
mod known;
mod operate;
mod options;
mod owned;
#[cfg(feature = "scenario")]
mod scenario;
mod store;
#[cfg(test)]
mod tests;
mod verify;
mod view;

#[cfg(test)]
use tollgate_kv::{format, key, record};

pub use error::LmdbError;
pub use operate::Statistics;
pub use options::{LmdbOptions, SyncPolicy};
#[cfg(feature = "scenario")]
pub use scenario::LmdbBackend;
pub use store::LmdbStore;
