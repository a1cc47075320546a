//! WebAssembly: its compiler, the npm package, and the projects that use it.

mod npm;
mod package;
mod playground;
mod size;
mod stranger;
mod test;
mod toolchain;

pub(crate) use npm::Project;
pub(crate) use package::build;
pub(crate) use playground::{build as build_playground, serve};
pub(crate) use test::{
    build_all, build_for_bench, javascript, playground as test_playground, wasm as test_package,
    worker as test_worker,
};

use std::fs;
use std::path::{Path, PathBuf};

use crate::metadata;
use crate::run::Failure;

/// A directory of intermediate files, of its own within the target directory.
fn work() -> Result<PathBuf, Failure> {
    Ok(PathBuf::from(metadata::target_directory()?).join("wasm"))
}

fn make_directory(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|error| failed("made", path, &error))
}

fn remove_directory(path: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(failed("removed", path, &error))
        }
        _ => Ok(()),
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::copy(from, to).map(drop).map_err(|error| failed("copied", from, &error))
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure(format!("{} could not be {what}: {error}", path.display()))
}
