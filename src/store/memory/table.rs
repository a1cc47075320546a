//! Tokens by digest: extendible hashing (Fagin, Nievergelt, Pippenger, Strong, 1979) over segments that
//! never move and are never freed, so that a look-up takes no lock but the slot's own.
//!
//! A directory has the number of a segment for each value of the first bits of a hash. A segment that is full
//! is split in two by the next bit, and where the directory has no such bit yet, it is doubled first. Only
//! who holds the [`Writer`] changes any of this, and says so by an odd version: a look-up that found
//! nothing meanwhile looks again. One that found its token has it, wherever that was: a token is in one
//! slot only, and is moved under its lock.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::store::memory::slot::{Contents, Key, Locked, Look, Slot};
use crate::store::memory::sync::{AtomicU32, AtomicU64, OnceLock, Ordering, Wait};

/// Slots of a segment: four kilobytes. Fewer where a scheduler chooses who goes on: then few tokens split segments.
const SLOTS: usize = if cfg!(tollgate_shuttle) { 8 } else { 64 };
/// A segment with so many tokens is split before it takes another: probes stay short.
const FULL: usize = SLOTS / 4 * 3;
/// Segments of a page, once there are so many. Before that a page has as many as all before it.
const PAGE: usize = 1024;
/// Pages before that.
const SMALL_PAGES: usize = 11;
/// Bits of the largest directory: far more than uniform digests need for as many segments as there can be.
const MAX_DEPTH: u32 = 24;

/// All slots, by the digest of their tokens.
#[derive(Debug)]
pub(super) struct Table {
    /// Odd while tokens are moved.
    version: AtomicU64,
    /// How many bits of a hash the directory tells apart.
    depth: AtomicU32,
    /// Directories by depth; the deepest one counts.
    directories: [OnceLock<Box<[AtomicU32]>>; MAX_DEPTH as usize + 1],
    pages: Box<[OnceLock<Box<[Segment]>>]>,
}

/// What only one thread at a time may have to change the table, and what only it needs.
#[derive(Debug, Default)]
pub(super) struct Writer {
    segments: usize,
    tokens: usize,
}

impl Writer {
    /// How many tokens there are.
    pub(super) fn len(&self) -> usize {
        self.tokens
    }
}

/// Slots whose hashes begin with the same bits. A slot is at its hash's last bits, or after it.
#[derive(Debug)]
struct Segment {
    slots: [Slot; SLOTS],
    /// How many bits they share. The writer's, as is `len`.
    depth: AtomicU32,
    len: AtomicU32,
}

/// There is no room for another token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

impl Table {
    /// A table that has room for at least `tokens` uniform digests.
    pub(super) fn new(tokens: usize) -> Self {
        // On average a segment is half full, and never less than a quarter.
        let segments = (tokens / (FULL / 4)).saturating_add(PAGE);
        let pages = segments.div_ceil(PAGE).saturating_add(SMALL_PAGES);
        Table {
            version: AtomicU64::new(0),
            depth: AtomicU32::new(0),
            directories: [const { OnceLock::new() }; MAX_DEPTH as usize + 1],
            pages: core::iter::repeat_with(OnceLock::new).take(pages).collect(),
        }
    }

