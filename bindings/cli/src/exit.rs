//! How the command ends.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use tollgate::{AdminError, Refusal};

pub(crate) const HELP: &str = "\
Exit codes:
  0  done: every scenario passed, the policy is good, the decision (whatever it is) was explained,
     the traffic was replayed, every step of the demo went as documented
  1  no: a reply was not as expected, a policy has errors (with --strict also: warnings),
     a step of the demo went otherwise, the store refused a change, a replay met a bad or late line
     (with --strict) or a change (with --fail-on-change)
  2  could not begin: wrong arguments, input that cannot be read, or a store that fails";

/// What a command that ran found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Yes,
    No,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Yes => ExitCode::SUCCESS,
            Exit::No => ExitCode::from(1),
        }
    }
}

impl Exit {
    pub(crate) fn yes_if(good: bool) -> Self {
        if good { Exit::Yes } else { Exit::No }
    }
}

/// Why a command could not run.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody reads the output any more.
    OutputClosed,
    /// What is wrong and what to do.
    Said(String),
    /// The store refused, and changed nothing.
    Refused(Refusal),
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Failure::Said(message.into())
    }

    /// An error that concerns a file or a flag.
    pub(crate) fn at(place: impl Display, error: impl Display) -> Self {
        Failure::Said(format!("{place}: {error}"))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::OutputClosed => f.write_str("nobody reads the output"),
            Failure::Said(message) => f.write_str(message),
            Failure::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Said(format!("cannot write: {error}")),
        }
    }
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Refused(refusal) => Failure::Refused(refusal),
            AdminError::Store(error) => Failure::at("--store", error),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Failure::from(io::Error::from(error))
    }
}

pub(crate) type Done = Result<Exit, Failure>;
