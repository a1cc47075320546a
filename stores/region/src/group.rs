//! Keys and slots: how a key finds its slot, and how a slot gets a key.
//!
//! A key belongs to one group of slots, and in it to a line where the search begins. The words of a slot are
//! its *name* (which key, and a tag that grows with each key) and its *state* (the cell, or a mark).
//!
//! A slot changes hands in four steps, each one compare-and-exchange:
//!
//! 1. **Take out.** The state of an expired cell becomes a mark with the tag of the name. The slot is *dead*: nobody
//!    writes its state until its name changes. Who still counts by the old cell fails and looks again.
//! 2. **Open.** The head of the group goes to its next version, with this slot open. Only the open slot of a
//!    version can be given a key, and the next version is entered only after it was.
//! 3. **Name.** The name becomes that of the new key, with the next tag.
//! 4. **Count.** The state, a mark of an earlier tag now, becomes the first cell.
//!
//! Whoever dies between two steps leaves a slot with which anybody else goes on: a dead slot can be
//! opened, an open slot named by any key, and a named slot counted in or taken out again.
//!
//! **No key has two slots that are not dead.** A key names the open slot of version `v` after it has seen, within
//! version `v`, that all other slots have other names or are dead. Within a version only the open slot changes its
//! name, and a dead slot stays dead as long as it has its name. So what was seen still holds.
//!
//! **No count is lost.** A cell is written over only by the cell that follows from it, or by a mark once it has expired.
//! Marks and links never come twice, so a late writer fails. An arrival time may come twice; whoever wrote
//! one reads the name again, and counts anew if it is another key's by now. If a unit was taken, that key has one
//! too many counted; if it was given back, it is counted again there at once. Between these two writes the key
//! has a unit too few counted, and for good if the process is killed there. It takes a writer that stands still until
//! the cell has expired by one clock, and a first cell by a clock that is behind, with the very same nanosecond.
//!
//! Never twice means: not before 2^16 keys had the same slot (each for as long as its cell lived), or a block
//! was published 2^31 times, while one writer stood still between two instructions.

use tollgate::{Algorithm, CellKey, StoreError};

use crate::code::{Kind, head, is_kept, name, state};
use crate::layout::{Layout, SLOT_WORDS, SLOTS_PER_LINE};
use crate::word::Word;

/// The words of a region, for one operation.
#[derive(Debug)]
pub(crate) struct View<'a, W, const SLOTS: usize> {
    pub(crate) words: &'a [W],
    pub(crate) layout: &'a Layout,
    /// The attachment that holds spare blocks; 0 where none are needed.
    pub(crate) owner: u32,
    /// In which of its places.
    pub(crate) place: usize,
}

impl<W, const SLOTS: usize> Clone for View<'_, W, SLOTS> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W, const SLOTS: usize> Copy for View<'_, W, SLOTS> {}

/// Where a key belongs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    group_at: usize,
    /// The slot at which the search begins.
    home: usize,
    /// Its name, with tag 0.
    name: u64,
    pub(crate) kind: Kind,
}

/// A slot that is a key's, as it was at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    /// The word of its name; its state is the next.
    pub(crate) at: usize,
    pub(crate) name: u64,
    pub(crate) state: u64,
}

/// When a slot may be given another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reuse {
    Now,
    /// Only when there is no other: its cell expired a short time ago, or has not been written yet.
    AtNeed,
    No,
}

pub(crate) fn damaged() -> StoreError {
    StoreError::Corrupt { what: "limiter cells" }
}

pub(crate) fn full() -> StoreError {
    StoreError::Full { what: "limiter cells" }
}

pub(crate) fn kind_of(algorithm: Algorithm) -> Kind {
    match algorithm {
        Algorithm::Gcra => Kind::Gcra,
        Algorithm::FixedWindow => Kind::FixedWindow,
        Algorithm::SlidingWindow => Kind::SlidingWindow,
    }
}

impl Key {
    /// The place of a key with this 128-bit hash. A cell of another kind is another cell: a limit that changes its
    /// algorithm starts anew.
    #[inline]
    pub(crate) fn new<const SLOTS: usize>(
        layout: &Layout,
        hash: (u64, u64),
        algorithm: Algorithm,
    ) -> Key {
        let kind = kind_of(algorithm);
        let groups = layout.groups as u128;
        // A group in proportion to the hash, a line by its lowest bits.
        let scaled = u128::from(hash.0).wrapping_mul(groups).wrapping_shr(64);
        let group = usize::try_from(scaled).unwrap_or(0);
        let lines = SLOTS.wrapping_add(1).div_ceil(SLOTS_PER_LINE);
        let line = usize::try_from(hash.0 & 0xff).unwrap_or(0) & lines.wrapping_sub(1);
        let group_words = SLOTS.wrapping_add(1).wrapping_mul(SLOT_WORDS);
        Key {
            group_at: layout.groups_at.wrapping_add(group.wrapping_mul(group_words)),
            home: line.wrapping_mul(SLOTS_PER_LINE),
            name: name::of(hash.1, kind),
            kind,
        }
    }

