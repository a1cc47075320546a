//! Processes and ports.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Mutex;

use rustix::process::{Pid, Signal, geteuid, kill_process};

/// A port of 127.0.0.1 that nobody listens on, another one each time: tests of one process run at once.
#[must_use]
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        if GIVEN.lock().unwrap().insert(port) {
            return port;
        }
    }
}

/// Sends a signal to a process; one that has ended is let be.
pub fn signal(pid: u32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal);
}

/// Whether this may install packages.
#[must_use]
pub fn is_root() -> bool {
    geteuid().is_root()
}
