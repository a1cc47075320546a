#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg(tollgate_shuttle)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::missing_panics_doc,
    reason = "these are tests: what is not as it should be is a panic"
)]

mod explore;
mod race;

pub use explore::{every, explore, finds, iterations};
pub use race::{Told, command, race, race_on, request, small_store};
