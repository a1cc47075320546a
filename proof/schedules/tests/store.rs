//! The memory store's promises, under schedules that a test chooses.
#![cfg(tollgate_shuttle)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use tollgate_histories::{Answer, Call, Op, Step, TOKENS, Verdict, What};
use tollgate_schedules::{Told, command, explore, race, request};

fn get(route: u8) -> Step {
    command(Op::Get { token: 0, route })
}

/// The quota of every limit in `tollgate_histories`.
const QUOTA: usize = 3;

#[test]
fn the_quota_of_a_limit_that_tokens_carry_is_exact() {
    explore(150, || {
        let told = race(&[vec![get(1), get(1)], vec![get(1)], vec![get(1), get(1)]]);
        assert_eq!(told.admitted(), QUOTA);
    });
}

#[test]
fn the_quota_of_a_limit_in_cells_is_exact_for_every_algorithm() {
    for route in [2, 3, 4] {
        explore(60, move || {
            let told = race(&[
                vec![get(route), get(route)],
                vec![get(route)],
                vec![get(route), get(route)],
            ]);
            assert_eq!(told.admitted(), QUOTA);
        });
    }
}

#[test]
fn two_limits_are_taken_from_together_or_not_at_all() {
    explore(100, || {
        // Route 5 has the limits of 1 and 3: what it takes is missing in both.
        let told = race(&[
            vec![get(5), get(5)],
            vec![get(1), request(5, None, None)],
            vec![get(3), get(1)],
        ]);
        assert!(told.admitted() >= QUOTA);
    });
}

#[test]
fn one_key_runs_once() {
    explore(150, || {
        let ask = || request(0, Some(0), Some(4));
        let told = race(&[vec![ask(), ask()], vec![ask()], vec![ask()]]);
        assert_eq!(told.admitted(), 1);
        let others = told.verdicts().filter(|(_, verdict)| {
            matches!(verdict, Verdict::InFlight { .. } | Verdict::Replay { .. })
        });
        assert_eq!(others.count(), 3);
    });
}

fn settle(reservation: u64, response: u16, late: bool) -> Step {
    command(Op::Settle { reservation, amount: None, response: Some(response), late })
}

#[test]
fn a_key_that_is_settled_while_others_ask_is_replayed_and_never_runs_again() {
    explore(100, || {
        let ask = || request(0, Some(0), Some(4));
        let told = race(&[
            vec![ask(), settle(1, 201, false)],
            vec![ask(), ask()],
            vec![settle(1, 202, false), ask()],
        ]);
        // Both settlements may come before there is anything to settle, or one of them counts.
        assert_eq!(told.admitted(), 1);
    });
}

#[test]
fn all_that_ends_a_reservation_at_once_ends_it_once() {
    explore(100, || {
        let told = race(&[
            vec![request(0, Some(0), Some(6)), settle(1, 201, true)],
            vec![
                command(Op::Void { reservation: 1, late: false }),
                command(Op::Expire { late: true }),
            ],
            vec![
                command(Op::Revoke { token: 0 }),
                command(Op::PutAccount { networks: false }),
                command(Op::Inspect),
            ],
            vec![command(Op::Rotate { old: 0, new: TOKENS - 1 }), settle(1, 202, false)],
        ]);
        let ended = told
            .0
            .iter()
            .filter(|call| matches!(call.answer, Answer::Settled(Some(posted)) if posted > 0));
        // Settlements with different responses: at most one of them is taken.
        assert!(ended.count() <= 1);
    });
}

/// The calls that were made after every call of `op` had returned.
fn after<'t>(told: &'t Told, op: &'t Op) -> impl Iterator<Item = (&'t Call, &'t Verdict)> {
    let returned = told.calls_of(op).map(|call| call.returned).max().unwrap();
    told.verdicts().filter(move |(call, _)| call.invoked > returned)
}

#[test]
fn nothing_is_admitted_after_a_revocation_has_returned() {
    explore(120, || {
        let revoke = Op::Revoke { token: 0 };
        let again = |route| Step {
            what: match request(route, None, Some(2)).what {
                What::Request { token, route, key, charge, ending, late, .. } => {
                    What::Request { token, route, key, charge, ending, late, again: true }
                }
                what @ What::Command(_) => what,
            },
            account: 0,
        };
        let told = race(&[
            vec![command(revoke.clone())],
            vec![get(1), request(0, None, None), again(0), again(1)],
            vec![request(2, Some(0), None), again(0), get(2)],
        ]);
        let admitted = after(&told, &revoke)
            .filter(|(_, verdict)| matches!(verdict, Verdict::Admitted { .. }));
        assert_eq!(admitted.count(), 0);
    });
}

#[test]
fn nothing_is_admitted_from_outside_after_networks_were_set() {
    explore(150, || {
        let networks = Op::PutAccount { networks: true };
        let told = race(&[
            vec![command(networks.clone())],
            vec![get(1), request(0, None, Some(2)), request(0, Some(0), None)],
            vec![request(1, None, None), get(1)],
        ]);
        let admitted = after(&told, &networks)
            .filter(|(_, verdict)| matches!(verdict, Verdict::Admitted { .. }));
        assert_eq!(admitted.count(), 0);
    });
}

/// It would be told that its credential has changed, and have ended the lease of another request. What `race`
/// looks for an order of says so.
#[test]
fn an_admission_whose_credential_changed_has_ended_no_lease() {
    explore(300, || {
        let mut late = request(0, None, Some(2));
        let What::Request { late: is_late, .. } = &mut late.what else { panic!() };
        *is_late = true;
        let rotate = command(Op::Rotate { old: 0, new: TOKENS - 1 });
        race(&[vec![request(0, None, Some(2)), late], vec![rotate, settle(1, 201, false)]]);
    });
}

#[test]
fn a_wallet_is_raced_to_zero_and_never_below() {
    explore(120, || {
        let ask = || request(0, None, Some(4));
        let told = race(&[
            vec![ask(), command(Op::Inspect)],
            vec![ask(), ask()],
            vec![ask(), command(Op::Deposit { amount: 2 })],
        ]);
        // Ten, and two more when they come in time.
        assert!((2..=3).contains(&told.admitted()));
    });
}

#[test]
fn a_sweep_that_races_with_admissions_frees_what_is_due_and_nothing_else() {
    explore(120, || {
        let told = race(&[
            vec![
                request(0, None, Some(8)),
                command(Op::Expire { late: true }),
                command(Op::Inspect),
            ],
            vec![request(0, None, Some(8)), request(0, Some(0), Some(7))],
            vec![command(Op::Inspect), request(0, None, Some(3))],
        ]);
        assert!(told.admitted() >= 1);
    });
}

#[test]
fn commands_of_two_accounts_do_not_wait_for_each_other_in_a_circle() {
    explore(60, || {
        let of = |account, step: Step| Step { account, ..step };
        let told = race(&[
            vec![
                of(0, request(5, Some(0), Some(3))),
                of(1, get(5)),
                command(Op::Expire { late: true }),
            ],
            vec![
                of(1, request(5, Some(0), Some(3))),
                of(0, command(Op::Rotate { old: 0, new: TOKENS - 1 })),
                of(1, command(Op::PutAccount { networks: false })),
            ],
            vec![
                of(0, command(Op::Revoke { token: 1 })),
                of(1, command(Op::Rotate { old: 0, new: TOKENS - 1 })),
                of(0, get(5)),
            ],
        ]);
        assert!(told.0.len() >= 9);
    });
}
