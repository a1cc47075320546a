//! What the tests of native gateways share.
//!
//! [`Upstream`] is what a gateway proxies to, [`send`] and [`Client`] a client that writes what it is given, [`Accounts`] the store that the
//! gateway has open. [`Scenarios`] runs scenarios through any [`RunningGateway`]. Everything listens on 127.0.0.1 and is stopped by who started it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)] // tests are all that uses this

mod accounts;
mod build;
mod carry;
mod client;
mod clock;
mod gateway;
mod install;
mod process;
mod redis;
mod surface;
mod upstream;

pub use accounts::{Accounts, Money, POLICY, TOKEN};
pub use build::{built, built_for_tests, newest, root, run, target};
pub use client::{Client, Response, begin_to_pay, request, send, send_as_account};
pub use clock::{Preloaded, clock_shim, disk_shim};
pub use gateway::{MAX_RESPONSE_BODY, REPLAY_HEADERS, RunningGateway, Said, Told, own_answer};
pub use install::{from_debian, from_pypi};
pub use process::{free_port, is_root, signal};
pub use redis::RedisServer;
pub use surface::{GatewaySurface, Open, Scenarios};
pub use upstream::{Received, Upstream};
