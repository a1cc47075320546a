#![doc = include_str!("../README.md")]
// Pointers of Envoy's are read in `host.rs` and `hooks.rs`, where the arguments stand; `abi.rs` declares them.

#[allow(unsafe_code)]
mod abi;
mod accounts;
mod capture;
mod clock;
mod config;
mod decide;
mod facts;
mod filter;
#[allow(unsafe_code)]
mod hooks;
#[allow(unsafe_code)]
mod host;
mod log;
mod mailbox;
mod metadata;
mod numbers;
mod policy;
mod settings;
mod settlement;
#[cfg(test)]
#[allow(unsafe_code)]
mod stand_in;
mod stats;
mod store;
mod threads;
