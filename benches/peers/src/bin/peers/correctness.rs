//! Races and pairs of limits.

use tollgate_peers::idempotency::{GetThenSet, Once, WholePost};
use tollgate_peers::limiters::{
    Governor, Limitador, Limiter, MemoryCells, ReadThenWrite, RegionCells,
};
use tollgate_peers::pairs::{GovernorTwice, LimitadorPair, Pair, TollgatePair};
use tollgate_peers::races::{QUOTA, double_execution, half_consumption, over_admission};
use tollgate_peers::report::{PairFigure, RaceFigure};

/// Rounds of a race; a quick look has fewer.
const ROUNDS: usize = 3_000;
/// Of what is wrong on purpose; it gives way to other threads all the time, so a round is long.
const PLANTED: usize = 100;

/// Everyone's races.
pub(crate) fn races(quick: bool) -> Vec<RaceFigure> {
    eprintln!("racing");
    let [rounds, planted] = if quick { [ROUNDS / 30, PLANTED / 30] } else { [ROUNDS, PLANTED] };
    vec![
        units("governor", &Governor::new(QUOTA), rounds),
        units("limitador", &Limitador::new(QUOTA, rounds), rounds),
        units("tollgate, memory", &MemoryCells::new(QUOTA, rounds), rounds),
        units("tollgate, region", &RegionCells::new(QUOTA, rounds), rounds),
        units("planted: read, pause, write", &ReadThenWrite::new(QUOTA), planted),
        executions("by hand, get then set", &GetThenSet::new(), rounds),
        executions("by hand, entry of a map", &WholePost::composed(), rounds),
        executions("tollgate", &WholePost::tollgate(), rounds),
        executions("planted: get, pause, set", &GetThenSet::with(std::thread::yield_now), planted),
    ]
}

fn units(contender: &'static str, limiter: &impl Limiter, rounds: usize) -> RaceFigure {
    RaceFigure { race: "over-admission", contender, came: over_admission(limiter, rounds) }
}

fn executions(contender: &'static str, once: &impl Once, rounds: usize) -> RaceFigure {
    RaceFigure { race: "double execution", contender, came: double_execution(once, rounds) }
}

/// Everyone's pairs of limits.
pub(crate) fn pairs() -> Vec<PairFigure> {
    vec![
        pair("governor, twice", &GovernorTwice::default()),
        pair("limitador, two limits", &LimitadorPair::default()),
        pair("tollgate, two limits", &TollgatePair::default()),
    ]
}

fn pair(contender: &'static str, limits: &impl Pair) -> PairFigure {
    PairFigure { contender, units: half_consumption(limits) }
}
