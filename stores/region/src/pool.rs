//! Blocks: the cells of fixed and sliding windows, which do not fit a word.
//!
//! A cell is never changed in place. Its next value is written into a spare block, and one compare-and-exchange on the
//! slot's state puts the link to that block in the place of the link to the old one, which is spare from then on. A link
//! holds the tag under which its block was published, so that no link comes twice.
//!
//! The first word of a block says whose it is: the pool's, an attachment's, or *linked* at the slot that its second word
//! names. A process that dies loses at most what it holds, and the block that it had just unlinked. The former are found by
//! its attachment, the latter because they say that they are linked and their slot has another link. Every change of
//! hands is a compare-and-exchange with the tag, so that finder and loser, if it lives after all, cannot both have it.

use tollgate::{Cell, FixedCell, SlidingCell, StoreError};

use crate::code::{Kind, Owner, is_kept, low_half, name, state};
use crate::group::{View, damaged, full};
use crate::layout::header;
use crate::word::Word;

/// Words of a block by place.
const OWNER: usize = 0;
/// The word of the state that links it.
const LINKED_AT: usize = 1;
const EXPIRES_MS: usize = 2;
/// A fixed window's start, or the length of a part of a sliding one.
const FIRST: usize = 3;
/// A fixed window's count, or the newest part of a sliding one.
const SECOND: usize = 4;
/// Counts of parts, two a word.
const COUNTS: usize = 5;

/// How many blocks are looked at for an expired one when there is none free.
/// All, if the region is small.
const SWEPT_AT_NEED: usize = 2_048;
/// How often a shared counter is tried.
const ATTEMPTS: usize = 1_000;

/// A block in the hands of this attachment.
#[derive(Clone, Copy, Debug)]
struct Spare {
    index: usize,
    tag: u32,
}

/// Which attachments are gone, and their blocks lost.
pub(crate) type IsGone<'f> = &'f dyn Fn(u32) -> bool;

