//! Seeds that are always the same, and seeds that nobody ran before.

#![allow(clippy::panic, reason = "helpers of tests fail as tests do")]

use std::time::{SystemTime, UNIX_EPOCH};

use tollgate_simulator::{Catalogue, Plan, Totals, explain, simulate};

fn hold(seeds: impl Iterator<Item = u64>) -> Totals {
    let (catalogue, plan) = (Catalogue::default(), Plan::default());
    let mut totals = Totals::default();
    for seed in seeds {
        match simulate(&catalogue, seed, &plan) {
            Ok(one) => totals.add(&one),
            Err(failure) => panic!("{}", explain(&catalogue, seed, &plan).err().unwrap_or(failure)),
        }
    }
    totals
}

#[test]
fn the_same_seeds_hold_and_reach_everything() {
    let totals = hold(0..1_000);
    println!("{totals}");
    assert_eq!(totals.missing(), Vec::<String>::new(), "never reached");
    assert!(totals.faulty_percent() >= 10, "{} %", totals.faulty_percent());
    assert!(totals.durable > 0 && totals.bounded > 0);
    assert!(totals.executions > totals.seeds * 5, "{} executions", totals.executions);
    assert!(totals.settled > totals.seeds, "{} endings", totals.settled);
    assert!(totals.looked_up_again > 0 && totals.expired > 0);
    assert!(totals.compared > totals.events);
}

#[test]
fn new_seeds_hold() {
    let given = std::env::var("TOLLGATE_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    let first = given.unwrap_or_else(|| u64::try_from(now()).unwrap());
    println!("run the same seeds with TOLLGATE_SEED={first}");
    hold((0..2_000).map(|offset| first.wrapping_add(offset)));
}

#[test]
fn a_seed_means_the_same_every_time() {
    let catalogue = Catalogue::default();
    for seed in 0..20 {
        let trace = || explain(&catalogue, seed, &Plan::default()).unwrap();
        assert_eq!(trace(), trace(), "seed {seed}");
    }
}
