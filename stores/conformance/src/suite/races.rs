//! Many threads at once: limits exact, keys claimed once, money conserved.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tollgate::{
    AccountPatch, AccountRef, Administration, Algorithm, Amount, Denial, Limit, Partition, Refusal,
    ReservationId, TokenPatch,
};

use crate::answer::{Answer, Verdict};
use crate::subject::Subject;
use crate::world::{
    ALGORITHMS, Ask, Desk, NOW_MS, SETTLE, VOID, account, executions, limit_of, named, response,
    settle_for, settle_with, token,
};

const THREADS: usize = 16;

/// How often each race is run, unless `TOLLGATE_ROUNDS` says otherwise.
fn rounds(usual: u64) -> u64 {
    let given = std::env::var("TOLLGATE_ROUNDS").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(usual)
}

/// Runs `work(thread)` on all threads at once, and gives what each returned.
fn together<T: Send>(threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(threads);
    thread::scope(|scope| {
        let started: Vec<_> = (0..threads)
            .map(|number| {
                let (barrier, work) = (&barrier, &work);
                scope.spawn(move || {
                    barrier.wait();
                    work(number)
                })
            })
            .collect();
        started
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// What threads that ask again when the credential changed end up with.
fn settled_verdict(desk: Desk<'_>, ask: &Ask, now_ms: u64) -> Verdict {
    loop {
        match desk.verdict(ask, now_ms) {
            Verdict::CredentialChanged => thread::yield_now(),
            verdict => return verdict,
        }
    }
}

/// 160 requests from sixteen threads against a quota of 40: exactly 40 pass, whatever the algorithm and
/// the partition, alone or beside others.
pub fn a_quota_is_exact(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(0, 0);
    let mut number = 0;
    for algorithm in ALGORITHMS {
        for partition in [Partition::Token, Partition::Account, Partition::SourceIp] {
            for beside in [false, true] {
                number += 1;
                desk.open(number, 0);
                let name = format!("{algorithm:?} {partition:?} {beside}");
                let mut limits = vec![named(&name, limit_of(partition, algorithm, 40, 60_000))];
                if beside {
                    let wide =
                        limit_of(Partition::Global, Algorithm::FixedWindow, 1_000_000, 60_000);
                    limits.insert(0, named("wide", wide));
                    let runs = limit_of(Partition::Account, Algorithm::Gcra, 1_000_000, 60_000);
                    limits.push(executions(named("runs", runs)));
                }
                let source = Some(crate::world::address(number));
                let ask = Ask { source, ..Ask::new(token(number)).limits(&limits) };
                let passed: u32 = together(THREADS, |_| {
                    let passes = |_: &i32| desk.verdict(&ask, NOW_MS) == Verdict::Admitted(None);
                    (0..10).filter(passes).count() as u32
                })
                .iter()
                .sum();
                assert_eq!(passed, 40, "{name}");
            }
        }
    }
}

/// 64 duplicates of one request: one runs, and once it is settled all others are replays.
pub fn duplicates_run_once(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 1_000);
    for round in 0..rounds(6) {
        let ask = Ask::new(token(1)).charge(3).key(round);
        let verdicts = together(64, |_| desk.verdict(&ask, NOW_MS));
        let mut ran = Vec::new();
        for verdict in verdicts {
            match verdict {
                Verdict::Admitted(Some(id)) => ran.push(id),
                Verdict::Denied(Denial::InFlight) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(ran.len(), 1, "round {round}: it ran {} times", ran.len());
        let done = response(201, &round.to_be_bytes());
        let _ = desk.finish(1, ran[0], &settle_with(done.clone()), NOW_MS);
        for verdict in together(8, |_| desk.verdict(&ask, NOW_MS)) {
            assert_eq!(verdict, Verdict::Replay(done.clone()));
        }
    }
    assert_eq!(desk.money(1).2, 3 * rounds(6));
}

/// Sixteen threads spend an account: it is emptied to the last unit and never overdrawn.
pub fn a_wallet_is_emptied_exactly(subject: &Subject) {
    for round in 0..rounds(3) {
        let store = subject.fresh();
        let desk = Desk::new(&*store);
        desk.open(1, 101);
        let ask = Ask::new(token(1)).charge(5);
        let taken: Vec<ReservationId> = together(THREADS, |_| {
            let take = |_| match desk.verdict(&ask, NOW_MS) {
                Verdict::Admitted(id) => id,
                Verdict::Denied(Denial::InsufficientBalance { .. }) => None,
                other => panic!("{other:?}"),
            };
            (0..4).filter_map(take).collect::<Vec<_>>()
        })
        .concat();
        assert_eq!((taken.len(), desk.money(1)), (20, (101, 100, 0)), "round {round}");
        let mut numbers: Vec<u64> = taken.iter().map(|id| id.0).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=20).collect::<Vec<_>>(), "numbers are given once each");
        together(THREADS, |thread| {
            for id in taken.iter().skip(thread).step_by(THREADS) {
                let _ = desk.finish(1, *id, &SETTLE, NOW_MS);
            }
        });
        assert_eq!(desk.money(1), (1, 0, 100));
    }
}

/// The same settlement from sixteen threads posts once; of two that differ, one wins and stays.
pub fn settling_at_once_posts_once(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 10_000);
    let mut spent = 0;
    for _ in 0..rounds(5) {
        let id = desk.reserve(&Ask::new(token(1)).charge(10), NOW_MS);
        let answers = together(THREADS, |_| desk.finish(1, id, &settle_for(7), NOW_MS));
        assert!(answers.iter().all(|answer| matches!(answer, Answer::Settled(_))), "{answers:?}");
        spent += 7;
        assert_eq!(desk.money(1), (10_000 - spent, 0, spent));

        let id = desk.reserve(&Ask::new(token(1)).charge(10), NOW_MS);
        let answers = together(THREADS, |thread| {
            let finish = if thread % 2 == 0 { settle_for(7) } else { VOID };
            (thread % 2 == 0, desk.finish(1, id, &finish, NOW_MS))
        });
        let posted = desk.money(1).2 - spent;
        for (settles, answer) in answers {
            let wins = settles == (posted == 7);
            let refused = answer == Answer::Refused(Refusal::AlreadyFinished);
            assert_eq!(refused, !wins, "{posted} was posted: {answer:?}");
        }
        assert!(posted == 0 || posted == 7);
        spent += posted;
    }
}

/// A settlement and the end of the lease at the same moment: one of them ends the reservation.
pub fn settling_races_with_the_end_of_the_lease(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 10_000);
    let mut spent = 0;
    let mut now_ms = NOW_MS;
    for _ in 0..rounds(8) {
        let ids: Vec<ReservationId> =
            (0..8).map(|_| desk.reserve(&Ask::new(token(1)).charge(10), now_ms)).collect();
        let end_ms = now_ms + 60_000;
        let posted = AtomicU64::new(0);
        together(8, |thread| {
            if thread < 4 {
                let _ = desk.admin().expire(end_ms).unwrap();
                return;
            }
            for id in ids.iter().skip(thread - 4).step_by(4) {
                // This host's clock is a little behind.
                match desk.finish(1, *id, &SETTLE, end_ms - 1) {
                    Answer::Settled(_) => drop(posted.fetch_add(10, Ordering::Relaxed)),
                    Answer::Refused(Refusal::LeaseEnded) => {}
                    other => panic!("{other:?}"),
                }
            }
        });
        spent += posted.into_inner();
        assert_eq!(desk.money(1), (10_000 - spent, 0, spent));
        now_ms = end_ms;
    }
}

