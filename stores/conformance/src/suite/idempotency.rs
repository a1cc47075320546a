//! Idempotency keys: claimed once, replayed, freed, fenced off, forgotten.

use tollgate::{
    Administration, Amount, Denial, Finish, Idempotency, IdempotencyRule, OnExpiry, OnOrphan,
    Refusal, ReservationId, Settled, StoredResponse,
};

use crate::answer::{Answer, Verdict};
use crate::subject::Subject;
use crate::world::{
    Ask, DAY_MS, Desk, NOW_MS, RULE, SETTLE, VOID, account, response, settle_with, token,
};

fn posted(amount: u64) -> Answer {
    Answer::Settled(Settled { posted: Some(Amount(amount)) })
}

/// A key is claimed once; while its request runs a duplicate is in flight, another request is refused,
/// and neither costs anything.
pub fn a_key_is_claimed_once(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 10);
    desk.open(2, 10);
    let ask = Ask::new(token(1)).key(1).charge(3);
    assert_eq!(desk.reserve(&ask, NOW_MS), ReservationId(1));
    for _ in 0..2 {
        assert_eq!(desk.verdict(&ask, NOW_MS), Verdict::Denied(Denial::InFlight));
        let other = ask.clone().key_with(1, 1, RULE);
        assert_eq!(desk.verdict(&other, NOW_MS), Verdict::Denied(Denial::KeyReused));
    }
    let invalid = Ask { idempotency: Idempotency::Invalid, ..ask.clone() };
    assert_eq!(desk.verdict(&invalid, NOW_MS), Verdict::Denied(Denial::KeyInvalid));
    assert_eq!(desk.money(1), (10, 3, 0));
    // Another key, and another account's key of the same name, are not touched.
    assert_eq!(desk.reserve(&ask.clone().key(2), NOW_MS), ReservationId(2));
    assert_eq!(desk.reserve(&Ask { token: token(2), ..ask }, NOW_MS), ReservationId(1));
}

/// What was settled with a response is replayed byte by byte, for nothing.
pub fn a_completed_response_is_replayed(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 100);
    let too_large = StoredResponse { status: 299, headers: Box::default(), body: None };
    let responses = [
        response(201, b"{\"id\":1}"),
        response(500, b""),
        response(200, &(0..=255).collect::<Vec<u8>>()),
        too_large.into(),
    ];
    for (number, response) in (0..).zip(responses) {
        let ask = Ask::new(token(1)).key(number).charge(2);
        let id = desk.reserve(&ask, NOW_MS);
        assert_eq!(desk.finish(1, id, &settle_with(response.clone()), NOW_MS), posted(2));
        for later_ms in [0, 1, DAY_MS - 1] {
            let verdict = desk.verdict(&ask, NOW_MS + later_ms);
            assert_eq!(verdict, Verdict::Replay(response.clone()));
        }
        let other = ask.key_with(number, 1, RULE);
        assert_eq!(desk.verdict(&other, NOW_MS), Verdict::Denied(Denial::KeyReused));
        assert_eq!(desk.money(1), (98 - 2 * number, 0, 2 * (number + 1)));
    }
}

/// A settlement without a response says 200 to a duplicate; one that voids frees the key, unless it has
/// a response.
pub fn what_is_settled_without_a_response(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 100);
    let ask = Ask::new(token(1)).charge(2);
    let id = desk.reserve(&ask.clone().key(1), NOW_MS);
    assert_eq!(desk.finish(1, id, &SETTLE, NOW_MS), posted(2));
    let unrecorded = StoredResponse { status: 200, headers: Box::default(), body: None };
    assert_eq!(desk.verdict(&ask.clone().key(1), NOW_MS), Verdict::Replay(unrecorded.into()));

    let id = desk.reserve(&ask.clone().key(2), NOW_MS);
    assert_eq!(desk.finish(1, id, &VOID, NOW_MS), posted(0));
    let again = desk.reserve(&ask.clone().key(2), NOW_MS);
    assert!(again > id);
    let failed = Finish::Void { response: Some(response(502, b"no")) };
    assert_eq!(desk.finish(1, again, &failed, NOW_MS), posted(0));
    assert_eq!(desk.verdict(&ask.key(2), NOW_MS), Verdict::Replay(response(502, b"no")));
    assert_eq!(desk.money(1), (98, 0, 2));
}

/// A key without a price is claimed and settled too, for as long as it is kept.
pub fn a_key_without_a_price(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 0);
    let ask = Ask::new(token(1)).key(1);
    let id = desk.reserve(&ask, NOW_MS);
    // Long after its lease: nothing was held that somebody else could need.
    assert_eq!(desk.verdict(&ask, NOW_MS + 70_000), Verdict::Denied(Denial::InFlight));
    let finish = settle_with(response(200, b"late"));
    assert_eq!(desk.finish(1, id, &finish, NOW_MS + 70_000), posted(0));
    assert_eq!(desk.verdict(&ask, NOW_MS + 70_000), Verdict::Replay(response(200, b"late")));
}

