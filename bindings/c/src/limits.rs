//! Limits that are kept apart from the rest, in memory that processes share.

use core::ffi::c_char;
use std::sync::Arc;

use tollgate_region::{Region, RegionError, RegionOptions};

use crate::error::{Error, tollgate_result_t};
use crate::ffi::{borrow, call, free, optional_array, out, text};

/// Counts limits, in a region of memory that processes share. `tollgate_store_composite_new` puts it before a store.
///
/// Ownership: made by `tollgate_limits_region_…`, freed by `tollgate_limits_free`; a composite keeps what it
/// needs. Threads: any number may use it at once. Each process attaches for itself, after `fork`.
pub struct tollgate_limits_t(Arc<Region>);

impl tollgate_limits_t {
    pub(crate) fn region(&self) -> Arc<Region> {
        Arc::clone(&self.0)
    }
}

fn region_error(error: RegionError) -> Error {
    match error {
        RegionError::Misaligned | RegionError::WrongSize { .. } | RegionError::TooMany => {
            Error::invalid(error.to_string())
        }
        error => Error::not_opened(error),
    }
}

fn entropy(given: *const u8, what: &'static str) -> Result<[u8; 16], Error> {
    match optional_array(given, what)? {
        Some(bytes) => Ok(bytes),
        None => random(),
    }
}

/// Bytes from the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::not_opened(format!("the operating system gives no random bytes: {error}"))
    })?;
    Ok(bytes)
}

/// The size in bytes of a region for `cells` limits' counts, of which `windows` may be of fixed or sliding windows.
///
/// Errors: `TOLLGATE_INVALID_ARGUMENT` when there is no region for so many.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_region_size(
    cells: usize,
    windows: usize,
    size: *mut usize,
) -> tollgate_result_t {
    call(|| {
        let size = out(size, "size")?;
        size.set(RegionOptions { cells, windows }.size_bytes().map_err(region_error)?);
        Ok(())
    })
}

/// The largest region that fits `len` bytes: how many cells, how many of them windows (a tenth), and its size.
///
/// Errors: `TOLLGATE_INVALID_ARGUMENT` when `len` is too small for any: some 240 KiB are needed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_region_fit(
    len: usize,
    cells: *mut usize,
    windows: *mut usize,
    size: *mut usize,
) -> tollgate_result_t {
    call(|| {
        let (cells, windows) = (out(cells, "cells")?, out(windows, "windows")?);
        let size = out(size, "size")?;
        let (options, bytes) = fit(len).ok_or_else(|| {
            Error::invalid(format!("{len} bytes are too few for a region; give 256 KiB or more"))
        })?;
        cells.set(options.cells);
        windows.set(options.windows);
        size.set(bytes);
        Ok(())
    })
}

fn fit(len: usize) -> Option<(RegionOptions, usize)> {
    let sized = |cells: usize| {
        let options = RegionOptions { cells, windows: cells.div_ceil(10) };
        options.size_bytes().ok().filter(|size| *size <= len).map(|size| (options, size))
    };
    // The size grows with the cells: the most that fit are found by halving.
    let (mut fits, mut too_many) = (1, len.max(2));
    sized(fits)?;
    while too_many.saturating_sub(fits) > 1 {
        let middle = fits.midpoint(too_many);
        if sized(middle).is_some() { fits = middle } else { too_many = middle }
    }
    sized(fits)
}

fn check_memory(memory: *const u8, len: usize) -> Result<(), Error> {
    if memory.is_null() {
        return Err(Error::null("memory"));
    }
    if isize::try_from(len).is_err() {
        return Err(Error::invalid(format!("`memory_len` is no length of anything: {len}")));
    }
    Ok(())
}

