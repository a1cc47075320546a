//! A map that fails at each of its calls in turn: what becomes of the command, and of the records.
#![cfg(test)]

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::failing::{FailingMap, Plan};
use common::story::{Step, story};
use common::{
    Entries, bounded, charge, filled, money, named, open, put_account, put_token, settle,
};
use tollgate::{Outcome, StoreError};
use tollgate_kv::{KvError, KvOptions, KvStore};

fn options() -> KvOptions {
    bounded(|options| (options.max_reservations, options.max_claims) = (3, 2))
}

/// A store over these entries, which fails at nothing yet.
fn store_over(entries: &Entries) -> (Arc<FailingMap>, KvStore<Arc<FailingMap>>) {
    let map = Arc::new(FailingMap::over(filled(entries)));
    let store = KvStore::open(Arc::clone(&map), &options()).unwrap();
    map.fail(None);
    (map, store)
}

/// How a step goes when nothing fails.
struct Clean {
    before: Entries,
    answer: Result<String, StoreError>,
    /// After each commit.
    commits: Vec<Entries>,
    after: Entries,
    calls: u64,
}

fn clean(before: Entries, step: &Step) -> Clean {
    let (map, store) = store_over(&before);
    let answer = (step.1)(&store);
    let (commits, after, calls) = (map.commits(), map.entries(), map.calls());
    store.verify().unwrap();
    Clean { before, answer, commits, after, calls }
}

/// Runs each step with a failure at each call that it makes, and hands the outcome to `judge`.
fn with_each_call_failing(
    error: &KvError,
    mut judge: impl FnMut(&str, &Clean, Result<String, StoreError>, &FailingMap),
) {
    let (mut entries, mut failures) = (store_over(&Vec::new()).0.entries(), 0);
    for step in story() {
        let clean = clean(entries, &step);
        for number in 1..=clean.calls {
            let (map, store) = store_over(&clean.before);
            map.fail(Some(Plan { from: number, to: number, error: error.clone() }));
            let answer = (step.1)(&store);
            let place = format!("{}, call {number} of {}", step.0, clean.calls);
            assert!(map.calls() >= number, "{place}: it did not come to that");
            map.fail(None);
            store.verify().unwrap_or_else(|error| panic!("{place}: {error}"));
            judge(&place, &clean, answer, &map);
            // Whatever happened, the command can be given again.
            let again = (step.1)(&store);
            assert_eq!(again.is_ok(), clean.answer.is_ok(), "{place}: {again:?}");
            store.verify().unwrap_or_else(|error| panic!("{place}, again: {error}"));
            failures = u64::saturating_add(failures, 1);
        }
        entries = clean.after;
    }
    println!("{failures} failures");
    assert!(failures > 300, "only {failures}");
}

#[test]
fn the_story_is_about_what_it_says() {
    let mut entries = store_over(&Vec::new()).0.entries();
    for step in story() {
        let clean = clean(entries, &step);
        let calls = match step.0 {
            "looked up" => Some(5),
            "a deposit" => Some(7),
            "settled" => Some(16),
            "a charge with a key" => Some(23),
            _ => None,
        };
        assert_eq!(clean.calls, calls.unwrap_or(clean.calls), "{}: the README says so", step.0);
        let full = matches!(clean.answer, Err(StoreError::Full { .. }));
        assert_eq!(full, step.0 == "refused: too many", "{}: {:?}", step.0, clean.answer);
        let text = clean.answer.unwrap_or_default();
        let (expected, commits) = match step.0 {
            "replayed" => ("Replay", 1),
            "the same key" => ("InFlight", 1),
            "settled" => ("Settled", 1),
            "tokens" | "reservations" | "inspected" => ("", 0),
            "looked up" => ("credential: Some", 0),
            "refused: too many" => ("", 2), // and the sweep
            "makes room" => ("Admitted", 3),
            "expired" => ("Expired(2)", 1),
            "nothing to expire" => ("Expired(0)", 1),
            _ => ("", 1),
        };
        assert!(text.contains(expected), "{}: {text}", step.0);
        assert_eq!(clean.commits.len(), commits, "{}", step.0);
        entries = clean.after;
    }
}

