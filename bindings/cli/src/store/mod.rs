//! Stores by name, as `--store` gives them.

mod opened;
mod scratch;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use tollgate::MAX_NOW_MS;

use crate::exit::Failure;

pub(crate) use opened::Opened;
pub(crate) use scratch::Scratch;

/// Which store an operator works on.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Store")]
pub(crate) struct StoreArgs {
    /// lmdb:DIRECTORY, redis://HOST:PORT (rediss:// with TLS), or redis+cluster://HOST:PORT,HOST:PORT.
    /// Arguments can be seen by other users: a URL with a password belongs into the variable
    #[arg(long, value_name = "STORE", env = "TOLLGATE_STORE", hide_env_values = true)]
    #[arg(global = true)]
    store: Option<Location>,
    /// Unix milliseconds, in place of the system's clock
    #[arg(long, value_name = "MS", global = true)]
    now_ms: Option<u64>,
}

impl StoreArgs {
    /// The store, and what time it is.
    pub(crate) fn open(&self) -> Result<(Opened, u64), Failure> {
        let Some(store) = &self.store else {
            return Err(Failure::new("which store? Name it with --store or in TOLLGATE_STORE"));
        };
        let now_ms = self.now_ms()?;
        Ok((Opened::open(store)?, now_ms))
    }

    fn now_ms(&self) -> Result<u64, Failure> {
        let now_ms = self.now_ms.unwrap_or_else(system_now_ms);
        if now_ms > MAX_NOW_MS {
            return Err(Failure::at("--now-ms", "beyond the year 2527; give Unix milliseconds"));
        }
        Ok(now_ms)
    }
}

fn system_now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Which kind of store scenarios and the demo run on. They begin with an empty one of their own and
/// leave nothing behind.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Store")]
pub(crate) struct ScratchArgs {
    /// Run on memory, lmdb:DIRECTORY (an empty or a new one), redis://HOST:PORT (rediss:// with TLS) or
    /// redis+cluster://HOST:PORT,HOST:PORT. What is there already is neither read nor changed
    #[arg(long, value_name = "STORE", env = "TOLLGATE_SCRATCH_STORE", hide_env_values = true)]
    #[arg(default_value = "memory", hide_default_value = true)]
    store: Location,
    /// Count limits apart from the store, in shared memory: region:FILE (a new one)
    #[arg(long, value_name = "region:FILE")]
    limits: Option<LimitsLocation>,
}

impl ScratchArgs {
    pub(crate) fn backend(&self) -> Result<Scratch, Failure> {
        Scratch::new(&self.store, self.limits.as_ref())
    }
}

/// Where a store is.
#[derive(Clone)]
pub(crate) enum Location {
    Memory,
    Lmdb(PathBuf),
    /// A URL, which may hold a password.
    Redis(String),
    Unknown,
}

/// Where limits are, when they are apart from the store.
#[derive(Clone, Debug)]
pub(crate) struct LimitsLocation(pub(crate) PathBuf);

/// Neither fails: the error of a flag repeats its value, which may hold a password.
impl From<String> for Location {
    fn from(text: String) -> Self {
        match text.split_once(':') {
            None if text == "memory" => Location::Memory,
            Some(("lmdb", path)) if !path.is_empty() => Location::Lmdb(path.into()),
            Some((scheme, rest)) if scheme.starts_with("redis") && rest.starts_with("//") => {
                Location::Redis(text)
            }
            _ => Location::Unknown,
        }
    }
}

impl FromStr for LimitsLocation {
    type Err = LimitsLocationError;

    fn from_str(text: &str) -> Result<Self, LimitsLocationError> {
        match text.split_once(':') {
            Some(("region", path)) if !path.is_empty() => Ok(LimitsLocation(path.into())),
            _ => Err(LimitsLocationError),
        }
    }
}

/// Why a place for limits is none.
#[derive(Debug, thiserror::Error)]
#[error("give region:FILE")]
pub(crate) struct LimitsLocationError;

pub(crate) fn unknown_location() -> Failure {
    Failure::at(
        "--store",
        "give memory, lmdb:DIRECTORY, redis://HOST:PORT, rediss://HOST:PORT or \
         redis+cluster://HOST:PORT,HOST:PORT",
    )
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Memory => f.write_str("memory"),
            Location::Lmdb(path) => write!(f, "lmdb:{}", path.display()),
            Location::Redis(_) => f.write_str("redis"),
            Location::Unknown => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_by_name() {
        let parse = |text: &str| format!("{:?}", Location::from(text.to_owned()));
        assert_eq!(parse("memory"), "memory");
        assert_eq!(parse("lmdb:/var/lib/tollgate"), "lmdb:/var/lib/tollgate");
        assert_eq!(parse("rediss://user:hush@host:1"), "redis");
        for wrong in ["", "lmdb:", "lmdb", "memory:", "redis:host", "postgres://hush@host"] {
            assert_eq!(parse(wrong), "unknown");
        }
    }
}
