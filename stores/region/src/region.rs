//! Regions, and limits in them.

use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::process;

use siphasher::sip128::SipHasher13;
use tollgate::{
    Algorithm, Cell, CellKey, Check, Limit, LimitStore, Quota, StoreError, expires_ms, give_back,
};

use crate::cells::checked;
use crate::error::RegionError;
use crate::group::{Key, View};
use crate::header::{Header, wrong_size};
use crate::layout::{Layout, RegionOptions, SLOTS};
use crate::memory::Memory;

type RegionView<'a> = View<'a, AtomicU64, SLOTS>;

/// Limiter cells in memory that processes share.
///
/// It is `Send` and `Sync`: any thread may use it at any time, through a reference. Each process attaches for
/// itself. A value that came over a `fork` works, but the blocks that it holds are its parent's: once that ends and
/// [`reclaim_dead`](Self::reclaim_dead) is told so, cells of fixed and sliding windows may be counted wrongly by
/// whoever still uses the value. So attach anew after a `fork`.
pub struct Region {
    memory: Memory,
    layout: Layout,
    hasher: SipHasher13,
    /// This attachment's number; 0 until it needs a block.
    owner: AtomicU32,
}

impl Region {
    /// Creates an empty region in memory of the caller's, whatever was there before.
    ///
    /// `key` is 16 random bytes, for the hash by which cells are placed: who does not know it cannot aim at
    /// a group. It stays in the region.
    ///
    /// # Safety
    /// As for [`attach`](Self::attach); and nobody is attached to a region in this memory.
    ///
    /// # Errors
    /// [`RegionError`] when `ptr` is null or not a multiple of 8, `len` is not the
    /// [`size_bytes`](RegionOptions::size_bytes) of `options`, or there is no such size.
    #[allow(unsafe_code)] // the promise is the caller's; it is passed on as it is
    pub unsafe fn create(
        ptr: *mut u8,
        len: usize,
        options: &RegionOptions,
        key: &[u8; 16],
    ) -> Result<Region, RegionError> {
        let header = header_for(options, key)?;
        if header.layout.size_bytes != len {
            return Err(wrong_size(header.layout.size_bytes, len.wrapping_div(8)));
        }
        // SAFETY: the caller's promise.
        let memory = unsafe { Memory::borrowed(ptr, len)? };
        header.create(memory.words())?;
        Region::over(memory)
    }

    /// Attaches to the region in memory of the caller's.
    ///
    /// # Safety
    /// `ptr` points to `len` bytes that are valid for reads and writes, and stay so and stay mapped at this address, until the
    /// value is dropped. Meanwhile nobody, in any process, writes them but through a `Region` (or by other atomic
    /// operations on aligned words of 8 bytes). What the bytes are does not matter: a damaged region may count wrongly or
    /// fail, and that is all.
    ///
    /// # Errors
    /// [`RegionError`] when `ptr` is null or not a multiple of 8, or there is no complete region of
    /// this version and of `len` bytes.
    #[allow(unsafe_code)] // the promise is the caller's; it is passed on as it is
    pub unsafe fn attach(ptr: *mut u8, len: usize) -> Result<Region, RegionError> {
        // SAFETY: the caller's promise.
        Region::over(unsafe { Memory::borrowed(ptr, len)? })
    }

    pub(crate) fn over(memory: Memory) -> Result<Region, RegionError> {
        let Header { layout, key: [low, high] } = Header::read(memory.words(), SLOTS)?;
        let hasher = SipHasher13::new_with_keys(low, high);
        Ok(Region { memory, layout, hasher, owner: AtomicU32::new(0) })
    }

    /// What the region was created for.
    #[must_use]
    pub fn options(&self) -> RegionOptions {
        self.layout.options
    }

    /// Gets back the blocks of processes that died, and returns how many processes there were. Call it when one has
    /// died, after `SIGCHLD`, say; without it, each dead process that counted in fixed or sliding windows keeps some
    /// blocks, and one of 128 places, until then. Cells of GCRA need no such thing.
    ///
    /// `is_alive` is asked with the ids of processes as [`std::process::id`] gives them. It must not deny a
    /// process that lives: two processes would write the same block, and count wrongly. An id that was given to another
    /// process since is alive, and its blocks are got back once that one has ended too.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the region is damaged.
    pub fn reclaim_dead(
        &self,
        now_ms: u64,
        is_alive: impl Fn(u32) -> bool,
    ) -> Result<usize, StoreError> {
        self.view(0).reclaim_dead(now_ms, &is_alive)
    }