    /// The slot of a token.
    #[inline(never)] // one copy for all that are not in a hurry
    pub(super) fn find(&self, key: &Key) -> Option<Locked<'_>> {
        self.find_in_line(key)
    }

    /// The same, for who decides a request with it.
    #[cfg_attr(not(feature = "small"), inline(always))]
    pub(super) fn find_in_line(&self, key: &Key) -> Option<Locked<'_>> {
        let mut wait = Wait::new();
        loop {
            let version = self.version.load(Ordering::Acquire);
            if let Some(found) = self.probe(key) {
                return Some(found);
            }
            if version.is_multiple_of(2) && self.version.load(Ordering::Acquire) == version {
                return None;
            }
            wait.a_moment();
        }
    }

    #[cfg_attr(not(feature = "small"), inline(always))]
    fn probe(&self, key: &Key) -> Option<Locked<'_>> {
        let segment = self.segment_of(key.hash())?;
        // A token is mostly in its first place, or in the next. Which of them is a matter of luck, so that a
        // branch on it would be mispredicted every fourth time: it is a sum instead. Both are read at once, so
        // that one does not wait for the other to come from memory.
        let first = start(key.hash());
        let is_not = |place: usize| {
            segment.slots.get(place % SLOTS).is_none_or(|slot| !slot.begins_like(key))
        };
        let (not_first, not_next) = (is_not(first), is_not(first.wrapping_add(1)));
        let skipped = usize::from(not_first).wrapping_mul(usize::from(not_next).wrapping_add(1));
        for slot in segment.from(first.wrapping_add(skipped)) {
            match slot.look(key) {
                Look::Empty => return None,
                Look::Other => {}
                Look::Same => {
                    let locked = slot.lock();
                    if locked.is(key) {
                        return Some(locked);
                    }
                }
            }
        }
        None
    }

    #[cfg_attr(not(feature = "small"), inline(always))]
    fn segment_of(&self, hash: u64) -> Option<&Segment> {
        let depth = self.depth.load(Ordering::Acquire);
        let directory = self.directories.get(depth as usize)?.get()?;
        self.segment(directory.get(first_bits(hash, depth))?.load(Ordering::Acquire))
    }

    /// The segment at a place: page and position, in one number.
    #[cfg_attr(not(feature = "small"), inline(always))]
    fn segment(&self, place: u32) -> Option<&Segment> {
        let place = place as usize;
        self.pages.get(place / PAGE)?.get()?.get(place % PAGE)
    }

    /// Makes room for a token, whose place is then only to be taken by [`insert`](Self::insert).
    pub(super) fn make_room(&self, writer: &mut Writer, key: &Key) -> Result<(), NoRoom> {
        if writer.segments == 0 {
            let place = self.add_segment(writer, 0)?;
            if let Some(root) = self.directories.first() {
                root.get_or_init(|| Box::new([AtomicU32::new(place)]));
            }
        }
        loop {
            let segment = self.segment_of(key.hash()).ok_or(NoRoom)?;
            let len = segment.len.load(Ordering::Relaxed) as usize;
            if len < FULL {
                return Ok(());
            }
            match self.split(writer, key.hash()) {
                Ok(()) => {}
                // So many alike are not uniform: they share what room there is, but for a place or two.
                Err(NoRoom) if len < SLOTS - 2 => return Ok(()),
                Err(NoRoom) => return Err(NoRoom),
            }
        }
    }

    /// Puts in a token that is not there yet. Moves none, so that slots may be held meanwhile.
    pub(super) fn insert(&self, writer: &mut Writer, contents: &Contents) -> Result<(), NoRoom> {
        self.segment_of(contents.key().hash()).ok_or(NoRoom)?.put(contents)?;
        writer.tokens = writer.tokens.saturating_add(1);
        Ok(())
    }

    /// Makes an empty segment; gives its place.
    fn add_segment(&self, writer: &mut Writer, depth: u32) -> Result<u32, NoRoom> {
        let (page, position, size) = place_of(writer.segments);
        let place = u32::try_from(page.saturating_mul(PAGE).saturating_add(position));
        let place = place.map_err(|_| NoRoom)?;
        let new = || core::iter::repeat_with(Segment::new).take(size).collect();
        let segments = self.pages.get(page).ok_or(NoRoom)?.get_or_init(new);
        segments.get(position).ok_or(NoRoom)?.depth.store(depth, Ordering::Relaxed);
        writer.segments = writer.segments.saturating_add(1);
        Ok(place)
    }

    /// Splits the segment of a hash in two.
    fn split(&self, writer: &mut Writer, hash: u64) -> Result<(), NoRoom> {
        let old = self.segment_of(hash).ok_or(NoRoom)?;
        let shared = old.depth.load(Ordering::Relaxed);
        let depth = self.depth.load(Ordering::Relaxed);
        let deeper = shared.saturating_add(1);
        if deeper > MAX_DEPTH || deeper > deepest(writer.segments) {
            return Err(NoRoom);
        }
        let place = self.add_segment(writer, deeper)?;
        let new = self.segment(place).ok_or(NoRoom)?;
        if deeper > depth {
            self.double(depth);
        }
        self.moving(|| {
            self.depth.store(depth.max(deeper), Ordering::Release);
            old.retain(|token| {
                let moves = is_set(token.key().hash(), shared);
                if moves {
                    let _ = new.put(token);
                }
                !moves
            });
            old.depth.store(deeper, Ordering::Relaxed);
            self.point_to(place, hash, deeper);
        });
        Ok(())
    }

    /// A directory with another bit, in which each segment has two entries for one.
    fn double(&self, depth: u32) {
        let directory = |depth: u32| self.directories.get(depth as usize);
        let Some(old) = directory(depth).and_then(OnceLock::get) else { return };
        let Some(new) = directory(depth.saturating_add(1)) else { return };
        let twice = |entry: &AtomicU32| {
            let place = entry.load(Ordering::Relaxed);
            [AtomicU32::new(place), AtomicU32::new(place)]
        };
        new.get_or_init(|| old.iter().flat_map(twice).collect());
    }

    /// Lets all hashes that begin like this one, but have a one as bit `depth`, lead to a segment.
    fn point_to(&self, place: u32, hash: u64, depth: u32) {
        let whole = self.depth.load(Ordering::Relaxed);
        let Some(directory) = self.directories.get(whole as usize).and_then(OnceLock::get) else {
            return;
        };
        let spare = whole.saturating_sub(depth);
        let first = (first_bits(hash, depth) | 1).wrapping_shl(spare);
        for entry in directory.iter().skip(first).take(1_usize.wrapping_shl(spare)) {
            entry.store(place, Ordering::Release);
        }
    }

    /// Keeps the tokens for which `keep` holds; tells of the others.
    pub(super) fn retain(
        &self,
        writer: &mut Writer,
        keep: impl Fn(&Contents) -> bool,
        mut dropped: impl FnMut(&Contents),
    ) {
        let (places, kept) = (0..writer.segments, &mut writer.tokens);
        self.moving(|| {
            for segment in places.filter_map(|number| self.segment_number(number)) {
                segment.retain(|token| {
                    let stays = keep(token);
                    if !stays {
                        dropped(token);
                        *kept = kept.saturating_sub(1);
                    }
                    stays
                });
            }
        });
    }

    /// Every token. The writer is there so that none is moved meanwhile.
    pub(super) fn for_each(&self, writer: &Writer, mut each: impl FnMut(&Contents)) {
        for segment in (0..writer.segments).filter_map(|number| self.segment_number(number)) {
            for slot in &segment.slots {
                if let Some(contents) = slot.lock().contents() {
                    each(&contents);
                }
            }
        }
    }

    fn segment_number(&self, number: usize) -> Option<&Segment> {
        let (page, position, _) = place_of(number);
        self.pages.get(page)?.get()?.get(position)
    }

    /// Runs what moves tokens, so that those who find nothing meanwhile look again.
    fn moving(&self, change: impl FnOnce()) {
        self.version.fetch_add(1, Ordering::AcqRel);
        change();
        self.version.fetch_add(1, Ordering::Release);
    }
}

