//! Every file of `tests/vectors` through the npm package in Node, on each kind of store; and every reply beside the library's own.
#![cfg(test)]

use std::path::Path;

use tollgate_lmdb::LmdbBackend;
use tollgate_scenario::MemoryBackend;
use tollgate_wasm_tests::{JsSurfaces, Program, replies_as_expected, replies_as_the_library};

fn surfaces(build: &str, store: &str, keeps_state: bool) -> JsSurfaces {
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("driver.mjs");
    JsSurfaces::new(Program::start(&driver, &[build, store]).unwrap(), keeps_state)
}

fn in_memory(build: &str) {
    let surfaces = surfaces(build, "memory", false);
    replies_as_expected(&surfaces);
    replies_as_the_library(&surfaces, MemoryBackend::default);
}

#[test]
fn in_memory_in_the_small_build() {
    in_memory("engine");
}

#[test]
fn in_memory_in_the_quick_build() {
    in_memory("objects");
}

#[test]
fn in_objects() {
    let surfaces = surfaces("objects", "objects", true);
    replies_as_expected(&surfaces);
    replies_as_the_library(&surfaces, LmdbBackend::default);
}
