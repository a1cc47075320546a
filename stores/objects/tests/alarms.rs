//! Objects that are only woken when they asked to be end everything that a sweep of all would.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects, reason = "small numbers")]

mod common;

use std::sync::Arc;

use common::{Caller, World};
use tollgate::{Algorithm, Command, OnExpiry, OnOrphan, Outcome, Partition, Store, StoreError};
use tollgate_conformance::world::*;

/// Lets every object's alarm go off, over and over, until `until_ms`. Gives how many leases and claims
/// ended, and how many alarms there were.
fn let_alarms_go_off(world: &World, until_ms: u64) -> (u64, u32) {
    let (mut ended, mut alarms) = (0, 0);
    for (name, object) in world.objects() {
        let object = object.lock().unwrap();
        let mut last_ms = 0;
        while let Some(due_ms) = object.next_due_ms(0).unwrap().filter(|due_ms| *due_ms <= until_ms)
        {
            assert!(due_ms > last_ms, "{name} is woken again and again");
            last_ms = due_ms;
            ended += object.expire(due_ms).unwrap();
            alarms += 1;
        }
    }
    (ended, alarms)
}

/// The same story in two worlds: holds, keys, settled records, cells of every kind of partition.
fn story(store: &dyn Store, seed: u64) -> u64 {
    let desk = Desk::new(store);
    (1..4).for_each(|number| desk.open(number, 1_000));
    let limits = [
        limit_of(Partition::Token, Algorithm::Gcra, 50, 10_000),
        limit_of(Partition::SourceIp, Algorithm::SlidingWindow, 50, 20_000),
        named("b", limit_of(Partition::Global, Algorithm::FixedWindow, 500, 30_000)),
        named("c", limit_of(Partition::AccountSourceIp, Algorithm::FixedWindow, 50, 40_000)),
    ];
    let (mut random, mut now_ms) = (seed, NOW_MS);
    for key in 0..60 {
        random = splitmix(random);
        now_ms += random % 900;
        let number = random % 3 + 1;
        let rule = tollgate::IdempotencyRule {
            retention_ms: 20_000 + random % 90_000,
            on_orphan: OnOrphan::Rerun,
            ..RULE
        };
        let mut ask = Ask::new(token(number)).limits(&limits).charge(random % 3 + 1);
        ask.source = Some(address(random % 4));
        ask.rule.retention_ms = 50_000 + random % 70_000;
        ask.rule.on_expiry =
            [OnExpiry::Void, OnExpiry::Settle, OnExpiry::Hold][usize::from(random % 5 == 0)];
        let ask = if random % 4 > 0 { ask.key_with(key, 0, rule) } else { ask };
        let Ok(outcome) = perform_ask(store, &ask, now_ms) else { panic!("it should be admitted") };
        if let Some(id) = outcome.filter(|_| random % 3 == 0) {
            let _ = desk.finish(number, id, &SETTLE, now_ms);
        }
    }
    now_ms
}

fn perform_ask(
    store: &dyn Store,
    ask: &Ask,
    now_ms: u64,
) -> Result<Option<tollgate::ReservationId>, StoreError> {
    match Desk::new(store).admitted(ask, now_ms).verdict {
        tollgate_conformance::Verdict::Admitted(id) => Ok(id),
        _ => Err(StoreError::WrongOutcome),
    }
}

#[test]
fn alarms_end_what_a_sweep_would() {
    let mut all = (0, 0);
    for seed in 0..40 {
        let [with_alarms, swept] = [(); 2].map(|()| Arc::new(World::default()));
        let [alarmed, sweeper] = [&with_alarms, &swept].map(Caller::new);
        let now_ms = story(&alarmed, seed);
        assert_eq!(story(&sweeper, seed), now_ms);
        let desks = [Desk::new(&alarmed), Desk::new(&sweeper)];
        for after_ms in [5_000, 70_000, 90_000, 200_000, 400_000] {
            let until_ms = now_ms + after_ms;
            let (ended, alarms) = let_alarms_go_off(&with_alarms, until_ms);
            let by_sweep = desks[1].admin().expire(until_ms).unwrap();
            assert_eq!(ended, by_sweep, "{after_ms} ms later");
            assert_eq!(desks[0].admin().expire(until_ms), Ok(0));
            for number in 1..4 {
                assert_eq!(desks[0].account(number), desks[1].account(number));
                // What an alarm finished at its time is kept until its retention after that, which a
                // sweep that came later begins later: compared are those that both still have.
                let [ours, theirs] = desks.map(|desk| desk.reservations(number));
                assert!(ours.iter().all(|one| theirs.contains(one)));
            }
            all = (all.0 + ended, all.1 + alarms);
            with_alarms.verify();
        }
        // In the end everything but accounts and tokens is gone, in every object, without a sweep.
        for (name, object) in with_alarms.objects() {
            let object = object.lock().unwrap();
            assert_eq!(object.next_due_ms(now_ms), Ok(None), "{name}");
            let counts = !name.starts_with("account") && !name.starts_with("tokens");
            assert_eq!(object.is_empty(), Ok(counts), "{name}");
        }
    }
    assert!(all.0 > 1_500 && all.1 > 3_000, "{all:?}");
}

#[test]
fn what_is_overdue_is_due_now() {
    let world = Arc::new(World::default());
    let caller = Caller::new(&world);
    let desk = Desk::new(&caller);
    desk.open(1, 100);
    let _ = desk.reserve(&Ask::new(token(1)).charge(5), NOW_MS);
    let object = world.object("account/account%201");
    let object = object.lock().unwrap();
    assert_eq!(object.next_due_ms(NOW_MS), Ok(Some(NOW_MS + 60_000)));
    assert_eq!(object.next_due_ms(NOW_MS + 70_000), Ok(Some(NOW_MS + 70_000)));
    assert_eq!(object.expire(u64::MAX), Ok(1));
}

/// An object for which nothing is due says so, whatever it was asked to read.
#[test]
fn looking_wakes_nobody() {
    let world = Arc::new(World::default());
    let caller = Caller::new(&world);
    let desk = Desk::new(&caller);
    desk.open(1, 100);
    let accounts =
        Command::Administer(&tollgate::Administration::ListAccounts { after: None, at_most: 9 });
    assert!(matches!(caller.perform(&accounts, NOW_MS), Ok(Outcome::Accounts(_))));
    let _ = desk.known(&token(1), NOW_MS);
    for (name, object) in world.objects() {
        assert_eq!(object.lock().unwrap().next_due_ms(NOW_MS), Ok(None), "{name}");
    }
}

/// A request that its account refused leaves nothing behind where it was counted.
#[test]
fn what_was_given_back_leaves_an_empty_object() {
    let world = Arc::new(World::default());
    let caller = Caller::new(&world);
    let desk = Desk::new(&caller);
    desk.open(1, 0);
    for algorithm in ALGORITHMS {
        let limits = [executions(limit_of(Partition::SourceIp, algorithm, 5, 10_000))];
        let verdict = desk.verdict(&Ask::new(token(1)).limits(&limits).charge(5), NOW_MS);
        assert!(matches!(verdict, tollgate_conformance::Verdict::Denied(_)));
    }
    let object = world.object("source/000000000000000000");
    assert_eq!(object.lock().unwrap().is_empty(), Ok(false));
    let _ = let_alarms_go_off(&world, NOW_MS + 100_000);
    assert_eq!(object.lock().unwrap().is_empty(), Ok(true));
}
