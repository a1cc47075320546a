//! Envoy as safe Rust: a stream during one of its events, and what may be called from other threads.

use core::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};

use tollgate::{Answer, Single};

use crate::abi::{self, Attribute, Buffer, HeaderMap, Pair, ReceivedBody};

/// A stream of Envoy's during one event.
///
/// What is read borrows the stream, and what changes it borrows it mutably: Envoy's texts are valid until the event ends or
/// something is changed.
pub(crate) struct Stream<'event> {
    filter: abi::FilterPtr,
    event: PhantomData<&'event ()>,
}

impl Stream<'_> {
    /// A stream during an event.
    ///
    /// # Safety
    /// `filter` is what Envoy gave to the event hook that runs, on this thread, and the stream is dropped before the hook returns.
    pub(crate) unsafe fn new(filter: abi::FilterPtr) -> Self {
        Stream { filter, event: PhantomData }
    }

    /// The `nth` value of a header; `name` is lower-case.
    pub(crate) fn header(&self, map: HeaderMap, name: &str, nth: usize) -> Option<&[u8]> {
        self.header_and_count(map, name, nth).0
    }

    /// The `nth` value of a header, and how many there are.
    fn header_and_count(&self, map: HeaderMap, name: &str, nth: usize) -> (Option<&[u8]>, usize) {
        let (mut value, mut count) = (Buffer::NONE, 0);
        let name = Buffer::of(name.as_bytes());
        // SAFETY: the pointers are valid for the length of the call.
        let found = unsafe { abi::get_header(self.filter, map, name, &mut value, nth, &mut count) };
        // SAFETY: Envoy has filled it in, and nothing is changed while `self` is borrowed.
        let value = (found && nth < count).then(|| unsafe { text(value) });
        (value, count)
    }

    /// Puts a header in place of those of this name; `None` removes them.
    pub(crate) fn set_header(&mut self, map: HeaderMap, name: &str, value: Option<&[u8]>) {
        let value = value.map_or(Buffer::NONE, Buffer::of);
        // SAFETY: the texts are valid for the length of the call; Envoy copies them.
        unsafe { abi::set_header(self.filter, map, Buffer::of(name.as_bytes()), value) };
    }

    /// Adds a header beside what is there.
    pub(crate) fn add_header(&mut self, map: HeaderMap, name: &str, value: &[u8]) {
        let (name, value) = (Buffer::of(name.as_bytes()), Buffer::of(value));
        // SAFETY: the texts are valid for the length of the call; Envoy copies them.
        unsafe { abi::add_header(self.filter, map, name, value) };
    }

    /// Asks which headers there are: `ask` is given what says whether there is one of a name, in any case.
    ///
    /// To look for one by its name makes Envoy build an index of all of them, which costs more than the rest of a decision: the names are gone through here.
    pub(crate) fn with_names<T>(
        &self,
        map: HeaderMap,
        ask: impl FnOnce(&dyn Fn(&str) -> bool) -> T,
    ) -> T {
        const NONE: Pair = Pair { key: Buffer::NONE, value: Buffer::NONE };
        // SAFETY: of a stream in an event.
        let count = unsafe { abi::get_headers_size(self.filter, map) };
        let (mut few, mut many) = ([NONE; 32], Vec::new());
        let pairs = match few.get_mut(..count) {
            Some(pairs) => pairs,
            None => {
                many.resize(count, NONE);
                many.as_mut_slice()
            }
        };
        // SAFETY: there is room for as many headers as Envoy said.
        let told = unsafe { abi::get_headers(self.filter, map, pairs.as_mut_ptr()) };
        let pairs: &[Pair] = if told { pairs } else { &[] };
        // SAFETY: Envoy has filled them in, and nothing is changed while `self` is borrowed.
        let name = |pair: &Pair| unsafe { text(pair.key) };
        ask(&|wanted| pairs.iter().any(|pair| name(pair).eq_ignore_ascii_case(wanted.as_bytes())))
    }

    /// Hands over the pieces of body that came with this event.
    pub(crate) fn for_each_chunk(&self, body: ReceivedBody, mut each: impl FnMut(&[u8])) {
        // SAFETY: of a stream in an event.
        let count = unsafe { abi::get_body_chunks_size(self.filter, body) };
        let mut chunks = vec![Buffer::NONE; count];
        // SAFETY: there is room for as many chunks as Envoy said.
        if unsafe { abi::get_body_chunks(self.filter, body, chunks.as_mut_ptr()) } {
            for chunk in chunks {
                // SAFETY: Envoy has filled it in, and nothing is changed while `self` is borrowed.
                each(unsafe { text(chunk) });
            }
        }
    }

    /// Lets Envoy keep this much of a body before it refuses it, if that is more than it would.
    pub(crate) fn raise_buffer_limit(&mut self, bytes: u64) {
        // SAFETY: of a stream in an event. 0 is no limit.
        unsafe {
            let limit = abi::get_buffer_limit(self.filter);
            if limit != 0 && limit < bytes {
                abi::set_buffer_limit(self.filter, bytes);
            }
        }
    }

    /// The TCP peer, where there is one.
    pub(crate) fn direct_remote_address(&self) -> Option<IpAddr> {
        let mut address = Buffer::NONE;
        // SAFETY: the pointer is valid for the length of the call.
        let found = unsafe { abi::get_direct_remote_address(self.filter, &mut address) };
        // SAFETY: Envoy has filled it in, and nothing is changed while `self` is borrowed.
        found.then(|| unsafe { text(address) }).and_then(ip_address)
    }

    /// Method and target, as they came.
    pub(crate) fn request_line(&self) -> (&[u8], &[u8]) {
        let text = |attribute| self.attribute(attribute).unwrap_or_default();
        (text(Attribute::RequestMethod), text(Attribute::RequestPath))
    }

    /// The address that Envoy takes the client to have.
    pub(crate) fn source_address(&self) -> Option<IpAddr> {
        self.attribute(Attribute::SourceAddress).and_then(ip_address)
    }

    /// Why the response is as it is, in Envoy's words.
    pub(crate) fn response_code_details(&self) -> &[u8] {
        self.attribute(Attribute::ResponseCodeDetails).unwrap_or_default()
    }

    fn attribute(&self, attribute: Attribute) -> Option<&[u8]> {
        let mut value = Buffer::NONE;
        // SAFETY: the pointer is valid for the length of the call.
        let found = unsafe { abi::get_attribute_string(self.filter, attribute, &mut value) };
        // SAFETY: Envoy has filled it in, and nothing is changed while `self` is borrowed.
        found.then(|| unsafe { text(value) })
    }

    /// Whether the request may have been begun on a connection to an upstream, however it ended there.
    ///
    /// Of a request that is tried again, Envoy forgets the connections of the tries before, and tells only how often it was tried.
    pub(crate) fn may_have_reached_an_upstream(&self) -> bool {
        let mut tries = 0;
        // SAFETY: of a stream in an event; the pointer is valid for the length of the call.
        unsafe {
            let attribute = Attribute::UpstreamRequestAttemptCount;
            let told = abi::get_attribute_int(self.filter, attribute, &mut tries);
            (told && tries > 1) || abi::get_connections_attempted(self.filter) > 0
        }
    }

    /// Dynamic metadata that another filter has set, if it is a text.
    pub(crate) fn metadata_text(&self, namespace: &str, key: &str) -> Option<&[u8]> {
        let (namespace, key) = (Buffer::of(namespace.as_bytes()), Buffer::of(key.as_bytes()));
        let mut value = Buffer::NONE;
        // SAFETY: the pointers are valid for the length of the call.
        let found = unsafe {
            abi::get_metadata_string(self.filter, abi::DYNAMIC_METADATA, namespace, key, &mut value)
        };
        // SAFETY: Envoy has filled it in, and nothing is changed while `self` is borrowed.
        found.then(|| unsafe { text(value) })
    }

    /// Dynamic metadata that another filter has set, if it is a number.
    pub(crate) fn metadata_number(&self, namespace: &str, key: &str) -> Option<f64> {
        let (namespace, key) = (Buffer::of(namespace.as_bytes()), Buffer::of(key.as_bytes()));
        let mut value = 0.0;
        // SAFETY: the pointers are valid for the length of the call.
        let found = unsafe {
            abi::get_metadata_number(self.filter, abi::DYNAMIC_METADATA, namespace, key, &mut value)
        };
        found.then_some(value)
    }

    /// Sets entries of dynamic metadata.
    pub(crate) fn set_metadata(&mut self, namespace: &str, entries: &[(&str, &str)]) {
        let pairs = pairs(entries.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes())));
        let namespace = Buffer::of(namespace.as_bytes());
        // SAFETY: the texts are valid for the length of the call; Envoy copies them.
        unsafe { abi::set_metadata(self.filter, namespace, pairs.as_ptr(), pairs.len()) };
    }

    /// Adds one to a counter of the configuration that this filter was made from.
    pub(crate) fn count(&self, counter: usize) {
        // SAFETY: without labels there is nothing to point at.
        unsafe { abi::increment_counter(self.filter, counter, core::ptr::null(), 0, 1) };
    }

    /// The configuration of the most specific route, as a hook of this module gave it to Envoy.
    pub(crate) fn route_config(&self) -> *const core::ffi::c_void {
        // SAFETY: of a stream in an event.
        unsafe { abi::get_route_config(self.filter) }
    }

    /// What wakes this stream from another thread.
    pub(crate) fn scheduler(&self) -> Scheduler {
        // SAFETY: of a stream in an event.
        Scheduler(unsafe { abi::scheduler_new(self.filter) })
    }

    /// Answers in the upstream's place, as Envoy gives answers of its own. Hooks of the same filter may run before this returns.
    pub(crate) fn send_response(self, answer: &Answer, details: &str) {
        // Envoy would make it a gRPC answer with the status 0, which is success.
        let grpc = self.is_grpc().then(|| ("grpc-status", grpc_status(answer.status)));
        let grpc = grpc.iter().map(|(name, status)| (name.as_bytes(), status.as_bytes()));
        let headers = answer.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_bytes(), value.as_slice()));
        let pairs = pairs(headers.chain(grpc));
        let (body, details) = (Buffer::of(&answer.body), Buffer::of(details.as_bytes()));
        let status = answer.status.into();
        // SAFETY: the texts are valid for the length of the call; Envoy copies them. No borrow of the filter is held.
        unsafe {
            abi::send_response(self.filter, status, pairs.as_ptr(), pairs.len(), body, details);
        }
    }

    /// Answers with exactly these headers and this body. Hooks of the same filter may run before this returns.
    pub(crate) fn send_stored(self, answer: &Answer) {
        let (status, length) = (answer.status.to_string(), answer.body.len().to_string());
        // The answer to HEAD tells the length of what GET would get, which was stored with it.
        let told = answer.header("content-length").is_some();
        let has_none = told || matches!(answer.status, 204 | 304);
        let own = [(":status", &status), ("content-length", &length)];
        let own = own.iter().take(if has_none { 1 } else { 2 });
        let own = own.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let headers = answer.headers.iter();
        let pairs =
            pairs(own.chain(headers.map(|(name, value)| (name.as_bytes(), value.as_slice()))));
        let is_head = self.header(HeaderMap::Request, ":method", 0) == Some(b"HEAD");
        let ends = answer.body.is_empty() || is_head;
        // SAFETY: the texts are valid for the length of the call; Envoy copies them. No borrow of the filter is held.
        unsafe {
            abi::send_response_headers(self.filter, pairs.as_ptr(), pairs.len(), ends);
            if !ends {
                abi::send_response_data(self.filter, Buffer::of(&answer.body), true);
            }
        }
    }

    fn is_grpc(&self) -> bool {
        let content_type = self.header(HeaderMap::Request, "content-type", 0);
        let rest = content_type.and_then(|value| value.strip_prefix(b"application/grpc"));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"+"))
    }

    /// Passes on the request that was held. Hooks of the same filter may run before this returns.
    pub(crate) fn continue_decoding(self) {
        // SAFETY: of a stream in an event; no borrow of the filter is held.
        unsafe { abi::continue_decoding(self.filter) };
    }

    /// Passes on the response that was held. Hooks of the same filter may run before this returns.
    pub(crate) fn continue_encoding(self) {
        // SAFETY: of a stream in an event; no borrow of the filter is held.
        unsafe { abi::continue_encoding(self.filter) };
    }
}

