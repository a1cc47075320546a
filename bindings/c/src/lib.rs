#![doc = include_str!("../README.md")]
// Pointers are what this package is about. Each is read by one of the functions in `ffi.rs`, where the argument stands.
#![allow(unsafe_code)]
#![allow(non_camel_case_types)] // names are those of the header
#![allow(clippy::missing_safety_doc)] // said once, in the README: what is true of every pointer

mod account;
mod decision;
mod engine;
mod error;
mod explain;
mod ffi;
mod finish;
mod host;
#[cfg(feature = "injected-panics")]
mod injected;
mod limits;
mod log;
mod operation;
mod operation_redis;
mod policy;
mod redis;
mod request;
mod reservation;
mod resp;
mod settings;
mod store;
mod token;
mod version;
mod wire;

pub use account::*;
pub use decision::*;
pub use engine::*;
pub use error::*;
pub use explain::*;
pub use ffi::{tollgate_header_t, tollgate_str_t};
pub use finish::*;
pub use host::*;
#[cfg(feature = "injected-panics")]
pub use injected::panic_at_the_next_call;
pub use limits::*;
pub use log::*;
pub use operation::*;
pub use operation_redis::*;
pub use policy::*;
pub use redis::*;
pub use request::*;
pub use reservation::*;
pub use settings::*;
pub use store::*;
pub use token::*;
pub use version::*;
