//! What is preloaded into a process: a wall clock that a test sets, a disk that it lets wait.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::build::{run, target};

/// The library to preload, built once.
#[must_use]
pub fn clock_shim() -> PathBuf {
    static DONE: OnceLock<PathBuf> = OnceLock::new();
    DONE.get_or_init(|| shim("clock")).clone()
}

/// A library to preload that lets a process wait for its disk as long as there is a file `disk-waits` in its working directory; built once.
#[must_use]
pub fn disk_shim() -> PathBuf {
    static DONE: OnceLock<PathBuf> = OnceLock::new();
    DONE.get_or_init(|| shim("disk")).clone()
}

fn shim(name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{name}.c"));
    let out = target().join("gateway-tests");
    fs::create_dir_all(&out).unwrap();
    let shim = out.join(format!("{name}-{}.so", std::process::id()));
    run(Command::new("cc")
        .args(["-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-o"])
        .arg(&shim)
        .arg(source)
        .arg("-ldl"));
    // Tests of several processes may come here at once: the last whole one stays.
    let place = out.join(format!("{name}.so"));
    fs::rename(&shim, &place).unwrap();
    place
}

/// What a process preloads, and the file that its clock reads.
#[derive(Clone, Debug, Default)]
pub struct Preloaded {
    /// Libraries beside the clock.
    pub libraries: Vec<PathBuf>,
    /// The clock's file, if it has one.
    pub clock: Option<PathBuf>,
}

impl Preloaded {
    /// Sets the environment of a command.
    pub fn apply(&self, command: &mut Command) {
        let mut libraries = self.libraries.clone();
        if let Some(clock) = &self.clock {
            libraries.push(clock_shim());
            command.env("TOLLGATE_TEST_CLOCK", clock);
        }
        if !libraries.is_empty() {
            let libraries: Vec<String> =
                libraries.iter().map(|path| path.display().to_string()).collect();
            command.env("LD_PRELOAD", libraries.join(":"));
        }
    }

    /// Sets the clock, in Unix milliseconds; before the process starts, or while it runs.
    pub fn set_clock_ms(&self, now_ms: u64) {
        let clock = self.clock.as_ref().unwrap();
        // Never made shorter: processes have it mapped.
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(clock);
        file.unwrap().write_all_at(&now_ms.to_ne_bytes(), 0).unwrap();
    }
}
