//! The module's own threads: what waits for a disk or a network does it here, never on Envoy's.

use core::future::Future;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::runtime::{Builder, Runtime};

/// Threads that wait for disks at a time; more work than that queues.
const MAX_BLOCKING: usize = 32;

/// Started by the first use, and there until the process ends.
fn runtime() -> Option<&'static Runtime> {
    static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
    let start = || {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(MAX_BLOCKING)
            .thread_name("tollgate")
            .enable_all()
            .build();
        runtime.inspect_err(|error| crate::log::error(&format!("no threads: {error}"))).ok()
    };
    RUNTIME.get_or_init(start).as_ref()
}

/// Whether there are threads to work on; starts them.
///
/// # Errors
/// The system has none.
pub(crate) fn start() -> Result<(), String> {
    runtime().map(drop).ok_or_else(|| "the module's threads cannot be started".to_owned())
}

/// Work under way that is about money or keys.
static WORK: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// A decision or a settlement, from when it is asked for until it is done.
pub(crate) struct Work(());

impl Work {
    /// One more.
    pub(crate) fn begin() -> Work {
        let mut work = WORK.0.lock();
        *work = work.saturating_add(1);
        Work(())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let mut work = WORK.0.lock();
        *work = work.saturating_sub(1);
        WORK.1.notify_all();
    }
}

/// Waits until none is under way, or for this long: a process that ends cuts off what its threads do.
pub(crate) fn finish_work(within: Duration) {
    let end = Instant::now().checked_add(within);
    let mut work = WORK.0.lock();
    while *work > 0 {
        let Some(end) = end else { return };
        if WORK.1.wait_until(&mut work, end).timed_out() {
            return;
        }
    }
}

/// Runs a task that waits for no disk.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    if let Some(runtime) = runtime() {
        drop(runtime.spawn(task));
    }
}

/// Runs work that waits for a disk.
pub(crate) fn spawn_blocking(work: impl FnOnce() + Send + 'static) {
    if let Some(runtime) = runtime() {
        drop(runtime.spawn_blocking(work));
    }
}
