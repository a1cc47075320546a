//! Commands whose records fail half-way: what was committed by then is whole, and the same command again
//! ends where it would have ended at once.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects, reason = "it would make the test fail")]

use tollgate::transition::{Records, perform};
use tollgate::*;
use tollgate_conformance::world::{
    ALGORITHMS, Ask, DAY_MS, Desk, NOW_MS, SETTLE, account, named, per_token, response,
    settle_with, token,
};
use tollgate_conformance::{Answer, FaultyRecords, ModelRecords, ModelStore, Verdict};

const LATER_MS: u64 = NOW_MS + 60_000;

fn limits() -> Vec<Limit> {
    ALGORITHMS
        .map(|algorithm| named(&format!("{algorithm:?}"), per_token(algorithm, 50, 60_000)))
        .to_vec()
}

/// Two accounts with everything in them. Reservations 1 to 3 of account 1 end at `LATER_MS` by each rule,
/// 4 is settled, and 5 holds money for long.
fn world() -> ModelRecords {
    let store = ModelStore::new();
    let desk = Desk::new(&store);
    desk.open(1, 1_000);
    desk.open(2, 1_000);
    let ask = Ask::new(token(1)).charge(10).limits(&limits());
    for (key, on_expiry) in [(1, OnExpiry::Void), (2, OnExpiry::Settle), (3, OnExpiry::Hold)] {
        let _ = desk.reserve(&ask.clone().key(key).on_expiry(on_expiry), NOW_MS);
    }
    let settled = desk.reserve(&ask.clone().key(4), NOW_MS);
    let _ = desk.finish(1, settled, &settle_with(response(201, b"done")), NOW_MS);
    let mut long = ask.key(5);
    long.rule.lease_ms = DAY_MS / 2;
    let _ = desk.reserve(&long, NOW_MS);
    store.records().clone()
}

/// What holds in an account at every instant.
fn is_whole(records: &mut ModelRecords, number: u64) {
    let account = AccountRef::Id(account(number));
    let wallet = records.wallet(&account).unwrap();
    let settings = records.settings(&account).unwrap();
    tollgate_conformance::world::adds_up(&AccountView { wallet, settings });
    let mut held = 0;
    let mut open = 0;
    for (id, reservation) in records.reservations(&account).unwrap() {
        assert!(id.0 <= wallet.sequence);
        if reservation.state == ReservationState::Held && reservation.amount > Amount::ZERO {
            held += reservation.amount.0;
            open += 1;
        }
    }
    assert_eq!(
        (wallet.held.0, wallet.open_reservations),
        (held, open),
        "held money without a holder"
    );
}

fn each_half(what: &str, command: &Command<'_>) {
    let base = world();
    let mut sound = base.clone();
    let expected = Answer::of(perform(sound.at(LATER_MS), command, LATER_MS));
    let mut nth = 0;
    loop {
        let mut records = base.clone();
        let mut faulty = FaultyRecords::new(records.at(LATER_MS), nth);
        let outcome = perform(&mut faulty, command, LATER_MS);
        if !faulty.failed() {
            assert_eq!(Answer::of(outcome), expected, "{what}");
            break;
        }
        assert!(
            matches!(outcome, Err(StoreError::Unavailable { .. })),
            "{what}, call {nth}: {outcome:?}"
        );
        is_whole(&mut records, 1);
        is_whole(&mut records, 2);
        let again = Answer::of(perform(records.at(LATER_MS), command, LATER_MS));
        assert_eq!(again, expected, "{what}, again after call {nth}");
        assert_eq!(format!("{records:?}"), format!("{sound:?}"), "{what}, after call {nth}");
        nth += 1;
    }
    assert!(nth > 0, "{what} reads nothing");
}

