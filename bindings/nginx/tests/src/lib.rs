//! The nginx module, built against the nginx of the system and run for real.
//!
//! [`Nginx`] is a server with the module, [`Upstream`] what it proxies to, [`send`] a client that writes what it is
//! given. Everything listens on 127.0.0.1 and is stopped by who started it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)] // tests are all that uses this

mod accounts;
mod build;
mod client;
mod gateway;
mod nginx;
mod surface;
mod upstream;

pub use accounts::{Accounts, Money, TOKEN};
pub use build::{clock_shim, module, module_built_with, root, shared_library};
pub use client::{Client, Response, send};
pub use gateway::{Gateway, POLICY, Writes};
pub use nginx::{Nginx, Options, free_port};
pub use surface::NginxSurfaces;
pub use upstream::{Received, Upstream};
