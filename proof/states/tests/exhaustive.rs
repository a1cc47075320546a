//! The small setups, explored whole.

use tollgate_states::{SMALL, explore};

#[test]
fn every_state_of_the_small_setups_keeps_every_rule() {
    let mut states = 0;
    for setup in SMALL {
        let explored = explore(*setup);
        println!("{:<14} {:>8} states, depth {}", setup.name, explored.states, explored.depth);
        assert!(explored.faults.is_empty(), "{}: {}", setup.name, explored.faults.join("\n"));
        states += explored.states;
    }
    // A model that explores less than it did proves less: a change of the number has a reason.
    assert!(states >= 100_000, "only {states} states");
}
