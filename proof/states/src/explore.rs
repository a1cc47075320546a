//! The search.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use crate::flaw::Flaw;
use crate::protocol::{Action, Protocol};
use crate::setup::Setup;

/// What an exhaustive search has seen.
#[derive(Debug)]
pub struct Explored {
    /// States that differ.
    pub states: usize,
    /// Steps that were taken, each of them checked.
    pub steps: usize,
    /// Steps from the first state to the farthest, by the shortest way.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// Properties that do not hold, with what leads there; and things that never happened.
    pub faults: Vec<String>,
}

/// Explores all states of a setup, breadth first.
#[must_use]
pub fn explore(setup: Setup) -> Explored {
    let begun = Instant::now();
    // One thread, so that the order is one of breadth, and the same each time.
    let search = Protocol::new(setup, None).checker().finish_when(HasDiscoveries::AnyFailures);
    let checker = search.threads(1).spawn_bfs().join();
    let discoveries = checker.discoveries();
    let mut faults = Vec::new();
    for property in checker.model().properties() {
        match (property.expectation, discoveries.contains_key(property.name)) {
            (Expectation::Always | Expectation::Eventually, true) => {
                let path = find(setup, None, property.name).unwrap_or_default();
                faults.push(format!("not so: {}\n{path}", property.name));
            }
            (Expectation::Sometimes, false) => faults.push(format!("never: {}", property.name)),
            _ => {}
        }
    }
    Explored {
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        depth: checker.max_depth() - 1,
        took: begun.elapsed(),
        faults,
    }
}

/// Looks for a shortest way to a state in which a property does not hold. `None`: there is none.
#[must_use]
pub fn find(setup: Setup, flaw: Option<Flaw>, property: &'static str) -> Option<String> {
    let mut shortest = None;
    // The checker keeps the last of those that it finds before it looks up: ask for shorter ones.
    while let Some(path) = search(setup, flaw, property, shortest.as_ref().map(Vec::len)) {
        shortest = Some(path);
    }
    shortest.map(|actions: Vec<Action>| listed(&actions))
}

fn search(
    setup: Setup,
    flaw: Option<Flaw>,
    property: &'static str,
    shorter_than: Option<usize>,
) -> Option<Vec<Action>> {
    // Events are looked for in every state until they are seen: here that would be for nothing.
    let setup = Setup { sees: &[], ..setup };
    let wanted = HasDiscoveries::AllOf(BTreeSet::from([property]));
    let mut search = Protocol::new(setup, flaw).checker().finish_when(wanted).threads(1);
    if let Some(steps) = shorter_than {
        // The first state has depth 1, and the bound is one beyond the last depth that is looked at.
        search = search.target_max_depth(steps + 1);
    }
    let checker = search.spawn_bfs().join();
    checker.discovery(property).map(stateright::Path::into_actions)
}

fn listed(actions: &[Action]) -> String {
    let lines = (1..).zip(actions).map(|(number, action)| format!("{number:>4}. {action:?}\n"));
    lines.collect()
}
