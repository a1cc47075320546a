//! Syncs that come later than the commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use heed::{Env, WithTls};
use parking_lot::{Condvar, Mutex};

/// A thread that syncs now and then what was committed.
pub(crate) struct Flusher {
    shared: Arc<Flushing>,
    thread: Option<JoinHandle<()>>,
}

struct Flushing {
    stop: Mutex<bool>,
    stopped: Condvar,
    /// Whether anything was committed since the last sync.
    dirty: AtomicBool,
    /// The disk refused a sync. What the operating system then still has is unknown, also after a later
    /// sync that succeeds.
    failed: AtomicBool,
}

impl Flusher {
    pub(crate) fn start(env: Env<WithTls>, every_ms: u64) -> std::io::Result<Self> {
        let shared = Arc::new(Flushing {
            stop: Mutex::new(false),
            stopped: Condvar::new(),
            dirty: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        });
        let flushing = Arc::clone(&shared);
        let every = Duration::from_millis(every_ms.max(1));
        let run = move || {
            loop {
                let mut stop = flushing.stop.lock();
                if !*stop {
                    flushing.stopped.wait_for(&mut stop, every);
                }
                let last = *stop;
                drop(stop);
                if flushing.dirty.swap(false, Ordering::AcqRel) && env.force_sync().is_err() {
                    flushing.failed.store(true, Ordering::Release);
                }
                if last {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("tollgate-lmdb sync".into()).spawn(run)?;
        Ok(Flusher { shared, thread: Some(thread) })
    }

    pub(crate) fn committed(&self) {
        self.shared.dirty.store(true, Ordering::Release);
    }

    pub(crate) fn failed(&self) -> bool {
        self.shared.failed.load(Ordering::Acquire)
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        *self.shared.stop.lock() = true;
        self.shared.stopped.notify_all();
        if let Some(thread) = self.thread.take() {
            // It does not panic; if it did, there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tempfile::TempDir;

    use super::*;
    use crate::{LmdbOptions, SyncPolicy};

    fn start(directory: &TempDir, every_ms: u64) -> Flusher {
        let sync = SyncPolicy::IntervalMs(every_ms);
        let options = LmdbOptions { sync, ..LmdbOptions::default() };
        Flusher::start(crate::environment::open(directory.path(), &options).unwrap(), every_ms)
            .unwrap()
    }

    #[test]
    fn it_syncs_after_a_while() {
        let directory = TempDir::new().unwrap();
        let flusher = start(&directory, 5);
        flusher.committed();
        let started = Instant::now();
        while flusher.shared.dirty.load(Ordering::Acquire) {
            assert!(started.elapsed() < Duration::from_secs(20), "it never syncs");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(!flusher.failed());
    }

    #[test]
    fn it_syncs_at_the_end_and_does_not_wait_for_it() {
        let directory = TempDir::new().unwrap();
        let flusher = start(&directory, 3_600_000);
        flusher.committed();
        std::thread::sleep(Duration::from_millis(20));
        assert!(flusher.shared.dirty.load(Ordering::Acquire), "it does not sync every time");
        let shared = Arc::clone(&flusher.shared);
        drop(flusher);
        assert!(!shared.dirty.load(Ordering::Acquire));
    }
}
