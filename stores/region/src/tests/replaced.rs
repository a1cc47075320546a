//! What others were given while somebody stood still.

use std::cell::Cell as Once;
use std::sync::atomic::AtomicU64;

use tollgate::{Cell, GcraCell, expires_ms};

use super::{Ask, assert_sound, layout, view, words};

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
