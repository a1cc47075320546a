#![doc = include_str!("../README.md")]
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod client_ip;
mod idempotency;
mod ledger;
mod limit;
mod path;
mod policy;
mod request;
mod status;
mod token;

/// The latest time that the engine takes, in Unix milliseconds (the year 2527): beyond it, limiter
/// arithmetic in nanoseconds would not fit.
pub const MAX_NOW_MS: u64 = (1 << 44) - 1;
