//! Processes that a test starts and stops.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tollgate_gateway_tests::signal;

/// A process; stopped by its own id.
pub(crate) struct Process {
    child: Child,
    name: &'static str,
    end: Signal,
    log: PathBuf,
}

impl Process {
    /// Starts one that ends by this signal and writes what it says to a file in this directory, and returns once it listens on all of these ports.
    pub(crate) fn start(
        name: &'static str,
        end: Signal,
        command: &mut Command,
        directory: &Path,
        ports: &[u16],
    ) -> Process {
        let log = directory.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut process = Process { child, name, end, log };
        process.wait_for(ports);
        process
    }

    fn wait_for(&mut self, ports: &[u16]) {
        let end = Instant::now() + Duration::from_secs(60);
        let listens = |port: &u16| TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], *port)));
        while ports.iter().any(|port| listens(port).is_err()) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{} ended with {ended:?}:\n{}", self.name, self.said());
            assert!(Instant::now() < end, "{} does not listen:\n{}", self.name, self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it said.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Ends it, and waits for that.
    pub(crate) fn stop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        signal(self.child.id(), self.end);
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            let said = self.said();
            let start = said.char_indices().rev().nth(4000).map_or(0, |(at, _)| at);
            eprintln!("{} said:\n{}", self.name, said.get(start..).unwrap_or_default());
        }
    }
}
