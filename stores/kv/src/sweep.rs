//! Cells, and what time alone does: in steps, so that no transaction holds the writer's lock for long.

use tollgate::transition::{NEVER_MS, expire_account};
use tollgate::{AccountRef, Cell, CellKey, StoreError};

use crate::fault::{Fault, corrupt};
use crate::key;
use crate::map::KvRead;
use crate::record::ExpiringCell;
use crate::view::{KEPT_MS, View};

/// The most entries that one step of a sweep deals with.
pub(crate) const STEP: u32 = 1_000;

/// And with which it makes do when there is little room.
pub(crate) const SMALLEST_STEP: u32 = 8;

/// How long a damaged cell is passed over.
const DAMAGED_MS: u64 = 3_600_000;

/// What one step did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Swept {
    /// Leases and claims that ended.
    pub(crate) ended: u64,
    /// Entries that were looked at.
    pub(crate) seen: u32,
    /// Whether there is more to do.
    pub(crate) more: bool,
}

/// When a sweep finds something to do next: the first entry of an account, or of a cell, which is kept
/// a while after it expired.
pub(crate) fn next_due_ms(txn: &dyn KvRead) -> Result<Option<u64>, Fault> {
    let first = |kind: u8| {
        let entry = txn.first_at_or_after(&[kind])?;
        Ok::<_, Fault>(entry.map(|(key, _)| key).filter(|key| key.first() == Some(&kind)))
    };
    // Damaged entries are seen to by the sweep, at once.
    let account_ms = first(key::ACCOUNT_DUE)?
        .map(|key| key::read_account_due(&key).map_or(0, |(due_ms, _)| due_ms));
    let cell_ms = first(key::CELL_DUE)?.map(|key| {
        key::read_cell_due(&key).map_or(0, |(due_ms, _)| due_ms.saturating_add(KEPT_MS))
    });
    Ok(match (account_ms, cell_ms) {
        (Some(account_ms), Some(cell_ms)) => Some(account_ms.min(cell_ms)),
        (account_ms, cell_ms) => account_ms.or(cell_ms),
    })
}

impl View<'_, '_> {
    /// Reclaims cells, and ends what is due in accounts: `step` entries of each. `skipped` are accounts with damaged records; one
    /// more is put there when the step fails by it.
    pub(crate) fn sweep(&mut self, step: u32, skipped: &mut Vec<u32>) -> Result<Swept, Fault> {
        let cells = self.reclaim_cells(self.now_ms.saturating_sub(KEPT_MS), step)?;
        let mut swept = Swept { ended: 0, seen: cells, more: cells >= step };
        let mut left = step;
        let mut from = key::account_due(0, 0);
        while let Some((due_ms, number)) = self.first_account_due(&from)? {
            if due_ms > self.now_ms {
                break;
            }
            from = key::account_due(due_ms, number.saturating_add(1));
            if skipped.contains(&number) {
                continue;
            }
            // An account where nothing is due any more is a step too.
            (self.budget, self.sweeps) = (left.saturating_sub(1), true);
            match self.sweep_account(number, due_ms) {
                Ok(ended) => swept.ended = swept.ended.saturating_add(ended),
                Err(fault) => {
                    if let Fault::Broken(StoreError::Corrupt { .. }) = fault {
                        skipped.push(number);
                    }
                    return Err(fault);
                }
            }
            let before = left;
            left = self.budget;
            swept.seen = swept.seen.saturating_add(before.saturating_sub(left));
            if left == 0 {
                swept.more = true; // in this account, perhaps
                break;
            }
        }
        Ok(swept)
    }

    fn first_account_due(&self, from: &[u8]) -> Result<Option<(u64, u32)>, Fault> {
        // Its checksum is left alone: the account itself says whether the entry is right.
        let Some((key, _)) = self.first(from, &[key::ACCOUNT_DUE])? else { return Ok(None) };
        key::read_account_due(&key).map(Some).ok_or_else(|| corrupt("what falls due"))
    }

