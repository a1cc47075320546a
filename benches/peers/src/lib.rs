#![doc = include_str!("../README.md")]

pub mod authorizers;
mod contenders;
pub mod idempotency;
pub mod limiters;
pub mod pairs;
pub mod races;
pub mod report;
mod stack;

pub use contenders::{Examiner, Id, LIMITER_KEYS, SIZES, SMALL, examine};
pub use stack::PeerStack;

/// When simulated time begins, in Unix ms.
pub const START_MS: u64 = 1_700_000_000_000;
