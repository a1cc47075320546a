//! A real server for tests: on loopback, in a directory of its own, stopped by whoever started it.
#![allow(dead_code, reason = "every test file uses a part")]
#![allow(clippy::arithmetic_side_effects, reason = "small numbers")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const INSTALL: &str = "these tests need redis-server 7 or later: \
                       apt-get install -y --no-install-recommends redis-server";

/// A running redis-server.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    _directory: TempDir,
}

impl Server {
    pub(crate) fn start() -> Server {
        let directory = TempDir::new().unwrap();
        for _ in 0..5 {
            let port = free_port();
            let mut child = spawn(port, &directory);
            if answers(port, &mut child) {
                return Server { child, port, _directory: directory };
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("redis-server does not start; {INSTALL}");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn spawn(port: u16, directory: &TempDir) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
    command.args(["--daemonize", "no", "--loglevel", "warning"]);
    command.arg("--dir").arg(directory.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| panic!("{error}: {INSTALL}"))
}

fn answers(port: u16, child: &mut Child) -> bool {
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until && child.try_wait().unwrap().is_none() {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let mut answer = [0; 64];
            let _ = stream.write_all(b"PING\r\n");
            if stream.read(&mut answer).unwrap_or(0) > 0 {
                return true;
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}