fn pairs<'t>(texts: impl Iterator<Item = (&'t [u8], &'t [u8])>) -> Vec<Pair> {
    texts.map(|(key, value)| Pair { key: Buffer::of(key), value: Buffer::of(value) }).collect()
}

/// The gRPC status of an HTTP status, as gRPC maps them (`http-grpc-status-mapping.md` of its documents) and Envoy for answers of its own.
fn grpc_status(http: u16) -> &'static str {
    match http {
        400 => "13",                   // internal
        401 => "16",                   // unauthenticated
        403 => "7",                    // permission denied
        404 => "12",                   // unimplemented
        429 | 502 | 503 | 504 => "14", // unavailable
        _ => "2",                      // unknown
    }
}

/// Request headers as the engine reads them.
pub(crate) struct RequestHeaders<'s>(pub(crate) &'s Stream<'s>);

// SAFETY: the engine reads headers on the thread that decides, and only what is decided within the event, on Envoy's own thread, is given
// these; other threads get copies (`facts.rs`).
unsafe impl Sync for RequestHeaders<'_> {}

impl tollgate::Headers for RequestHeaders<'_> {
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        self.0.header(HeaderMap::Request, name, nth)
    }

    fn single(&self, name: &str) -> Single<'_> {
        match self.0.header_and_count(HeaderMap::Request, name, 0) {
            (Some(value), 1) => Single::One(value),
            (Some(_), _) => Single::Repeated,
            (None, _) => Single::None,
        }
    }
}

