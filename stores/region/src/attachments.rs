//! Which processes hold spare blocks.

use tollgate::StoreError;

use crate::code::low_half;
use crate::group::View;
use crate::layout::{HEADER_WORDS, LINE_WORDS, PLACES, ROW_WORDS, ROWS};
use crate::word::Word;

/// Bits of an attachment's number that say its row; the others count who had it before.
const ROW_BITS: u32 = ROWS.trailing_zeros();
const NUMBER_MASK: u32 = 0x3fff_ffff;

/// Who has a row: how many had it so far, and the process, 0 if none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tenant {
    turn: u32,
    process: u32,
}

impl Tenant {
    fn of(word: u64) -> Tenant {
        Tenant { turn: low_half(word.wrapping_shr(32)), process: low_half(word) }
    }

    fn word(self) -> u64 {
        u64::from(self.turn).wrapping_shl(32) | u64::from(self.process)
    }

    fn number(self, row: usize) -> u32 {
        let row = low_half(row as u64);
        (self.turn.wrapping_shl(ROW_BITS) | row) & NUMBER_MASK
    }
}

fn row_of(number: u32) -> usize {
    usize::try_from(number).unwrap_or(0) & ROWS.wrapping_sub(1)
}

fn row_at(row: usize) -> usize {
    HEADER_WORDS.wrapping_add(row.wrapping_mul(ROW_WORDS))
}

impl<'a, W: Word, const SLOTS: usize> View<'a, W, SLOTS> {
    pub(crate) fn place_word(&self) -> Result<&'a W, StoreError> {
        let line = (self.place % PLACES).wrapping_add(1);
        let at = row_at(row_of(self.owner)).wrapping_add(line.wrapping_mul(LINE_WORDS));
        self.word(at)
    }

    /// A number for an attachment of `process`; never 0.
    ///
    /// # Errors
    /// `Unavailable` when there are too many.
    pub(crate) fn register(&self, process: u32) -> Result<u32, StoreError> {
        for row in 0..self.layout.rows {
            let word = self.word(row_at(row))?;
            let old = word.load();
            let before = Tenant::of(old);
            if before.process != 0 {
                continue;
            }
            let mut tenant = Tenant { turn: before.turn.wrapping_add(1), process };
            if tenant.number(row) == 0 {
                tenant.turn = tenant.turn.wrapping_add(1);
            }
            if word.exchange(old, tenant.word()) {
                let owner = tenant.number(row);
                // The last one may have died. Only now does the row belong to nobody else.
                View { owner, ..*self }.clear_places()?;
                return Ok(owner);
            }
        }
        Err(StoreError::Unavailable {
            reason:
                "128 processes hold blocks of the region: call `reclaim_dead` after one has died"
                    .into(),
        })
    }

    /// Gives up an attachment of this process, and the blocks in its places.
    pub(crate) fn leave(&self, process: u32) -> Result<(), StoreError> {
        let row = row_of(self.owner);
        let word = self.word(row_at(row))?;
        let old = word.load();
        let tenant = Tenant::of(old);
        // A process that was forked has the same attachment, and it is its parent's.
        if tenant.process != process || tenant.number(row) != self.owner {
            return Ok(());
        }
        for place in 0..PLACES {
            View { place, ..*self }.free_kept()?;
        }
        word.exchange(old, Tenant { process: 0, ..tenant }.word());
        Ok(())
    }

    /// Gets back what processes that are not alive held, and their rows. Gives the number of rows.
    pub(crate) fn reclaim_dead(
        &self,
        now_ms: u64,
        is_alive: &dyn Fn(u32) -> bool,
    ) -> Result<usize, StoreError> {
        let mut tenants = [(0_u64, true); ROWS];
        for (row, (word, lives)) in tenants.iter_mut().take(self.layout.rows).enumerate() {
            *word = self.word(row_at(row))?.load();
            let tenant = Tenant::of(*word);
            *lives = tenant.process == 0 || is_alive(tenant.process);
        }
        let is_gone = |number: u32| {
            let row = row_of(number);
            let Some((word, lives)) = tenants.get(row) else { return true };
            // Somebody who came later than what was read above is alive.
            let dead = Tenant::of(*word);
            !lives && dead.number(row) == number
        };
        self.sweep_all(now_ms, &is_gone)?;
        let mut reclaimed = 0_usize;
        for (row, (old, lives)) in tenants.iter().take(self.layout.rows).enumerate() {
            if *lives {
                continue;
            }
            let vacant = Tenant { process: 0, ..Tenant::of(*old) };
            let freed = self.word(row_at(row))?.exchange(*old, vacant.word());
            reclaimed = reclaimed.wrapping_add(usize::from(freed));
        }
        Ok(reclaimed)
    }

    /// Forgets what is in the places of a row; the blocks have been freed already.
    fn clear_places(&self) -> Result<(), StoreError> {
        for place in 0..PLACES {
            View { place, ..*self }.place_word()?.swap(0);
        }
        Ok(())
    }
}
