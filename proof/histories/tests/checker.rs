//! The checker finds an order where there is one, and none where there is none.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tests"
)]

use proptest::prelude::*;
use tollgate_histories::{
    Account, Answer, Call, Done, Ending, History, Key, LookUps, Op, Sequential, Verdict, judge,
    linearize, timeline,
};

/// A call of a thread, from one stamp to another.
fn call(thread: u8, invoked: u64, returned: u64, op: Op, answer: Answer) -> Call {
    Call { thread, account: 0, invoked, returned, op, answer }
}

fn money(balance: u64, held: u64, posted: u64, deposited: u64) -> Answer {
    Answer::Money { balance, held, posted, deposited, refunded: 0 }
}

fn deposit(amount: u64) -> Op {
    Op::Deposit { amount }
}

fn admit(token: u8, key: Option<u8>, charge: Option<u64>) -> Op {
    let key = key.map(|number| Key { number, body: 0 });
    Op::Admit { token, revision: 1, route: 0, key, charge, ending: Ending::Void, late: false }
}

fn admitted(reservation: Option<u64>) -> Answer {
    Answer::Admission(Verdict::Admitted { reservation, left: None })
}

fn got(left: u64) -> Answer {
    let credential = Some(tollgate_histories::Credential {
        revision: 0,
        revoked: false,
        expired: false,
        networks: false,
    });
    let admission = Some(Verdict::Admitted { reservation: None, left: Some(left) });
    Answer::LookedUp { credential, admission }
}

fn is_linearizable(calls: &[Call]) -> bool {
    judge(&History { number: 0, calls: calls.to_vec() }, LookUps::Fresh).is_ok()
}

#[test]
fn what_overlaps_may_be_in_either_order() {
    for seen in [money(10, 0, 0, 10), money(13, 0, 0, 13)] {
        assert!(is_linearizable(&[
            call(0, 0, 9, deposit(3), Answer::Done),
            call(1, 4, 5, Op::Inspect, seen),
        ]));
    }
}

#[test]
fn a_stale_read_is_refused() {
    assert!(!is_linearizable(&[
        call(0, 0, 3, deposit(3), Answer::Done),
        call(1, 4, 5, Op::Inspect, money(10, 0, 0, 10)),
    ]));
}

#[test]
fn a_value_that_comes_and_goes_is_refused() {
    assert!(!is_linearizable(&[
        call(0, 0, 9, deposit(3), Answer::Done),
        call(1, 1, 2, Op::Inspect, money(13, 0, 0, 13)),
        call(1, 4, 5, Op::Inspect, money(10, 0, 0, 10)),
    ]));
}

#[test]
fn a_lost_deposit_is_refused() {
    assert!(!is_linearizable(&[
        call(0, 0, 3, deposit(3), Answer::Done),
        call(1, 1, 4, deposit(2), Answer::Done),
        call(0, 5, 6, Op::Inspect, money(13, 0, 0, 13)),
    ]));
}

#[test]
fn a_limit_that_lets_one_too_many_pass_is_refused() {
    let get =
        |thread, at, left| call(thread, at, at + 10, Op::Get { token: 0, route: 1 }, got(left));
    assert!(is_linearizable(&[get(0, 0, 2), get(1, 1, 1), get(2, 2, 0)]));
    assert!(is_linearizable(&[get(0, 0, 0), get(1, 1, 2), get(2, 2, 1)]));
    assert!(!is_linearizable(&[get(0, 0, 2), get(1, 1, 2), get(2, 2, 1)]), "a lost update");
    assert!(!is_linearizable(&[get(0, 0, 2), get(1, 1, 1), get(2, 2, 0), get(3, 3, 0)]));
}

#[test]
fn a_key_that_runs_twice_is_refused() {
    let ask = |thread, reservation| {
        call(thread, 0, 9, admit(0, Some(0), None), admitted(Some(reservation)))
    };
    assert!(is_linearizable(&[ask(0, 1)]));
    assert!(!is_linearizable(&[ask(0, 1), ask(1, 2)]));
}

#[test]
fn a_wallet_that_is_overdrawn_is_refused() {
    let ask = |thread, reservation| {
        call(thread, 0, 9, admit(0, None, Some(6)), admitted(Some(reservation)))
    };
    assert!(!is_linearizable(&[ask(0, 1), ask(1, 2)]));
    let deposit = call(2, 0, 9, deposit(2), Answer::Done);
    assert!(is_linearizable(&[ask(0, 1), ask(1, 2), deposit]));
}

#[test]
fn an_admission_after_a_revocation_is_refused_and_one_beside_it_is_not() {
    let revoke = |returned| call(0, 0, returned, Op::Revoke { token: 0 }, Answer::Done);
    let ask = call(1, 5, 6, admit(0, None, None), admitted(None));
    assert!(is_linearizable(&[revoke(9), ask.clone()]));
    assert!(!is_linearizable(&[revoke(4), ask]));
}

#[test]
fn an_admission_from_outside_after_networks_were_set_is_refused() {
    let put = call(0, 0, 4, Op::PutAccount { networks: true }, Answer::Done);
    let ask = call(1, 5, 6, admit(0, None, None), admitted(None));
    assert!(!is_linearizable(&[put, ask]));
}

#[test]
fn a_store_that_failed_is_not_explained() {
    let failed = Answer::Failed("the store is unavailable".to_owned());
    assert!(!is_linearizable(&[call(0, 0, 1, Op::Inspect, failed)]));
}

