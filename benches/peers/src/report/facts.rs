//! On what, and with which versions, figures were found.

use std::fs;
use std::process::Command;

use serde::Serialize;

/// The lock file with which this program was built.
const LOCK: &str = include_str!("../../Cargo.lock");

/// Those whose versions matter.
const NAMES: [&str; 9] = [
    "tollgate",
    "governor",
    "limitador",
    "cedar-policy",
    "regorus",
    "casbin",
    "dashmap",
    "hashbrown",
    "matchit",
];

/// The machine, the compiler and the versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// The processor, as it names itself.
    pub processor: String,
    /// How many cores this program may use.
    pub cores: usize,
    /// The operating system and the kind of processor.
    pub system: String,
    /// The compiler.
    pub compiler: String,
    /// Names and versions.
    pub versions: Vec<(&'static str, String)>,
}

impl Facts {
    /// Those of this machine; what cannot be found out is called unknown.
    #[must_use]
    pub fn here() -> Self {
        Facts {
            processor: processor().unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(0, Into::into),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            compiler: compiler().unwrap_or_else(unknown),
            versions: NAMES.map(|name| (name, version(LOCK, name).unwrap_or_else(unknown))).into(),
        }
    }
}

fn unknown() -> String {
    "unknown".into()
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn compiler() -> Option<String> {
    let output = Command::new("rustc").arg("-V").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

/// The highest version of a package in a lock file.
fn version(lock: &str, package: &str) -> Option<String> {
    let head = format!("name = \"{package}\"\nversion = \"");
    let found = lock.split(head.as_str()).skip(1);
    let versions = found.filter_map(|rest| rest.split('"').next());
    versions.max_by_key(|version| numbers(version)).map(str::to_owned)
}

fn numbers(version: &str) -> Vec<u64> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}
