//! Every state that small setups of tollgate can reach, each one checked. See the README.

// A mistake of the model itself must end the run, so it panics; its numbers are few and small.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod clock;
mod event;
mod explore;
mod flaw;
mod invariants;
mod names;
mod protocol;
mod records;
mod rows;
mod rule;
mod rules;
mod setup;
mod setups;
mod step;
mod word;
mod world;

pub use event::Event;
pub use explore::{Explored, explore, find};
pub use flaw::Flaw;
pub use protocol::{Action, Protocol};
pub use rule::{Rule, names as properties};
pub use rules::By;
pub use setup::{Call, Cap, Setup, TokenPlan};
pub use setups::{LARGE, SMALL};
pub use word::{Stored, Word};
pub use world::World;
