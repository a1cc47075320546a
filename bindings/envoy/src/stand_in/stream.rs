//! A stream: what Envoy knows of it, and its filter's hooks.

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ThreadId};

use super::hooks::{self, ModulePtr};
use super::proxy::{Config, Route};
use super::scheduler::Worker;
use crate::abi::{Buffer, FilterPtr};

/// Names and values, each in memory of its own.
pub(super) type Headers = Vec<(Box<str>, Box<[u8]>)>;

/// What another filter, or this one, has said about a stream.
#[derive(Clone)]
pub(super) enum Metadata {
    Text(Box<[u8]>),
    Number(f64),
}

/// What becomes of a request that is passed on.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Upstream {
    /// An upstream has it.
    Reached,
    /// A connection is waited for.
    Connecting,
    /// There is none: Envoy answers with 503.
    None,
    /// Envoy answers itself, as the route says.
    Direct(u16, &'static [u8]),
}

/// What the client has received.
#[derive(Clone, Debug, Default)]
pub(super) struct Received {
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) ended: bool,
}

/// One direction of a stream.
#[derive(Default)]
pub(super) struct Way {
    /// The head has come to the filter.
    pub(super) begun: bool,
    /// The head was passed on by it.
    pub(super) passed: bool,
    /// The end has come.
    pub(super) ended: bool,
    /// What is held of the body.
    pub(super) held: Vec<u8>,
    /// All of the body that was passed on.
    pub(super) through: Vec<u8>,
    /// The filter has nothing to continue.
    pub(super) continued: bool,
}

pub(super) struct State {
    pub(super) request: Headers,
    pub(super) response: Headers,
    /// The body of the present event: of the request, of the response.
    pub(super) pieces: [Vec<Box<[u8]>>; 2],
    /// Says that there are more pieces than memory could hold.
    pub(super) absurd_pieces: bool,
    pub(super) metadata: Vec<(String, String, Metadata)>,
    pub(super) details: Box<[u8]>,
    pub(super) peer: Option<Box<[u8]>>,
    pub(super) source: Option<Box<[u8]>>,
    pub(super) buffer_limit: u64,
    /// Connections to upstreams on which the request was begun, since it was last tried.
    pub(super) attempted: usize,
    /// How often it was tried.
    pub(super) tries: u64,
    pub(super) upstream: Upstream,
    pub(super) decode: Way,
    pub(super) encode: Way,
    /// No event of the request comes any more.
    pub(super) aborted: bool,
    /// The filter has sent an answer as Envoy's own.
    pub(super) own_reply: bool,
    pub(super) client: Received,
    /// The stream is over as soon as its response is.
    pub(super) ends_at_once: bool,
    /// How it ended, for the model of the tests.
    pub(super) end: End,
}

/// How a request ended, as Envoy sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum End {
    /// The filter is there still, or its request was never passed on.
    #[default]
    Never,
    /// With all of a response, by its status.
    Whole(u16),
    /// With a part of one, because the client left.
    ClientLeft(u16),
    /// Nobody can know.
    Unknown,
    /// No upstream had it.
    NotDone,
}

pub(super) struct Stream {
    pub(super) worker: Arc<Worker>,
    pub(super) number: u64,
    pub(super) config: Rc<Config>,
    pub(super) route: RefCell<Option<Rc<Route>>>,
    module: Cell<ModulePtr>,
    gone: Arc<AtomicBool>,
    thread: ThreadId,
    depth: Cell<u32>,
    state: RefCell<State>,
}

impl Stream {
    /// A stream with a filter of this configuration.
    pub(super) fn new(worker: &Arc<Worker>, number: u64, config: &Rc<Config>) -> Rc<Stream> {
        let stream = Rc::new(Stream {
            worker: Arc::clone(worker),
            number,
            config: Rc::clone(config),
            route: RefCell::default(),
            module: Cell::new(core::ptr::null()),
            gone: Arc::default(),
            thread: thread::current().id(),
            depth: Cell::new(0),
            state: RefCell::new(State {
                request: Vec::new(),
                response: Vec::new(),
                pieces: [Vec::new(), Vec::new()],
                absurd_pieces: false,
                metadata: Vec::new(),
                details: Box::default(),
                peer: Some((*b"192.0.2.1:4711").into()),
                source: Some((*b"198.51.100.7:0").into()),
                buffer_limit: 1 << 16,
                attempted: 0,
                tries: 0,
                upstream: Upstream::Reached,
                decode: Way::default(),
                encode: Way::default(),
                aborted: false,
                own_reply: false,
                client: Received::default(),
                ends_at_once: true,
                end: End::Never,
            }),
        });
        // SAFETY: the configuration is there, and the stream outlives its filter.
        let module = unsafe { hooks::filter_new(config.module(), stream.pointer()) };
        assert!(!module.is_null(), "no filter was made");
        stream.module.set(module);
        stream
    }

