//! What Envoy calls. Each hook reads its pointers, has one thing done, and lets no panic pass.

use core::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::abi::{self, Buffer, ConfigPtr, FilterPtr, body_status, headers_status};
use crate::config::{FilterConfig, RouteConfig, Rules};
use crate::filter::{Filter, Flow, OwnAnswer, Wake};
use crate::host::{self, Stream};
use crate::stats::Counters;
use crate::{log, threads};

/// The module's side of a configuration, a route's configuration, or a filter: what the hook that made it gave to Envoy.
type ModulePtr = *const c_void;

/// Configurations of filters that Envoy has.
static CONFIGS: AtomicUsize = AtomicUsize::new(0);

/// How long Envoy's end waits for decisions and settlements that are under way.
const AT_THE_END: Duration = Duration::from_secs(3);

/// What a hook does, or what stands for it after a panic: that is a bug, and must not end the proxy.
fn call<T>(work: impl FnOnce() -> T, otherwise: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        log::error("a bug of the module's: a panic was caught");
        otherwise()
    })
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    abi::VERSION.as_ptr()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
    config: ConfigPtr,
    name: Buffer,
    json: Buffer,
) -> ModulePtr {
    let new = || {
        // SAFETY: Envoy's texts are valid for the length of the hook, and `config` is of this hook.
        let (name, json) = unsafe { (host::text(name), host::text(json)) };
        let name = String::from_utf8_lossy(name);
        // SAFETY: as above.
        let counters = Counters::define(|counter| unsafe { host::define_counter(config, counter) });
        match FilterConfig::new(&name, json, counters) {
            Ok(config) => {
                CONFIGS.fetch_add(1, Ordering::AcqRel);
                Arc::into_raw(Arc::new(config)).cast()
            }
            Err(why) => refused(&format!("the configuration of filter `{name}`"), &why),
        }
    };
    call(new, core::ptr::null)
}

