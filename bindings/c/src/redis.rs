//! Redis without I/O: what both sides of the wire agree on.

use core::ffi::c_char;
use std::sync::Arc;

use tollgate_redis::{Protocol, ProtocolOptions};

use crate::error::{Error, tollgate_result_t};
use crate::ffi::{self, Sized_, call, free, out, read_optional};

/// Speaks with a Redis or Valkey server whose bytes the host carries itself; it keeps credentials of tokens at hand.
///
/// Ownership: made by `tollgate_redis_new`, freed by `tollgate_redis_free`; operations keep what they need. Threads: any number at once.
pub struct tollgate_redis_t(Arc<Protocol>);

impl tollgate_redis_t {
    pub(crate) fn share(&self) -> Arc<Protocol> {
        Arc::clone(&self.0)
    }
}

/// How to speak with a server; 0 and null: the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tollgate_redis_options_t {
    /// `sizeof(tollgate_redis_options_t)`.
    pub struct_size: usize,
    /// What every key begins with, UTF-8; default `tg`.
    pub prefix: *const c_char,
    /// Bytes of the prefix.
    pub prefix_len: usize,
    /// How long connecting may take, in milliseconds; default 1,000. For `tollgate_store_redis_open`.
    pub connect_timeout_ms: u64,
    /// How long an answer may take, in milliseconds; default 1,000. For `tollgate_store_redis_open`.
    pub response_timeout_ms: u64,
    /// The most connections; default 16. For `tollgate_store_redis_open`.
    pub connections: usize,
    /// Certificates in PEM that servers are checked against; null: the operating system's. For `tollgate_store_redis_open`.
    pub root_certificates: *const u8,
    /// Bytes of the certificates.
    pub root_certificates_len: usize,
    /// 1: the server is a cluster. For `tollgate_redis_new`; with `tollgate_store_redis_open` the URL says it.
    pub cluster: u8,
}

// SAFETY: `repr(C)`, pointers and numbers, and it begins with its size.
unsafe impl Sized_ for tollgate_redis_options_t {}

impl tollgate_redis_options_t {
    pub(crate) fn write(&self, protocol: &mut ProtocolOptions) -> Result<(), Error> {
        if let Some(prefix) = ffi::optional_text(self.prefix, self.prefix_len, "options.prefix")? {
            protocol.prefix = prefix.to_owned();
        }
        Ok(())
    }

    pub(crate) fn certificates(&self) -> Result<Option<Vec<u8>>, Error> {
        let what = "options.root_certificates";
        let bytes = ffi::many(self.root_certificates, self.root_certificates_len, what)?;
        Ok((!bytes.is_empty()).then(|| bytes.to_vec()))
    }
}

/// Makes what is needed to speak with a server over connections of the host's. `options` may be null.
///
/// `*redis` is the caller's, to be freed. Errors: `TOLLGATE_STORE_NOT_OPENED` for a prefix that cannot be.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_redis_new(
    options: *const tollgate_redis_options_t,
    redis: *mut *mut tollgate_redis_t,
) -> tollgate_result_t {
    call(|| {
        let redis = out(redis, "redis")?;
        let mut protocol = ProtocolOptions::default();
        if let Some(given) = read_optional(options, "options")? {
            given.write(&mut protocol)?;
            protocol.cluster = given.cluster != 0;
        }
        let protocol = Protocol::new(&protocol).map_err(Error::not_opened)?;
        redis.give(tollgate_redis_t(Arc::new(protocol)));
        Ok(())
    })
}

/// Frees it; null is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_redis_free(redis: *mut tollgate_redis_t) {
    free(redis);
}