#[test]
fn an_admission_that_fails_half_way() {
    let limits = limits();
    let asks = [
        Ask::new(token(1)).charge(10).limits(&limits).key(9),
        Ask::new(token(1)).charge(10).limits(&limits).key(4),
        Ask::new(token(1)).charge(10).limits(&limits).key(1),
        Ask::new(token(1)).charge(2_000).limits(&limits),
        Ask::new(token(1)).limits(&limits),
        Ask {
            detail: true,
            ..Ask::new(token(1)).charge(10).limits(&limits).key(9).mode(Mode::Peek)
        },
        Ask { sender: Some("nobody".into()), ..Ask::new(token(1)).limits(&limits) },
    ];
    for ask in &asks {
        let account = AccountRef::Id(account(1));
        let admit = Admit {
            mode: ask.mode,
            idempotency: &ask.idempotency,
            charge: ask.charge,
            charge_rule: &ask.rule,
            sender: ask.sender.as_deref(),
            detail: ask.detail,
            revision: Some(1),
            ..Admit::limits_only(&ask.token, &account, &ask.limits)
        };
        each_half(&format!("{ask:?}"), &Command::Admit(admit));
    }
}

#[test]
fn a_settlement_that_fails_half_way() {
    let account = AccountRef::Id(account(1));
    let finishes = [
        SETTLE,
        settle_with(response(201, b"x")),
        Finish::Void { response: None },
        Finish::Unknown,
    ];
    for finish in &finishes {
        for id in 1..=6 {
            let settle = Settle { account: &account, reservation: ReservationId(id), finish };
            each_half(&format!("{settle:?}"), &Command::Settle(settle));
        }
    }
}

#[test]
fn an_administration_that_fails_half_way() {
    let (id, one, two, new) = (account(1), token(1), token(2), token(9));
    let reference = AccountRef::Id(id.clone());
    let (account, amount) = (&id, Amount(3));
    let commands = [
        Administration::PutAccount {
            account,
            opening_balance: amount,
            settings: AccountPatch::default(),
        },
        Administration::PutAccount {
            account: &self::account(7),
            opening_balance: amount,
            settings: AccountPatch::default(),
        },
        Administration::PutToken { digest: &one, account, settings: TokenPatch::default() },
        Administration::PutToken { digest: &two, account, settings: TokenPatch::default() },
        Administration::RevokeToken { digest: &one },
        Administration::RotateToken { old: &one, new: &new, grace_ms: 5 },
        Administration::RotateToken { old: &one, new: &two, grace_ms: 5 },
        Administration::Deposit { account, amount },
        Administration::Refund {
            account: &reference,
            reservation: ReservationId(4),
            amount,
            reference: "r",
        },
        Administration::Refund {
            account: &reference,
            reservation: ReservationId(2),
            amount,
            reference: "r",
        },
        Administration::Resolve { account, reservation: ReservationId(3), finish: SETTLE },
        Administration::Resolve { account, reservation: ReservationId(1), finish: SETTLE },
        Administration::Resolve { account, reservation: ReservationId(2), finish: SETTLE },
        Administration::Inspect { account },
        Administration::ListTokens { account },
        Administration::ListReservations { account },
        Administration::NameAccount { account: &reference },
    ];
    for command in &commands {
        each_half(&format!("{command:?}"), &Command::Administer(command));
    }
}

#[test]
fn a_sweep_that_fails_half_way_is_finished_by_the_next() {
    let base = world();
    let reference = AccountRef::Id(account(1));
    let mut sound = base.clone();
    let ended = tollgate::transition::expire_account(&mut sound, &reference, LATER_MS).unwrap();
    assert_eq!(ended, 3);
    for nth in 0.. {
        let mut records = base.clone();
        let mut faulty = FaultyRecords::new(&mut records, nth);
        if tollgate::transition::expire_account(&mut faulty, &reference, LATER_MS).is_ok() {
            assert!(nth > 10, "a sweep of three leases makes more calls than {nth}");
            break;
        }
        is_whole(&mut records, 1);
        tollgate::transition::expire_account(&mut records, &reference, LATER_MS).unwrap();
        assert_eq!(format!("{records:?}"), format!("{sound:?}"), "after call {nth}");
    }
}

#[test]
fn the_world_of_these_tests_is_what_it_says() {
    let store = ModelStore::new();
    *store.records() = world();
    let desk = Desk::new(&store);
    assert_eq!(desk.money(1), (990, 40, 10));
    assert!(matches!(desk.verdict(&Ask::new(token(1)).key(4), NOW_MS), Verdict::Replay(_)));
    assert_eq!(desk.look_up(&token(1), NOW_MS).unwrap().revision, 1);
}
