use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tempfile::TempDir;
use tollgate::{Outcome, StoreError};

use super::{money, open, put_account};
use crate::LmdbStore;
use crate::combine::{Combiner, Job, Transactions};
use crate::error::{Fault, corrupt};
use crate::record::Totals;
use crate::view::Writing;

type Test = fn(&mut Writing<'_>) -> Result<Outcome, Fault>;

/// Work that counts in the totals, where it can be seen whether it was committed.
fn count(writing: &mut Writing<'_>) -> Result<Outcome, Fault> {
    writing.totals.cells = writing.totals.cells.saturating_add(1);
    Ok(Outcome::Done)
}

fn totals(store: &LmdbStore) -> Totals {
    let mut found = Totals::default();
    store
        .transact(&mut |writing| {
            found = writing.totals;
            Ok(())
        })
        .unwrap();
    found
}

/// Queues `jobs` while a leader is at work, who then takes them all into its transaction.
fn in_one_batch(store: &LmdbStore, jobs: Vec<Test>) -> Vec<Result<Outcome, StoreError>> {
    let combiner = Combiner::default();
    let leads = Barrier::new(2);
    let expected = jobs.len();
    let outcomes = Mutex::new(vec![None; expected]);
    thread::scope(|scope| {
        let (combiner, leads, outcomes) = (&combiner, &leads, &outcomes);
        scope.spawn(move || {
            let mut first = true;
            let mut lead = |writing: &mut Writing<'_>| {
                if std::mem::take(&mut first) {
                    leads.wait();
                    wait_for(combiner, expected);
                }
                count(writing)
            };
            combiner.perform(store, &mut lead, || None).unwrap();
        });
        leads.wait();
        for (place, job) in jobs.into_iter().enumerate() {
            scope.spawn(move || {
                let mut own = move |writing: &mut Writing<'_>| job(writing);
                let outcome = combiner.perform(store, &mut own, || Some(Box::new(job) as Job));
                outcomes.lock()[place] = Some(outcome);
            });
        }
    });
    outcomes.into_inner().into_iter().map(Option::unwrap).collect()
}

/// Until so many wait.
fn wait_for(combiner: &Combiner, expected: usize) {
    while combiner.waiting() < expected {
        thread::sleep(Duration::from_millis(1));
    }
}

fn is_done(outcome: &Result<Outcome, StoreError>) -> bool {
    matches!(outcome, Ok(Outcome::Done))
}

#[test]
fn a_batch_is_one_commit() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    let before = store.statistics().unwrap().commits;
    let outcomes = in_one_batch(&store, vec![count; 10]);
    assert!(outcomes.iter().all(is_done), "{outcomes:?}");
    assert_eq!(store.statistics().unwrap().commits - before, 1);
    assert_eq!(totals(&store).cells, 11);
}

#[test]
fn one_that_fails_fails_alone() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    // It writes first, and then finds what makes it fail: nothing of it may stay.
    let broken = |writing: &mut Writing<'_>| {
        writing.totals.tokens += 1;
        Err(corrupt("a test"))
    };
    let full = |_: &mut Writing<'_>| Err(Fault::Bound("tests"));
    let outcomes = in_one_batch(&store, vec![count, count, broken, count, full, count]);
    for place in [0, 1, 3, 5] {
        assert!(is_done(&outcomes[place]), "{outcomes:?}");
    }
    assert_eq!(outcomes[2].as_ref().unwrap_err(), &StoreError::Corrupt { what: "a test" });
    assert_eq!(outcomes[4].as_ref().unwrap_err(), &StoreError::Full { what: "tests" });
    assert_eq!(totals(&store), Totals { cells: 5, ..Totals::default() });
}

