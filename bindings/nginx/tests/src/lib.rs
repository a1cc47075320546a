//! The nginx module, built against the nginx of the system and run for real.
//!
//! [`Nginx`] is a server with the module, [`Gateway`] one with an upstream and an account. Everything listens on 127.0.0.1 and is stopped by who started it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)] // tests are all that uses this

mod build;
mod gateway;
mod nginx;
mod scenarios;

pub use build::{module, module_built_with, shared_library};
pub use gateway::{Gateway, Writes};
pub use nginx::{Nginx, Options};
