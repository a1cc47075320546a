//! Races and pairs of limits.

use tollgate_peers::idempotency::{GetThenSet, Once, WholePost};
use tollgate_peers::limiters::{
    Governor, Limitador, Limiter, MemoryCells, ReadThenWrite, RegionCells,
};
use tollgate_peers::pairs::{GovernorTwice, LimitadorPair, Pair, TollgatePair};
use tollgate_peers::races::{QUOTA, double_execution, half_consumption, over_admission};
use tollgate_peers::report::{PairFigure, RaceFigure};

const ROUNDS: usize = 3_000;
/// Of what is wrong on purpose; it gives way to other threads all the time, so a round is long.
const PLANTED: usize = 100;

/// Everyone's races.
pub(crate) fn races() -> Vec<RaceFigure> {
    eprintln!("racing");
    vec![
        units("governor", &Governor::new(QUOTA)),
        units("limitador", &Limitador::new(QUOTA, ROUNDS)),
        units("tollgate, memory", &MemoryCells::new(QUOTA, ROUNDS)),
        units("tollgate, region", &RegionCells::new(QUOTA, ROUNDS)),
        RaceFigure {
            race: "over-admission",
            contender: "planted: read, pause, write",
            came: over_admission(&ReadThenWrite::new(QUOTA), PLANTED),
        },
        executions("by hand, get then set", &GetThenSet::new()),
        executions("by hand, entry of a map", &WholePost::composed()),
        executions("tollgate", &WholePost::tollgate()),
        RaceFigure {
            race: "double execution",
            contender: "planted: get, pause, set",
            came: double_execution(&GetThenSet::with(std::thread::yield_now), PLANTED),
        },
    ]
}

fn units(contender: &'static str, limiter: &impl Limiter) -> RaceFigure {
    RaceFigure { race: "over-admission", contender, came: over_admission(limiter, ROUNDS) }
}

fn executions(contender: &'static str, once: &impl Once) -> RaceFigure {
    RaceFigure { race: "double execution", contender, came: double_execution(once, ROUNDS) }
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
