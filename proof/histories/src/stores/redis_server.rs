//! Redis, on a server of this run's own.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tollgate_redis::{RedisOptions, RedisStore, redis as client};

use super::{Failure, broken, on_stores};
use crate::account::LookUps;
use crate::verdict::Report;

/// A running `redis-server` on 127.0.0.1, stopped when this is dropped.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    port: u16,
    _directory: TempDir,
}

impl RedisServer {
    /// Starts one that keeps nothing on the disk.
    ///
    /// # Errors
    /// [`Failure::Broken`] says what is missing.
    pub fn start() -> Result<Self, Failure> {
        for _ in 0..5 {
            let directory = tempfile::tempdir().map_err(broken)?;
            // Another program may take the port before the server does: then the next one is tried.
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(broken)?;
            let port = free.local_addr().map_err(broken)?.port();
            drop(free);
            let child = Command::new("redis-server")
                .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"])
                .arg(port.to_string())
                .arg("--dir")
                .arg(directory.path())
                .stdout(Stdio::null())
                .spawn()
                .map_err(|error| {
                    broken(format!("redis-server: {error}; install it (Debian: redis-server)"))
                })?;
            let mut server = RedisServer { child, port, _directory: directory };
            if server.answers() {
                return Ok(server);
            }
        }
        Err(broken("redis-server does not answer; is its version 7 or later?"))
    }

    /// Whether it answers, while it runs and within a time that is long for a busy machine.
    fn answers(&mut self) -> bool {
        let until = Instant::now() + Duration::from_secs(30);
        while Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            let connection = client::Client::open(self.url()).and_then(|at| at.get_connection());
            if let Ok(mut connection) = connection
                && client::cmd("PING").exec(&mut connection).is_ok()
            {
                return matches!(self.child.try_wait(), Ok(None));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A store on the server at `url`. It waits as long as a busy machine may take: no command is sent twice.
pub(super) fn open(url: &str) -> Result<RedisStore, Failure> {
    let mut options = RedisOptions::new(url);
    options.connect_timeout = Duration::from_secs(60);
    options.response_timeout = Duration::from_secs(60);
    RedisStore::new(&options).map_err(broken)
}

/// On Redis, by the threads of this process.
///
/// # Errors
/// [`Failure`].
pub fn redis(numbers: Range<u64>) -> Result<Report, Failure> {
    let server = RedisServer::start()?;
    let store = open(&server.url())?;
    on_stores(numbers, LookUps::MayBeStale, || Ok(&store))
}
