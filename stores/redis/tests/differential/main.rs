//! The scripts against `transition` over plain maps: random commands, the same outcomes.
//!
//! `TOLLGATE_CASES=5000` for a long run.
#![cfg(test)]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod both;
#[path = "../common/mod.rs"]
mod common;
mod steps;

use std::sync::Arc;

use both::Both;
use common::tied;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use steps::{Ask, Lim, Step, limit_steps, one, plain, step};
use tollgate::*;

/// How many cases are tried, unless it is said otherwise.
fn cases(usual: u32) -> u32 {
    std::env::var("TOLLGATE_CASES").ok().map_or(usual, |text| text.parse().unwrap())
}

fn compare(url: &str, usual: u32) {
    let start = select(vec![0, 1_700_000_000_000, MAX_NOW_MS - 70_000]);
    let steps = (start, prop::collection::vec(step(), 1..80));
    let config = Config { cases: cases(usual), failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let result = runner.run(&steps, |(start_ms, steps)| {
        let mut both = Both::new(url, start_ms);
        for step in &steps {
            both.step(step)?;
        }
        (0..3).try_for_each(|who| both.show(who))
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_server_answers_as_transition_does() {
    compare(&tied::server(), 150);
}

#[test]
fn a_cluster_answers_as_transition_does() {
    compare(&tied::cluster(), 80);
}

/// Runs these steps on a server and on a cluster.
fn runs_alike(steps: &[Step]) {
    for url in [tied::server(), tied::cluster()] {
        let mut both = Both::new(&url, 1_700_000_000_000);
        for step in steps {
            both.step(step).unwrap_or_else(|error| panic!("{step:?}: {error}"));
        }
        (0..3).try_for_each(|who| both.show(who)).unwrap();
    }
}

#[test]
fn an_account_with_much_that_is_due_deals_with_all_of_it_first() {
    let mut steps = vec![Step::Deposit(0, 1_000)];
    let charge = |key, amount, rule| {
        let key = Some((key, 0, 60_000, OnOrphan::Conflict));
        Step::Admit(Box::new(Ask { charge: Some(amount), key, rule, ..plain() }))
    };
    for number in 0..1_020_u64 {
        let rules = [OnExpiry::Void, OnExpiry::Void, OnExpiry::Settle, OnExpiry::Hold];
        let rule = rules[usize::try_from(number % 4).unwrap()];
        let ask = Ask { charge: Some(1), rule: (1_000, rule, number % 3), ..plain() };
        steps.push(Step::Admit(Box::new(ask)));
    }
    steps.extend([Step::Tick(1_000), charge(1, 500, (10, OnExpiry::Void, 10)), Step::Show(0)]);
    for _ in 0..600 {
        steps.push(Step::Admit(Box::new(Ask { charge: Some(0), ..plain() })));
    }
    steps.extend([Step::Tick(1_000), Step::Expire, Step::Show(0), Step::Expire]);
    runs_alike(&steps);
}

#[test]
fn a_reservation_takes_a_hundred_refunds() {
    let finish = Finish::Settle { amount: None, response: None };
    let mut steps = vec![
        Step::Deposit(0, 1_000),
        Step::Admit(Box::new(Ask { charge: Some(500), ..plain() })),
        Step::Settle(0, 1, finish),
    ];
    let names: Vec<&'static str> =
        (0..102).map(|number| &*Box::leak(format!("r{number}").into_boxed_str())).collect();
    steps.extend(names.iter().map(|name| Step::Refund(0, 1, 2, name)));
    steps.push(Step::Refund(0, 1, 2, names[5]));
    runs_alike(&steps);
}

#[test]
fn an_outcome_that_comes_again_after_its_key_is_gone_is_refused() {
    let response = |body: &[u8]| {
        Some(Arc::new(StoredResponse {
            status: 200,
            headers: Box::default(),
            body: Some(body.into()),
        }))
    };
    let settle = |body| Finish::Settle { amount: None, response: response(body) };
    let ask = |retention_ms, on_orphan| {
        let key = Some((0, 0, retention_ms, on_orphan));
        Step::Admit(Box::new(Ask { charge: Some(5), key, ..plain() }))
    };
    runs_alike(&[
        ask(500, OnOrphan::Conflict),
        Step::Settle(0, 1, settle(b"a")),
        Step::Settle(0, 1, settle(b"a")),
        Step::Settle(0, 1, settle(b"b")),
        ask(500, OnOrphan::Conflict),
        Step::Tick(500),
        Step::Settle(0, 1, settle(b"a")),
        Step::Settle(0, 1, Finish::Settle { amount: None, response: None }),
        // Taken over by a later execution, which gives the key up.
        ask(60_000, OnOrphan::Rerun),
        Step::Tick(1_000),
        ask(60_000, OnOrphan::Rerun),
        Step::Settle(0, 2, settle(b"late")),
        Step::Settle(0, 3, Finish::Void { response: None }),
        Step::Resolve(0, 2, Finish::Void { response: None }),
    ]);
}

#[test]
fn what_a_denial_gives_back_leaves_the_limit_as_it_was() {
    for algorithm in [Algorithm::Gcra, Algorithm::FixedWindow, Algorithm::SlidingWindow] {
        let counts = Counts::Executions;
        let limits = vec![Lim { counts, ..one(Partition::Global, algorithm, 1) }];
        let denied = Ask { limits: limits.clone(), sender: Some("nobody"), ..plain() };
        let allowed = Ask { limits, ..plain() };
        runs_alike(&[
            Step::Admit(Box::new(denied.clone())),
            Step::Tick(-1_000),
            Step::Admit(Box::new(allowed.clone())),
            Step::Admit(Box::new(denied.clone())),
            Step::Tick(5_000),
            Step::Admit(Box::new(denied)),
            Step::Tick(-5_000),
            Step::Admit(Box::new(allowed)),
        ]);
    }
}

#[test]
fn limits_are_counted_as_transition_counts_them_wherever_the_clock_goes() {
    let url = tied::server();
    let config = Config { cases: cases(250), failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&limit_steps(), |steps| {
        let mut both = Both::new(&url, 1_700_000_000_000);
        steps.iter().try_for_each(|step| both.step(step))
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}
