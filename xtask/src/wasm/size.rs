//! How large the module is, as it is and as it travels.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::failed;
use crate::run::Failure;

/// The most that the module may have when compressed: what a browser loads, and what counts against a Worker's limit.
const MOST_GZIP_BYTES: usize = 120_000;

/// Says both sizes, and fails above the bound.
pub(super) fn check(module: &Path) -> Result<(), Failure> {
    let bytes = fs::read(module).map_err(|error| failed("read", module, &error))?;
    let compressed = gzip(&bytes).map_err(|error| failed("compressed", module, &error))?;
    println!("tollgate_wasm_bg.wasm: {} bytes, {compressed} with gzip -9", bytes.len());
    within_bound(compressed)
}

fn within_bound(compressed: usize) -> Result<(), Failure> {
    if compressed <= MOST_GZIP_BYTES {
        return Ok(());
    }
    Err(Failure(format!(
        "the module has {compressed} bytes with gzip -9, over the {MOST_GZIP_BYTES} of \
         xtask/src/wasm/size.rs: find what has grown (wasm-opt --metrics, or a build with names)"
    )))
}

fn gzip(bytes: &[u8]) -> std::io::Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_over_the_bound_is_refused() {
        assert!(within_bound(MOST_GZIP_BYTES).is_ok());
        assert!(within_bound(MOST_GZIP_BYTES + 1).unwrap_err().0.contains("120001"));
    }

    #[test]
    fn what_repeats_is_compressed() {
        assert!(gzip(&[7; 100_000]).unwrap() < 200);
    }
}
