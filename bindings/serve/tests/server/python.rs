//! Programs from PyPI, in an environment of the target directory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tollgate_gateway_tests::{is_root, run, target};

/// What is installed.
const PACKAGES: [&str; 2] = ["schemathesis==4.32.5", "prometheus-client==0.26.0"];

/// A program of the environment, which is made once.
pub(crate) fn program(name: &str) -> PathBuf {
    static DONE: OnceLock<PathBuf> = OnceLock::new();
    DONE.get_or_init(installed).join("bin").join(name)
}

fn installed() -> PathBuf {
    let environment = target().join("serve-python");
    let done = environment.join(PACKAGES.join("-"));
    if done.exists() {
        return environment;
    }
    make_environment(&environment);
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run(Command::new(environment.join("bin/python")).args(pip).args(PACKAGES));
    std::fs::write(&done, "").unwrap();
    environment
}

/// Debian keeps a part of `venv` in a package of its own.
fn make_environment(place: &Path) {
    let make = || {
        let made = Command::new("python3").args(["-m", "venv", "--clear"]).arg(place).output();
        made.is_ok_and(|output| output.status.success())
    };
    if make() {
        return;
    }
    let can = is_root() && Path::new("/usr/bin/apt-get").exists();
    assert!(can, "python3 with venv and pip is missing: apt-get install python3-venv");
    for arguments in
        [&["update"][..], &["install", "-y", "--no-install-recommends", "python3-venv"]]
    {
        run(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"));
    }
    assert!(make(), "python3 -m venv fails: {}", place.display());
}
