#![doc = include_str!("../README.md")]

mod change;
mod combine;
mod environment;
mod error;
mod flush;
mod format;
mod key;
mod operate;
mod options;
mod owned;
mod record;
mod records;
mod response;
#[cfg(feature = "scenario")]
mod scenario;
mod store;
mod sweep;
#[cfg(test)]
mod tests;
mod verify;
mod view;

pub use error::LmdbError;
pub use operate::Statistics;
pub use options::{LmdbOptions, SyncPolicy};
#[cfg(feature = "scenario")]
pub use scenario::LmdbBackend;
pub use store::LmdbStore;