/// A token that is revoked admits nothing that begins after it; what races with it is admitted or not,
/// and no more than that.
pub fn revoking_races_with_use(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 1_000_000);
    for round in 0..rounds(10) {
        let number = 100 + round;
        desk.put_token(number, &account(1), TokenPatch::default());
        let before = desk.account(1).wallet.held.0;
        let ask = Ask::new(token(number)).charge(1);
        let admitted: u64 = together(8, |thread| {
            if thread == 0 {
                desk.admin().revoke_token(&token(number), NOW_MS).unwrap();
                let known = desk.known(&token(number), NOW_MS).unwrap();
                assert!(known.revoked);
                return 0;
            }
            let mut admitted = 0;
            for _ in 0..8 {
                let credential = desk.look_up(&token(number), NOW_MS).unwrap();
                if credential.revoked {
                    break;
                }
                let Answer::Admission(admission) = desk.admit(&ask, &credential, NOW_MS) else {
                    panic!("no admission")
                };
                match admission.verdict {
                    Verdict::Admitted(Some(_)) => admitted += 1,
                    Verdict::CredentialChanged => {}
                    other => panic!("{other:?}"),
                }
            }
            admitted
        })
        .iter()
        .sum();
        assert_eq!(desk.account(1).wallet.held.0 - before, admitted);
    }
}

/// Sixteen rotations of one token at once: each new one works, its caps are one, and the old one ends.
pub fn rotating_races_with_use(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 10_000);
    let ask = Ask::new(token(1)).charge(1);
    let outcomes = together(THREADS, |thread| {
        let new = token(100 + thread as u64 % 8);
        let rotate = Administration::RotateToken { old: &token(1), new: &new, grace_ms: 1_000 };
        let outcome = desk.administer(&rotate, NOW_MS);
        let verdict = settled_verdict(desk, &ask, NOW_MS);
        assert!(matches!(verdict, Verdict::Admitted(Some(_))), "{verdict:?}");
        outcome
    });
    let done = outcomes.iter().filter(|outcome| **outcome == Answer::Done).count();
    let exists = Answer::Refused(Refusal::TokenExists);
    assert_eq!(done, 8, "{outcomes:?}");
    assert!(outcomes.iter().all(|outcome| *outcome == Answer::Done || *outcome == exists));
    assert_eq!(desk.admin().tokens(&account(1), NOW_MS).unwrap().len(), 9);
    assert_eq!(desk.money(1), (10_000, 16, 0));
}

