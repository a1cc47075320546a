//! What is where in a region. Everything is counted in words of 8 bytes from its start.
//!
//! ```text
//! header       64 words   magic, version, size, bounds, hash key, hints
//! attachments  128 rows   who holds blocks: a process, and eight places for spare blocks
//! hints                   a bit a block: probably free
//! blocks       16 words   the cell of a fixed or sliding window
//! groups       128 words  a head and 63 slots of two words
//! ```

use crate::error::RegionError;

/// Slots of a group; with the head, a group is 1 KiB.
pub(crate) const SLOTS: usize = 63;
/// The slots that begin in one cache line; a key's home is a line.
pub(crate) const SLOTS_PER_LINE: usize = 4;
/// A word of a slot: its name, then its state.
pub(crate) const SLOT_WORDS: usize = 2;

/// The version of this layout, and of what its words mean.
pub(crate) const LAYOUT_VERSION: u64 = 1;
/// `tollgate` and a byte that no text has.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"tollrgn\xfd");
/// In the place of [`MAGIC`] until a region is complete.
pub(crate) const UNFINISHED: u64 = u64::from_le_bytes(*b"tollrgn\xfc");

pub(crate) const HEADER_WORDS: usize = 64;
pub(crate) const WORD_BYTES: usize = 8;
/// Header words by place.
pub(crate) mod header {
    pub(crate) const MAGIC: usize = 0;
    pub(crate) const LAYOUT_VERSION: usize = 1;
    pub(crate) const SIZE_BYTES: usize = 2;
    pub(crate) const CELLS: usize = 3;
    pub(crate) const WINDOWS: usize = 4;
    pub(crate) const KEY: [usize; 2] = [5, 6];
    /// How many blocks are linked. Exact, but for processes that died: a full sweep counts anew.
    pub(crate) const LINKED: usize = 16;
    /// The hint word at which the next search for a free block starts.
    pub(crate) const SEARCH_AT: usize = 24;
    /// The block at which the next search for an expired one starts.
    pub(crate) const SWEEP_AT: usize = 32;
}

pub(crate) const ROWS: usize = 128;
/// A line for the process, then a line for each place.
pub(crate) const ROW_WORDS: usize = 72;
pub(crate) const PLACES: usize = 8;
pub(crate) const LINE_WORDS: usize = 8;

pub(crate) const BLOCK_WORDS: usize = 16;
/// Blocks beyond what may be linked, so that a cell can always be written anew: one for each place, and
/// some for threads that find theirs in use.
const SPARE_BLOCKS: usize = ROWS * PLACES + 64;
const MAX_BLOCKS: usize = 1 << 26;
const BITS: usize = 64;

/// How much a region shall hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionOptions {
    /// Cells, of all kinds together, that a region is made for. Each takes about 33 bytes. Keys are spread
    /// by a hash, so the first may be refused a little earlier, and most go in long after.
    pub cells: usize,
    /// How many of the cells may be of fixed or sliding windows, which take 128 bytes more each; at
    /// most 67,000,000. With 0, such limits are refused and 150 KiB are saved.
    pub windows: usize,
}

impl Default for RegionOptions {
    /// 100,000 cells, of which 10,000 may be of windows: about 4.9 MB.
    fn default() -> Self {
        RegionOptions { cells: 100_000, windows: 10_000 }
    }
}

impl RegionOptions {
    /// The size of a region for these options in bytes, a multiple of 1,024.
    ///
    /// # Errors
    /// [`RegionError::TooMany`] when it has no such size.
    pub fn size_bytes(&self) -> Result<usize, RegionError> {
        Layout::of(self, SLOTS).map(|layout| layout.size_bytes)
    }
}

/// Where the parts of a region are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) options: RegionOptions,
    /// At most [`ROWS`].
    pub(crate) rows: usize,
    pub(crate) hints_at: usize,
    pub(crate) blocks_at: usize,
    pub(crate) blocks: usize,
    pub(crate) groups_at: usize,
    pub(crate) groups: usize,
    pub(crate) size_bytes: usize,
}

impl Layout {
    pub(crate) fn of(options: &RegionOptions, slots: usize) -> Result<Layout, RegionError> {
        Layout::with_spares(options, slots, SPARE_BLOCKS, ROWS).ok_or(RegionError::TooMany)
    }

    pub(crate) fn with_spares(
        options: &RegionOptions,
        slots: usize,
        spares: usize,
        rows: usize,
    ) -> Option<Layout> {
        let blocks = match options.windows {
            0 => 0,
            windows => windows.checked_add(spares).filter(|blocks| *blocks <= MAX_BLOCKS)?,
        };
        // Half the slots are filled when all cells are there: then hardly a group runs over.
        let wanted = options.cells.max(1).checked_mul(2)?;
        let groups = wanted.div_ceil(slots);
        let hints_at = HEADER_WORDS.checked_add(rows.checked_mul(ROW_WORDS)?)?;
        let hints_end = hints_at.checked_add(blocks.div_ceil(BITS))?;
        let blocks_at = hints_end.checked_next_multiple_of(BLOCK_WORDS)?;
        let blocks_end = blocks_at.checked_add(blocks.checked_mul(BLOCK_WORDS)?)?;
        let groups_at = blocks_end.checked_next_multiple_of(GROUP_ALIGN_WORDS)?;
        let group_words = slots.checked_add(1)?.checked_mul(SLOT_WORDS)?;
        let words = groups_at.checked_add(groups.checked_mul(group_words)?)?;
        let size_bytes = words.checked_mul(WORD_BYTES)?;
        isize::try_from(size_bytes).ok()?;
        let options = *options;
        Some(Layout { options, rows, hints_at, blocks_at, blocks, groups_at, groups, size_bytes })
    }

    pub(crate) fn words(&self) -> usize {
        self.size_bytes.wrapping_div(WORD_BYTES)
    }

    /// Words of hints.
    pub(crate) fn hints(&self) -> usize {
        self.blocks.div_ceil(BITS)
    }

    /// Where the block's words start; past the end for a block that there is not.
    pub(crate) fn block_at(&self, index: usize) -> usize {
        if index >= self.blocks {
            return usize::MAX;
        }
        self.blocks_at.saturating_add(index.saturating_mul(BLOCK_WORDS))
    }

    /// Whether a word is the state of a slot.
    pub(crate) fn is_state(&self, at: usize) -> bool {
        at > self.groups_at && at < self.words() && at % SLOT_WORDS == 1
    }
}

const GROUP_ALIGN_WORDS: usize = 128;
