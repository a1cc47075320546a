//! Programs that tests need and no registry of crates has: found, or installed where that can be done
//! without asking anybody.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::run::{Failure, Run};

/// A program, and the Debian package that has it.
struct Program {
    name: &'static str,
    package: &'static str,
}

const REDIS_SERVER: Program = Program { name: "redis-server", package: "redis-server" };

/// Makes sure that the stores' tests find their servers. They start and stop them themselves.
pub(crate) fn for_stores() -> Result<(), Failure> {
    ensure(&REDIS_SERVER)
}

const CHROMIUM: Program = Program { name: "chromium", package: "chromium" };

/// Makes sure that the tests of the playground and of the settings page find a browser.
pub(crate) fn for_playground() -> Result<(), Failure> {
    ensure(&CHROMIUM)
}

const VALGRIND: Program = Program { name: "valgrind", package: "valgrind" };

/// What uses the installed C library, and looks at it.
const C_TOOLS: &[Program] = &[
    Program { name: "gcc", package: "gcc" },
    Program { name: "g++", package: "g++" },
    Program { name: "make", package: "make" },
    Program { name: "clang", package: "clang" },
    VALGRIND,
    Program { name: "pkg-config", package: "pkg-config" },
    Program { name: "objcopy", package: "binutils" },
];

/// Makes sure that instructions can be counted.
pub(crate) fn for_counts() -> Result<(), Failure> {
    ensure(&VALGRIND)
}

/// Makes sure that compilers and checkers for the C library are there.
pub(crate) fn for_c() -> Result<(), Failure> {
    C_TOOLS.iter().try_for_each(ensure)?;
    if clang_has_sanitizers() {
        return Ok(());
    }
    install(
        "libclang-rt-dev",
        "install clang's sanitizers (Debian and Ubuntu: `apt-get install libclang-rt-dev`)",
    )
}

/// Debian has them in a package of their own.
fn clang_has_sanitizers() -> bool {
    let printed = Command::new("clang").arg("-print-resource-dir").output();
    let directory =
        printed.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string());
    directory.is_ok_and(|directory| Path::new(&directory).join("lib").exists())
}

fn ensure(program: &Program) -> Result<(), Failure> {
    if is_there(program) {
        return Ok(());
    }
    let Program { name, package } = program;
    let advice = format!("install {name} (Debian and Ubuntu: `apt-get install {package}`)");
    install(package, &advice)?;
    if is_there(program) {
        return Ok(());
    }
    Err(Failure(format!("{package} was installed, and still there is no {name}: {advice}")))
}

fn install(package: &str, advice: &str) -> Result<(), Failure> {
    if !may_install() {
        return Err(Failure(format!("the tests need what is not here: {advice}")));
    }
    let apt_get = || {
        Run::program(Path::new("apt-get"))
            .env("DEBIAN_FRONTEND", "noninteractive")
            // Run level 1: the package does not start its own service.
            .env("RUNLEVEL", "1")
    };
    apt_get().args(["update", "-qq"]).or(advice)?;
    apt_get().args(["install", "-y", "-qq", "--no-install-recommends", package]).or(advice)
}

fn is_there(program: &Program) -> bool {
    let version = Command::new(program.name)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

/// As root on a system with apt, which is a container or CI: anybody else is told what to install.
pub(crate) fn may_install() -> bool {
    let is_root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    is_root && Path::new("/usr/bin/apt-get").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_named_with_what_to_do() {
        let absent = Program { name: "no-such-server", package: "no-such-package" };
        assert!(!is_there(&absent));
        if !may_install() {
            let Err(Failure(message)) = ensure(&absent) else { panic!() };
            assert!(message.contains("apt-get install no-such-package"), "{message}");
        }
    }
}
