#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "this is a test: what is not as it should be ends it, and its numbers are small"
)]

mod backend;
mod catalogue;
mod ending;
mod fault;
mod history;
mod last;
mod model;
mod operator;
mod planted;
mod request;
mod totals;
mod world;

use std::fmt;

pub use catalogue::Catalogue;
pub use fault::Fault;
pub use planted::Bug;
pub use totals::{REFUSALS, Totals};

use world::{Arenas, World};

/// Lines of a failure's end that are shown, unless all are.
const LAST_LINES: usize = 40;

/// What to simulate of each seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Events.
    pub events: u64,
    /// A bug between host and store.
    pub bug: Option<Bug>,
}

impl Default for Plan {
    fn default() -> Self {
        Plan { events: 200, bug: None }
    }
}

/// A simulation in which something was not as the model says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// What was simulated of it.
    pub plan: Plan,
    /// The event at which it showed, counted from 0; the number of events, when it showed at the end.
    pub event: u64,
    /// What was expected, and what was.
    pub what: String,
    /// What happened, one line each.
    pub lines: Vec<String>,
}

/// Runs one simulation.
///
/// # Errors
/// [`Failure`], without its lines: [`explain`] has them.
pub fn simulate(catalogue: &Catalogue, seed: u64, plan: &Plan) -> Result<Totals, Failure> {
    run(catalogue, seed, plan, false).map(|(totals, _)| totals)
}

/// Runs one simulation again, and tells what happens in it.
///
/// # Errors
/// [`Failure`] of the shortest run of the seed's first events that fails, with all its lines.
pub fn explain(catalogue: &Catalogue, seed: u64, plan: &Plan) -> Result<Vec<String>, Failure> {
    let Err(failure) = run(catalogue, seed, plan, false) else {
        return run(catalogue, seed, plan, true).map(|(_, lines)| lines);
    };
    // An event fails as soon as it can; what shows at the end may do so after fewer events.
    let shorter = |events: &u64| {
        let plan = Plan { events: *events, ..*plan };
        run(catalogue, seed, &plan, false).is_err()
    };
    let events = (0..failure.event).find(shorter).unwrap_or(plan.events);
    run(catalogue, seed, &Plan { events, ..*plan }, true).map(|(_, lines)| lines)
}

fn run(
    catalogue: &Catalogue,
    seed: u64,
    plan: &Plan,
    traced: bool,
) -> Result<(Totals, Vec<String>), Failure> {
    let arenas = Arenas::default();
    let failure = |event, what, lines| Failure { seed, plan: *plan, event, what, lines };
    let mut world = World::new(catalogue, &arenas, seed, plan.bug, traced)
        .map_err(|what| failure(0, what, Vec::new()))?;
    for event in 0..=plan.events {
        let checked = if event < plan.events { world.event() } else { world.last() };
        if let Err(what) = checked {
            return Err(failure(event, what, world.trace.take().unwrap_or_default()));
        }
    }
    Ok((world.totals, world.trace.unwrap_or_default()))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { seed, plan, event, what, lines } = self;
        let hidden = lines.len().saturating_sub(LAST_LINES);
        if hidden > 0 {
            writeln!(f, "… {hidden} lines before")?;
        }
        for line in lines.iter().skip(hidden) {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "\nseed {seed} fails at event {event}: {what}")?;
        write!(f, "replay it with: cargo xtask simulate --seed {seed}")?;
        if plan.events != Plan::default().events {
            write!(f, " --events {}", plan.events)?;
        }
        if let Some(bug) = plan.bug {
            write!(f, " --bug {bug:?}")?;
        }
        write!(f, " --trace")
    }
}