impl Segment {
    fn new() -> Self {
        Segment {
            slots: core::array::from_fn(|_| Slot::default()),
            depth: AtomicU32::new(0),
            len: AtomicU32::new(0),
        }
    }

    /// All slots, from one on and round.
    #[cfg_attr(not(feature = "small"), inline(always))]
    fn from(&self, first: usize) -> impl Iterator<Item = &Slot> {
        (0..SLOTS).filter_map(move |step| self.slots.get(first.wrapping_add(step) % SLOTS))
    }

    /// The writer's own: nobody else fills slots.
    fn put(&self, contents: &Contents) -> Result<(), NoRoom> {
        let key = contents.key();
        let empty = self.from(start(key.hash())).find(|slot| slot.look(&key) == Look::Empty);
        empty.ok_or(NoRoom)?.lock().set(Some(contents));
        self.len.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Keeps the tokens for which `stays` holds, each as near to its first place as there is room now.
    fn retain(&self, mut stays: impl FnMut(&Contents) -> bool) {
        let mut slots: Vec<Locked<'_>> = self.slots.iter().map(Slot::lock).collect();
        let mut tokens: Vec<Contents> = slots.iter().filter_map(Locked::contents).collect();
        slots.iter_mut().for_each(|slot| slot.set(None));
        tokens.retain(|token| stays(token));
        tokens.iter().for_each(|token| place_in(&mut slots, token));
        self.len.store(u32::try_from(tokens.len()).unwrap_or(u32::MAX), Ordering::Relaxed);
    }
}

/// Puts a token in the first empty one of a segment's slots, all of which are locked.
fn place_in(slots: &mut [Locked<'_>], contents: &Contents) {
    let first = start(contents.key().hash());
    for step in 0..SLOTS {
        if let Some(slot) = slots.get_mut(first.wrapping_add(step) % SLOTS)
            && slot.is_empty()
        {
            return slot.set(Some(contents));
        }
    }
}

#[cfg_attr(not(feature = "small"), inline(always))]
#[allow(clippy::cast_possible_truncation)] // what is kept is below 64
fn start(hash: u64) -> usize {
    hash.wrapping_shr(32) as usize % SLOTS
}

#[cfg_attr(not(feature = "small"), inline(always))]
fn first_bits(hash: u64, bits: u32) -> usize {
    hash.checked_shr(64_u32.wrapping_sub(bits)).and_then(|bits| bits.try_into().ok()).unwrap_or(0)
}

/// Whether the bit after the first `bits` is one.
fn is_set(hash: u64, bits: u32) -> bool {
    first_bits(hash, bits.saturating_add(1)) % 2 == 1
}

/// How deep the directory may be with so many segments: digests that are not uniform must not double it for
/// nothing.
fn deepest(segments: usize) -> u32 {
    usize::BITS.saturating_sub(segments.leading_zeros()).saturating_add(6)
}

/// Page, position in it, and the page's size, of the segment with this number.
fn place_of(number: usize) -> (usize, usize, usize) {
    if number >= PAGE {
        let beyond = number.wrapping_sub(PAGE);
        return ((beyond / PAGE).saturating_add(SMALL_PAGES), beyond % PAGE, PAGE);
    }
    // Sizes 1, 1, 2, 4, … 512.
    let page = usize::BITS.wrapping_sub(number.leading_zeros());
    let size = 1_usize.wrapping_shl(page.saturating_sub(1));
    let first = if page == 0 { 0 } else { size };
    (page as usize, number.wrapping_sub(first), size)
}

#[cfg(test)]
mod tests;
