//! A proxy that stays from one scenario to the next: it takes longer to start than a scenario to run.

use std::cell::Cell;
use std::fs;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tollgate_gateway_tests::free_port;

use crate::kind::{Kind, Ports};
use crate::process::Process;

thread_local! {
    /// The proxy of this test, between its scenarios; it ends with the test's thread.
    pub(crate) static IDLE: Cell<Option<Running>> = const { Cell::new(None) };
}

/// A proxy with places of its own for the server and the API.
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) directory: TempDir,
    pub(crate) port: u16,
    pub(crate) tollgate: u16,
    pub(crate) relay: Relay,
}

impl Running {
    pub(crate) fn start(kind: Kind, edits: &[(&str, &str)]) -> Running {
        let directory = TempDir::new().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let relay = Relay::start();
        let ports = Ports { web: free_port(), tollgate: free_port(), api: relay.port };
        let dir = directory.path().display().to_string();
        let edits: Vec<(&str, String)> =
            edits.iter().map(|(old, new)| (*old, new.replace("DIR", &dir))).collect();
        let edits: Vec<(&str, &str)> =
            edits.iter().map(|(old, new)| (*old, new.as_str())).collect();
        let mut command = kind.command(ports, &edits, directory.path());
        let process =
            Process::start("proxy", kind.end(), &mut command, directory.path(), &[ports.web]);
        let end = Instant::now() + Duration::from_secs(60);
        while UnixStream::connect(directory.path().join("socket")).is_err() {
            assert!(Instant::now() < end, "no socket: {}", process.said());
            std::thread::sleep(Duration::from_millis(1));
        }
        Running { process, directory, port: ports.web, tollgate: ports.tollgate, relay }
    }
}

/// A port that leads to another one, which changes.
pub(crate) struct Relay {
    port: u16,
    to: Arc<AtomicU16>,
    stop: Arc<AtomicBool>,
}

impl Relay {
    fn start() -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (to, stop) = (Arc::<AtomicU16>::default(), Arc::<AtomicBool>::default());
        let relay = Relay { port, to: Arc::clone(&to), stop: Arc::clone(&stop) };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let api = TcpStream::connect(("127.0.0.1", to.load(Ordering::SeqCst)));
                if let (Ok(stream), Ok(api)) = (stream, api) {
                    let (back, forth) = (stream.try_clone().unwrap(), api.try_clone().unwrap());
                    std::thread::spawn(move || carry(stream, forth));
                    std::thread::spawn(move || carry(api, back));
                }
            }
        });
        relay
    }

    /// From now on to this port.
    pub(crate) fn lead_to(&self, port: u16) {
        self.to.store(port, Ordering::SeqCst);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let _ = from.set_nodelay(true);
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}
