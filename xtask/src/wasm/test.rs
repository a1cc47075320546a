//! The tests of what is built from WebAssembly: `cargo xtask test wasm`, `worker` and `playground`.

use super::npm::Project;
use super::{package, playground, stranger};
use crate::backends;
use crate::run::{Failure, Run};

/// The npm project of the Worker, in the workspace.
const WORKER: &str = "bindings/worker";

/// Builds all that the tests of the workspace's packages need.
pub(crate) fn build_all() -> Result<(), Failure> {
    backends::for_playground()?;
    package::build()?;
    build_worker()?;
    playground::build_alone()
}

/// What the three projects test in JavaScript, after `build_all`.
pub(crate) fn javascript() -> Result<(), Failure> {
    in_javascript(package::PROJECT)?;
    stranger::test()?;
    in_javascript(WORKER)?;
    in_javascript(playground::PROJECT)
}

/// What the benchmarks in JavaScript run on.
pub(crate) fn build_for_bench() -> Result<(), Failure> {
    package::build()?;
    build_worker()
}

/// The npm package: its own tests, from Rust, and as a stranger gets it.
pub(crate) fn wasm() -> Result<(), Failure> {
    package::build()?;
    in_javascript(package::PROJECT)?;
    stranger::test()?;
    from_rust("tollgate-wasm")?;
    from_rust("tollgate-wasm-tests")?;
    from_rust("xtask-wasm")
}

/// The Worker, in workerd.
pub(crate) fn worker() -> Result<(), Failure> {
    package::build()?;
    build_worker()?;
    in_javascript(WORKER)?;
    from_rust("tollgate-worker-tests")
}

/// The playground, in a browser.
pub(crate) fn playground() -> Result<(), Failure> {
    backends::for_playground()?;
    playground::build()?;
    in_javascript(playground::PROJECT)
}

fn build_worker() -> Result<(), Failure> {
    let project = Project::at(WORKER);
    project.install()?;
    if project.has("build")? { project.run("build") } else { Ok(()) }
}

/// Types, then the project's own tests where it has some.
fn in_javascript(directory: &str) -> Result<(), Failure> {
    let project = Project::at(directory);
    project.install()?;
    project.run("check")?;
    if project.has("test")? { project.run("test") } else { Ok(()) }
}

fn from_rust(package: &str) -> Result<(), Failure> {
    Run::cargo(["test", "--package", package])
        .or("the failed test and its message are above; what the tests need is built, so that \
             the same line runs one of them alone, with its name at the end")
}
