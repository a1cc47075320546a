//! `cargo xtask playground`: static files, and a server for looking at them.

use std::path::PathBuf;

use super::npm::Project;
use super::{package, remove_directory};
use crate::run::{Failure, relative, root};

/// The npm project, in the workspace.
pub(super) const PROJECT: &str = "bindings/playground";

const ADDRESS: &str = "127.0.0.1:8088";

/// Builds the package, and the playground on it.
pub(crate) fn build() -> Result<(), Failure> {
    package::build()?;
    build_alone()
}

/// Builds the playground on a package that is built.
pub(super) fn build_alone() -> Result<(), Failure> {
    let project = Project::at(PROJECT);
    project.install()?;
    remove_directory(&site())?;
    project.run("build")?;
    let page = site().join("index.html");
    if !page.exists() {
        return Err(Failure(format!("the playground's build left no {}", relative(&page))));
    }
    println!("ok: the playground is in {}", relative(&site()));
    Ok(())
}

/// Builds it, and serves it until it is interrupted. esbuild, which has built it, can serve files too.
pub(crate) fn serve() -> Result<(), Failure> {
    build()?;
    println!("\nthe playground is at http://{ADDRESS}/ until this is interrupted");
    let directory = format!("--servedir={}", site().display());
    Project::at(PROJECT)
        .program("esbuild")
        .args([directory, format!("--serve={ADDRESS}")])
        .or("is the port taken? Any other server of static files does as well")
}

/// Where its files are: the project writes them there, wherever else cargo's target directory is.
fn site() -> PathBuf {
    root().join("target/playground")
}
