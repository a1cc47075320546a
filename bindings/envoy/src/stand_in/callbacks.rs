//! The callbacks that `abi.rs` declares, over a [`Stream`].
//!
//! Each first finds its stream, which is a fault outside of an event or on another thread, and holds no borrow of it when it lets hooks run.

use core::ffi::c_void;
use core::ptr;
use std::rc::Rc;

use super::log;
use super::proxy::Config;
use super::scheduler;
use super::stream::{Headers, Metadata, State, Stream};
use crate::abi::{
    Attribute, Buffer, ConfigPtr, FilterPtr, HeaderMap, Pair, ReceivedBody, SchedulerPtr, level,
};

/// The text of the module's that a callback is given.
///
/// # Safety
/// The module says that it is there during the callback.
unsafe fn text<'t>(buffer: Buffer) -> &'t [u8] {
    if buffer.ptr.is_null() {
        return &[];
    }
    // SAFETY: said by the caller.
    unsafe { core::slice::from_raw_parts(buffer.ptr.cast(), buffer.len) }
}

/// The same of a list.
///
/// # Safety
/// The module says that it is there during the callback.
unsafe fn headers(pairs: *const Pair, count: usize) -> Headers {
    if count == 0 {
        return Headers::new();
    }
    // SAFETY: said by the caller.
    unsafe {
        let pairs = core::slice::from_raw_parts(pairs, count);
        pairs.iter().map(|pair| (lower_case(text(pair.key)), text(pair.value).into())).collect()
    }
}

/// A name of a header as Envoy keeps it.
fn lower_case(bytes: &[u8]) -> Box<str> {
    name(bytes).to_ascii_lowercase().into()
}

fn name(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).expect("names are ASCII")
}

/// Gives the module a text of Envoy's.
///
/// # Safety
/// `to` is where the module wants it.
unsafe fn give(to: *mut Buffer, text: Option<&[u8]>) -> bool {
    // SAFETY: said by the caller.
    unsafe { to.write(text.map_or(Buffer::NONE, Buffer::of)) };
    text.is_some()
}

fn map(state: &mut State, map: HeaderMap) -> &mut Headers {
    match map {
        HeaderMap::Request => &mut state.request,
        HeaderMap::Response => &mut state.response,
    }
}