    #[inline]
    pub(crate) fn bytes(key: &CellKey) -> [u8; 40] {
        let mut bytes = [0; 40];
        let (limit, partition) = bytes.split_at_mut(8);
        limit.copy_from_slice(&key.limit.0.to_le_bytes());
        partition.copy_from_slice(&key.partition);
        bytes
    }
}

impl<'a, W: Word, const SLOTS: usize> View<'a, W, SLOTS> {
    #[inline]
    pub(crate) fn word(&self, at: usize) -> Result<&'a W, StoreError> {
        self.words.get(at).ok_or_else(damaged)
    }

    /// The words of the slots in the order in which a key looks at them, each with its place in the group.
    /// The place 0 is the head's: it looks like a slot that has no key.
    #[inline]
    fn slots(&self, key: &Key) -> Result<impl Iterator<Item = (usize, &'a [W])>, StoreError> {
        let len = SLOTS.wrapping_add(1).wrapping_mul(SLOT_WORDS);
        let end = key.group_at.checked_add(len).ok_or_else(damaged)?;
        let group = self.words.get(key.group_at..end).ok_or_else(damaged)?;
        let (before, from) =
            group.split_at_checked(key.home.wrapping_mul(SLOT_WORDS)).ok_or_else(damaged)?;
        let first = (key.home..).zip(from.chunks_exact(SLOT_WORDS));
        Ok(first.chain((0..).zip(before.chunks_exact(SLOT_WORDS))))
    }

    /// The slot of a key, unless it has none or is dead.
    #[inline]
    pub(crate) fn find(&self, key: &Key) -> Result<Option<Slot>, StoreError> {
        for (place, slot) in self.slots(key)? {
            let [name_word, state_word] = slot else { continue };
            let name = name_word.load();
            if !name::is_of_key(name, key.name) {
                continue;
            }
            let state = state_word.load();
            // Only a state that the slot had under this name counts. If the name has changed, the key had
            // no cell at that moment, or it is to be found further on.
            if name_word.load() == name && !state::is_dead(name, state) {
                let at = key.group_at.wrapping_add(place.wrapping_mul(SLOT_WORDS));
                return Ok(Some(Slot { at, name, state }));
            }
        }
        Ok(None)
    }

    /// A step towards a slot for a key that has none. When it returns, look again: the key has a slot
    /// now, or another process was quicker.
    ///
    /// # Errors
    /// `Full` when every slot of the group has a cell that lives.
    pub(crate) fn make_room(&self, key: &Key, now_ms: u64) -> Result<(), StoreError> {
        let head_word = self.word(key.group_at)?;
        let head = head_word.load();
        let open_at = head::open_slot(head);
        let mut open = None;
        let mut victim: Option<(Reuse, usize, &W, u64, u64)> = None;
        for (place, slot) in self.slots(key)? {
            let ([name_word, state_word], 1..) = (slot, place) else { continue };
            let name = name_word.load();
            if place == open_at && head::is_open(head, name) {
                open = Some((name_word, name));
            }
            let state = state_word.load();
            if name::is_of_key(name, key.name) && !state::is_dead(name, state) {
                return Ok(());
            }
            if matches!(victim, Some((Reuse::Now, ..))) {
                continue;
            }
            let reuse = self.reuse(name, state, now_ms)?;
            let better = reuse == Reuse::Now || (reuse == Reuse::AtNeed && victim.is_none());
            if better && name_word.load() == name {
                victim = Some((reuse, place, state_word, name, state));
            }
        }
        if let Some((name_word, name)) = open {
            name_word.exchange(name, name::next(name, key.name));
            return Ok(());
        }
        let Some((_, place, state_word, name, state)) = victim else { return Err(full()) };
        if !state::is_dead(name, state) && !self.take_out(state_word, name, state)? {
            return Ok(());
        }
        if head_word.exchange(head, head::opening(head, place, name)) {
            // Nothing has changed since the search but the version, so the search holds for the new one.
            let at = key.group_at.wrapping_add(place.wrapping_mul(SLOT_WORDS));
            self.word(at)?.exchange(name, name::next(name, key.name));
        }
        Ok(())
    }

    /// Whether a slot with these words may be given another key.
    fn reuse(&self, name: u64, state: u64, now_ms: u64) -> Result<Reuse, StoreError> {
        if state::is_mark(state) {
            let dead = state::is_dead(name, state);
            return Ok(if dead { Reuse::Now } else { Reuse::AtNeed });
        }
        let expires_ms = if state::is_time(state) {
            state::time_expires_ms(state)
        } else {
            self.block_expires_ms(state)?
        };
        Ok(if !is_kept(expires_ms, now_ms) {
            Reuse::Now
        } else if expires_ms <= now_ms {
            Reuse::AtNeed
        } else {
            Reuse::No
        })
    }

    /// Makes a slot dead whose cell is `state`, if it still is; its block is free then.
    pub(crate) fn take_out(
        &self,
        state_word: &W,
        name: u64,
        state: u64,
    ) -> Result<bool, StoreError> {
        if !state_word.exchange(state, state::mark(name)) {
            return Ok(false);
        }
        if state::is_link(state) {
            self.count_linked(|linked| linked.checked_sub(1))?;
            self.release(state)?;
        }
        Ok(true)
    }
}
