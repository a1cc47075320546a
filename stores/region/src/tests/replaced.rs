//! What others were given while somebody stood still, and blocks that change hands.

use std::cell::Cell as Once;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use tollgate::{Cell, GcraCell, expires_ms};

use super::{Ask, assert_sound, layout, view, words};
use crate::code::Owner;
use crate::group::View;
use crate::layout::Layout;

const FAR: u64 = 100_000;

/// Key 1 gives a unit back. Between its reading and its writing, its slot is given to key 3, whose first cell ends
/// at the very same time, by a clock that is behind.
#[test]
fn what_is_given_back_late_is_not_given_to_the_key_that_came_instead() {
    let layout = layout(0);
    let words = words(&layout, |_, value| AtomicU64::new(value));
    let view = view(&words, &layout, 1);
    let one = Ask { cost: 2, ..Ask::gcra(1, 7, FAR) };
    assert_eq!(one.take(&view), Ok(true));
    assert_eq!(Ask { cost: 50, ..Ask::gcra(9, 99, FAR) }.take(&view), Ok(true));
    let other = Ask { cost: 2, ..Ask::gcra(3, 7, FAR) };
    let came = Once::new(false);
    let key = one.key(&layout);
    let given = view.update(&key, FAR, |cell| {
        if !came.replace(true) {
            let slot = view.find(&key).unwrap().unwrap();
            assert!(view.take_out(&words[slot.at + 1], slot.name, slot.state).unwrap());
            assert_eq!(other.take(&view), Ok(true));
            let now = view.find(&other.key(&layout)).unwrap().unwrap();
            assert_eq!((now.at, now.state), (slot.at, slot.state), "the test is no test");
        }
        let Some(Cell::Gcra(GcraCell { tat_ns })) = cell.copied() else { return (false, None) };
        let next = Cell::Gcra(GcraCell { tat_ns: tat_ns - 10_000_000 });
        (true, Some((next, expires_ms(one.algorithm, &one.quota, &next))))
    });
    assert_eq!(given, Ok(false), "the cell of key 1 is gone");
    assert_eq!(other.remaining(&view), 5);
    assert_sound(&view);
}

/// Two processes get back at once what a dead one held, and a new one has its row before the slower is done.
#[test]
fn who_comes_into_the_row_of_a_dead_process_keeps_its_blocks() {
    const DEAD: u32 = 11;
    const COMES: u32 = 12;
    let layout = layout(2);
    let words = words(&layout, |_, value| AtomicU64::new(value));
    let nobody = view(&words, &layout, 0);
    let dead = View { owner: nobody.register(DEAD).unwrap(), ..nobody };
    let ask = Ask::window(1, 5, FAR);
    for _ in 0..2 {
        assert_eq!(ask.take(&dead), Ok(true));
    }
    let came = Once::new(0);
    let is_alive = |process: u32| {
        if came.get() == 0 {
            assert_eq!(nobody.reclaim_dead(FAR, &|process| process != DEAD), Ok(1));
            let comes = View { owner: nobody.register(COMES).unwrap(), ..nobody };
            assert_eq!(
                comes.place_word().unwrap().load(Relaxed),
                0,
                "it has what the dead one had"
            );
            for _ in 0..2 {
                assert_eq!(ask.take(&comes), Ok(true));
            }
            came.set(comes.owner);
        }
        process != DEAD
    };
    nobody.reclaim_dead(FAR, &is_alive).unwrap();
    let comes = View { owner: came.get(), ..nobody };
    assert_ne!(comes.place_word().unwrap().load(Relaxed), 0, "its spare block is lost");
    assert_eq!(ask.remaining(&comes), 1);
    assert_sound(&comes);
}

/// Without a sweep: a block that was replaced is not left to be found as a lost one.
#[test]
fn a_cell_that_goes_on_counting_needs_two_blocks() {
    let layout = layout(2);
    let words = words(&layout, |_, value| AtomicU64::new(value));
    let nobody = view(&words, &layout, 0);
    let view = View { owner: nobody.register(11).unwrap(), ..nobody };
    for taken in 1..=50 {
        assert_eq!(Ask::window(1, 50, FAR).take(&view), Ok(true));
        let free = (0..layout.blocks)
            .filter(|index| matches!(owner(&words, &layout, *index), Some(Owner::Free { .. })));
        assert!(free.count() >= layout.blocks - 2, "after {taken}");
    }
}

fn owner(words: &[AtomicU64], layout: &Layout, index: usize) -> Option<Owner> {
    Owner::of(words[layout.block_at(index)].load(Relaxed))
}