/// Settings are changed while requests run: every request is decided by one state or the other, and what
/// is read afterwards is the last one.
pub fn changing_settings_races_with_admissions(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 100_000);
    let (a, b) = (vec!["a".into()], vec!["b".into()]);
    let put = |senders: &[Box<str>]| {
        let patch = AccountPatch { senders: Some(senders.to_vec()), ..AccountPatch::default() };
        desk.admin().put_account(&account(1), Amount(0), patch, NOW_MS).unwrap();
    };
    put(&a);
    let admitted: u64 = together(8, |thread| {
        let mut admitted = 0;
        for round in 0..20 {
            match thread {
                0 => put(if round % 2 == 0 { &b } else { &a }),
                _ => {
                    let sender = Some(if round % 2 == 0 { "a" } else { "b" }.to_owned());
                    let ask = Ask { sender, ..Ask::new(token(1)).charge(1) };
                    match settled_verdict(desk, &ask, NOW_MS) {
                        Verdict::Admitted(Some(_)) => admitted += 1,
                        Verdict::Denied(Denial::SenderNotApproved) => {}
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
        admitted
    })
    .iter()
    .sum();
    put(&b);
    assert_eq!(*desk.account(1).settings.senders, *b);
    assert_eq!(desk.money(1), (100_000, admitted, 0));
}

/// Accounts and tokens that are made by several threads at once are made once.
pub fn creating_at_once_creates_once(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    for round in 0..rounds(10) {
        together(THREADS, |thread| {
            let id = account(round);
            let balance = Amount(7);
            desk.admin().put_account(&id, balance, AccountPatch::default(), NOW_MS).unwrap();
            desk.put_token(round * 100 + thread as u64 % 3, &id, TokenPatch::default());
            desk.admin().deposit(&id, Amount(1), NOW_MS).unwrap();
        });
        assert_eq!(desk.money(round), (7 + THREADS as u64, 0, 0));
        assert_eq!(desk.admin().tokens(&account(round), NOW_MS).unwrap().len(), 3);
    }
}

/// Refunds of one reservation at once: each reference once, and together no more than was posted.
pub fn refunding_at_once_gives_back_once(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 100);
    let id = desk.reserve(&Ask::new(token(1)).charge(10), NOW_MS);
    let _ = desk.finish(1, id, &SETTLE, NOW_MS);
    let reference = AccountRef::Id(account(1));
    let outcomes = together(THREADS, |thread| {
        let name = format!("reference {}", thread / 2);
        (thread / 2, desk.admin().refund(&reference, id, Amount(3), &name, NOW_MS))
    });
    let done: std::collections::BTreeSet<usize> =
        outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).map(|(name, _)| *name).collect();
    assert_eq!(done.len(), 3, "{outcomes:?}");
    for name in done {
        let name = format!("reference {name}");
        assert_eq!(desk.admin().refund(&reference, id, Amount(3), &name, NOW_MS), Ok(()));
    }
    assert_eq!(desk.account(1).wallet.refunded, Amount(9));
}

/// All commands at once, on two accounts, for a while: no deadlock, and the money adds up.
pub fn everything_at_once(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 500);
    desk.open(2, 500);
    let limits: Vec<Limit> = ALGORITHMS
        .map(|algorithm| {
            named(&format!("{algorithm:?}"), limit_of(Partition::Global, algorithm, 300, 1_000))
        })
        .to_vec();
    together(8, |thread| {
        let mut seed = thread as u64;
        for round in 0..rounds(60) {
            seed = crate::world::splitmix(seed);
            let number = 1 + seed % 2;
            let now_ms = NOW_MS + round * 1_000;
            let ask = Ask::new(token(number)).limits(&limits).charge(seed % 9 + 1);
            match seed / 2 % 8 {
                0 => drop(desk.admin().expire(now_ms).unwrap()),
                1 => desk.admin().deposit(&account(number), Amount(3), now_ms).unwrap(),
                2 => desk.open(number, 0),
                3 => drop(desk.admin().tokens(&account(number), now_ms).unwrap()),
                _ => {
                    let ask = if seed.is_multiple_of(3) { ask.key(seed / 16 % 4) } else { ask };
                    if let Verdict::Admitted(Some(id)) = settled_verdict(desk, &ask, now_ms) {
                        let finish =
                            [SETTLE, VOID, settle_for(1)][(seed / 64 % 3) as usize].clone();
                        let _ = desk.finish(number, id, &finish, now_ms);
                    }
                }
            }
        }
    });
    for number in [1, 2] {
        let _ = desk.admin().expire(NOW_MS + 10 * crate::world::DAY_MS);
        let (_, held, _) = desk.money(number);
        assert_eq!(held, 0);
    }
}
