//! What the library tells an operator, beside what calls return.

use core::ffi::{c_char, c_void};

use parking_lot::RwLock;

use crate::error::tollgate_result_t;
use crate::ffi::call;

/// How urgent a message is: one of `enum tollgate_log_level`.
pub type tollgate_log_level_t = u32;

/// How urgent a message is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum tollgate_log_level {
    /// A bug, or a settlement that was lost.
    TOLLGATE_LOG_ERROR = 1,
    /// Something to look at: the store fails, a policy is odd.
    TOLLGATE_LOG_WARN = 2,
    /// Something that happened as it should: a policy was replaced.
    TOLLGATE_LOG_INFO = 3,
}

pub(crate) use tollgate_log_level::*;

/// Takes a message of `message_len` bytes of UTF-8, without a NUL and without secrets, which is valid for the length
/// of the call. It may be called from any thread, also while a function of the library runs, and must neither call
/// the library nor leave by an exception or `longjmp`.
pub type tollgate_log_fn = Option<
    unsafe extern "C" fn(
        user: *mut c_void,
        level: tollgate_log_level_t,
        message: *const c_char,
        message_len: usize,
    ),
>;

struct Log {
    function: tollgate_log_fn,
    user: *mut c_void,
}

// SAFETY: `user` is only handed back to the function that came with it, which the caller says may be called from
// any thread.
unsafe impl Send for Log {}
// SAFETY: as above.
unsafe impl Sync for Log {}

static LOG: RwLock<Log> = RwLock::new(Log { function: None, user: core::ptr::null_mut() });

/// Sets where messages go, for the whole process; a null function: nowhere, which is how it starts.
///
/// `user` is handed to `log` as it is. When this returns, the function that was set before is not called any more.
/// Not to be called from within `log`.
#[unsafe(no_mangle)]
pub extern "C" fn tollgate_set_log(log: tollgate_log_fn, user: *mut c_void) -> tollgate_result_t {
    call(|| {
        *LOG.write() = Log { function: log, user };
        Ok(())
    })
}

pub(crate) fn log(level: tollgate_log_level, message: &str) {
    let log = LOG.read();
    if let Some(function) = log.function {
        // SAFETY: the function and its argument came together from a caller who says that they may be used so.
        unsafe {
            function(
                log.user,
                level as tollgate_log_level_t,
                message.as_ptr().cast(),
                message.len(),
            );
        }
    }
}