impl<W: Word, const SLOTS: usize> View<'_, W, SLOTS> {
    fn block_word(&self, index: usize, word: usize) -> Result<&W, StoreError> {
        self.word(self.layout.block_at(index).saturating_add(word))
    }

    pub(crate) fn block_expires_ms(&self, link: u64) -> Result<u64, StoreError> {
        Ok(self.block_word(state::link_index(link), EXPIRES_MS)?.load())
    }

    /// What a block holds. It counts only if the link is still there afterwards.
    pub(crate) fn read_block(&self, link: u64, kind: Kind) -> Result<(Cell, u64), StoreError> {
        let at = self.layout.block_at(state::link_index(link));
        let block = self.words.get(at..).ok_or_else(damaged)?;
        let word = |place: usize| block.get(place).map_or(0, Word::load);
        let (first, second) = (word(FIRST), word(SECOND));
        let cell = if kind == Kind::FixedWindow {
            Cell::FixedWindow(FixedCell { start_ms: first, used: second })
        } else {
            let mut counts = [0; 17];
            for (pair, at) in counts.chunks_mut(2).zip(COUNTS..) {
                let both = word(at);
                for (count, shift) in pair.iter_mut().zip([0, 32]) {
                    *count = low_half(both.wrapping_shr(shift));
                }
            }
            Cell::SlidingWindow(SlidingCell { part_ms: first, newest: second, counts })
        };
        Ok((cell, word(EXPIRES_MS)))
    }

    fn write_block(&self, index: usize, cell: &Cell, expires_ms: u64) -> Result<(), StoreError> {
        let at = self.layout.block_at(index);
        let block = self.words.get(at..).ok_or_else(damaged)?;
        let put = |place: usize, value: u64| {
            if let Some(word) = block.get(place) {
                word.store(value);
            }
        };
        put(EXPIRES_MS, expires_ms);
        match cell {
            Cell::FixedWindow(cell) => {
                put(FIRST, cell.start_ms);
                put(SECOND, cell.used);
            }
            Cell::SlidingWindow(cell) => {
                put(FIRST, cell.part_ms);
                put(SECOND, cell.newest);
                for (pair, at) in cell.counts.chunks(2).zip(COUNTS..) {
                    let both = pair
                        .iter()
                        .rev()
                        .fold(0_u64, |both, count| both.wrapping_shl(32) | u64::from(*count));
                    put(at, both);
                }
            }
            _ => return Err(damaged()),
        }
        Ok(())
    }

    /// Puts a link to a block with `cell` in the place of `old` at the state `state_at`, if that is
    /// still there.
    pub(crate) fn publish(
        &self,
        state_at: usize,
        old: u64,
        cell: &Cell,
        expires_ms: u64,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let adds = !state::is_link(old);
        if adds && !self.count_linked(|linked| self.one_more(linked))? {
            // The last place may have gone to this very cell.
            let unchanged = self.word(state_at)?.load() == old;
            return if unchanged { Err(full()) } else { Ok(false) };
        }
        let spare = match self.spare(now_ms) {
            Ok(spare) => spare,
            Err(error) if adds => {
                self.count_linked(|linked| linked.checked_sub(1))?;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        let tag = spare.tag.wrapping_add(1);
        let owner = self.block_word(spare.index, OWNER)?;
        let held = Owner::Held { by: self.owner, tag }.word();
        owner.store(held);
        self.block_word(spare.index, LINKED_AT)?.store(state_at as u64);
        self.write_block(spare.index, cell, expires_ms)?;
        if !self.word(state_at)?.exchange(old, state::link(spare.index, tag)) {
            self.keep(Spare { tag, ..spare })?;
            if adds {
                self.count_linked(|linked| linked.checked_sub(1))?;
            }
            return Ok(false);
        }
        owner.exchange(held, Owner::Linked { tag }.word());
        if !adds {
            self.take_over(old)?;
        }
        Ok(true)
    }

    /// Makes the block of a link that this process has replaced its own, unless somebody held it for lost.
    fn take_over(&self, link: u64) -> Result<(), StoreError> {
        let index = state::link_index(link);
        let tag = state::link_tag(link).wrapping_add(1);
        if self.pass_on(link, Owner::Held { by: self.owner, tag })? {
            self.keep(Spare { index, tag })?;
        }
        Ok(())
    }

    /// Gives the block of a link that is no more back to the pool.
    pub(crate) fn release(&self, link: u64) -> Result<(), StoreError> {
        let tag = state::link_tag(link).wrapping_add(1);
        if self.pass_on(link, Owner::Free { tag })? {
            self.hint_free(state::link_index(link))?;
        }
        Ok(())
    }

    fn pass_on(&self, link: u64, to: Owner) -> Result<bool, StoreError> {
        let word = self.block_word(state::link_index(link), OWNER)?;
        // Twice: who published it may say only now that it is linked.
        for _ in 0..2 {
            let old = word.load();
            let tagged = Owner::of(old).filter(|owner| owner.tag() == state::link_tag(link));
            if !matches!(tagged, Some(Owner::Held { .. } | Owner::Linked { .. })) {
                return Ok(false);
            }
            if word.exchange(old, to.word()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether one more cell can be linked now; finds room for it if need be.
    pub(crate) fn prepare_link(&self, now_ms: u64) -> Result<(), StoreError> {
        let linked = self.word(header::LINKED)?;
        if self.one_more(linked.load()).is_none() {
            self.sweep_some(now_ms)?;
            if self.one_more(linked.load()).is_none() {
                return Err(full());
            }
        }
        let spare = self.spare(now_ms)?;
        self.keep(spare)
    }

    fn one_more(&self, linked: u64) -> Option<u64> {
        let more = linked.checked_add(1)?;
        (more <= self.layout.options.windows as u64).then_some(more)
    }

    /// Changes how many blocks are linked, unless `change` says that it cannot be.
    pub(crate) fn count_linked(
        &self,
        change: impl Fn(u64) -> Option<u64>,
    ) -> Result<bool, StoreError> {
        let word = self.word(header::LINKED)?;
        for _ in 0..ATTEMPTS {
            let linked = word.load();
            let Some(changed) = change(linked) else { return Ok(false) };
            if word.exchange(linked, changed) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The block in this thread's place, or one of the pool's.
    fn spare(&self, now_ms: u64) -> Result<Spare, StoreError> {
        let place = self.place_word()?;
        let kept = place.swap(0);
        if let Some(index) = usize::try_from(kept).ok().and_then(|kept| kept.checked_sub(1)) {
            let owner = self.block_word(index, OWNER)?.load();
            match Owner::of(owner) {
                Some(Owner::Held { by, tag }) if by == self.owner => {
                    return Ok(Spare { index, tag });
                }
                _ => {}
            }
        }
        if let Some(spare) = self.free_block()? {
            return Ok(spare);
        }
        self.sweep_some(now_ms)?;
        self.free_block()?.ok_or_else(full)
    }

    /// Puts a block into this thread's place, or into the pool if there is one already.
    fn keep(&self, spare: Spare) -> Result<(), StoreError> {
        if self.place_word()?.exchange(0, (spare.index as u64).wrapping_add(1)) {
            return Ok(());
        }
        let held = Owner::Held { by: self.owner, tag: spare.tag };
        self.free(spare.index, held).map(|_| ())
    }

    /// Gives the block in a place of an attachment that ends back to the pool.
    pub(crate) fn free_kept(&self) -> Result<(), StoreError> {
        let kept = self.place_word()?.swap(0);
        let Some(index) = usize::try_from(kept).ok().and_then(|kept| kept.checked_sub(1)) else {
            return Ok(());
        };
        match Owner::of(self.block_word(index, OWNER)?.load()) {
            Some(owner @ Owner::Held { by, .. }) if by == self.owner => {
                self.free(index, owner).map(|_| ())
            }
            _ => Ok(()),
        }
    }

    /// Gives a block to the pool, if it is still `owner`'s.
    pub(crate) fn free(&self, index: usize, owner: Owner) -> Result<bool, StoreError> {
        let free = Owner::Free { tag: owner.tag().wrapping_add(1) };
        let freed = self.block_word(index, OWNER)?.exchange(owner.word(), free.word());
        if freed {
            self.hint_free(index)?;
        }
        Ok(freed)
    }

    fn is_hinted(&self, index: usize) -> Result<bool, StoreError> {
        let bit = 1_u64.wrapping_shl(low_half(index as u64 & 63));
        let word = self.word(self.layout.hints_at.saturating_add(index.wrapping_shr(6)))?;
        Ok(word.load() & bit != 0)
    }

    fn hint_free(&self, index: usize) -> Result<(), StoreError> {
        let bit = 1_u64.wrapping_shl(low_half(index as u64 & 63));
        self.word(self.layout.hints_at.saturating_add(index.wrapping_shr(6)))?.set_bits(bit);
        Ok(())
    }

    fn free_block(&self) -> Result<Option<Spare>, StoreError> {
        let hints = self.layout.hints();
        let search_at = self.word(header::SEARCH_AT)?;
        let start = usize::try_from(search_at.load()).unwrap_or(0).checked_rem(hints).unwrap_or(0);
        for number in (start..hints).chain(0..start) {
            let word = self.word(self.layout.hints_at.saturating_add(number))?;
            for _ in 0..64 {
                let hinted = word.load();
                if hinted == 0 {
                    break;
                }
                let place = hinted.trailing_zeros();
                let bit = 1_u64.wrapping_shl(place);
                // The hint is cleared first: what is given back later sets it again.
                if word.clear_bits(bit) & bit == 0 {
                    continue;
                }
                let index = number.wrapping_shl(6) | usize::try_from(place).unwrap_or(0);
                if let Some(spare) = self.claim(index)? {
                    search_at.store(number as u64);
                    return Ok(Some(spare));
                }
            }
        }
        Ok(None)
    }

    fn claim(&self, index: usize) -> Result<Option<Spare>, StoreError> {
        if index >= self.layout.blocks {
            return Ok(None);
        }
        let owner = self.block_word(index, OWNER)?;
        let word = owner.load();
        let Some(Owner::Free { tag }) = Owner::of(word) else { return Ok(None) };
        let tag = tag.wrapping_add(1);
        let held = Owner::Held { by: self.owner, tag };
        Ok(owner.exchange(word, held.word()).then_some(Spare { index, tag }))
    }

    /// Frees some blocks whose cells have expired, or that were lost.
    fn sweep_some(&self, now_ms: u64) -> Result<(), StoreError> {
        let blocks = self.layout.blocks;
        let sweep_at = self.word(header::SWEEP_AT)?;
        let start = usize::try_from(sweep_at.load()).unwrap_or(0).checked_rem(blocks).unwrap_or(0);
        let many = blocks.min(SWEPT_AT_NEED);
        for index in (start..blocks).chain(0..start).take(many) {
            self.sweep_block(index, |expires_ms| expires_ms > now_ms, &|_| false)?;
        }
        sweep_at.store(start.saturating_add(many) as u64);
        Ok(())
    }

    /// Frees every block whose cell expired long enough ago, or that was lost; those of attachments that
    /// are gone are among them. Counts anew how many are linked.
    pub(crate) fn sweep_all(&self, now_ms: u64, is_gone: IsGone<'_>) -> Result<(), StoreError> {
        for index in 0..self.layout.blocks {
            self.sweep_block(index, |expires_ms| is_kept(expires_ms, now_ms), is_gone)?;
        }
        let linked_word = self.word(header::LINKED)?;
        let before = linked_word.load();
        let mut linked = 0_u64;
        for index in 0..self.layout.blocks {
            let owner = Owner::of(self.block_word(index, OWNER)?.load());
            let counts = match owner {
                Some(Owner::Linked { .. }) => true,
                Some(Owner::Held { tag, .. }) => self.linking_state(index, tag)?.is_some(),
                _ => false,
            };
            linked = linked.wrapping_add(u64::from(counts));
        }
        // If somebody linked one meanwhile, the next sweep counts.
        linked_word.exchange(before, linked);
        Ok(())
    }

    fn sweep_block(
        &self,
        index: usize,
        stays: impl Fn(u64) -> bool,
        is_gone: IsGone<'_>,
    ) -> Result<(), StoreError> {
        let owner = match Owner::of(self.block_word(index, OWNER)?.load()) {
            Some(Owner::Free { .. }) if self.is_hinted(index)? => return Ok(()),
            Some(Owner::Free { .. }) => return self.hint_free(index),
            Some(Owner::Held { by, .. }) if !is_gone(by) => return Ok(()),
            Some(owner) => owner,
            None => return Ok(()),
        };
        let Some((state_at, link)) = self.linking_state(index, owner.tag())? else {
            self.free(index, owner)?;
            return Ok(());
        };
        if let Owner::Held { tag, .. } = owner {
            let linked = Owner::Linked { tag }.word();
            self.block_word(index, OWNER)?.exchange(owner.word(), linked);
        }
        if !stays(self.block_expires_ms(link)?) {
            // As long as the link is there, the name is the one under which it was put.
            let name = self.word(state_at.wrapping_sub(1))?.load();
            if name::kind(name).is_some() {
                self.take_out(self.word(state_at)?, name, link)?;
            }
        }
        Ok(())
    }

    /// The state that links a block that was published under `tag`, and its link.
    fn linking_state(&self, index: usize, tag: u32) -> Result<Option<(usize, u64)>, StoreError> {
        let at = self.block_word(index, LINKED_AT)?.load();
        let at = usize::try_from(at).ok().filter(|at| self.layout.is_state(*at));
        let Some(at) = at else { return Ok(None) };
        let link = state::link(index, tag);
        Ok((self.word(at)?.load() == link).then_some((at, link)))
    }
}
