//! The LMDB environment: the one place that needs `unsafe`.
#![allow(unsafe_code)] // memory maps and flags; the argument stands at each block

use std::path::Path;

use heed::{Env, EnvFlags, EnvOpenOptions, WithTls};

use crate::error::LmdbError;
use crate::options::{LmdbOptions, SyncPolicy};

/// Opens the environment in a directory that exists.
pub(crate) fn open(path: &Path, options: &LmdbOptions) -> Result<Env<WithTls>, LmdbError> {
    let mut flags = EnvFlags::empty();
    if options.read_only {
        flags |= EnvFlags::READ_ONLY;
    }
    if options.sync != SyncPolicy::EveryCommit {
        flags |= EnvFlags::NO_SYNC;
    }
    let mut open = EnvOpenOptions::new();
    open.map_size(map_bytes(options)).max_readers(options.max_readers.max(1));
    // SAFETY: of the flags that are set, READ_ONLY takes rights away, and NO_SYNC gives up durability
    // (and, on power loss, possibly the file), which `SyncPolicy` says and its caller chose; it has
    // no effect on the memory of this process. NO_LOCK and WRITE_MAP, which could have, are not set.
    unsafe { open.flags(flags) };
    // SAFETY: the map is sound as long as nobody but LMDB writes or truncates the file. LMDB's own lock
    // file keeps processes that use LMDB apart, heed refuses a second environment on the same path in
    // this process, and the map is not writable, so that no bug here writes into it. What
    // cannot be checked is another program that writes over the file, as with every mapped file; the
    // README says that nobody may.
    let opened = unsafe { open.open(path) };
    opened.map_err(|error| LmdbError::of(error, "open", path))
}

/// Whole pages, and a mebibyte at least.
pub(crate) fn map_bytes(options: &LmdbOptions) -> usize {
    // A multiple of every page size in use; LMDB refuses others.
    const PAGE: usize = 1 << 16;
    let bytes = options.map_bytes.max(1 << 20);
    bytes.checked_next_multiple_of(PAGE).unwrap_or(bytes & !PAGE.wrapping_sub(1))
}