#[test]
fn two_settlements_that_both_count_are_refused() {
    let settle = |thread, response| {
        let response = Some(response);
        let op = Op::Settle { reservation: 1, amount: None, response, late: false };
        call(thread, 4, 9, op, Answer::Settled(Some(6)))
    };
    let ask = call(0, 0, 1, admit(0, Some(0), Some(6)), admitted(Some(1)));
    assert!(is_linearizable(&[ask.clone(), settle(0, 201), settle(1, 201)]), "the same twice");
    assert!(!is_linearizable(&[ask, settle(0, 201), settle(1, 202)]));
}

#[test]
fn a_late_settlement_and_the_end_of_a_lease_both_count_once() {
    let ask = call(0, 0, 1, admit(0, None, Some(6)), admitted(Some(1)));
    let op = Op::Settle { reservation: 1, amount: None, response: None, late: false };
    let settle = |answer| call(1, 2, 9, op.clone(), answer);
    let sweep = call(0, 3, 8, Op::Expire { late: true }, Answer::Expired(1));
    let look = |answer| call(0, 10, 11, Op::Inspect, answer);
    let ended = Answer::Refused(tollgate::Refusal::LeaseEnded);
    let posted = Answer::Settled(Some(6));
    let history = |settled: &Answer, seen| {
        is_linearizable(&[ask.clone(), settle(settled.clone()), sweep.clone(), look(seen)])
    };
    assert!(history(&ended, money(10, 0, 0, 10)));
    assert!(history(&posted, money(4, 0, 6, 10)));
    assert!(!history(&ended, money(4, 0, 6, 10)));
    assert!(!history(&posted, money(10, 0, 0, 10)));
}

#[test]
fn a_violation_is_drawn_and_says_how_far_an_order_comes() {
    let calls = [
        call(0, 100, 230, deposit(3), Answer::Done),
        call(1, 150, 200, Op::Inspect, money(13, 0, 0, 13)),
        call(1, 300, 400, Op::Inspect, money(10, 0, 0, 10)),
    ];
    let history = History { number: 7, calls: calls.to_vec() };
    let text = judge(&history, LookUps::Fresh).unwrap_err().to_string();
    let drawn = "\
thread 0  |1-------|
thread 1     |2-|     |3-|
   1  thread 0: deposit 3 -> done
   2  thread 1: inspect -> balance 13, held 0, posted 0, deposited 13, refunded 0
   3  thread 1: inspect -> balance 10, held 0, posted 0, deposited 10, refunded 0
";
    assert_eq!(timeline(&calls.iter().collect::<Vec<_>>()), drawn);
    assert!(text.starts_with("history 7 is not linearizable"), "{text}");
    assert!(text.contains(drawn), "{text}");
    assert!(
        text.contains("and then none of these:\n      thread 1: inspect -> balance 10"),
        "{text}"
    );
}

/// A register, to compare the search with one that tries everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Register(u8);

impl Sequential for Register {
    /// What is written; `None`: it is read.
    type Op = Option<u8>;
    type Answer = Option<u8>;

    fn accepts(&mut self, op: &Option<u8>, answer: &Option<u8>) -> bool {
        match (op, answer) {
            (Some(written), None) => {
                self.0 = *written;
                true
            }
            (None, Some(read)) => self.0 == *read,
            _ => false,
        }
    }
}

type Event = Done<'static, Option<u8>, Option<u8>>;

/// Every order of the rest that keeps to the stamps, one after the other.
fn try_everything(state: &Register, rest: &[Event]) -> bool {
    rest.is_empty()
        || (0..rest.len()).any(|place| {
            let mut others = rest.to_vec();
            let next = others.remove(place);
            let mut after = state.clone();
            others.iter().all(|other| other.returned >= next.invoked)
                && after.accepts(next.op, next.answer)
                && try_everything(&after, &others)
        })
}

fn event() -> impl Strategy<Value = Event> {
    static OPS: [(Option<u8>, Option<u8>); 5] =
        [(Some(1), None), (Some(2), None), (None, Some(0)), (None, Some(1)), (None, Some(2))];
    (0_u64..12, 0_u64..6, 0..OPS.len()).prop_map(|(invoked, length, number)| {
        let (op, answer) = &OPS[number];
        Done { invoked, returned: invoked + length, op, answer }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_search_agrees_with_one_that_tries_everything(
        events in prop::collection::vec(event(), 0..7),
    ) {
        let found = linearize(&Register(0), &events);
        prop_assert_eq!(found.is_ok(), try_everything(&Register(0), &events));
        if let Ok(order) = found {
            let mut state = Register(0);
            for place in &order {
                prop_assert!(state.accepts(events[*place].op, events[*place].answer));
            }
            for (later, place) in order.iter().enumerate() {
                let (before, _) = order.split_at(later);
                prop_assert!(before.iter().all(|first| events[*first].invoked <= events[*place].returned));
            }
        }
    }
}

#[test]
fn a_long_history_of_one_account_is_judged_in_no_time() {
    // Twelve deposits at once and a look at the end: 12! orders, few different states.
    let mut calls: Vec<Call> =
        (0..12).map(|thread| call(thread, 0, 50, deposit(1), Answer::Done)).collect();
    calls.push(call(0, 60, 61, Op::Inspect, money(21, 0, 0, 21)));
    let history = History { number: 0, calls };
    assert!(judge(&history, LookUps::Fresh).is_err());
    assert_eq!(Account::opened(LookUps::Fresh), Account::opened(LookUps::Fresh));
}
