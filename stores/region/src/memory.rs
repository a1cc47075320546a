//! The one module with `unsafe`: bytes that other processes write as well, seen as atomic words.
#![allow(unsafe_code)]

use core::ptr::NonNull;
use core::slice;
use core::sync::atomic::AtomicU64;
use std::fs::File;

use memmap2::{MmapOptions, MmapRaw};

use crate::error::RegionError;
use crate::layout::WORD_BYTES;

const _: () = assert!(size_of::<AtomicU64>() == WORD_BYTES && align_of::<AtomicU64>() == 8);

/// Memory that is shared with other processes.
pub(crate) struct Memory {
    start: NonNull<AtomicU64>,
    words: usize,
    /// The mapping that this memory is, if it is not the caller's.
    mapping: Option<MmapRaw>,
}

// SAFETY: what is reached through `start` are atomics, which any thread may use, and nothing hangs on the
// thread that created or drops it: a mapping is undone from any thread.
unsafe impl Send for Memory {}
// SAFETY: as above; `&Memory` gives `&[AtomicU64]` and nothing else.
unsafe impl Sync for Memory {}

impl Memory {
    /// Memory of the caller's.
    ///
    /// # Safety
    /// `start` points to `len` bytes that stay valid for reads and writes as long as the value lives, and that nobody,
    /// in any process, reads or writes meanwhile but by atomic operations on aligned words of 8 bytes.
    pub(crate) unsafe fn borrowed(start: *mut u8, len: usize) -> Result<Memory, RegionError> {
        let start = NonNull::new(start.cast::<AtomicU64>()).ok_or(RegionError::NoRegion)?;
        if !start.is_aligned() {
            return Err(RegionError::Misaligned);
        }
        Ok(Memory { start, words: len.wrapping_div(WORD_BYTES), mapping: None })
    }

    /// A shared mapping of `len` bytes of a file that is as long at least.
    pub(crate) fn mapped(file: &File, len: usize) -> Result<Memory, RegionError> {
        let mapping = MmapOptions::new().len(len).map_raw(file)?;
        // A mapping starts at a page, so the words are aligned.
        let start = NonNull::new(mapping.as_mut_ptr().cast::<AtomicU64>());
        let start = start.filter(|start| start.is_aligned()).ok_or(RegionError::Misaligned)?;
        Ok(Memory { start, words: len.wrapping_div(WORD_BYTES), mapping: Some(mapping) })
    }

    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: `start` is aligned and points to `words` words (`len` rounded down) that are valid as long as
        // `self`: by the contract of `borrowed`, or because `mapping` is unmapped when `self` is dropped. Every bit
        // pattern is an `AtomicU64`, and others change the words only by atomic operations: the same
        // contract, or that of files, see `Region::open`. The length in bytes is that of one allocation or mapping,
        // so it is at most `isize::MAX`.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }

    pub(crate) fn is_mapping(&self) -> bool {
        self.mapping.is_some()
    }
}