fn refused(what: &str, why: &str) -> ModulePtr {
    for line in why.lines() {
        log::error(&format!("{what}: {line}"));
    }
    core::ptr::null()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_destroy(config: ModulePtr) {
    if config.is_null() {
        return;
    }
    let destroy = || {
        // SAFETY: made by `config_new`, and given back once.
        drop(unsafe { Arc::from_raw(config.cast::<FilterConfig>()) });
        // Envoy gives the last one back when it ends, after all streams.
        if CONFIGS.fetch_sub(1, Ordering::AcqRel) == 1 {
            threads::finish_work(AT_THE_END);
        }
    };
    call(destroy, || ());
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_per_route_config_new(
    _name: Buffer,
    json: Buffer,
) -> ModulePtr {
    let new = || {
        // SAFETY: Envoy's texts are valid for the length of the hook.
        match RouteConfig::new(unsafe { host::text(json) }) {
            Ok(config) => Arc::into_raw(Arc::new(config)).cast(),
            Err(why) => refused("the configuration of a route", &why),
        }
    };
    call(new, core::ptr::null)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_per_route_config_destroy(
    config: ModulePtr,
) {
    if !config.is_null() {
        // SAFETY: made by `per_route_config_new`, and given back once.
        call(|| drop(unsafe { Arc::from_raw(config.cast::<RouteConfig>()) }), || ());
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_new(
    config: ModulePtr,
    _filter: FilterPtr,
) -> ModulePtr {
    let new = || {
        // SAFETY: made by `config_new`, and not given back yet.
        let config = unsafe { shared::<FilterConfig>(config) };
        let Some(config) = config else { return core::ptr::null() };
        let filter = Filter::new(Rules { config, route: None });
        Box::into_raw(Box::new(filter)).cast_const().cast()
    };
    call(new, core::ptr::null)
}

/// Another reference to what a pointer of this module stands for.
///
/// # Safety
/// It is null, or of `Arc::into_raw` for this type and not given back yet.
unsafe fn shared<T>(pointer: ModulePtr) -> Option<Arc<T>> {
    if pointer.is_null() {
        return None;
    }
    let pointer = pointer.cast::<T>();
    // SAFETY: said by the caller; Envoy's own reference stays.
    unsafe {
        Arc::increment_strong_count(pointer);
        Some(Arc::from_raw(pointer))
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_destroy(filter: ModulePtr) {
    if !filter.is_null() {
        // SAFETY: made by `filter_new`, and given back once.
        call(|| drop(unsafe { Box::from_raw(filter.cast_mut().cast::<Filter>()) }), || ());
    }
}

/// The filter of an event.
///
/// # Safety
/// `filter` was made by `filter_new` and is not given back yet. Envoy calls the hooks of a filter on one thread, and no other reference is
/// there: events do not call Envoy in a way that could bring another event before they return.
unsafe fn of<'event>(filter: ModulePtr) -> &'event mut Filter {
    // SAFETY: said by the caller.
    unsafe { &mut *filter.cast_mut().cast::<Filter>() }
}

/// Has Envoy do with the request what the filter says; the filter is not borrowed any more.
fn request(stream: Stream<'_>, flow: Flow) -> Flow {
    match flow {
        Flow::Answer(answer) => {
            send(stream, &answer);
            Flow::Discard
        }
        other => other,
    }
}

fn send(stream: Stream<'_>, own: &OwnAnswer) {
    let OwnAnswer { answer, stored, details } = own;
    if *stored {
        stream.send_stored(answer);
    } else {
        stream.send_response(answer, details);
    }
}

fn headers(flow: &Flow) -> u32 {
    match flow {
        Flow::Continue => headers_status::CONTINUE,
        _ => headers_status::STOP_ITERATION,
    }
}

fn body(flow: &Flow) -> u32 {
    match flow {
        Flow::Continue => body_status::CONTINUE,
        Flow::Hold => body_status::STOP_ITERATION_AND_WATERMARK,
        Flow::HoldAndBuffer => body_status::STOP_ITERATION_AND_BUFFER,
        Flow::Discard | Flow::Answer(_) => body_status::STOP_ITERATION_NO_BUFFER,
    }
}

fn internal_error() -> Flow {
    Flow::Answer(Box::new(OwnAnswer::internal_error()))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
    envoy: FilterPtr,
    filter: ModulePtr,
    end_of_stream: bool,
) -> u32 {
    // SAFETY: both are of this hook.
    let (mut stream, this) = unsafe { (Stream::new(envoy), of(filter)) };
    let event = || {
        if RouteConfig::there_are_any() {
            // SAFETY: made by `per_route_config_new`, and Envoy's route lives as long as the stream's event.
            this.rules_mut().route = unsafe { shared::<RouteConfig>(stream.route_config()) };
        }
        this.request_headers(&mut stream, end_of_stream)
    };
    let flow = call(event, internal_error);
    headers(&request(stream, flow))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_body(
    envoy: FilterPtr,
    filter: ModulePtr,
    end_of_stream: bool,
) -> u32 {
    // SAFETY: both are of this hook.
    let (mut stream, this) = unsafe { (Stream::new(envoy), of(filter)) };
    let flow = call(|| this.request_body(&mut stream, end_of_stream), internal_error);
    body(&request(stream, flow))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_trailers(
    envoy: FilterPtr,
    filter: ModulePtr,
) -> u32 {
    // SAFETY: both are of this hook.
    let (mut stream, this) = unsafe { (Stream::new(envoy), of(filter)) };
    let flow = call(|| this.request_trailers(&mut stream), internal_error);
    headers(&request(stream, flow))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_response_headers(
    envoy: FilterPtr,
    filter: ModulePtr,
    end_of_stream: bool,
) -> u32 {
    // SAFETY: both are of this hook.
    let (mut stream, this) = unsafe { (Stream::new(envoy), of(filter)) };
    headers(&call(|| this.response_headers(&mut stream, end_of_stream), || Flow::Continue))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_response_body(
    envoy: FilterPtr,
    filter: ModulePtr,
    end_of_stream: bool,
) -> u32 {
    // SAFETY: both are of this hook.
    let (mut stream, this) = unsafe { (Stream::new(envoy), of(filter)) };
    body(&call(|| this.response_body(&mut stream, end_of_stream), || Flow::Continue))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_response_trailers(
    envoy: FilterPtr,
    filter: ModulePtr,
) -> u32 {
    // SAFETY: both are of this hook.
    let (mut stream, this) = unsafe { (Stream::new(envoy), of(filter)) };
    headers(&call(|| this.response_ends(&mut stream), || Flow::Continue))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_local_reply(
    _envoy: FilterPtr,
    filter: ModulePtr,
    _response_code: u32,
    _details: Buffer,
    _reset_imminent: bool,
) -> u32 {
    // SAFETY: it is of this hook.
    let this = unsafe { of(filter) };
    call(|| this.local_reply(), || ());
    abi::LOCAL_REPLY_CONTINUE
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_stream_complete(
    envoy: FilterPtr,
    filter: ModulePtr,
) {
    // SAFETY: both are of this hook.
    let (mut stream, this) = unsafe { (Stream::new(envoy), of(filter)) };
    call(|| this.complete(&mut stream), || ());
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_scheduled(
    envoy: FilterPtr,
    filter: ModulePtr,
    _event: u64,
) {
    // SAFETY: both are of this hook.
    let (mut stream, this) = unsafe { (Stream::new(envoy), of(filter)) };
    let wake =
        call(|| this.woken(&mut stream), || Wake::Answer(Box::new(OwnAnswer::internal_error())));
    // The filter is not borrowed any more: what follows may bring its next event, or its end.
    match wake {
        Wake::Nothing => {}
        Wake::Decoding => stream.continue_decoding(),
        Wake::Encoding => stream.continue_encoding(),
        Wake::Answer(answer) => send(stream, &answer),
    }
}

/// Hooks that Envoy asks for and this module has no use for.
macro_rules! unused {
    ($($symbol:ident ($($argument:ty),*);)*) => {
        $(#[unsafe(no_mangle)]
        extern "C" fn $symbol($(_: $argument),*) {})*
    };
}

unused! {
    envoy_dynamic_module_on_http_filter_http_callout_done(
        FilterPtr, ModulePtr, u64, u32, *const c_void, usize, *const c_void, usize
    );
    envoy_dynamic_module_on_http_filter_http_stream_headers(
        FilterPtr, ModulePtr, u64, *const c_void, usize, bool
    );
    envoy_dynamic_module_on_http_filter_http_stream_data(
        FilterPtr, ModulePtr, u64, *const c_void, usize, bool
    );
    envoy_dynamic_module_on_http_filter_http_stream_trailers(
        FilterPtr, ModulePtr, u64, *const c_void, usize
    );
    envoy_dynamic_module_on_http_filter_http_stream_complete(FilterPtr, ModulePtr, u64);
    envoy_dynamic_module_on_http_filter_http_stream_reset(FilterPtr, ModulePtr, u64, u32);
    envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark(
        FilterPtr, ModulePtr
    );
    envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark(
        FilterPtr, ModulePtr
    );
}
