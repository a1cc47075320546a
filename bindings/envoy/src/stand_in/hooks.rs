//! The module's hooks, by the names under which Envoy looks them up.

use core::ffi::{c_char, c_void};

use crate::abi::{Buffer, ConfigPtr, FilterPtr};

/// What the module gives to Envoy to be called with.
pub(super) type ModulePtr = *const c_void;

macro_rules! hooks {
    ($(fn $name:ident = $symbol:literal ($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        unsafe extern "C" {
            $(#[link_name = concat!("envoy_dynamic_module_on_", $symbol)]
            pub(super) fn $name($($argument: $type),*) $(-> $result)?;)*
        }
    };
}

hooks! {
    fn program_init = "program_init"() -> *const c_char;
    fn config_new = "http_filter_config_new"(config: ConfigPtr, name: Buffer, json: Buffer) -> ModulePtr;
    fn config_destroy = "http_filter_config_destroy"(config: ModulePtr);
    fn route_new = "http_filter_per_route_config_new"(name: Buffer, json: Buffer) -> ModulePtr;
    fn route_destroy = "http_filter_per_route_config_destroy"(route: ModulePtr);
    fn filter_new = "http_filter_new"(config: ModulePtr, envoy: FilterPtr) -> ModulePtr;
    fn filter_destroy = "http_filter_destroy"(filter: ModulePtr);
    fn request_headers = "http_filter_request_headers"(envoy: FilterPtr, filter: ModulePtr, end: bool) -> u32;
    fn request_body = "http_filter_request_body"(envoy: FilterPtr, filter: ModulePtr, end: bool) -> u32;
    fn request_trailers = "http_filter_request_trailers"(envoy: FilterPtr, filter: ModulePtr) -> u32;
    fn response_headers = "http_filter_response_headers"(envoy: FilterPtr, filter: ModulePtr, end: bool) -> u32;
    fn response_body = "http_filter_response_body"(envoy: FilterPtr, filter: ModulePtr, end: bool) -> u32;
    fn response_trailers = "http_filter_response_trailers"(envoy: FilterPtr, filter: ModulePtr) -> u32;
    fn local_reply = "http_filter_local_reply"(
        envoy: FilterPtr, filter: ModulePtr, status: u32, details: Buffer, reset_imminent: bool
    ) -> u32;
    fn stream_complete = "http_filter_stream_complete"(envoy: FilterPtr, filter: ModulePtr);
    fn scheduled = "http_filter_scheduled"(envoy: FilterPtr, filter: ModulePtr, event: u64);
}
