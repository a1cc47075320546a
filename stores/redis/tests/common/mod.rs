//! Real servers for tests: on loopback, each in a directory of its own, stopped by whoever started them.
#![allow(dead_code, reason = "every test file uses a part")]
#![allow(clippy::arithmetic_side_effects, reason = "small numbers")]

pub(crate) mod limits;
pub(crate) mod proxy;
pub(crate) mod tied;
pub(crate) mod world;

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::{Client, Connection, Value};
use tempfile::TempDir;
use tollgate::{Store, StoreError};
use tollgate_redis::{RedisOptions, RedisStore, redis};
use tollgate_scenario::Backend;

const INSTALL: &str = "these tests need redis-server 7 or later: \
                       apt-get install -y --no-install-recommends redis-server";

/// A running redis-server.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    pub(crate) directory: TempDir,
    arguments: Vec<String>,
}

/// A port that nobody listens on now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Server {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let directory = tempfile::tempdir().unwrap();
        for _ in 0..5 {
            let port = free_port();
            let mut child = spawn(port, &directory, &arguments);
            if answers(port, &mut child) {
                return Server { child, port, directory, arguments };
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("redis-server does not start with {arguments:?}; {INSTALL}");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The same port, directory and arguments, after a kill.
    pub(crate) fn restart(&mut self) {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            self.child = spawn(self.port, &self.directory, &self.arguments);
            if answers(self.port, &mut self.child) {
                return;
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
            assert!(Instant::now() < until, "redis-server does not start again");
        }
    }

    /// Stops it from running, or lets it run again.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    pub(crate) fn connection(&self) -> Connection {
        Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    pub(crate) fn command(&self, words: &[&str]) -> Value {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut self.connection()).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, directory: &TempDir, arguments: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    // The port comes first, so that arguments may say otherwise.
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
    command.args(["--daemonize", "no", "--loglevel", "warning"]);
    command.arg("--dir").arg(directory.path());
    command.args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| panic!("{error}: {INSTALL}"))
}

/// Whether the server answers anything, be it that it wants a password, before it gives up.
fn answers(port: u16, child: &mut Child) -> bool {
    use std::io::{Read, Write};
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until && child.try_wait().unwrap().is_none() {
        if let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) {
            stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let mut answer = [0; 64];
            let _ = stream.write_all(b"PING\r\n");
            let read = stream.read(&mut answer).unwrap_or(0);
            if read > 0 && !answer.starts_with(b"-LOADING") {
                return true;
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// Three nodes that share the slots.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Server>,
}

impl Cluster {
    pub(crate) fn start() -> Cluster {
        let mut buses = Vec::new();
        let mut nodes = Vec::new();
        for _ in 0..3 {
            let bus = free_port();
            buses.push(bus);
            nodes.push(Server::start(&[
                "--cluster-enabled",
                "yes",
                "--cluster-port",
                &bus.to_string(),
                "--cluster-node-timeout",
                "5000",
            ]));
        }
        for (node, slots) in
            nodes.iter().zip([("0", "5460"), ("5461", "10922"), ("10923", "16383")])
        {
            node.command(&["CLUSTER", "ADDSLOTSRANGE", slots.0, slots.1]);
        }
        for (node, bus) in nodes.iter().zip(&buses).skip(1) {
            let (port, bus) = (node.port.to_string(), bus.to_string());
            nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        let ready = |node: &Server| {
            let Value::BulkString(text) = node.command(&["CLUSTER", "INFO"]) else { return false };
            let text = String::from_utf8_lossy(&text).into_owned();
            text.contains("cluster_state:ok") && text.contains("cluster_known_nodes:3")
        };
        let until = Instant::now() + Duration::from_secs(30);
        while !nodes.iter().all(ready) {
            assert!(Instant::now() < until, "the cluster does not come together");
            std::thread::sleep(Duration::from_millis(50));
        }
        Cluster { nodes }
    }

    pub(crate) fn url(&self) -> String {
        let nodes: Vec<String> =
            self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        format!("redis+cluster://{}", nodes.join(","))
    }
}

static PREFIXES: AtomicU64 = AtomicU64::new(0);

/// A prefix that no other test has.
pub(crate) fn fresh_prefix() -> String {
    format!("t{}-{}", std::process::id(), PREFIXES.fetch_add(1, Ordering::Relaxed))
}

/// Options with a fresh prefix.
pub(crate) fn options(url: &str) -> RedisOptions {
    let mut options = RedisOptions::new(url);
    options.protocol.prefix = fresh_prefix();
    // The servers of tests share their machine with the tests.
    options.response_timeout = Duration::from_secs(4);
    options.connect_timeout = Duration::from_secs(4);
    options.protocol.remember = Duration::from_secs(60);
    options
}

pub(crate) fn store(url: &str) -> RedisStore {
    RedisStore::new(&options(url)).unwrap()
}

/// Makes stores with prefixes of their own on one server or cluster.
pub(crate) struct RedisBackend {
    url: String,
    latest: std::sync::Mutex<Option<RedisOptions>>,
}

impl RedisBackend {
    pub(crate) fn new(url: String) -> Self {
        RedisBackend { url, latest: std::sync::Mutex::new(None) }
    }
}

impl Backend for &RedisBackend {
    fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
        let options = options(&self.url);
        let store = RedisStore::new(&options).unwrap();
        *self.latest.lock().unwrap() = Some(options);
        Ok(Arc::new(store))
    }

    fn reopen(&self, _: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
        let options = self.latest.lock().unwrap().clone().unwrap();
        Ok(Arc::new(RedisStore::new(&options).unwrap()))
    }

    fn keeps_state(&self) -> bool {
        true
    }
}