/// Wakes a stream from any thread, as long as it is there.
pub(crate) struct Scheduler(abi::SchedulerPtr);

// SAFETY: Envoy says that it may be used from any thread.
unsafe impl Send for Scheduler {}

impl Scheduler {
    /// Has the filter's `scheduled` event run on its own thread. The filter must not be destroyed meanwhile: see `mailbox.rs`.
    pub(crate) fn wake(&self) {
        // SAFETY: it was made by `scheduler_new` and is not deleted yet.
        unsafe { abi::scheduler_commit(self.0, 0) };
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // SAFETY: it was made by `scheduler_new`, and is deleted once.
        unsafe { abi::scheduler_delete(self.0) };
    }
}

/// Defines a counter of a configuration.
///
/// # Safety
/// `config` is what Envoy gave to the hook that makes a configuration, and that hook runs.
pub(crate) unsafe fn define_counter(config: abi::ConfigPtr, name: &str) -> Option<usize> {
    let mut id = 0;
    let name = Buffer::of(name.as_bytes());
    // SAFETY: the pointers are valid for the length of the call; there are no labels.
    let result = unsafe { abi::define_counter(config, name, core::ptr::null(), 0, &mut id) };
    (result == abi::METRICS_SUCCESS).then_some(id)
}

/// Whether Envoy only checks its configuration. On its main thread only.
pub(crate) fn is_validation_mode() -> bool {
    // SAFETY: it has no arguments, and is called by hooks that make configurations, which run there.
    unsafe { abi::is_validation_mode() }
}

