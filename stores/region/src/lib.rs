#![doc = include_str!("../README.md")]

mod attachments;
mod cells;
mod code;
mod error;
mod file;
mod group;
mod header;
mod layout;
mod memory;
mod pool;
mod region;
#[cfg(test)]
mod tests;
mod word;

pub use error::RegionError;
pub use layout::RegionOptions;
pub use region::Region;
