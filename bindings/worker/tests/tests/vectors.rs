//! Every file of `tests/vectors` through WebAssembly in workerd, over the Worker's Durable Objects; and every reply beside the
//! library's own.
#![cfg(test)]

use std::path::{Path, PathBuf};

use tollgate_lmdb::LmdbBackend;
use tollgate_wasm_tests::{JsSurfaces, Program, replies_as_expected, replies_as_the_library};

fn program() -> PathBuf {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/test/vectors.js");
    assert!(
        program.exists(),
        "the Worker is not built: run `cargo xtask wasm`, then `npm ci --ignore-scripts` and `npm run build` in bindings/worker"
    );
    program
}

#[test]
fn in_durable_objects() {
    let surfaces = JsSurfaces::new(Program::start(&program(), &[]).unwrap(), true);
    replies_as_expected(&surfaces);
    replies_as_the_library(&surfaces, LmdbBackend::default);
}