/// Writes to Envoy's log, from any thread.
pub(crate) fn log(level: u32, message: &str) {
    // SAFETY: the text is valid for the length of the call.
    unsafe {
        if abi::log_enabled(level) {
            abi::log(level, Buffer::of(message.as_bytes()));
        }
    }
}

/// The bytes that Envoy points at.
///
/// # Safety
/// Envoy has filled the buffer in, and what it points at stays as it is for `'t`.
pub(crate) unsafe fn text<'t>(buffer: Buffer) -> &'t [u8] {
    if buffer.ptr.is_null() || buffer.len == 0 {
        return &[];
    }
    // SAFETY: said by the caller.
    unsafe { core::slice::from_raw_parts(buffer.ptr.cast(), buffer.len) }
}

/// `1.2.3.4:5`, `[::1]:5`, or without a port; a path is no address.
fn ip_address(text: &[u8]) -> Option<IpAddr> {
    let text = core::str::from_utf8(text).ok()?;
    let with_port = text.parse::<SocketAddr>().map(|address| address.ip());
    with_port.or_else(|_| text.parse()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_with_and_without_ports() {
        let parsed = |text: &str| ip_address(text.as_bytes()).map(|address| address.to_string());
        assert_eq!(parsed("192.0.2.1:443").as_deref(), Some("192.0.2.1"));
        assert_eq!(parsed("[2001:db8::1]:443").as_deref(), Some("2001:db8::1"));
        assert_eq!(parsed("192.0.2.1").as_deref(), Some("192.0.2.1"));
        for other in ["", "/run/socket", "@abstract", "192.0.2.1:", "envoy_internal_address"] {
            assert_eq!(parsed(other), None, "{other}");
        }
    }
}
