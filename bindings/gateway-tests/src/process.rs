//! Processes and ports.

use rustix::process::{Pid, Signal, geteuid, kill_process};

/// A port of 127.0.0.1 that nobody listens on.
#[must_use]
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
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
