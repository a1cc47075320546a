//! Faults that schedules must find, each in a store that is right but for that.
#![cfg(tollgate_shuttle)]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use shuttle::sync::Mutex;
use shuttle::thread;
use tollgate_histories::planted::{CheckThenAct, NoRevision, StaleReads};
use tollgate_histories::{Op, Step, Story, What};
use tollgate_schedules::{command, finds, race_on, request, small_store};

/// A limit that the check let through and that was used up by the time of the act.
#[test]
fn a_check_before_the_act_overshoots_a_quota() {
    let found = finds(300, || {
        let store = CheckThenAct { store: small_store(), pause: thread::yield_now };
        let ask = || request(1, None, None);
        let _ = race_on(&store, &[vec![ask(), ask()], vec![ask(), ask()]]);
    });
    assert!(found.unwrap().contains("is not linearizable"));
}

#[test]
fn a_check_before_the_act_runs_a_key_twice() {
    let found = finds(300, || {
        let store = CheckThenAct { store: small_store(), pause: thread::yield_now };
        let ask = || request(0, Some(0), None);
        let _ = race_on(&store, &[vec![ask()], vec![ask()]]);
    });
    assert!(found.unwrap().contains("is not linearizable"));
}

#[test]
fn a_check_before_the_act_overdraws_a_wallet() {
    let found = finds(300, || {
        let store = CheckThenAct { store: small_store(), pause: thread::yield_now };
        let ask = || request(0, None, Some(6));
        let _ = race_on(&store, &[vec![ask()], vec![ask()]]);
    });
    assert!(found.unwrap().contains("is not linearizable"));
}

#[test]
fn a_credential_that_is_not_compared_outlives_its_revocation() {
    let found = finds(300, || {
        let store = NoRevision(small_store());
        let ask = || request(0, None, Some(1));
        let revoke = command(Op::Revoke { token: 0 });
        let _ = race_on(&store, &[vec![ask(), ask()], vec![revoke]]);
    });
    assert!(found.unwrap().contains("is not linearizable"));
}

#[test]
fn a_stale_read_is_seen() {
    let found = finds(300, || {
        let store = StaleReads::new(small_store());
        let look = || command(Op::Inspect);
        let pay = Step { account: 0, what: What::Command(Op::Deposit { amount: 1 }) };
        let _ = race_on(&store, &[vec![look(), look()], vec![pay]]);
    });
    assert!(found.unwrap().contains("is not linearizable"));
}

#[test]
fn random_stories_find_a_check_before_the_act() {
    let found = (0..50).find_map(|number| {
        finds(5, move || {
            let store = CheckThenAct { store: small_store(), pause: thread::yield_now };
            let _ = race_on(&store, &Story::new(number, 3).threads);
        })
    });
    assert!(found.unwrap().contains("is not linearizable"));
}

#[test]
fn locks_that_are_taken_in_two_orders_are_found() {
    let found = finds(300, || {
        let (one, other) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
        let (first, second) = (Arc::clone(&one), Arc::clone(&other));
        let thread = thread::spawn(move || {
            let _first = first.lock().unwrap();
            let _second = second.lock().unwrap();
        });
        {
            let _first = other.lock().unwrap();
            let _second = one.lock().unwrap();
        }
        thread.join().unwrap();
    });
    assert!(found.unwrap().contains("deadlock"));
}