    fn view(&self, owner: u32) -> RegionView<'_> {
        let place = if owner == 0 { 0 } else { thread_place() };
        View { words: self.memory.words(), layout: &self.layout, owner, place }
    }

    fn view_for(&self, algorithm: Algorithm) -> Result<RegionView<'_>, StoreError> {
        Ok(self.view(if algorithm == Algorithm::Gcra { 0 } else { self.owner()? }))
    }

    fn owner(&self) -> Result<u32, StoreError> {
        let owner = self.owner.load(Ordering::Acquire);
        if owner == 0 { self.register() } else { Ok(owner) }
    }

    #[cold]
    fn register(&self) -> Result<u32, StoreError> {
        if self.layout.blocks == 0 {
            return Err(crate::group::full());
        }
        let own = self.view(0).register(process::id())?;
        match self.owner.compare_exchange(0, own, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(own),
            Err(others) => {
                // Another thread was quicker.
                self.view(own).leave(process::id())?;
                Ok(others)
            }
        }
    }

    #[inline]
    fn key(&self, key: &CellKey, algorithm: Algorithm) -> Key {
        let hash = self.hasher.hash(&Key::bytes(key));
        Key::new::<SLOTS>(&self.layout, (hash.h1, hash.h2), algorithm)
    }
}

pub(crate) fn header_for(options: &RegionOptions, key: &[u8; 16]) -> Result<Header, RegionError> {
    let layout = Layout::of(options, SLOTS)?;
    let [low, high] = [0, 64].map(|bit| {
        let half = u128::from_le_bytes(*key).wrapping_shr(bit) & u128::from(u64::MAX);
        u64::try_from(half).unwrap_or(0)
    });
    Ok(Header { layout, key: [low, high] })
}

/// A number of this thread, so that threads keep to places of their own.
fn thread_place() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static PLACE: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    PLACE.with(|place| *place)
}

impl Drop for Region {
    fn drop(&mut self) {
        let owner = *self.owner.get_mut();
        if owner != 0 {
            // What a damaged region cannot take back is lost with it.
            let _ = self.view(owner).leave(process::id());
        }
    }
}

impl fmt::Debug for Region {
    /// Without the key of the hash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region")
            .field("options", &self.layout.options)
            .field("mapping", &self.memory.is_mapping())
            .finish_non_exhaustive()
    }
}

/// Besides what [`StoreError`] says:
/// [`Full`](StoreError::Full) means that a new cell has no place, and that nothing was counted;
/// [`Unavailable`](StoreError::Unavailable), that too many processes changed one cell at once, or that 128
/// processes hold blocks; [`Corrupt`](StoreError::Corrupt), that the region is damaged.
impl LimitStore for Region {
    #[inline]
    fn take(
        &self,
        key: &CellKey,
        limit: &Limit,
        quota: &Quota,
        now_ms: u64,
    ) -> Result<Check, StoreError> {
        if limit.cost == 0 {
            return self.peek(key, limit, quota, now_ms);
        }
        let key = self.key(key, limit.algorithm);
        self.view_for(limit.algorithm)?.update(&key, now_ms, |cell| {
            let check = checked(limit, quota, cell, now_ms);
            let next = check.verdict.ok();
            (check, next.map(|next| (next, expires_ms(limit.algorithm, quota, &next))))
        })
    }

    fn peek(
        &self,
        key: &CellKey,
        limit: &Limit,
        quota: &Quota,
        now_ms: u64,
    ) -> Result<Check, StoreError> {
        let cell = self.view(0).cell(&self.key(key, limit.algorithm), now_ms)?;
        Ok(checked(limit, quota, cell.as_ref(), now_ms))
    }

    fn give_back(
        &self,
        key: &CellKey,
        limit: &Limit,
        quota: &Quota,
        taken: &Cell,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let key = self.key(key, limit.algorithm);
        self.view_for(limit.algorithm)?.update(&key, now_ms, |cell| {
            let next = cell.map(|stored| give_back(quota, stored, taken, limit.cost, now_ms));
            ((), next.map(|next| (next, expires_ms(limit.algorithm, quota, &next))))
        })
    }

    /// Frees the blocks of fixed and sliding windows that expired a minute ago, and those that were lost.
    /// Cells of GCRA need no sweep.
    fn expire(&self, now_ms: u64) -> Result<(), StoreError> {
        self.view(0).sweep_all(now_ms, &|_| false)
    }
}
