//! Two handles onto one state: what one does, the other sees at once.

use std::thread;

use tollgate::{
    AccountPatch, AccountRef, Algorithm, Amount, Denial, Partition, Refusal, TokenPatch,
};

use crate::answer::{Answer, Verdict};
use crate::subject::Subject;
use crate::world::{
    ALGORITHMS, Ask, Desk, NOW_MS, SETTLE, account, limit_of, named, per_token, response,
    settle_with, token,
};

/// Every change through one handle is seen through the other by the next command.
pub fn a_change_is_seen_through_the_other_handle(subject: &Subject) {
    let (one, two) = {
        let store = subject.fresh();
        let second = subject.share(&store);
        (store, second)
    };
    let (one, two) = (Desk::new(&*one), Desk::new(&*two));
    one.open(1, 100);
    assert_eq!(two.money(1), (100, 0, 0));
    assert_eq!(two.known(&token(1), NOW_MS), one.known(&token(1), NOW_MS));
    two.admin().deposit(&account(1), Amount(1), NOW_MS).unwrap();
    assert_eq!(one.money(1), (101, 0, 0));
    let limits = ALGORITHMS
        .map(|algorithm| named(&format!("{algorithm:?}"), per_token(algorithm, 2, 60_000)));
    let ask = Ask::new(token(1)).limits(&limits).charge(10).key(1);
    let id = one.reserve(&ask, NOW_MS);
    assert_eq!(two.verdict(&ask, NOW_MS), Verdict::Denied(Denial::InFlight));
    assert!(matches!(one.verdict(&ask, NOW_MS), Verdict::Denied(Denial::RateLimited { .. })));
    assert!(matches!(
        two.finish(1, id, &settle_with(response(201, b"x")), NOW_MS),
        Answer::Settled(_)
    ));
    let free = Ask { limits: vec![], ..ask };
    assert_eq!(one.verdict(&free, NOW_MS), Verdict::Replay(response(201, b"x")));
    assert_eq!(one.reservations(1), two.reservations(1));
    assert_eq!(
        two.admin().expire(NOW_MS + crate::world::DAY_MS),
        one.admin().expire(NOW_MS).map(|n| n + 1)
    );
}

/// A token that is revoked through one handle is revoked for the other, and for what it looked up before.
pub fn a_revocation_is_seen_through_the_other_handle(subject: &Subject) {
    let store = subject.fresh();
    let second = subject.share(&store);
    let (one, two) = (Desk::new(&*store), Desk::new(&*second));
    one.open(1, 100);
    let ask = Ask::new(token(1)).charge(1).limits(&[per_token(Algorithm::Gcra, 9, 1_000)]);
    let _ = two.reserve(&ask, NOW_MS);
    let held = two.look_up(&token(1), NOW_MS).unwrap();
    one.admin().revoke_token(&token(1), NOW_MS).unwrap();
    let Answer::Admission(admitted) = two.admit(&ask, &held, NOW_MS) else {
        panic!("no admission")
    };
    assert_eq!(admitted.verdict, Verdict::CredentialChanged);
    assert!(two.known(&token(1), NOW_MS).unwrap().revoked);
    one.put_token(2, &account(1), TokenPatch::default());
    let held = two.look_up(&token(2), NOW_MS).unwrap();
    let patch = AccountPatch {
        networks: Some(vec!["10.0.0.0/8".parse().unwrap()]),
        ..AccountPatch::default()
    };
    one.admin().put_account(&account(1), Amount(0), patch, NOW_MS).unwrap();
    let ask = Ask { token: token(2), ..ask };
    let Answer::Admission(admitted) = two.admit(&ask, &held, NOW_MS) else {
        panic!("no admission")
    };
    assert_eq!(admitted.verdict, Verdict::CredentialChanged);
    assert_eq!(two.known(&token(2), NOW_MS).unwrap().networks.len(), 1);
    let rotate =
        tollgate::Administration::RotateToken { old: &token(1), new: &token(9), grace_ms: 1 };
    assert_eq!(two.administer(&rotate, NOW_MS), Answer::Refused(Refusal::TokenRevoked));
}

/// Quotas, keys and money are exact across handles that race.
pub fn handles_that_race_stay_exact(subject: &Subject) {
    let store = subject.fresh();
    let handles = [subject.share(&store), subject.share(&store), store];
    let desk = Desk::new(&*handles[0]);
    desk.open(1, 47);
    let limits = ALGORITHMS.map(|algorithm| {
        named(&format!("{algorithm:?}"), limit_of(Partition::Account, algorithm, 40, 60_000))
    });
    // Each handle by the reference that it gave itself: they must name the same cells.
    let ask = Ask::new(token(1));
    let limited = ask.clone().limits(&limits);
    let passed: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|number| {
                let (desk, limited) = (Desk::new(&*handles[number % 3]), &limited);
                scope.spawn(move || {
                    let passes = |_: &i32| desk.verdict(limited, NOW_MS) == Verdict::Admitted(None);
                    (0..12).filter(passes).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(passed, 40);
    let (charged, keyed) = (ask.clone().charge(5), ask.key(9).charge(2));
    let admitted: Vec<(bool, u64)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|number| {
                let desk = Desk::new(&*handles[number % 3]);
                let (charged, keyed) = (&charged, &keyed);
                scope.spawn(move || {
                    let ran = matches!(desk.verdict(keyed, NOW_MS), Verdict::Admitted(Some(_)));
                    let mut posted = 0;
                    for _ in 0..3 {
                        if let Verdict::Admitted(Some(id)) = desk.verdict(charged, NOW_MS) {
                            let reference = AccountRef::Id(account(1));
                            let _ = desk.settle(&reference, id, &SETTLE, NOW_MS);
                            posted += 5;
                        }
                    }
                    (ran, posted)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(admitted.iter().filter(|(ran, _)| *ran).count(), 1);
    let posted: u64 = admitted.iter().map(|(_, posted)| posted).sum();
    assert_eq!(posted, 45, "nine fives fit into 45 units");
    assert_eq!(Desk::new(&*handles[2]).money(1), (2, 2, 45));
}
