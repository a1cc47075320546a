//! `cargo xtask check`: everything that can be said about the sources without running them.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use crate::run::{Failure, Run, root};
use crate::{files, header, metadata, modules};

/// The feature sets in which the core must be free of warnings, beside the default one.
const CORE_FEATURES: &[&str] = &["", "json", "toml", "json,toml", "std"];

/// A package outside the workspace; see its manifest.
const NO_STD: &str = "tests/no_std/Cargo.toml";

/// Runs all checks; the quick ones first.
pub(crate) fn check() -> Result<(), Failure> {
    Run::cargo(["fmt", "--all", "--", "--check"]).or("run `cargo fmt --all`")?;
    Run::cargo(["fmt", "--manifest-path", NO_STD, "--", "--check"])
        .or("run `cargo fmt --manifest-path tests/no_std/Cargo.toml`")?;
    files::check()?;
    modules::check()?;
    header::check()?;
    lints()?;
    Run::cargo(["doc", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "-Dwarnings")
        .or("mend the documentation that is named above")?;
    packages()
}

fn lints() -> Result<(), Failure> {
    const ADVICE: &str = "mend what is named above; the lint table in Cargo.toml says why each \
                          lint is there";
    Run::cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]).or(ADVICE)?;
    for features in CORE_FEATURES {
        let features = format!("--features={features}");
        let core = ["clippy", "--package", "tollgate", "--no-default-features", &features];
        Run::cargo(core).args(["--", "-D", "warnings"]).or(ADVICE)?;
    }
    let no_std = ["clippy", "--manifest-path", NO_STD, "--target-dir", "target/no_std"];
    Run::cargo(no_std).args(["--", "-D", "warnings"]).or(ADVICE)
}

/// Where packages are built: nothing of an earlier run may be taken for them.
const PACKAGES: &str = "target/packages";

/// Packs what is published, and builds it from the packages, as its users will.
fn packages() -> Result<(), Failure> {
    forget_packages()
        .map_err(|error| Failure(format!("an earlier run's packages stay: {error}")))?;
    let published = metadata::published()?;
    let selected = published.iter().flat_map(|name| ["--package", name.as_str()]);
    // One run for all, so that packages find those of their siblings that no registry has yet.
    let packed = Run::cargo(["package", "--allow-dirty", "--quiet", "--target-dir", PACKAGES]);
    packed.args(selected).or(
        "a published package must build from its own files: see `include` in its Cargo.toml, and \
         give each path dependency a version",
    )
}

/// Cargo unpacks packages of the same version once, and builds them once, whatever is in them now.
fn forget_packages() -> io::Result<()> {
    remove(&root().join(PACKAGES))?;
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let Some(registries) = home.map(|home| home.join("registry/src")) else { return Ok(()) };
    let Ok(registries) = fs::read_dir(registries) else { return Ok(()) };
    for registry in registries {
        let registry = registry?;
        // Those of a directory on this machine have no host in their names.
        if !registry.file_name().to_string_lossy().starts_with('-') {
            continue;
        }
        for package in fs::read_dir(registry.path())? {
            let package = package?;
            if package.file_name().to_string_lossy().starts_with("tollgate") {
                remove(&package.path())?;
            }
        }
    }
    Ok(())
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
