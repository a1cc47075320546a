//! A process dies before every one of its writes in turn, and another goes on.

use std::cell::Cell;
use std::panic;
use std::sync::atomic::AtomicU64;

use tollgate::{Algorithm, Quota};

use super::{Ask, Small, assert_sound, layout, view, words};
use crate::group::View;
use crate::word::Word;

thread_local! {
    /// How many writes this thread has left to live.
    static LIVES: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Unwinds through the operation; nothing on the way writes to the region.
struct Died;

#[derive(Debug)]
struct MortalWord(AtomicU64);

impl MortalWord {
    fn for_writing(&self) -> &AtomicU64 {
        let left = LIVES.get();
        if left == 0 {
            panic::resume_unwind(Box::new(Died));
        }
        LIVES.set(left - 1);
        &self.0
    }
}

impl Word for MortalWord {
    fn load(&self) -> u64 {
        Word::load(&self.0)
    }

    fn store(&self, value: u64) {
        Word::store(self.for_writing(), value);
    }

    fn swap(&self, value: u64) -> u64 {
        Word::swap(self.for_writing(), value)
    }

    fn exchange(&self, old: u64, new: u64) -> bool {
        Word::exchange(self.for_writing(), old, new)
    }

    fn set_bits(&self, bits: u64) -> u64 {
        Word::set_bits(self.for_writing(), bits)
    }

    fn clear_bits(&self, bits: u64) -> u64 {
        Word::clear_bits(self.for_writing(), bits)
    }
}

const FAR: u64 = 1_000_000;
const WINDOWS: usize = 2;
const DEAD: u32 = 11;
const ALIVE: u32 = 12;

/// Runs `mortal` so that it dies before its write number 0, 1, …, and then `after`, until it does not die any more.
fn at_every_write(before: &[Ask], mortal: &[Ask], after: impl Fn(&Small<'_, MortalWord>, &[bool])) {
    for lives in 0..1_000 {
        let layout = layout(WINDOWS);
        let words = words(&layout, |_, value| MortalWord(AtomicU64::new(value)));
        let first = view(&words, &layout, 0);
        let owners = [DEAD, ALIVE].map(|process| first.register(process).unwrap());
        let [dying, living] = owners.map(|owner| View { owner, ..first });
        for ask in before {
            assert_eq!(ask.take(&living), Ok(true));
        }
        let told = Cell::new(Vec::new());
        LIVES.set(lives);
        let died = panic::catch_unwind(panic::AssertUnwindSafe(|| {
            for ask in mortal {
                let taken = ask.take(&dying).unwrap();
                let mut so_far = told.take();
                so_far.push(taken);
                told.set(so_far);
            }
        }));
        LIVES.set(usize::MAX);
        // What is swept now and then; who has died need not be known yet.
        living.sweep_all(FAR, &|_| false).unwrap();
        after(&living, &told.take());
        assert_eq!(living.reclaim_dead(FAR, &|process| process == ALIVE), Ok(1));
        assert_sound(&living);
        assert_all_blocks_can_be_linked(&living);
        if died.is_ok() {
            assert!(lives > 3, "nothing was tested");
            return;
        }
    }
    panic!("it always dies");
}

/// All that the layout promises, and all spare ones: none was lost.
fn assert_all_blocks_can_be_linked(view: &Small<'_, MortalWord>) {
    let much_later_ms = FAR * 10;
    view.sweep_all(much_later_ms, &|_| false).unwrap();
    view.free_kept().unwrap();
    let free = (0..view.layout.blocks)
        .filter(|index| view.words[view.layout.block_at(*index)].load() >> 62 == 0);
    assert_eq!(free.count(), view.layout.blocks, "a block was lost");
    for key in 0..WINDOWS as u64 {
        assert_eq!(Ask::window(100 + key, 1, much_later_ms).take(view), Ok(true));
    }
}

/// What is left of `quota` after `told` units were reported, by somebody who may have taken one more.
fn assert_left(left: u64, quota: u64, told: usize) {
    let told = told as u64;
    assert!(left <= quota - told && left + told + 1 >= quota, "{left} of {quota}, {told} told");
}

#[test]
fn death_in_a_first_take_loses_at_most_the_unit() {
    for ask in [Ask::gcra(1, 3, FAR), Ask::window(1, 3, FAR)] {
        at_every_write(&[], &[ask, ask], |view, told| {
            assert_left(ask.remaining(view), 3, told.len());
            while ask.remaining(view) > 0 {
                assert_eq!(ask.take(view), Ok(true));
            }
            assert_eq!(ask.take(view), Ok(false));
            // Neither slot nor block of the dead keeps others out.
            assert_eq!(Ask { key: 2, ..ask }.take(view), Ok(true));
        });
    }
}

#[test]
fn death_while_an_expired_cell_is_replaced_leaves_its_place() {
    for make in [Ask::gcra, Ask::window] {
        let before = [make(8, 1, FAR - 200), make(9, 1, FAR - 200)];
        let (one, two, three) = (make(1, 3, FAR), make(2, 1, FAR), make(3, 1, FAR));
        at_every_write(&before, &[one], |view, told| {
            assert_left(one.remaining(view), 3, told.len());
            // Two places for three keys: the one that has a cell for sure keeps it.
            assert_eq!(two.take(view), Ok(true));
            assert_eq!(two.remaining(view), 0);
            if one.remaining(view) == 3 {
                assert_eq!(three.take(view), Ok(true));
                assert_eq!(three.remaining(view), 0);
            } else {
                assert!(three.take(view).is_err());
            }
        });
    }
}

#[test]
fn death_of_one_kind_makes_room_for_another() {
    let sliding = |key| Ask {
        algorithm: Algorithm::SlidingWindow,
        quota: Quota::new(2, 160),
        ..Ask::window(key, 2, FAR)
    };
    let before = [Ask::window(8, 1, FAR - 200), Ask::gcra(9, 1, FAR - 200)];
    at_every_write(&before, &[sliding(1), sliding(1)], |view, told| {
        assert_left(sliding(1).remaining(view), 2, told.len());
        assert_eq!(Ask::gcra(2, 1, FAR).take(view), Ok(true));
    });
}

#[test]
fn a_sweeper_that_dies_leaves_nothing_undone() {
    for lives in 0..100 {
        let layout = layout(WINDOWS);
        let words = words(&layout, |_, value| MortalWord(AtomicU64::new(value)));
        let first = view(&words, &layout, 0);
        let living = View { owner: first.register(ALIVE).unwrap(), ..first };
        for key in 0..2 {
            assert_eq!(Ask::window(key, 1, FAR).take(&living), Ok(true));
        }
        LIVES.set(lives);
        let later_ms = FAR + 100_000;
        let sweep = panic::AssertUnwindSafe(|| first.sweep_all(later_ms, &|_| false));
        let died = panic::catch_unwind(sweep);
        LIVES.set(usize::MAX);
        assert_all_blocks_can_be_linked(&living);
        if died.is_ok() {
            return;
        }
    }
    panic!("it always dies");
}
