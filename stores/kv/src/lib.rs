#![doc = include_str!("../README.md")]

mod change;
mod map;
#[cfg(feature = "memory")]
mod memory;
mod options;
mod records;
mod response;
mod store;
mod sweep;

// For `tollgate-lmdb`, which puts several commands into one transaction. Not part of what is stable.
#[doc(hidden)]
pub mod fault;
#[doc(hidden)]
pub mod format;
#[doc(hidden)]
pub mod key;
#[doc(hidden)]
pub mod record;
#[doc(hidden)]
pub mod run;
#[doc(hidden)]
pub mod verify;
#[doc(hidden)]
pub mod view;

pub use map::{KvEntry, KvError, KvMap, KvRead, KvWrite};
#[cfg(feature = "memory")]
pub use memory::{MemoryMap, MemoryRead, MemoryWrite};
pub use options::KvOptions;
pub use store::{KvOpenError, KvStore};
