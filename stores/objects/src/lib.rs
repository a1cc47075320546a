#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod administer;
mod admit;
mod answer;
mod cache;
mod counters;
mod exchange;
mod failure;
mod look_up;
mod message;
pub mod name;
mod object;
mod over;
mod register;
mod spanning;
mod store;
#[cfg(test)]
mod tests;
mod token;
mod wire;

pub use exchange::{Call, Exchange, Lost, Reply};
pub use object::Object;
pub use store::{ObjectsOptions, ObjectsStore};
pub use tollgate_kv::{KvMap, KvOpenError, KvOptions};
pub use wire::VERSION;
