//! Schedulers, and the queue of events that they fill from any thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::abi::SchedulerPtr;

/// A worker of Envoy's: what is scheduled on it, and what went wrong on it.
#[derive(Default)]
pub(super) struct Worker {
    queue: Mutex<Vec<u64>>,
    faults: Mutex<Vec<String>>,
}

struct Scheduler {
    worker: Arc<Worker>,
    stream: u64,
    /// The filter was destroyed.
    gone: Arc<AtomicBool>,
    deleted: bool,
}

/// Every scheduler that ever was, by the number that stands for its pointer. None is forgotten, so that one that is used after it was
/// deleted is known.
static ALL: Mutex<BTreeMap<usize, Scheduler>> = Mutex::new(BTreeMap::new());

/// Calls with pointers that no scheduler ever had: nobody's in particular.
static STRAY: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl Worker {
    /// Something that the module must not do.
    pub(super) fn fault(&self, what: impl Into<String>) {
        self.faults.lock().push(what.into());
    }

    /// All of them, with those that nobody in particular caused.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = self.faults.lock().clone();
        faults.extend(STRAY.lock().iter().cloned());
        faults
    }

    /// Streams that are to be woken, each as often as that was asked, and none any more.
    pub(super) fn take_queue(&self) -> Vec<u64> {
        core::mem::take(&mut *self.queue.lock())
    }

    /// Puts back what is to be woken later.
    pub(super) fn put_back(&self, streams: impl IntoIterator<Item = u64>) {
        self.queue.lock().extend(streams);
    }

    /// How many of its schedulers were never deleted.
    pub(super) fn schedulers(self: &Arc<Worker>) -> usize {
        let all = ALL.lock();
        all.values().filter(|one| !one.deleted && Arc::ptr_eq(&one.worker, self)).count()
    }
}

/// One for a stream of this worker's.
pub(super) fn new(worker: &Arc<Worker>, stream: u64, gone: &Arc<AtomicBool>) -> SchedulerPtr {
    let mut all = ALL.lock();
    let number = all.len() + 1;
    let (worker, gone) = (Arc::clone(worker), Arc::clone(gone));
    all.insert(number, Scheduler { worker, stream, gone, deleted: false });
    core::ptr::without_provenance_mut(number)
}

/// Has a stream woken.
pub(super) fn commit(pointer: SchedulerPtr) {
    let all = ALL.lock();
    let Some(one) = all.get(&pointer.addr()) else {
        return STRAY.lock().push("a scheduler that never was is used".to_owned());
    };
    if one.deleted {
        one.worker
            .fault(format!("a scheduler of stream {} is used after it was deleted", one.stream));
    } else if one.gone.load(Ordering::SeqCst) {
        one.worker.fault(format!("stream {} is woken after its filter was destroyed", one.stream));
    } else {
        one.worker.put_back([one.stream]);
    }
}

/// Gives one back.
pub(super) fn delete(pointer: SchedulerPtr) {
    let mut all = ALL.lock();
    let Some(one) = all.get_mut(&pointer.addr()) else {
        return STRAY.lock().push("a scheduler that never was is deleted".to_owned());
    };
    if one.deleted {
        one.worker.fault(format!("a scheduler of stream {} is deleted twice", one.stream));
    }
    one.deleted = true;
}
