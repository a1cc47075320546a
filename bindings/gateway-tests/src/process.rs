//! Processes and ports.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, geteuid, kill_process};

/// A port of 127.0.0.1 that nobody listens on, another one each time.
///
/// It is below those that systems give to connections and to whoever asks for any port (32768 and up, by default): a server that is stopped and
/// started again must not find its port taken meanwhile.
#[must_use]
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Tests of several processes begin at other places.
        let place =
            std::process::id().wrapping_mul(211).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + place % COUNT).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
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