    fn sweep_account(&mut self, number: u32, registered_ms: u64) -> Result<u64, Fault> {
        let ended = expire_account(self, &AccountRef::Slot(number), self.now_ms)?;
        let Some(mut purse) = self.purse(number)? else {
            return Err(corrupt("an account's money"));
        };
        if purse.registered_ms != registered_ms {
            return Err(corrupt("what falls due"));
        }
        let first = self.first_note(number, &key::dues(number))?;
        let next_ms = first.map_or(NEVER_MS, |(noted_ms, _)| noted_ms);
        if next_ms != registered_ms {
            self.register(number, &mut purse, next_ms)?;
            self.put_purse(number, &purse)?;
        }
        Ok(ended)
    }

    /// Puts a limiter cell.
    ///
    /// # Errors
    /// [`Fault`].
    #[doc(hidden)]
    pub fn put_cell(
        &mut self,
        cell_key: &CellKey,
        cell: &Cell,
        expires_ms: u64,
    ) -> Result<(), Fault> {
        let key = key::cell(cell_key);
        let fresh = !self.has_cell(cell_key)?;
        self.memo.cells.retain(|(known, _)| known != cell_key);
        self.put(&key, &ExpiringCell { cell: *cell, expires_ms })?;
        if !fresh {
            return Ok(());
        }
        self.put(&key::cell_due(expires_ms, cell_key), &())?;
        let totals = &mut self.writing()?.totals;
        totals.cells = totals.cells.saturating_add(1);
        // Two out for one in: without a sweep, the cells of the past do not pile up.
        self.reclaim_cells(self.now_ms.saturating_sub(KEPT_MS), 2)?;
        Ok(())
    }

    /// Whether there is room for `fresh` more cells, after what has expired is reclaimed.
    pub(crate) fn make_room_for_cells(&mut self, fresh: u64) -> Result<(), Fault> {
        let most = self.options.max_cells;
        if self.writing()?.totals.cells.saturating_add(fresh) <= most {
            return Ok(());
        }
        self.reclaim_cells(self.now_ms, STEP)?;
        let fits = self.writing()?.totals.cells.saturating_add(fresh) <= most;
        if fits { Ok(()) } else { Err(Fault::Bound("limiter cells")) }
    }

    /// Goes through at most `at_most` entries of cells that were to expire by `until_ms`, drops those
    /// cells that did, and moves the entries of the others on. Gives how many entries it saw.
    fn reclaim_cells(&mut self, until_ms: u64, at_most: u32) -> Result<u32, Fault> {
        for seen in 0..at_most {
            let start = [key::CELL_DUE];
            // Its checksum is left alone: the cell itself says when it expires. A damaged entry must
            // not keep out all new cells.
            let Some((due_key, _)) = self.first(&start, &start)? else { return Ok(seen) };
            let Some((due_ms, cell)) = key::read_cell_due(&due_key) else {
                let no_entry = due_key.to_vec();
                self.delete(&no_entry)?;
                continue;
            };
            if due_ms > until_ms {
                return Ok(seen);
            }
            self.delete(&key::cell_due(due_ms, &cell))?;
            let key = key::cell(&cell);
            match self.get::<ExpiringCell>(&key, "a limit's count") {
                Ok(Some(ExpiringCell { expires_ms, .. })) if expires_ms > until_ms => {
                    self.put(&key::cell_due(expires_ms, &cell), &())?;
                }
                // Who asks for it is told; the others must not wait for it.
                Err(Fault::Broken(StoreError::Corrupt { .. })) => {
                    let later_ms = until_ms.saturating_add(DAMAGED_MS);
                    self.put(&key::cell_due(later_ms, &cell), &())?;
                }
                Err(fault) => return Err(fault),
                Ok(None) => {} // an entry that was damaged
                Ok(Some(_)) => {
                    self.delete(&key)?;
                    self.memo.cells.retain(|(known, _)| *known != cell);
                    let totals = &mut self.writing()?.totals;
                    totals.cells = totals.cells.saturating_sub(1);
                }
            }
        }
        Ok(at_most)
    }
}
