//! Running other programs: each is printed first, and a failure says what to do.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Something that failed, with what to do about it.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The directory of the workspace.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// A path from the workspace's directory, for messages.
pub(crate) fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// One command to run in the workspace's directory.
pub(crate) struct Run {
    command: Command,
    line: String,
}

impl Run {
    /// cargo, the one that runs this program.
    pub(crate) fn cargo<'a>(args: impl IntoIterator<Item = &'a str>) -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        Run::new(&cargo, "cargo").args(args)
    }

    /// Any other program.
    pub(crate) fn program(path: &Path) -> Self {
        Run::new(path.as_os_str(), &relative(path))
    }

    fn new(program: &OsStr, shown: &str) -> Self {
        let mut command = Command::new(program);
        command.current_dir(root());
        Run { command, line: shown.to_string() }
    }

    /// More arguments.
    pub(crate) fn args<'a>(mut self, args: impl IntoIterator<Item = impl AsRef<str> + 'a>) -> Self {
        for arg in args {
            self.command.arg(arg.as_ref());
            self.line.push(' ');
            self.line.push_str(arg.as_ref());
        }
        self
    }

    /// Runs in another directory than the workspace's.
    pub(crate) fn within(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self.line = format!("cd {} && {}", relative(directory), self.line);
        self
    }

    /// A variable of the environment that need not be seen: it only keeps a program from chatting.
    pub(crate) fn quiet_env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// A variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self.line = format!("{name}={value:?} {}", self.line);
        self
    }

    /// Runs it; `advice` says what to do when it fails.
    pub(crate) fn or(mut self, advice: &str) -> Result<(), Failure> {
        announce(&self.line);
        let status = self.command.status().map_err(|error| self.not_started(&error))?;
        if status.success() {
            return Ok(());
        }
        Err(Failure(format!("`{}` failed ({status}): {advice}", self.line)))
    }

    /// Runs it and gives whether it succeeded, and what it printed to both streams.
    pub(crate) fn output(mut self) -> Result<(bool, String), Failure> {
        announce(&self.line);
        self.quiet_output().map(|(ok, out, err)| (ok, out + &err))
    }

    /// Runs it and gives its standard output; what it prints to the other stream is shown at once.
    pub(crate) fn shown(mut self) -> Result<String, Failure> {
        announce(&self.line);
        self.command.stderr(Stdio::inherit());
        self.read()
    }

    /// Runs it without a word, and gives its standard output.
    pub(crate) fn read(mut self) -> Result<String, Failure> {
        let (ok, out, err) = self.quiet_output()?;
        if ok { Ok(out) } else { Err(Failure(format!("`{}` failed:\n{err}", self.line))) }
    }

    fn quiet_output(&mut self) -> Result<(bool, String, String), Failure> {
        let output = self.command.output().map_err(|error| self.not_started(&error))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((output.status.success(), text(&output.stdout), text(&output.stderr)))
    }

    fn not_started(&self, error: &std::io::Error) -> Failure {
        Failure(format!("`{}` could not be started: {error}; is it installed?", self.line))
    }
}

/// Says what is done next.
pub(crate) fn announce(line: &str) {
    println!("\n$ {line}");
}
