//! Packages of the workspace, built as users build them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// The workspace.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The target directory that this test was built in.
#[must_use]
pub fn target() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // …/PROFILE/deps/TEST, and …/PROFILE/PROGRAM.
    let deps = test.parent().unwrap();
    let profile = if deps.ends_with("deps") { deps.parent().unwrap() } else { deps };
    profile.parent().unwrap().to_path_buf()
}

/// Runs a command that must succeed.
pub fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}\n{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

/// When the newest of these files was changed.
#[must_use]
pub fn newest(paths: impl IntoIterator<Item = PathBuf>) -> SystemTime {
    let changed = |path: PathBuf| fs::metadata(&path).unwrap().modified().unwrap();
    paths.into_iter().map(changed).max().unwrap()
}

/// Builds a package in the release profile, and gives the place of this file of it.
#[must_use]
pub fn built(package: &str, file: &str) -> PathBuf {
    build(&["--release", "-p", package]);
    target().join("release").join(file)
}

/// Builds a package in the profile of tests, and gives the place of this file of it.
#[must_use]
pub fn built_for_tests(package: &str, file: &str) -> PathBuf {
    build(&["-p", package]);
    target().join("debug").join(file)
}

fn build(arguments: &[&str]) {
    let mut cargo = Command::new("cargo");
    cargo.arg("build").args(arguments).current_dir(root());
    // What cargo tells this test about its package would make some build scripts run anew.
    for (name, _) in std::env::vars_os() {
        let told = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
            .iter()
            .any(|set| told.starts_with(set))
        {
            cargo.env_remove(&name);
        }
    }
    run(cargo.env("CARGO_TARGET_DIR", target()));
}
