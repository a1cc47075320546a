//! One word of a region.

use core::sync::atomic::{AtomicU64, Ordering};

/// An atomic 64-bit word. Whoever reads what was written also sees all that was written before it.
///
/// A trait, so that the model checker can put its own words in place of the machine's.
pub(crate) trait Word {
    fn load(&self) -> u64;
    fn store(&self, value: u64);
    fn swap(&self, value: u64) -> u64;
    /// Puts `new` in the place of `old`; says whether it was there.
    fn exchange(&self, old: u64, new: u64) -> bool;
    /// Sets bits and gives the word as it was.
    fn set_bits(&self, bits: u64) -> u64;
    /// Clears bits and gives the word as it was.
    fn clear_bits(&self, bits: u64) -> u64;
}

impl Word for AtomicU64 {
    #[inline]
    fn load(&self) -> u64 {
        AtomicU64::load(self, Ordering::Acquire)
    }

    #[inline]
    fn store(&self, value: u64) {
        AtomicU64::store(self, value, Ordering::Release);
    }

    #[inline]
    fn swap(&self, value: u64) -> u64 {
        AtomicU64::swap(self, value, Ordering::AcqRel)
    }

    #[inline]
    fn exchange(&self, old: u64, new: u64) -> bool {
        self.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    #[inline]
    fn set_bits(&self, bits: u64) -> u64 {
        self.fetch_or(bits, Ordering::AcqRel)
    }

    #[inline]
    fn clear_bits(&self, bits: u64) -> u64 {
        self.fetch_and(!bits, Ordering::AcqRel)
    }
}
