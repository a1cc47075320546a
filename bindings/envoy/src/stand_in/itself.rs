//! The stand-in finds what it is there to find.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::fixture::{Bank, Kept, request};
use super::scheduler::{self, Worker};
use super::{hooks, manager};

#[test]
fn the_module_tells_its_version() {
    // SAFETY: the hook gives a text that ends with a zero and is there for ever.
    let version = unsafe { core::ffi::CStr::from_ptr(hooks::program_init()) };
    assert_eq!(version, c"v0.2.0");
}

#[test]
fn misuse_of_schedulers_is_a_fault() {
    let worker: Arc<Worker> = Arc::default();
    let gone: Arc<AtomicBool> = Arc::default();
    let [used, dead, late] = [1, 2, 3].map(|stream| scheduler::new(&worker, stream, &gone));
    scheduler::commit(used);
    assert_eq!(worker.take_queue(), [1]);
    assert_eq!(worker.faults(), Vec::<String>::new());
    scheduler::delete(dead);
    scheduler::commit(dead);
    scheduler::delete(dead);
    gone.store(true, Ordering::SeqCst);
    scheduler::commit(late);
    assert_eq!(worker.take_queue(), Vec::<u64>::new());
    let faults = worker.faults();
    let said = |text: &str| faults.iter().any(|fault| fault.contains(text));
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(said("stream 2 is used after") && said("stream 2 is deleted twice"), "{faults:?}");
    assert!(said("stream 3 is woken after its filter"), "{faults:?}");
    assert_eq!(worker.schedulers(), 2);
    scheduler::delete(used);
    scheduler::delete(late);
    assert_eq!(worker.schedulers(), 0);
}

#[test]
fn callbacks_outside_of_events_are_faults() {
    let bank = Bank::new("callbacks outside of events", Kept::Memory);
    let proxy = bank.proxy();
    let stream = proxy.stream();
    let pointer = core::ptr::from_ref(&*stream).cast_mut().cast();
    // SAFETY: the stream is there.
    assert!(unsafe { super::stream::Stream::of(pointer, "a callback") }.is_none());
    let faults = proxy.worker.faults();
    assert_eq!(faults, ["a callback is called outside of an event"]);
    stream.leaves();
}

#[test]
fn texts_are_gone_after_an_event() {
    let bank = Bank::new("texts", Kept::Memory);
    bank.account("acme", 10);
    let proxy = bank.proxy();
    let stream = proxy.stream();
    let head = request("GET", "/read", "acme", &[]);
    let before: Vec<_> = head.iter().map(|(_, value)| value.as_ptr()).collect();
    // Held meanwhile, so that no memory is used again at once.
    stream.sends_head(head, true);
    let after: Vec<_> = stream.state().request.iter().map(|(_, value)| value.as_ptr()).collect();
    assert_ne!(before, after);
    stream.upstream_answers(200, &[], true);
    assert_eq!(stream.received(), 200);
    assert_eq!(manager::headers(&[(":status", "200")])[0], stream.state().response[0]);
    proxy.ends();
}
