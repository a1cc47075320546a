//! Why a region cannot be had.

use std::io;

/// Why a region cannot be created or attached to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegionError {
    /// The memory does not start at a multiple of 8 bytes.
    #[error("the memory of a region starts at a multiple of 8 bytes; align it, to 64 at best")]
    Misaligned,
    /// The memory or the file has another size than the region in it, or than the options ask for.
    #[error(
        "the region has {expected} bytes and the memory {found}; give it the size of the region, or create it anew"
    )]
    WrongSize {
        /// Bytes of the region.
        expected: u64,
        /// Bytes that there are.
        found: u64,
    },
    /// There is no region in the memory.
    #[error("there is no region in this memory; create one")]
    NoRegion,
    /// Whoever created the region has not finished, or died before.
    #[error("the region is not complete: wait for who creates it, or create it anew")]
    Unfinished,
    /// The region has another layout, of another version of this library.
    #[error("the region has layout {found} and this version reads {known}; create it anew")]
    OtherLayout {
        /// The region's.
        found: u64,
        /// The one that this version knows.
        known: u64,
    },
    /// More cells or windows than a region can hold.
    #[error("a region cannot hold so many cells or windows; ask for fewer")]
    TooMany,
    /// The file cannot be made, opened or mapped.
    #[error("the file of the region cannot be used: {0}")]
    File(#[from] io::Error),
}