/// What was done before the panic was rolled back with it: nobody may be told that it was done.
#[test]
fn what_is_rolled_back_by_a_panic_is_not_called_done() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    let broken = |_: &mut Writing<'_>| Err(corrupt("a test"));
    // In the transaction of all, and in one of those that follow when that has failed.
    for (jobs, panic_at) in [(vec![count as Test; 3], 3), (vec![count, count, broken, count], 4)] {
        let before = totals(&store).cells;
        let performed = Arc::new(Mutex::new(0));
        let outcomes = in_one_batch_that_panics(&store, jobs, panic_at, &performed);
        let done = outcomes.iter().filter(|outcome| is_done(outcome)).count() as u64;
        assert_eq!(totals(&store).cells, before + done, "{outcomes:?}");
        assert!(*performed.lock() >= panic_at, "nothing panicked");
    }
}

/// Queues `jobs` while a leader is at work, whose thread panics when it performs the one with the number
/// `panic_at`, counted over all transactions.
fn in_one_batch_that_panics(
    store: &LmdbStore,
    jobs: Vec<Test>,
    panic_at: usize,
    performed: &Arc<Mutex<usize>>,
) -> Vec<Result<Outcome, StoreError>> {
    let combiner = Combiner::default();
    let leads = Barrier::new(2);
    let expected = jobs.len();
    let outcomes = Mutex::new(vec![None; expected]);
    let led = thread::scope(|scope| {
        let (combiner, leads, outcomes) = (&combiner, &leads, &outcomes);
        let leader = scope.spawn(move || {
            let mut first = true;
            let mut lead = |_: &mut Writing<'_>| {
                if std::mem::take(&mut first) {
                    leads.wait();
                    wait_for(combiner, expected);
                }
                Ok(Outcome::Done)
            };
            combiner.perform(store, &mut lead, || None)
        });
        leads.wait();
        for (place, job) in jobs.into_iter().enumerate() {
            // One after the other, so that they stand in this order.
            wait_for(combiner, place);
            let performed = Arc::clone(performed);
            scope.spawn(move || {
                let counting = move |writing: &mut Writing<'_>| {
                    let number = {
                        let mut performed = performed.lock();
                        *performed = performed.saturating_add(1);
                        *performed
                    };
                    assert_ne!(number, panic_at, "a test panics");
                    job(writing)
                };
                let mut own = counting.clone();
                let outcome = combiner.perform(store, &mut own, || Some(Box::new(counting) as Job));
                outcomes.lock()[place] = Some(outcome);
            });
        }
        leader.join()
    });
    assert!(led.is_err(), "the panic is the leader's");
    outcomes.into_inner().into_iter().map(Option::unwrap).collect()
}

#[test]
fn one_that_panics_leaves_nobody_waiting() {
    let directory = TempDir::new().unwrap();
    let store = Arc::new(open(&directory));
    let combiner = Arc::new(Combiner::default());
    let leads = Arc::new(Barrier::new(2));
    let leader = thread::spawn({
        let (store, combiner, leads) =
            (Arc::clone(&store), Arc::clone(&combiner), Arc::clone(&leads));
        move || {
            let mut lead = |writing: &mut Writing<'_>| {
                leads.wait();
                wait_for(&combiner, 2);
                count(writing)
            };
            combiner.perform(&*store, &mut lead, || None)
        }
    });
    leads.wait();
    let follow = |panics: bool| {
        let (store, combiner) = (Arc::clone(&store), Arc::clone(&combiner));
        thread::spawn(move || {
            let job = move |writing: &mut Writing<'_>| {
                assert!(!panics, "a test panics");
                count(writing)
            };
            let mut own = job;
            combiner.perform(&*store, &mut own, || Some(Box::new(job) as Job))
        })
    };
    let (good, bad) = (follow(false), follow(true));
    assert!(leader.join().is_err(), "the panic is the leader's, on whose thread it was");
    for follower in [good, bad] {
        // It was told that the batch failed, or led itself afterwards.
        let outcome = follower.join();
        assert!(matches!(outcome, Err(_) | Ok(Err(StoreError::Unavailable { .. }) | Ok(_))));
    }
    // The store goes on, and nothing of the batch is in it but what came after.
    assert!(totals(&store).cells <= 1);
    put_account(&store, "acme", 5);
    assert_eq!(money(&store, "acme"), (5, 0, 0));
    let mut own = count;
    combiner.perform(&*store, &mut own, || None).unwrap();
}