    pub(super) fn state(&self) -> Ref<'_, State> {
        self.state.borrow()
    }

    /// Not to be held while a hook runs.
    pub(super) fn change(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    fn pointer(&self) -> FilterPtr {
        core::ptr::from_ref(self).cast_mut().cast()
    }

    /// The stream of a callback; `None` if it must not be called now, which is a fault.
    ///
    /// # Safety
    /// The pointer was given to a hook of this module's.
    pub(super) unsafe fn of<'a>(pointer: FilterPtr, callback: &str) -> Option<&'a Stream> {
        // SAFETY: tests keep their streams until everything is over.
        let stream = unsafe { &*pointer.cast_const().cast::<Stream>() };
        if thread::current().id() != stream.thread {
            stream.worker.fault(format!("{callback} is called on another thread"));
            return None;
        }
        if stream.depth.get() == 0 {
            stream.worker.fault(format!("{callback} is called outside of an event"));
            return None;
        }
        Some(stream)
    }

    /// The filter was destroyed.
    pub(super) fn is_gone(&self) -> bool {
        self.module.get().is_null()
    }

    pub(super) fn gone(&self) -> &Arc<AtomicBool> {
        &self.gone
    }

    /// Has a hook run, if the filter is there. Texts that the module saw are gone after it.
    fn event<T>(&self, hook: impl FnOnce(FilterPtr, ModulePtr) -> T) -> Option<T> {
        if self.is_gone() {
            return None;
        }
        self.depth.set(self.depth.get() + 1);
        let result = hook(self.pointer(), self.module.get());
        self.depth.set(self.depth.get() - 1);
        self.change().rehouse();
        Some(result)
    }

    pub(super) fn on_request_headers(&self, end: bool) -> Option<u32> {
        // SAFETY: both pointers are of this stream, whose filter is there; as in all that follow.
        self.event(|envoy, filter| unsafe { hooks::request_headers(envoy, filter, end) })
    }

    pub(super) fn on_request_body(&self, end: bool) -> Option<u32> {
        self.event(|envoy, filter| unsafe { hooks::request_body(envoy, filter, end) })
    }

    pub(super) fn on_request_trailers(&self) -> Option<u32> {
        self.event(|envoy, filter| unsafe { hooks::request_trailers(envoy, filter) })
    }

    pub(super) fn on_response_headers(&self, end: bool) -> Option<u32> {
        self.event(|envoy, filter| unsafe { hooks::response_headers(envoy, filter, end) })
    }

    pub(super) fn on_response_body(&self, end: bool) -> Option<u32> {
        self.event(|envoy, filter| unsafe { hooks::response_body(envoy, filter, end) })
    }

    pub(super) fn on_response_trailers(&self) -> Option<u32> {
        self.event(|envoy, filter| unsafe { hooks::response_trailers(envoy, filter) })
    }

    pub(super) fn on_local_reply(&self, status: u16, details: &[u8], reset: bool) {
        let details: Box<[u8]> = details.into();
        let hook = |envoy, filter| unsafe {
            hooks::local_reply(envoy, filter, status.into(), Buffer::of(&details), reset)
        };
        let answer = self.event(hook);
        assert_eq!(answer.unwrap_or(0), 0, "local replies are left as they are");
    }

    pub(super) fn on_scheduled(&self) {
        self.event(|envoy, filter| unsafe { hooks::scheduled(envoy, filter, 0) });
    }

    pub(super) fn on_complete(&self) {
        self.event(|envoy, filter| unsafe { hooks::stream_complete(envoy, filter) });
    }

    /// Destroys the filter, once.
    pub(super) fn destroy(&self) {
        let module = self.module.get();
        if module.is_null() {
            return;
        }
        // SAFETY: it is this stream's, and given back once.
        unsafe { hooks::filter_destroy(module) };
        self.module.set(core::ptr::null());
        self.gone.store(true, Ordering::SeqCst);
    }
}

impl State {
    /// Gives every text new memory: who reads an old one reads memory that was freed.
    pub(super) fn rehouse(&mut self) {
        for headers in [&mut self.request, &mut self.response] {
            let old = core::mem::take(headers);
            *headers = old.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        }
        for (_, _, value) in &mut self.metadata {
            *value = value.clone();
        }
        self.details = self.details.clone();
        self.peer = self.peer.clone();
        self.source = self.source.clone();
        let old = core::mem::take(&mut self.pieces);
        self.pieces = old.clone();
    }
}
