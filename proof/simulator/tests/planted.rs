//! Each bug that is planted is found, soon, and again from its seed alone.

use tollgate_simulator::{Bug, Catalogue, Failure, Plan, explain, simulate};

/// Seeds within which each bug must show.
const SEEDS: u64 = 400;

fn first(catalogue: &Catalogue, plan: &Plan) -> Option<Failure> {
    (0..SEEDS).find_map(|seed| simulate(catalogue, seed, plan).err())
}

#[test]
fn every_planted_bug_is_found_and_replays() {
    let catalogue = Catalogue::default();
    // As in another process.
    let other = Catalogue::default();
    for bug in Bug::ALL {
        let plan = Plan { bug: Some(bug), ..Plan::default() };
        let Some(failure) = first(&catalogue, &plan) else {
            panic!("{bug:?} was not found in {SEEDS} seeds");
        };
        println!("{bug:?}: seed {}, event {}: {}", failure.seed, failure.event, failure.what);
        let again = simulate(&catalogue, failure.seed, &plan);
        assert_eq!(again, Err(failure.clone()), "{bug:?}: the seed fails otherwise the next time");
        let shortest = explain(&other, failure.seed, &plan).unwrap_err();
        assert!(shortest.event <= failure.event, "{bug:?}");
        assert!(!shortest.lines.is_empty(), "{bug:?}: nothing is told of it");
        if shortest.event == failure.event && failure.event < plan.events {
            assert_eq!(shortest.what, failure.what, "{bug:?}");
        }
        // And without the bug the same events hold, up to there and to the end.
        for events in [shortest.event, plan.events] {
            let clean = simulate(&catalogue, failure.seed, &Plan { events, bug: None });
            assert!(clean.is_ok(), "{bug:?}: {clean:?}");
        }
    }
}
