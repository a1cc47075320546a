//! `cargo xtask test page`: the settings page of `tollgate serve`, over HTTP and in a browser.

use std::path::PathBuf;

use crate::run::{Failure, Run};
use crate::wasm::Project;
use crate::{backends, metadata};

/// The npm project of its tests, in the workspace.
const PROJECT: &str = "bindings/serve/page-tests";

/// Both.
pub(crate) fn test() -> Result<(), Failure> {
    Run::cargo(["test", "--package", "tollgate-serve", "--test", "page"])
        .or("the failed test and its message are above; run it alone with its name at the end of the same line")?;
    in_browser()
}

/// Drives the page of a server that is built here.
pub(crate) fn in_browser() -> Result<(), Failure> {
    backends::for_playground()?;
    Run::cargo(["build", "--package", "tollgate-cli"]).or("what went wrong is above")?;
    let program = PathBuf::from(metadata::target_directory()?).join("debug/tollgate");
    let project = Project::at(PROJECT);
    project.install()?;
    project.run("check")?;
    project.test_program(&program)
}
