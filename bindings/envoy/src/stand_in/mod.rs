//! A stand-in for Envoy, for tests: what `abi.rs` asks of it, and streams whose events come in every order that Envoy may bring.
//!
//! It does as Envoy does where that matters to the module: hooks of a filter may come before a callback returns, a stream may end within
//! one, a second `continue_…` is ignored, and texts are gone once their event is over or a header is set. What the module promises and
//! does not keep is a *fault*, which every test looks for at its end.
#![allow(clippy::arithmetic_side_effects)] // small numbers

mod callbacks;
mod fixture;
mod hooks;
mod log;
mod manager;
mod proxy;
mod scheduler;
mod stream;

mod bodies;
mod configurations;
mod endings;
mod itself;
mod memory;
mod panics;
mod random;
mod routes;
mod stores;
mod verdicts;
