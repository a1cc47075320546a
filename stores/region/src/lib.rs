#![doc = include_str!("../README.md")]

mod attachments;
mod cells;
mod code;
mod error;
mod file;
mod group;
mod header;
mod layout;
#[cfg(test)]
mod loom_tests;
mod memory;
mod pool;
mod region;
mod word;

pub use error::RegionError;
pub use layout::RegionOptions;
pub use region::Region;
