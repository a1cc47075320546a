//! Which library this is, and whether it suits the header that a caller was compiled with.

use core::ffi::{CStr, c_char};

use crate::error::{Error, tollgate_result, tollgate_result_t};
use crate::ffi::call;

/// The version of the ABI that this header describes. It changes when a caller that was compiled with an
/// earlier header would go wrong; functions, and members at the end of structs with a `struct_size`, are added without.
pub const TOLLGATE_ABI_VERSION: u32 = 1;

const VERSION: &CStr = {
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => c"",
    }
};

/// The version of the ABI of the library that is loaded.
#[unsafe(no_mangle)]
pub extern "C" fn tollgate_abi_version() -> u32 {
    TOLLGATE_ABI_VERSION
}

/// The library's own version, such as `0.1.0`. Static, and ends with a NUL.
#[unsafe(no_mangle)]
pub extern "C" fn tollgate_version() -> *const c_char {
    VERSION.as_ptr()
}

/// Checks that the library has the ABI of the caller's header: call it once after loading with
/// `TOLLGATE_ABI_VERSION`.
///
/// Errors: `TOLLGATE_ABI_MISMATCH`; then call nothing else.
#[unsafe(no_mangle)]
pub extern "C" fn tollgate_check_abi(abi_version: u32) -> tollgate_result_t {
    call(|| {
        if abi_version == TOLLGATE_ABI_VERSION {
            return Ok(());
        }
        let message = format!(
            "the program was compiled for ABI {abi_version} of tollgate, and the library has ABI \
             {TOLLGATE_ABI_VERSION}; compile it with this library's header"
        );
        Err(Error::new(tollgate_result::TOLLGATE_ABI_MISMATCH, message))
    })
}
