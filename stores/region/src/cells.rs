//! Cells: what is read from a slot, and how it is replaced by what follows from it.

use core::hint;

use tollgate::{Cell, Check, GcraCell, Limit, Quota, Refused, StoreError};

use crate::code::{Kind, is_kept, state};
use crate::group::{Key, Slot, View, damaged};
use crate::word::Word;

/// How often one operation begins anew because another process was quicker. In a sound region somebody
/// gets on with each of them; a damaged one is given up after so many.
const ATTEMPTS: usize = 10_000;

/// What an operation answers, and the cell to write with the time at which it expires, if any.
pub(crate) type Step<A> = (A, Option<(Cell, u64)>);

/// What there was in a slot.
enum Seen {
    Cell(Cell),
    /// None that counts.
    Nothing,
    /// It changed while it was read.
    Changed,
}

/// What [`check`](tollgate::check) says, but that nothing is taken whose arrival time has no place in a slot.
pub(crate) fn checked(limit: &Limit, quota: &Quota, cell: Option<&Cell>, now_ms: u64) -> Check {
    let check = tollgate::check(limit.algorithm, quota, cell, now_ms, limit.cost);
    match check.verdict {
        Ok(Cell::Gcra(GcraCell { tat_ns })) if !state::is_time(tat_ns) => {
            Check { verdict: Err(Refused { retry_at_ms: None }), after: check.before, ..check }
        }
        _ => check,
    }
}

impl<W: Word, const SLOTS: usize> View<'_, W, SLOTS> {
    /// The cell of a key, if it counts or is kept.
    pub(crate) fn cell(&self, key: &Key, now_ms: u64) -> Result<Option<Cell>, StoreError> {
        for _ in 0..ATTEMPTS {
            let Some(slot) = self.find(key)? else { return Ok(None) };
            match self.see(key.kind, &slot, now_ms)? {
                Seen::Cell(cell) => return Ok(Some(cell)),
                Seen::Nothing => return Ok(None),
                Seen::Changed => hint::spin_loop(),
            }
        }
        Err(gave_up())
    }

    /// Replaces the cell of a key by the one that `step` gives for it, if any, as one change. `step` is asked anew
    /// whenever the cell has changed meanwhile.
    #[inline]
    pub(crate) fn update<A>(
        &self,
        key: &Key,
        now_ms: u64,
        step: impl Fn(Option<&Cell>) -> Step<A>,
    ) -> Result<A, StoreError> {
        for _ in 0..ATTEMPTS {
            let Some(slot) = self.find(key)? else {
                let (answer, None) = step(None) else {
                    if key.kind != Kind::Gcra {
                        let prepared = self.prepare_link(now_ms);
                        // The last place may have gone to this very key.
                        if prepared.is_err() && self.find(key)?.is_some() {
                            continue;
                        }
                        prepared?;
                    }
                    self.make_room(key, now_ms)?;
                    continue;
                };
                return Ok(answer);
            };
            let (answer, next) = match self.see(key.kind, &slot, now_ms)? {
                Seen::Cell(cell) => step(Some(&cell)),
                Seen::Nothing => step(None),
                Seen::Changed => {
                    hint::spin_loop();
                    continue;
                }
            };
            let Some((next, expires_ms)) = next else { return Ok(answer) };
            if self.replace(&slot, &next, expires_ms, now_ms)? {
                return Ok(answer);
            }
            hint::spin_loop();
        }
        Err(gave_up())
    }

    #[inline]
    fn see(&self, kind: Kind, slot: &Slot, now_ms: u64) -> Result<Seen, StoreError> {
        let tat_ns = slot.state;
        if state::is_mark(tat_ns) {
            return Ok(Seen::Nothing);
        }
        if kind == Kind::Gcra {
            if !state::is_time(tat_ns) {
                return Err(damaged());
            }
            return Ok(if is_kept(state::time_expires_ms(tat_ns), now_ms) {
                Seen::Cell(Cell::Gcra(GcraCell { tat_ns }))
            } else {
                Seen::Nothing
            });
        }
        if !state::is_link(slot.state) {
            return Err(damaged());
        }
        let (cell, expires_ms) = self.read_block(slot.state, kind)?;
        // A link never comes twice: as long as it is there, the block is as it was published.
        if self.word(slot.at.wrapping_add(1))?.load() != slot.state {
            return Ok(Seen::Changed);
        }
        Ok(if is_kept(expires_ms, now_ms) { Seen::Cell(cell) } else { Seen::Nothing })
    }

    #[inline]
    fn replace(
        &self,
        slot: &Slot,
        next: &Cell,
        expires_ms: u64,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let state_at = slot.at.wrapping_add(1);
        let Cell::Gcra(GcraCell { tat_ns }) = next else {
            return self.publish(state_at, slot.state, next, expires_ms, now_ms);
        };
        let state_word = self.word(state_at)?;
        if !state_word.exchange(slot.state, *tat_ns) {
            return Ok(false);
        }
        if self.word(slot.at)?.load() == slot.name {
            return Ok(true);
        }
        // Another key's cell may have had the same arrival time: what was given back there is counted again.
        match slot.state.checked_sub(*tat_ns) {
            Some(given_ns @ 1..) if state::is_time(slot.state) => {
                count_again(state_word, given_ns)?
            }
            _ => {}
        }
        Ok(false)
    }
}

/// Moves an arrival time on, unless there is none any more.
#[cold]
fn count_again<W: Word>(state_word: &W, by_ns: u64) -> Result<(), StoreError> {
    for _ in 0..ATTEMPTS {
        let tat_ns = state_word.load();
        if !state::is_time(tat_ns) {
            return Ok(());
        }
        let later_ns = tat_ns.saturating_add(by_ns).min(state::END_OF_TIMES.wrapping_sub(1));
        if state_word.exchange(tat_ns, later_ns) {
            return Ok(());
        }
    }
    Err(gave_up())
}

fn gave_up() -> StoreError {
    StoreError::Unavailable {
        reason: "too many processes change this cell at once, or the region is damaged".into(),
    }
}