/// The command fails, and what it left is what was committed before the failure: mostly nothing.
#[test]
fn a_transaction_that_fails_leaves_nothing_behind() {
    let gone = StoreError::Unavailable { reason: "a test".into() };
    with_each_call_failing(&KvError::Store(gone.clone()), |place, clean, answer, map| {
        let found = map.entries();
        let Err(error) = answer else { panic!("{place}: nobody heard of the failure") };
        // A sweep that fails makes no room, and says no more than that.
        let refused = matches!(error, StoreError::Full { .. }) && clean.commits.len() > 1;
        assert!(error == gone || refused, "{place}: {error:?}");
        let whole = clean.commits.len().saturating_sub(1);
        let allowed = clean.commits.iter().take(whole).chain([&clean.before]);
        assert!(allowed.into_iter().any(|entries| *entries == found), "{place}: a part is left");
    });
}

/// The command is begun again, and ends as if nothing had been.
#[test]
fn a_conflict_at_any_call_changes_nothing() {
    with_each_call_failing(&KvError::Conflict, |place, clean, answer, map| {
        assert_eq!(answer, clean.answer, "{place}");
        assert!(map.entries() == clean.after, "{place}: other records");
    });
}

#[test]
fn conflicts_without_end_are_an_error() {
    let map = Arc::new(FailingMap::default());
    let options = bounded(|options| options.max_attempts = 5);
    let store = KvStore::open(Arc::clone(&map), &options).unwrap();
    put_account(&store, "acme", 100);
    let before = map.entries();
    map.fail(Some(Plan { from: 1, to: u64::MAX, error: KvError::Conflict }));
    let error = charge(&store, "acme", 1).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("max_attempts"), "{error}");
    assert_eq!(map.begun(), 5, "attempts");
    map.fail(Some(Plan { from: 1, to: u64::MAX, error: KvError::Conflict }));
    assert!(tollgate::Admin::new(&store).accounts(None, 9, common::NOW_MS).is_err());
    assert_eq!(map.calls(), 5, "reading too");
    map.fail(None);
    assert_eq!(map.entries(), before);
    charge(&store, "acme", 1).unwrap();
}

/// At every call of the opening, which makes an empty map a store.
#[test]
fn an_opening_that_fails_leaves_the_map_empty() {
    let gone = StoreError::Unavailable { reason: "a test".into() };
    let calls = {
        let map = Arc::new(FailingMap::default());
        drop(open(Arc::clone(&map)));
        map.calls()
    };
    assert!(calls > 5, "{calls}");
    for number in 1..=calls {
        let map = Arc::new(FailingMap::default());
        map.fail(Some(Plan { from: number, to: number, error: gone.clone().into() }));
        let error = KvStore::open(Arc::clone(&map), &KvOptions::default()).unwrap_err();
        assert_eq!(error, gone.clone().into());
        assert!(map.entries().is_empty(), "call {number}");
        map.fail(Some(Plan { from: number, to: number, error: KvError::Conflict }));
        open(Arc::clone(&map)).verify().unwrap();
    }
}

#[test]
fn a_map_without_room_lets_through_what_settles() {
    let map = Arc::new(FailingMap::default());
    let store = open(Arc::clone(&map));
    put_account(&store, "acme", 100);
    let reservation = charge(&store, "acme", 10).unwrap();
    map.full.store(true, Ordering::SeqCst);
    let full = StoreError::Full { what: "a test's map" };
    assert_eq!(charge(&store, "acme", 10).unwrap_err(), full);
    let settled = settle(&store, &named("acme"), reservation, 4).unwrap();
    assert!(matches!(settled, Outcome::Settled(_)), "{settled:?}");
    assert_eq!(money(&store, "acme"), (96, 0, 4));
    map.full.store(false, Ordering::SeqCst);
    put_token(&store, 1, "acme");
    charge(&store, "acme", 10).unwrap();
    store.verify().unwrap();
}
