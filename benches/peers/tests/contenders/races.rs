//! Races find what is planted, and find nothing in tollgate.

use tollgate_peers::idempotency::{GetThenSet, WholePost};
use tollgate_peers::limiters::{Governor, MemoryCells, ReadThenWrite, RegionCells};
use tollgate_peers::pairs::{GovernorTwice, LimitadorPair, TollgatePair};
use tollgate_peers::races::{QUOTA, double_execution, half_consumption, over_admission};

const ROUNDS: usize = 50;
/// A planted fault gives way to other threads in the middle of what it does: a few rounds are plenty.
const PLANTED: usize = 5;

#[test]
fn a_limiter_that_reads_and_then_writes_is_found() {
    let race = over_admission(&ReadThenWrite::new(QUOTA), PLANTED);
    assert!(race.wrong > 0 && race.worst > 0, "{race:?}");
    assert_eq!(race.rounds, PLANTED);
}

#[test]
fn limiters_that_compare_and_swap_or_lock_admit_no_more_than_the_quota() {
    assert_eq!(over_admission(&Governor::new(QUOTA), ROUNDS).worst, 0);
    assert_eq!(over_admission(&MemoryCells::new(QUOTA, ROUNDS), ROUNDS).worst, 0);
    assert_eq!(over_admission(&RegionCells::new(QUOTA, ROUNDS), ROUNDS).worst, 0);
}

#[test]
fn a_key_that_is_looked_for_and_then_set_is_executed_twice() {
    let race = double_execution(&GetThenSet::with(std::thread::yield_now), PLANTED);
    assert!(race.wrong > 0 && race.worst > 0, "{race:?}");
}

#[test]
fn a_claimed_key_is_executed_once() {
    assert_eq!(double_execution(&WholePost::composed(), ROUNDS).worst, 0);
    assert_eq!(double_execution(&WholePost::tollgate(), ROUNDS).worst, 0);
}

#[test]
fn two_limiters_in_a_row_lose_a_unit_for_each_refusal() {
    let units = half_consumption(&GovernorTwice::default());
    assert_eq!((units.refused, units.lost), (700, 700));
}

#[test]
fn limits_that_are_one_decision_lose_nothing() {
    let units = half_consumption(&TollgatePair::default());
    assert_eq!((units.refused, units.lost), (700, 0));
    assert_eq!(half_consumption(&LimitadorPair::default()).lost, 0);
}
