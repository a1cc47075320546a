//! Tests of the algorithm on small groups: every interleaving, and death at every instruction.
#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

mod crashes;
mod garbage;
mod interleavings;
mod replaced;

use std::fmt::Debug;

use tollgate::{Algorithm, Quota, StoreError, check, expires_ms};

use crate::group::{Key, View};
use crate::header::Header;
use crate::layout::{BLOCK_WORDS, Layout, RegionOptions};
use crate::word::Word;

/// A group of two slots, and `windows` blocks and some spare ones.
const SLOTS: usize = 2;

type Small<'a, W> = View<'a, W, SLOTS>;

fn layout(windows: usize) -> Layout {
    Layout::with_spares(&RegionOptions { cells: 1, windows }, SLOTS, 3, 4).unwrap()
}

/// The words of an empty region; `word` is told whether a word takes part in what is tested.
fn words<W>(layout: &Layout, word: impl Fn(bool, u64) -> W) -> Vec<W> {
    let header = Header { layout: *layout, key: [0; 2] };
    let matters = |at: usize| {
        let place = at.wrapping_sub(layout.blocks_at);
        at >= layout.groups_at || (place < layout.blocks * BLOCK_WORDS && place % BLOCK_WORDS < 5)
    };
    header.words().enumerate().map(|(at, value)| word(matters(at), value)).collect()
}

fn view<'a, W>(words: &'a [W], layout: &'a Layout, owner: u32) -> Small<'a, W> {
    View { words, layout, owner, place: 0 }
}

/// What a test asks for: `cost` units for `key`, whose cells are of `algorithm`.
#[derive(Clone, Copy, Debug)]
struct Ask {
    key: u64,
    algorithm: Algorithm,
    quota: Quota,
    cost: u64,
    now_ms: u64,
}

impl Ask {
    fn gcra(key: u64, units: u64, now_ms: u64) -> Ask {
        let quota = Quota::new(units, 5 * units);
        Ask { key, algorithm: Algorithm::Gcra, quota, cost: 1, now_ms }
    }

    fn window(key: u64, units: u64, now_ms: u64) -> Ask {
        let quota = Quota::new(units, 100);
        Ask { key, algorithm: Algorithm::FixedWindow, quota, cost: 1, now_ms }
    }

    fn key(&self, layout: &Layout) -> Key {
        Key::new::<SLOTS>(layout, (0, self.key << 32), self.algorithm)
    }

    /// Whether it was taken.
    fn take<W: Word>(&self, view: &Small<'_, W>) -> Result<bool, StoreError> {
        let key = self.key(view.layout);
        view.update(&key, self.now_ms, |cell| {
            let check = check(self.algorithm, &self.quota, cell, self.now_ms, self.cost);
            let next = check.verdict.ok();
            let next = next.map(|next| (next, expires_ms(self.algorithm, &self.quota, &next)));
            (check.verdict.is_ok(), next)
        })
    }

    fn remaining<W: Word>(&self, view: &Small<'_, W>) -> u64 {
        let cell = view.cell(&self.key(view.layout), self.now_ms).unwrap();
        check(self.algorithm, &self.quota, cell.as_ref(), self.now_ms, 0).before.remaining
    }
}

/// Fails if a key has two cells, or a block two owners.
fn assert_sound<W: Word + Debug>(view: &Small<'_, W>) {
    use crate::code::{name, state};
    let group = &view.words[view.layout.groups_at..];
    let slot = |at: usize| (group[2 * at].load(), group[2 * at + 1].load());
    let (first, second) = (slot(1), slot(2));
    let live = |(name, state)| name::kind(name).is_some() && !state::is_dead(name, state);
    if live(first) && live(second) {
        assert_ne!(first.0 >> 16, second.0 >> 16, "a key has two slots");
    }
    let links = [first, second].into_iter().filter(|slot| live(*slot) && state::is_link(slot.1));
    let mut blocks: Vec<usize> = links.map(|slot| state::link_index(slot.1)).collect();
    for owner in 1..4 {
        let kept = usize::try_from(View { owner, ..*view }.place_word().unwrap().load()).unwrap();
        blocks.extend(kept.checked_sub(1));
    }
    let all = blocks.len();
    blocks.sort_unstable();
    blocks.dedup();
    assert_eq!(blocks.len(), all, "a block is in two hands");
}
