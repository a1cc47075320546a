//! How large the module is, as it is and as it travels.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::failed;
use super::toolchain::Toolchain;
use crate::run::Failure;

/// The most that a build may have when compressed: what a browser loads, and what counts against a Worker's limit. The goal for the engine
/// is 120 000.
const MOST_GZIP_BYTES: [(&str, usize); 2] = [("engine", 147_000), ("objects", 360_000)];

/// Says both sizes, and fails above the bound. It holds for a std that was made for size; with another one the sizes are only said.
pub(super) fn check(build: &str, module: &Path, toolchain: &Toolchain) -> Result<(), Failure> {
    let bytes = fs::read(module).map_err(|error| failed("read", module, &error))?;
    let compressed = gzip(&bytes).map_err(|error| failed("compressed", module, &error))?;
    println!("the build {build}: {} bytes, {compressed} with gzip -9", bytes.len());
    if toolchain.has_small_std { within_bound(build, compressed) } else { Ok(()) }
}

fn within_bound(build: &str, compressed: usize) -> Result<(), Failure> {
    let most = MOST_GZIP_BYTES.iter().find(|(name, _)| *name == build).map_or(0, |(_, most)| *most);
    if compressed <= most {
        return Ok(());
    }
    Err(Failure(format!(
        "the build {build} has {compressed} bytes with gzip -9, over the {most} of \
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
        for (build, most) in MOST_GZIP_BYTES {
            assert!(within_bound(build, most).is_ok());
            assert!(within_bound(build, most + 1).is_err());
        }
        assert!(within_bound("another", 1).unwrap_err().0.contains("another has 1 bytes"));
    }

    #[test]
    fn what_repeats_is_compressed() {
        assert!(gzip(&[7; 100_000]).unwrap() < 200);
    }
}
