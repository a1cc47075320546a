//! One process of Envoy.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tollgate_gateway_tests::{Preloaded, Response, send, signal};

use crate::install::{binary, module};

/// A process, from its start to its end; stopped by its own id.
pub(crate) struct Process {
    child: Child,
    admin: u16,
    port: u16,
    socket: PathBuf,
}

impl Process {
    /// Starts one with the configuration in this file, which listens on this socket too. What it says is added to `envoy.log` in its directory.
    pub(crate) fn start(
        config: &Path,
        concurrency: usize,
        preloaded: &Preloaded,
        socket: PathBuf,
    ) -> Process {
        let (log, admin) = (config.with_file_name("envoy.log"), config.with_extension("admin"));
        let log = OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut command = command(config);
        command
            .args(["--concurrency", &concurrency.to_string()])
            .arg("--admin-address-path")
            .arg(&admin)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        preloaded.apply(&mut command);
        let child = command.spawn().unwrap();
        Process { child, admin: 0, port: 0, socket }.served(&admin)
    }

    /// What Envoy says of the configuration in this file: its exit code, and all that it printed.
    pub(crate) fn check(config: &Path) -> (Option<i32>, String) {
        let output = command(config).args(["--mode", "validate"]).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    }

    /// Once it serves.
    fn served(mut self, admin: &Path) -> Process {
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("envoy ended with {status}:\n{}", said(admin));
            }
            let address = fs::read_to_string(admin).unwrap_or_default();
            let port = address.rsplit_once(':').and_then(|(_, port)| port.trim().parse().ok());
            if let Some(port) = port {
                self.admin = port;
                if self.ask("/ready").status == 200 {
                    // A listener that comes from a file may have no port yet.
                    if let Some(port) = self.listens("port") {
                        self.port = port;
                        return self;
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("envoy did not begin to serve:\n{}", said(admin));
    }

    /// Which port the listener of this name took, once it has one.
    pub(crate) fn listens(&self, name: &str) -> Option<u16> {
        let listeners: Value =
            serde_json::from_slice(&self.ask("/listeners?format=json").body).unwrap();
        let mut named = listeners["listener_statuses"].as_array()?.iter();
        let listener = named.find(|listener| listener["name"] == name)?;
        let port = &listener["local_address"]["socket_address"]["port_value"];
        u16::try_from(port.as_u64()?).ok().filter(|port| *port > 0)
    }

    /// What its administration answers.
    pub(crate) fn ask(&self, target: &str) -> Response {
        send(self.admin, "GET", target, &[], b"")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Ends it with this signal, and waits; gives whether it ended by itself and well.
    pub(crate) fn stop(&mut self, how: Signal) -> bool {
        if let Some(status) = self.child.try_wait().unwrap() {
            return status.success();
        }
        signal(self.id(), how);
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop(Signal::TERM);
    }
}

fn command(config: &Path) -> Command {
    let module = module();
    let mut command = Command::new(binary());
    command
        .arg("-c")
        .arg(config)
        .args(["--disable-hot-restart", "--log-level", "info"])
        .args(["--component-log-level", "dynamic_modules:debug"])
        .args(["--file-flush-interval-msec", "1"])
        .env("ENVOY_DYNAMIC_MODULES_SEARCH_PATH", module.parent().unwrap())
        .current_dir(config.parent().unwrap());
    command
}

/// The log beside this file.
fn said(file: &Path) -> String {
    let log = fs::read(file.with_file_name("envoy.log")).unwrap_or_default();
    String::from_utf8_lossy(&log).into_owned()
}
