//! The Envoy module, built as users build it and run for real.
//!
//! [`Envoy`] is a server with the module, [`Gateway`] one with an upstream and an account. Everything listens on 127.0.0.1 and is stopped by who
//! started it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)] // tests are all that uses this

mod envoy;
mod fleet;
mod gateway;
mod install;
mod process;
mod scenarios;

pub use envoy::{Checked, Envoy, Listener, Options};
pub use fleet::Fleet;
pub use gateway::{Gateway, Writes};
pub use install::{binary, module};
pub use scenarios::UnderScenarios;