/// A lost request's key stays in flight until somebody resolves it or it is forgotten.
pub fn an_orphan_stays_in_flight(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 10);
    let ask = Ask::new(token(1)).key(1).charge(3);
    let id = desk.reserve(&ask, NOW_MS);
    let nobody_knows = Answer::Settled(Settled { posted: None });
    assert_eq!(desk.finish(1, id, &Finish::Unknown, NOW_MS), nobody_knows);
    assert_eq!(desk.verdict(&ask, NOW_MS), Verdict::Denied(Denial::InFlight));
    // The lease ends and frees the money; the key stays.
    let later_ms = NOW_MS + 60_000;
    assert_eq!(desk.verdict(&ask, later_ms), Verdict::Denied(Denial::InFlight));
    assert_eq!(desk.money(1), (10, 0, 0));
    assert_eq!(desk.finish(1, id, &SETTLE, later_ms), Answer::Refused(Refusal::LeaseEnded));
    let resolve = |finish| {
        let resolve = Administration::Resolve { account: &account(1), reservation: id, finish };
        desk.administer(&resolve, later_ms)
    };
    assert_eq!(resolve(SETTLE), Answer::Refused(Refusal::LeaseEnded));
    let gone = Finish::Void { response: Some(response(504, b"lost")) };
    assert_eq!(resolve(gone.clone()), posted(0));
    assert_eq!(resolve(gone), posted(0));
    let other = Finish::Void { response: Some(response(500, b"other")) };
    assert_eq!(resolve(other), Answer::Refused(Refusal::AlreadyFinished));
    assert_eq!(desk.verdict(&ask, later_ms), Verdict::Replay(response(504, b"lost")));
    // When its retention ends, the key is free.
    assert!(desk.reserve(&ask, NOW_MS + DAY_MS) > id);
}

/// Where a route says so, a lost request's key is taken over once its lease ends, and the late outcome
/// of the first one changes nothing.
pub fn a_stale_outcome_is_fenced_off(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 100);
    let rule = IdempotencyRule { on_orphan: OnOrphan::Rerun, ..RULE };
    let ask = Ask::new(token(1)).charge(3).key_with(1, 0, rule).on_expiry(OnExpiry::Hold);
    let first = desk.reserve(&ask, NOW_MS);
    assert_eq!(desk.verdict(&ask, NOW_MS + 59_999), Verdict::Denied(Denial::InFlight));
    let later_ms = NOW_MS + 60_000;
    let second = desk.reserve(&ask, later_ms);
    assert!(second > first);
    let late = settle_with(response(201, b"first"));
    assert_eq!(desk.finish(1, first, &late, later_ms), Answer::Refused(Refusal::StaleFence));
    assert_eq!(desk.money(1), (100, 6, 0));
    assert_eq!(desk.finish(1, second, &settle_with(response(201, b"second")), later_ms), posted(3));
    assert_eq!(desk.finish(1, first, &late, later_ms), Answer::Refused(Refusal::StaleFence));
    assert_eq!(desk.verdict(&ask, later_ms), Verdict::Replay(response(201, b"second")));
    // An operator frees what the first one holds; the key stays the second one's.
    let resolve =
        Administration::Resolve { account: &account(1), reservation: first, finish: VOID };
    assert_eq!(desk.administer(&resolve, later_ms), posted(0));
    assert_eq!(desk.verdict(&ask, later_ms), Verdict::Replay(response(201, b"second")));
    assert_eq!(desk.money(1), (97, 0, 3));
}

/// A key that is past its retention is free, whether or not a sweep came by, and its number is never
/// given again.
pub fn a_key_is_forgotten_after_its_retention(subject: &Subject) {
    for sweeps in [false, true] {
        let store = subject.fresh();
        let desk = Desk::new(&*store);
        desk.open(1, 100);
        let ask =
            Ask::new(token(1)).key_with(1, 0, IdempotencyRule { retention_ms: 5_000, ..RULE });
        let first = desk.reserve(&ask, NOW_MS);
        assert_eq!(desk.finish(1, first, &settle_with(response(200, b"1")), NOW_MS), posted(0));
        assert!(matches!(desk.verdict(&ask, NOW_MS + 4_999), Verdict::Replay(_)));
        if sweeps {
            assert_eq!(desk.admin().expire(NOW_MS + 4_999), Ok(0));
            assert_eq!(desk.admin().expire(NOW_MS + 5_000), Ok(1));
            assert_eq!(desk.admin().expire(NOW_MS + 5_000), Ok(0));
        }
        let other = ask.key_with(1, 1, RULE);
        let second = desk.reserve(&other, NOW_MS + 5_000);
        assert_eq!(second, ReservationId(first.0 + 1));
    }
}

/// Replays, conflicts and mismatches leave no reservation and take no number.
pub fn only_executions_take_a_number(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 10);
    let ask = Ask::new(token(1)).key(1).charge(1);
    let id = desk.reserve(&ask, NOW_MS);
    for _ in 0..3 {
        let _ = desk.verdict(&ask, NOW_MS);
        let _ = desk.verdict(&ask.clone().key_with(1, 1, RULE), NOW_MS);
        let _ = desk.verdict(&Ask::new(token(1)).charge(100), NOW_MS);
        let _ = desk.verdict(&Ask::new(token(1)), NOW_MS);
    }
    assert_eq!(desk.account(1).wallet.sequence, id.0);
    assert_eq!(desk.reservations(1).len(), 1);
    assert_eq!(desk.reserve(&Ask::new(token(1)).charge(1), NOW_MS), ReservationId(id.0 + 1));
}