macro_rules! callbacks {
    ($($symbol:literal fn $name:ident ($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block)*) => {
        $(
            // Each is called by the module with pointers of this stand-in's, or of its own that are valid during the call.
            #[allow(unused_unsafe)]
            #[unsafe(export_name = concat!("envoy_dynamic_module_callback_", $symbol))]
            unsafe extern "C" fn $name($($argument: $type),*) $(-> $result)? {
                // SAFETY: as above.
                unsafe { $body }
            }
        )*
    };
}

callbacks! {
    "log" fn log_line(level: u32, message: Buffer) {
        log::add(level, String::from_utf8_lossy(text(message)).into_owned());
    }

    "log_enabled" fn log_enabled(level: u32) -> bool {
        level >= level::INFO
    }

    "is_validation_mode" fn is_validation_mode() -> bool {
        super::fixture::only_validates()
    }

    "http_filter_config_define_counter" fn define_counter(
        config: ConfigPtr, name_of: Buffer, _label_names: *const Buffer, labels: usize, id: *mut usize,
    ) -> u32 {
        assert_eq!(labels, 0);
        let mut counters = (*config.cast_const().cast::<Config>()).counters.borrow_mut();
        id.write(counters.len());
        counters.push((name(text(name_of)).to_owned(), 0));
        0
    }

    "http_filter_increment_counter" fn increment_counter(
        filter: FilterPtr, id: usize, _label_values: *const Buffer, labels: usize, value: u64,
    ) -> u32 {
        assert_eq!(labels, 0);
        let Some(stream) = Stream::of(filter, "increment_counter") else { return 1 };
        match stream.config.counters.borrow_mut().get_mut(id) {
            Some((_, count)) => *count += value,
            None => return 1,
        }
        0
    }

    "http_get_header" fn get_header(
        filter: FilterPtr, of: HeaderMap, name_of: Buffer, value: *mut Buffer, nth: usize, count: *mut usize,
    ) -> bool {
        let Some(stream) = Stream::of(filter, "get_header") else { return give(value, None) };
        let wanted = lower_case(text(name_of));
        let mut state = stream.change();
        let found = map(&mut state, of).iter().filter(|(name, _)| *name == wanted);
        let found: Vec<&[u8]> = found.map(|(_, value)| &**value).collect();
        if !count.is_null() {
            count.write(found.len());
        }
        give(value, found.get(nth).copied())
    }

    "http_get_headers_size" fn get_headers_size(filter: FilterPtr, of: HeaderMap) -> usize {
        let Some(stream) = Stream::of(filter, "get_headers_size") else { return 0 };
        map(&mut stream.change(), of).len()
    }

    "http_get_headers" fn get_headers(filter: FilterPtr, of: HeaderMap, pairs: *mut Pair) -> bool {
        let Some(stream) = Stream::of(filter, "get_headers") else { return false };
        for (at, (name, value)) in map(&mut stream.change(), of).iter().enumerate() {
            pairs.add(at).write(Pair { key: Buffer::of(name.as_bytes()), value: Buffer::of(value) });
        }
        true
    }

    "http_add_header" fn add_header(filter: FilterPtr, of: HeaderMap, name_of: Buffer, value: Buffer) -> bool {
        let Some(stream) = Stream::of(filter, "add_header") else { return false };
        let added = (lower_case(text(name_of)), text(value).into());
        let mut state = stream.change();
        map(&mut state, of).push(added);
        state.rehouse();
        true
    }

    "http_set_header" fn set_header(filter: FilterPtr, of: HeaderMap, name_of: Buffer, value: Buffer) -> bool {
        let Some(stream) = Stream::of(filter, "set_header") else { return false };
        let wanted = lower_case(text(name_of));
        let value: Option<Box<[u8]>> = (!value.ptr.is_null()).then(|| text(value).into());
        let mut state = stream.change();
        let headers = map(&mut state, of);
        headers.retain(|(name, _)| *name != wanted);
        headers.extend(value.map(|value| (wanted, value)));
        state.rehouse();
        true
    }

    "http_send_response" fn send_response(
        filter: FilterPtr, status: u32, pairs: *const Pair, count: usize, body: Buffer, details: Buffer,
    ) {
        let Some(stream) = Stream::of(filter, "send_response") else { return };
        let status = u16::try_from(status).unwrap();
        stream.replies_for_the_filter(status, headers(pairs, count), text(body), text(details));
    }

    "http_send_response_headers" fn send_response_headers(
        filter: FilterPtr, pairs: *const Pair, count: usize, end: bool,
    ) {
        let Some(stream) = Stream::of(filter, "send_response_headers") else { return };
        stream.head_for_the_filter(headers(pairs, count), end);
    }

    "http_send_response_data" fn send_response_data(filter: FilterPtr, data: Buffer, end: bool) {
        let Some(stream) = Stream::of(filter, "send_response_data") else { return };
        stream.body_of_response(&[text(data)], end);
    }

    "http_get_body_chunks_size" fn get_body_chunks_size(filter: FilterPtr, body: ReceivedBody) -> usize {
        let Some(stream) = Stream::of(filter, "get_body_chunks_size") else { return 0 };
        match stream.state().absurd_pieces {
            true => usize::MAX,
            false => pieces(&stream.state(), body).len(),
        }
    }

    "http_get_body_chunks" fn get_body_chunks(filter: FilterPtr, body: ReceivedBody, chunks: *mut Buffer) -> bool {
        let Some(stream) = Stream::of(filter, "get_body_chunks") else { return false };
        for (nth, piece) in pieces(&stream.state(), body).iter().enumerate() {
            chunks.add(nth).write(Buffer::of(piece));
        }
        true
    }

    "http_get_buffer_limit" fn get_buffer_limit(filter: FilterPtr) -> u64 {
        Stream::of(filter, "get_buffer_limit").map_or(0, |stream| stream.state().buffer_limit)
    }

    "http_set_buffer_limit" fn set_buffer_limit(filter: FilterPtr, bytes: u64) {
        let Some(stream) = Stream::of(filter, "set_buffer_limit") else { return };
        stream.change().buffer_limit = bytes;
    }

    "http_set_dynamic_metadata_string_batch" fn set_metadata(
        filter: FilterPtr, namespace: Buffer, pairs: *const Pair, count: usize,
    ) {
        let Some(stream) = Stream::of(filter, "set_metadata") else { return };
        assert!(count > 0);
        for pair in core::slice::from_raw_parts(pairs, count) {
            let value = Metadata::Text(text(pair.value).into());
            stream.change().set_metadata(name(text(namespace)), name(text(pair.key)), value);
        }
        stream.change().rehouse();
    }

    "http_get_metadata_string" fn get_metadata_string(
        filter: FilterPtr, source: u32, namespace: Buffer, key: Buffer, value: *mut Buffer,
    ) -> bool {
        assert_eq!(source, 0);
        let Some(stream) = Stream::of(filter, "get_metadata_string") else { return give(value, None) };
        let state = stream.state();
        match state.metadata(name(text(namespace)), name(text(key))) {
            Some(Metadata::Text(bytes)) => give(value, Some(bytes)),
            _ => give(value, None),
        }
    }

    "http_get_metadata_number" fn get_metadata_number(
        filter: FilterPtr, source: u32, namespace: Buffer, key: Buffer, value: *mut f64,
    ) -> bool {
        assert_eq!(source, 0);
        let Some(stream) = Stream::of(filter, "get_metadata_number") else { return false };
        match stream.state().metadata(name(text(namespace)), name(text(key))) {
            Some(Metadata::Number(number)) => value.write(*number),
            _ => return false,
        }
        true
    }

    "http_filter_get_attribute_string" fn get_attribute_string(
        filter: FilterPtr, attribute: Attribute, value: *mut Buffer,
    ) -> bool {
        let Some(stream) = Stream::of(filter, "get_attribute_string") else { return give(value, None) };
        let state = stream.state();
        let pseudo = |wanted: &str| {
            let found = state.request.iter().find(|(name, _)| &**name == wanted);
            found.map(|(_, value)| &**value)
        };
        match attribute {
            Attribute::RequestMethod => give(value, pseudo(":method")),
            Attribute::RequestPath => give(value, pseudo(":path")),
            Attribute::ResponseCodeDetails => {
                give(value, (!state.details.is_empty()).then_some(&*state.details))
            }
            Attribute::SourceAddress => give(value, state.source.as_deref()),
            Attribute::UpstreamRequestAttemptCount => give(value, None),
        }
    }

    "http_filter_get_attribute_int" fn get_attribute_int(
        filter: FilterPtr, attribute: Attribute, value: *mut u64,
    ) -> bool {
        let Some(stream) = Stream::of(filter, "get_attribute_int") else { return false };
        let told = attribute == Attribute::UpstreamRequestAttemptCount;
        if told {
            // SAFETY: the module's, and valid for the length of the call.
            unsafe { *value = stream.state().tries };
        }
        told
    }

    "http_get_downstream_direct_remote_address" fn get_direct_remote_address(
        filter: FilterPtr, address: *mut Buffer,
    ) -> bool {
        let Some(stream) = Stream::of(filter, "get_direct_remote_address") else { return false };
        let state = stream.state();
        give(address, state.peer.as_deref())
    }

    "http_get_upstream_connection_ids_attempted_size" fn get_connections_attempted(filter: FilterPtr) -> usize {
        Stream::of(filter, "get_connections_attempted").map_or(0, |stream| stream.state().attempted)
    }

    "get_most_specific_route_config" fn get_route_config(filter: FilterPtr) -> *const c_void {
        let Some(stream) = Stream::of(filter, "get_route_config") else { return ptr::null() };
        let route = stream.route.borrow().as_ref().map(Rc::clone);
        route.map_or(ptr::null(), |route| route.module())
    }

    "http_filter_continue_decoding" fn continue_decoding(filter: FilterPtr) {
        let Some(stream) = Stream::of(filter, "continue_decoding") else { return };
        stream.continues_decoding();
    }

    "http_filter_continue_encoding" fn continue_encoding(filter: FilterPtr) {
        let Some(stream) = Stream::of(filter, "continue_encoding") else { return };
        stream.continues_encoding();
    }

    "http_filter_scheduler_new" fn scheduler_new(filter: FilterPtr) -> SchedulerPtr {
        let Some(stream) = Stream::of(filter, "scheduler_new") else { return ptr::null_mut() };
        scheduler::new(&stream.worker, stream.number, stream.gone())
    }

    "http_filter_scheduler_commit" fn scheduler_commit(pointer: SchedulerPtr, _event: u64) {
        scheduler::commit(pointer);
    }

    "http_filter_scheduler_delete" fn scheduler_delete(pointer: SchedulerPtr) {
        scheduler::delete(pointer);
    }
}

fn pieces(state: &State, body: ReceivedBody) -> &[Box<[u8]>] {
    match body {
        ReceivedBody::Request => &state.pieces[0],
        ReceivedBody::Response => &state.pieces[1],
    }
}
