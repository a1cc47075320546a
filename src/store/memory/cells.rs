//! Limiter cells by key, in shards that are bounded and reclaim what has expired.

use alloc::boxed::Box;
use alloc::collections::BinaryHeap;
use core::cmp::Reverse;
use std::hash::{BuildHasher, RandomState};

use crate::store::memory::sync::{Mutex, MutexGuard};
use hashbrown::HashMap;

use crate::limit::{Cell, CellKey};

const SHARDS: usize = 64;

/// How long a cell is kept and counts after it expired: threads that read the clock one after the other
/// may come in another order, and clocks are set back. For so long a window that is over is still
/// known to be used up.
const KEPT_MS: u64 = 60_000;

/// All cells but those that tokens carry.
#[derive(Debug)]
pub(super) struct Cells {
    shards: Box<[Mutex<CellShard>]>,
    /// Keyed, so that nobody can choose addresses that meet in one shard or bucket.
    hasher: RandomState,
}

/// A part of the cells.
#[derive(Debug)]
pub(super) struct CellShard {
    cells: HashMap<CellKey, (Cell, u64), RandomState>,
    /// One entry a cell: a time at or before the one at which it expires.
    due: BinaryHeap<Reverse<(u64, CellKey)>>,
    max: usize,
}

impl Cells {
    pub(super) fn new(max: usize) -> Self {
        let hasher = RandomState::new();
        let shard = || {
            Mutex::new(CellShard {
                cells: HashMap::with_hasher(hasher.clone()),
                due: BinaryHeap::new(),
                max: max.div_ceil(SHARDS),
            })
        };
        Cells { shards: core::iter::repeat_with(shard).take(SHARDS).collect(), hasher }
    }

    pub(super) fn shard_of(&self, key: &CellKey) -> usize {
        // The high bits: the maps use the low ones.
        let hash = self.hasher.hash_one(key).wrapping_shr(58);
        usize::try_from(hash).unwrap_or(0)
    }

    pub(super) fn lock(&self, shard: usize) -> Option<MutexGuard<'_, CellShard>> {
        self.shards.get(shard).map(Mutex::lock)
    }

    /// Drops every cell that has expired and need not be kept any longer.
    pub(super) fn reclaim(&self, now_ms: u64) {
        for shard in &self.shards {
            shard.lock().reclaim(now_ms.saturating_sub(KEPT_MS), usize::MAX);
        }
    }
}

impl CellShard {
    /// A cell, unless it expired so long ago that it may be gone: what is answered does not hang on
    /// whether it is.
    pub(super) fn get(&self, key: &CellKey, now_ms: u64) -> Option<Cell> {
        let kept = |expires_ms: u64| expires_ms.saturating_add(KEPT_MS) > now_ms;
        self.cells.get(key).filter(|(_, expires_ms)| kept(*expires_ms)).map(|(cell, _)| *cell)
    }

    pub(super) fn contains(&self, key: &CellKey) -> bool {
        self.cells.contains_key(key)
    }

    /// Whether `fresh` new cells would fit, after what has expired is reclaimed: at the bound, at once.
    pub(super) fn has_room(&mut self, fresh: usize, now_ms: u64) -> bool {
        if self.cells.len().saturating_add(fresh) > self.max {
            self.reclaim(now_ms, usize::MAX);
        }
        self.cells.len().saturating_add(fresh) <= self.max
    }

    pub(super) fn put(&mut self, key: CellKey, cell: Cell, expires_ms: u64, now_ms: u64) {
        if self.cells.insert(key, (cell, expires_ms)).is_none() {
            self.due.push(Reverse((expires_ms, key)));
            // Two out for one in: without a sweep, the cells of the past do not pile up.
            self.reclaim(now_ms.saturating_sub(KEPT_MS), 2);
        }
    }

    fn reclaim(&mut self, now_ms: u64, at_most: usize) {
        for _ in 0..at_most {
            let Some(&Reverse((due_ms, key))) = self.due.peek() else { return };
            if due_ms > now_ms {
                return;
            }
            self.due.pop();
            match self.cells.get(&key) {
                Some((_, expires_ms)) if *expires_ms > now_ms => {
                    self.due.push(Reverse((*expires_ms, key)));
                }
                _ => {
                    self.cells.remove(&key);
                }
            }
        }
    }
}
