//! `tollgate serve` behind real proxies, in the configurations of `bindings/serve/examples`.
//!
//! [`Stand`] is a proxy before an API with the server behind it. Everything listens on 127.0.0.1 and is stopped by who started it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)] // tests are all that uses this

mod kind;
mod process;
mod running;
mod scenarios;
mod server;
mod stand;

pub use kind::Kind;
pub use scenarios::{EnvoyGrpc, NginxAccel};
pub use server::Serve;
pub use stand::{POLICY, Setup, Stand, api_body, text};
