//! Envoy's ABI of dynamic modules: what this module uses of it, and no more.
//!
//! Version v0.2.0, of Envoy 1.40: `source/extensions/dynamic_modules/abi/abi.h` of its repository says what each function does. A text is a
//! pointer and a length, Envoy's as well as the module's; enums are C's.

use core::ffi::{c_char, c_void};

/// What `envoy_dynamic_module_on_program_init` gives back.
pub(crate) const VERSION: &core::ffi::CStr = c"v0.2.0";

/// `envoy_dynamic_module_type_envoy_buffer` and `…_module_buffer`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Buffer {
    pub(crate) ptr: *const c_char,
    pub(crate) len: usize,
}

impl Buffer {
    pub(crate) const NONE: Buffer = Buffer { ptr: core::ptr::null(), len: 0 };

    pub(crate) fn of(bytes: &[u8]) -> Buffer {
        Buffer { ptr: bytes.as_ptr().cast(), len: bytes.len() }
    }
}

/// `envoy_dynamic_module_type_module_http_header`, and `…_module_key_value_pair`, which is the same.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Pair {
    pub(crate) key: Buffer,
    pub(crate) value: Buffer,
}

/// Envoy's side of a filter's configuration.
pub(crate) type ConfigPtr = *mut c_void;
/// Envoy's side of a filter, which is one stream.
pub(crate) type FilterPtr = *mut c_void;
/// `envoy_dynamic_module_type_http_filter_scheduler_module_ptr`.
pub(crate) type SchedulerPtr = *mut c_void;

/// `envoy_dynamic_module_type_log_level`.
pub(crate) mod level {
    pub(crate) const INFO: u32 = 2;
    pub(crate) const WARN: u32 = 3;
    pub(crate) const ERROR: u32 = 4;
}

/// `envoy_dynamic_module_type_http_header_type`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderMap {
    Request = 0,
    Response = 2,
}

/// `envoy_dynamic_module_type_http_body_type`: what came with the present event.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReceivedBody {
    Request = 0,
    Response = 2,
}

/// `envoy_dynamic_module_type_attribute_id`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attribute {
    /// With its query.
    RequestPath = 0,
    RequestMethod = 4,
    ResponseCodeDetails = 16,
    SourceAddress = 24,
    UpstreamRequestAttemptCount = 53,
}

/// `envoy_dynamic_module_type_metadata_source_Dynamic`.
pub(crate) const DYNAMIC_METADATA: u32 = 0;

/// `envoy_dynamic_module_type_metrics_result_Success`.
pub(crate) const METRICS_SUCCESS: u32 = 0;

/// `envoy_dynamic_module_type_on_http_filter_…_headers_status` and `…_trailers_status`.
pub(crate) mod headers_status {
    pub(crate) const CONTINUE: u32 = 0;
    pub(crate) const STOP_ITERATION: u32 = 1;
}

/// `envoy_dynamic_module_type_on_http_filter_…_body_status`.
pub(crate) mod body_status {
    pub(crate) const CONTINUE: u32 = 0;
    pub(crate) const STOP_ITERATION_AND_BUFFER: u32 = 1;
    pub(crate) const STOP_ITERATION_AND_WATERMARK: u32 = 2;
    pub(crate) const STOP_ITERATION_NO_BUFFER: u32 = 3;
}

/// `envoy_dynamic_module_type_on_http_filter_local_reply_status_Continue`.
pub(crate) const LOCAL_REPLY_CONTINUE: u32 = 0;

