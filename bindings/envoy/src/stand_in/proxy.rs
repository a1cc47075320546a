//! Configurations and streams of one worker, and what must hold at its end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::hooks::{self, ModulePtr};
use super::log;
use super::scheduler::Worker;
use super::stream::Stream;
use crate::abi::{Buffer, level};

/// How long a test waits for the module's threads, also under Valgrind.
const PATIENCE: Duration = Duration::from_secs(30);

/// A configuration of the filter: Envoy's side of it.
pub(super) struct Config {
    module: Cell<ModulePtr>,
    /// Its counters, by their numbers.
    pub(super) counters: RefCell<Vec<(String, u64)>>,
}

impl Config {
    /// Has the module read a configuration.
    ///
    /// # Errors
    /// What the module logged as errors.
    pub(super) fn new(name: &str, json: &str) -> Result<Rc<Config>, Vec<String>> {
        let mark = log::mark();
        let config =
            Rc::new(Config { module: Cell::new(core::ptr::null()), counters: RefCell::default() });
        // Gone once the hook returns, as Envoy's are.
        let (name, json): (Box<str>, Box<str>) = (name.into(), json.into());
        let pointer = Rc::as_ptr(&config).cast_mut().cast();
        let (name, json) = (Buffer::of(name.as_bytes()), Buffer::of(json.as_bytes()));
        // SAFETY: the texts are valid for the length of the call.
        config.module.set(unsafe { hooks::config_new(pointer, name, json) });
        match config.module.get().is_null() {
            true => Err(log::own(mark, level::ERROR)),
            false => Ok(config),
        }
    }

    pub(super) fn module(&self) -> ModulePtr {
        self.module.get()
    }

    /// How often a counter was incremented.
    pub(super) fn count(&self, name: &str) -> u64 {
        let counters = self.counters.borrow();
        let found = counters.iter().find(|(counter, _)| counter == name);
        found.unwrap_or_else(|| panic!("there is no counter {name}")).1
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        // SAFETY: made by the module, and given back once; its streams are gone, for each holds this.
        unsafe { hooks::config_destroy(self.module.get()) };
    }
}

/// A configuration of a route.
pub(super) struct Route(ModulePtr);

impl Route {
    /// Has the module read one.
    ///
    /// # Errors
    /// What the module logged as errors.
    pub(super) fn new(json: &str) -> Result<Rc<Route>, Vec<String>> {
        let mark = log::mark();
        let json: Box<str> = json.into();
        // SAFETY: the text is valid for the length of the call.
        let module =
            unsafe { hooks::route_new(Buffer::of(b"tollgate"), Buffer::of(json.as_bytes())) };
        match module.is_null() {
            true => Err(log::own(mark, level::ERROR)),
            false => Ok(Rc::new(Route(module))),
        }
    }

    pub(super) fn module(&self) -> ModulePtr {
        self.0
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        // SAFETY: made by the module, and given back once.
        unsafe { hooks::route_destroy(self.0) };
    }
}

/// A worker of Envoy's with streams on it.
pub(super) struct Proxy {
    pub(super) worker: Arc<Worker>,
    config: RefCell<Rc<Config>>,
    streams: RefCell<Vec<Rc<Stream>>>,
    mark: usize,
}

impl Proxy {
    /// With this configuration.
    pub(super) fn new(config: Rc<Config>) -> Proxy {
        log::note_panics();
        Proxy {
            worker: Arc::default(),
            config: RefCell::new(config),
            streams: RefCell::default(),
            mark: log::mark(),
        }
    }

    /// The configuration of streams that begin.
    pub(super) fn config(&self) -> Rc<Config> {
        Rc::clone(&self.config.borrow())
    }

    /// Another one; streams keep theirs.
    pub(super) fn update(&self, config: Rc<Config>) {
        *self.config.borrow_mut() = config;
    }

    /// A stream that begins.
    pub(super) fn stream(&self) -> Rc<Stream> {
        let mut streams = self.streams.borrow_mut();
        let number = streams.len().try_into().unwrap();
        let stream = Stream::new(&self.worker, number, &self.config.borrow());
        streams.push(Rc::clone(&stream));
        stream
    }

    /// Wakes one of the streams that are to be woken, the `nth`, if there are any.
    pub(super) fn wake_one(&self, nth: usize) -> bool {
        let mut queue = self.worker.take_queue();
        if queue.is_empty() {
            return false;
        }
        let number = queue.remove(nth % queue.len());
        self.worker.put_back(queue);
        let stream = Rc::clone(&self.streams.borrow()[usize::try_from(number).unwrap()]);
        stream.on_scheduled();
        true
    }

    /// Loses what is scheduled.
    pub(super) fn forget_wakes(&self) {
        self.worker.take_queue();
    }

    /// Wakes streams until something is so.
    pub(super) fn until(&self, what: &str, holds: impl FnMut() -> bool) {
        assert!(self.within(holds), "in vain: {what}; faults: {:?}", self.worker.faults());
    }

    /// The same, and whether it came to be so.
    pub(super) fn within(&self, mut holds: impl FnMut() -> bool) -> bool {
        let end = Instant::now() + PATIENCE;
        while !holds() {
            if Instant::now() > end {
                return false;
            }
            if !self.wake_one(0) {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        true
    }

    /// What the module logged on this thread, at this level.
    pub(super) fn logged(&self, level: u32) -> Vec<String> {
        log::own(self.mark, level)
    }

    /// Ends what has not ended, and checks what must hold of every worker.
    pub(super) fn ends(self) {
        for stream in self.streams.borrow().iter() {
            stream.leaves();
            assert!(stream.is_gone());
        }
        let caught = self.logged(level::ERROR).into_iter().find(|line| line.contains("panic"));
        assert_eq!(caught, None);
        self.settle_down();
    }

    /// The same where a panic is part of the test.
    pub(super) fn ends_after_panics(self) {
        self.streams.borrow().iter().for_each(|stream| stream.leaves());
        self.settle_down();
    }

    fn settle_down(self) {
        self.until("every scheduler is deleted", || self.worker.schedulers() == 0);
        assert_eq!(self.worker.faults(), Vec::<String>::new());
        assert_eq!(log::panics(), Vec::<String>::new());
    }
}
