//! The cells of a memory store as a store of limits, beside accounts that are kept elsewhere.

use crate::store::memory::sync::MutexGuard;

use crate::limit::{Cell, CellKey, Check, Limit, Quota, check, expires_ms, give_back};
use crate::store::StoreError;
use crate::store::composite::LimitStore;
use crate::store::memory::MemoryStore;
use crate::store::memory::cells::CellShard;

impl MemoryStore {
    fn cell_shard(&self, key: &CellKey) -> Result<MutexGuard<'_, CellShard>, StoreError> {
        let shard = self.cells.lock(self.cells.shard_of(key));
        shard.ok_or(StoreError::Full { what: "limiter cells" })
    }
}

impl LimitStore for MemoryStore {
    fn take(
        &self,
        key: &CellKey,
        limit: &Limit,
        quota: &Quota,
        now_ms: u64,
    ) -> Result<Check, StoreError> {
        let mut shard = self.cell_shard(key)?;
        let cell = shard.get(key, now_ms);
        let checked = check(limit.algorithm, quota, cell.as_ref(), now_ms, limit.cost);
        if let Ok(cell) = checked.verdict {
            if !shard.contains(key) && !shard.has_room(1, now_ms) {
                return Err(StoreError::Full { what: "limiter cells" });
            }
            shard.put(*key, cell, expires_ms(limit.algorithm, quota, &cell), now_ms);
        }
        Ok(checked)
    }

    fn peek(
        &self,
        key: &CellKey,
        limit: &Limit,
        quota: &Quota,
        now_ms: u64,
    ) -> Result<Check, StoreError> {
        let cell = self.cell_shard(key)?.get(key, now_ms);
        Ok(check(limit.algorithm, quota, cell.as_ref(), now_ms, limit.cost))
    }

    fn give_back(
        &self,
        key: &CellKey,
        limit: &Limit,
        quota: &Quota,
        taken: &Cell,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let mut shard = self.cell_shard(key)?;
        if let Some(stored) = shard.get(key, now_ms) {
            let cell = give_back(quota, &stored, taken, limit.cost, now_ms);
            shard.put(*key, cell, expires_ms(limit.algorithm, quota, &cell), now_ms);
        }
        Ok(())
    }

    fn expire(&self, now_ms: u64) -> Result<(), StoreError> {
        self.cells.reclaim(now_ms);
        Ok(())
    }
}
