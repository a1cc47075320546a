//! Clients, and upstreams, that speak HTTP/2. The scenarios of `tests/vectors` go over HTTP/1.1.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

mod client;
mod endings;
mod requests;
mod upstream;

use serde_json::Value;
use tollgate_envoy_tests::{Gateway, Options, Writes};

/// A gateway with these members in the filter's configuration.
fn options(writes: Writes, upstream: u16, filter: &Value) -> Options {
    let mut options = Gateway::options(writes, upstream, filter);
    options.disk_may_wait = true;
    options
}