/// Makes an empty region in memory, whatever was there before. Then attach to it.
///
/// `memory` starts at a multiple of 8 bytes, `memory_len` is what `tollgate_region_size` says, and nobody is attached to
/// a region there. `key` is 16 random bytes by which counts are placed, so that nobody can aim at a place; null: the
/// operating system's. Errors: `TOLLGATE_INVALID_ARGUMENT` for another size or alignment.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_region_create(
    memory: *mut u8,
    memory_len: usize,
    cells: usize,
    windows: usize,
    key: *const u8,
) -> tollgate_result_t {
    call(|| {
        check_memory(memory, memory_len)?;
        let (options, key) = (RegionOptions { cells, windows }, entropy(key, "key")?);
        // SAFETY: the caller says that the memory is there, that nobody else uses it now, and the region is dropped
        // here.
        let region = unsafe { Region::create(memory, memory_len, &options, &key) };
        region.map(drop).map_err(region_error)
    })
}

/// Attaches to the region in memory, of this process or shared.
///
/// The memory stays mapped at this address, and nobody writes it but through the library, until the limits, and every
/// store that was made of them, are freed. Attach after `fork`, not before. `*limits` is the caller's, to be freed.
/// Errors: `TOLLGATE_STORE_NOT_OPENED` when there is no complete region of this version; `TOLLGATE_INVALID_ARGUMENT` for
/// another size or alignment.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_limits_region_attach(
    memory: *mut u8,
    memory_len: usize,
    limits: *mut *mut tollgate_limits_t,
) -> tollgate_result_t {
    call(|| {
        let limits = out(limits, "limits")?;
        check_memory(memory, memory_len)?;
        // SAFETY: what the caller says, as above, is what `attach` asks for.
        let region = unsafe { Region::attach(memory, memory_len) };
        limits.give(tollgate_limits_t(Arc::new(region.map_err(region_error)?)));
        Ok(())
    })
}

/// Attaches to the region in a file that processes share, which is made if there is none. Put it where files are in
/// memory (`/dev/shm`), where only those who may change limits can write, and remove it after a crash of the machine: it must
/// not be cut short while it is used.
///
/// `path` is UTF-8. `*limits` is the caller's, to be freed. Errors: `TOLLGATE_STORE_NOT_OPENED`;
/// `TOLLGATE_INVALID_ARGUMENT` when the region there is for other numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_limits_region_open(
    path: *const c_char,
    path_len: usize,
    cells: usize,
    windows: usize,
    limits: *mut *mut tollgate_limits_t,
) -> tollgate_result_t {
    call(|| {
        let limits = out(limits, "limits")?;
        let options = RegionOptions { cells, windows };
        let region = Region::open(text(path, path_len, "path")?, &options, &random()?);
        limits.give(tollgate_limits_t(Arc::new(region.map_err(region_error)?)));
        Ok(())
    })
}

/// Gets back what processes held that have died: call it when one has, at the start of the one that follows it, say.
/// Without it each of them keeps some room, and one of 128 places for processes.
///
/// All processes that use the region must see each other's numbers (one PID namespace). `*processes` is how many there
/// were. Errors: `TOLLGATE_STORE_CORRUPT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_limits_reclaim_dead(
    limits: *const tollgate_limits_t,
    now_ms: u64,
    processes: *mut usize,
) -> tollgate_result_t {
    call(|| {
        let (limits, processes) = (borrow(limits, "limits")?, out(processes, "processes")?);
        processes.set(limits.0.reclaim_dead(now_ms, is_alive)?);
        Ok(())
    })
}

/// Whether there is such a process; one of which this cannot be said is taken to live.
fn is_alive(process: u32) -> bool {
    let id = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw);
    id.is_none_or(|id| rustix::process::test_kill_process(id) != Err(rustix::io::Errno::SRCH))
}

/// Frees limits; null is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_limits_free(limits: *mut tollgate_limits_t) {
    free(limits);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_region_that_fits_is_found() {
        assert!(fit(0).is_none());
        assert!(fit(100_000).is_none());
        for len in [1 << 18, 1 << 20, 10_000_000, 1 << 28] {
            let (options, size) = fit(len).unwrap();
            assert!(size <= len && size > len / 100 * 99, "{len} {size} {options:?}");
        }
    }

    #[test]
    fn a_process_that_lives_is_alive() {
        assert!(is_alive(std::process::id()));
        assert!(!is_alive(0x7FFF_FFFE));
    }
}
