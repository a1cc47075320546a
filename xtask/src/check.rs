//! `cargo xtask check`: everything that can be said about the sources without running them.

use crate::run::{Failure, Run};
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

/// Packs what is published, and builds it from the packages, as its users will.
fn packages() -> Result<(), Failure> {
    let published = metadata::published()?;
    let selected = published.iter().flat_map(|name| ["--package", name.as_str()]);
    // One run for all, so that packages find those of their siblings that no registry has yet.
    Run::cargo(["package", "--allow-dirty", "--quiet"]).args(selected).or(
        "a published package must build from its own files: see `include` in its Cargo.toml, and \
         give each path dependency a version",
    )
}
