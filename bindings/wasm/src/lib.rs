#![doc = include_str!("../README.md")]

mod admin;
mod buffer;
mod engine;
mod error;
mod flat;
#[cfg(feature = "objects")]
mod flat_calls;
mod json;
mod memory;
#[cfg(feature = "objects")]
mod object;
#[cfg(feature = "objects")]
mod operation;
mod work;

use tollgate::{STATUS_TABLE, TokenText};
use wasm_bindgen::prelude::wasm_bindgen;

pub use engine::RawEngine;
pub use memory::RawMemoryStore;
#[cfg(feature = "objects")]
pub use object::RawStoreObject;
#[cfg(feature = "objects")]
pub use operation::{RawObjectsStore, RawOperation};

/// Makes room for `len` bytes of input and gives their address; 0 when there is none.
#[wasm_bindgen]
#[must_use]
pub fn reserve(len: usize) -> *const u8 {
    buffer::reserve(len).unwrap_or(core::ptr::null())
}

/// Where the output of the latest call is.
#[wasm_bindgen(js_name = outputAddress)]
#[must_use]
pub fn output_address() -> *const u8 {
    buffer::output_address()
}

/// The codes of denials by their number, as JSON: `[[10, "missing_token"], …]`.
#[wasm_bindgen(js_name = statusCodes)]
#[must_use]
pub fn status_codes() -> String {
    let mut json = json::JsonText::default();
    json.word("[");
    for row in STATUS_TABLE {
        json.word("[").word(&row.status.number().to_string()).text(row.code).close(']');
    }
    json.close(']');
    json.into_string()
}

/// A native token out of 32 bytes of the host's secure entropy.
#[wasm_bindgen(js_name = tokenFrom)]
#[must_use]
pub fn token_from(entropy: &[u8]) -> Option<String> {
    Some(TokenText::generate(entropy.try_into().ok()?).expose().to_owned())
}

/// The library's version.
#[wasm_bindgen]
#[must_use]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}
