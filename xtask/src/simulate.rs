//! `cargo xtask simulate`: engine, clients, upstream, store and clock in one thread under a seed, with faults.

use crate::run::{Failure, Run};

/// Builds the simulator with optimisation, and gives it the arguments.
pub(crate) fn simulate(args: &[&str]) -> Result<(), Failure> {
    Run::cargo(["run", "--release", "--quiet", "--package", "tollgate-simulator", "--"])
        .args(args)
        .or("the failing seed is above; its line replays it, in any process and on any machine")
}