macro_rules! callbacks {
    ($($(#[$doc:meta])* fn $name:ident = $symbol:literal ($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?;)*) => {
        unsafe extern "C" {
            $($(#[$doc])*
            #[link_name = concat!("envoy_dynamic_module_callback_", $symbol)]
            pub(crate) fn $name($($argument: $type),*) $(-> $result)?;)*
        }
    };
}

callbacks! {
    fn log = "log"(level: u32, message: Buffer);
    fn log_enabled = "log_enabled"(level: u32) -> bool;
    fn is_validation_mode = "is_validation_mode"() -> bool;

    fn define_counter = "http_filter_config_define_counter"(
        config: ConfigPtr, name: Buffer, label_names: *const Buffer, labels: usize, id: *mut usize,
    ) -> u32;
    fn increment_counter = "http_filter_increment_counter"(
        filter: FilterPtr, id: usize, label_values: *const Buffer, labels: usize, value: u64,
    ) -> u32;

    fn get_header = "http_get_header"(
        filter: FilterPtr, map: HeaderMap, name: Buffer, value: *mut Buffer, nth: usize, count: *mut usize,
    ) -> bool;
    fn get_headers_size = "http_get_headers_size"(filter: FilterPtr, map: HeaderMap) -> usize;
    fn get_headers = "http_get_headers"(filter: FilterPtr, map: HeaderMap, headers: *mut Pair) -> bool;
    fn add_header = "http_add_header"(filter: FilterPtr, map: HeaderMap, name: Buffer, value: Buffer) -> bool;
    /// A null value removes the header.
    fn set_header = "http_set_header"(filter: FilterPtr, map: HeaderMap, name: Buffer, value: Buffer) -> bool;

    fn send_response = "http_send_response"(
        filter: FilterPtr, status: u32, headers: *const Pair, headers_len: usize, body: Buffer, details: Buffer,
    );
    fn send_response_headers = "http_send_response_headers"(
        filter: FilterPtr, headers: *const Pair, headers_len: usize, end_of_stream: bool,
    );
    fn send_response_data = "http_send_response_data"(filter: FilterPtr, data: Buffer, end_of_stream: bool);

    fn get_body_chunks_size = "http_get_body_chunks_size"(filter: FilterPtr, body: ReceivedBody) -> usize;
    fn get_body_chunks = "http_get_body_chunks"(filter: FilterPtr, body: ReceivedBody, chunks: *mut Buffer) -> bool;
    fn get_buffer_limit = "http_get_buffer_limit"(filter: FilterPtr) -> u64;
    fn set_buffer_limit = "http_set_buffer_limit"(filter: FilterPtr, bytes: u64);

    fn set_metadata = "http_set_dynamic_metadata_string_batch"(
        filter: FilterPtr, namespace: Buffer, entries: *const Pair, entries_len: usize,
    );
    fn get_metadata_string = "http_get_metadata_string"(
        filter: FilterPtr, source: u32, namespace: Buffer, key: Buffer, value: *mut Buffer,
    ) -> bool;
    fn get_metadata_number = "http_get_metadata_number"(
        filter: FilterPtr, source: u32, namespace: Buffer, key: Buffer, value: *mut f64,
    ) -> bool;
    fn get_attribute_string = "http_filter_get_attribute_string"(
        filter: FilterPtr, attribute: Attribute, value: *mut Buffer,
    ) -> bool;
    fn get_attribute_int = "http_filter_get_attribute_int"(
        filter: FilterPtr, attribute: Attribute, value: *mut u64,
    ) -> bool;
    /// Address and port as text, or the path of a Unix socket.
    fn get_direct_remote_address = "http_get_downstream_direct_remote_address"(
        filter: FilterPtr, address: *mut Buffer,
    ) -> bool;
    /// On how many upstream connections the request has been begun since it was last tried.
    fn get_connections_attempted = "http_get_upstream_connection_ids_attempted_size"(filter: FilterPtr) -> usize;
    fn get_route_config = "get_most_specific_route_config"(filter: FilterPtr) -> *const c_void;

    fn continue_decoding = "http_filter_continue_decoding"(filter: FilterPtr);
    fn continue_encoding = "http_filter_continue_encoding"(filter: FilterPtr);

    fn scheduler_new = "http_filter_scheduler_new"(filter: FilterPtr) -> SchedulerPtr;
    fn scheduler_commit = "http_filter_scheduler_commit"(scheduler: SchedulerPtr, event: u64);
    fn scheduler_delete = "http_filter_scheduler_delete"(scheduler: SchedulerPtr);
}
