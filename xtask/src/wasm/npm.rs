//! Node and npm: what they must be, and installing what a project's lock file names.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::failed;
use crate::run::{Failure, Run, root};

const OLDEST_NODE: u32 = 20;

/// An npm project of this repository.
pub(crate) struct Project(PathBuf);

impl Project {
    /// By its directory in the workspace.
    pub(crate) fn at(directory: &str) -> Self {
        Project(root().join(directory))
    }

    /// A file of it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A program that its dependencies brought.
    pub(super) fn program(&self, name: &str) -> Run {
        Run::program(&self.path("node_modules/.bin").join(name))
    }

    /// Installs exactly what the lock file names, and runs no script of it; unless that is there already.
    pub(crate) fn install(&self) -> Result<(), Failure> {
        check_node()?;
        let stamp = self.path("node_modules/.tollgate-stamp");
        let wanted = self.stamp()?;
        if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
            return Ok(());
        }
        npm(&self.0).args(["ci", "--ignore-scripts"]).or(
            "what went wrong is above; npm needs its registry, or a cache that has what the lock file names",
        )?;
        fs::write(&stamp, wanted).map_err(|error| failed("written", &stamp, &error))
    }

    /// What `node_modules` depends on.
    fn stamp(&self) -> Result<String, Failure> {
        let read = |name: &str| {
            let path = self.path(name);
            fs::read_to_string(&path).map_err(|error| failed("read", &path, &error))
        };
        Ok(format!(
            "{}\n{}\n{}",
            node_version()?,
            read("package.json")?,
            read("package-lock.json")?
        ))
    }

    /// Runs a script of its `package.json`.
    pub(crate) fn run(&self, script: &str) -> Result<(), Failure> {
        npm(&self.0).args(["run", "--silent", script]).or("what went wrong is above")
    }

    /// Runs its tests on a program, which they find in the variable `TOLLGATE`.
    pub(crate) fn test_program(&self, program: &Path) -> Result<(), Failure> {
        let named = program.display().to_string();
        let test = npm(&self.0).env("TOLLGATE", &named).args(["run", "--silent", "test"]);
        test.or("the failed test and its message are above")
    }

    /// Whether its `package.json` has the script.
    pub(super) fn has(&self, script: &str) -> Result<bool, Failure> {
        let path = self.path("package.json");
        let text = fs::read_to_string(&path).map_err(|error| failed("read", &path, &error))?;
        let package: Value = serde_json::from_str(&text)
            .map_err(|error| Failure(format!("{} is no JSON: {error}", path.display())))?;
        Ok(package.get("scripts").is_some_and(|scripts| scripts.get(script).is_some()))
    }
}

/// npm in a directory. It asks nobody, and says nothing about itself.
pub(super) fn npm(directory: &Path) -> Run {
    Run::program(Path::new("npm"))
        .within(directory)
        .quiet_env("npm_config_audit", "false")
        .quiet_env("npm_config_fund", "false")
        .quiet_env("npm_config_update_notifier", "false")
        .quiet_env("npm_config_loglevel", "error")
}

/// Makes sure that Node is new enough, and that npm is there.
pub(super) fn check_node() -> Result<(), Failure> {
    is_new_enough(&node_version()?)?;
    let npm = Command::new("npm").arg("--version").output();
    if npm.is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    Err(Failure(format!("there is no npm: {NODE_ADVICE}")))
}

const NODE_ADVICE: &str = "install Node 20 or newer with npm, from https://nodejs.org or by a version manager \
                           (Debian 12's own package is too old)";

fn node_version() -> Result<String, Failure> {
    let printed = Command::new("node").arg("--version").output();
    let printed = printed.map_err(|_| Failure(format!("there is no Node: {NODE_ADVICE}")))?;
    Ok(String::from_utf8_lossy(&printed.stdout).trim().to_string())
}

fn is_new_enough(version: &str) -> Result<(), Failure> {
    let major = version.strip_prefix('v').and_then(|rest| rest.split('.').next());
    match major.and_then(|major| major.parse::<u32>().ok()) {
        Some(major) if major >= OLDEST_NODE => Ok(()),
        Some(_) => Err(Failure(format!("this is Node {version}: {NODE_ADVICE}"))),
        None => Err(Failure(format!("`node --version` gave {version:?}: {NODE_ADVICE}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_node_is_refused_with_what_to_do() {
        assert!(is_new_enough("v20.0.0").is_ok());
        assert!(is_new_enough("v24.11.1").is_ok());
        for version in ["v18.20.4", "v9.0.0", "20.1.0", ""] {
            let Failure(message) = is_new_enough(version).unwrap_err();
            assert!(message.contains("Node 20 or newer"), "{message}");
        }
    }
}
