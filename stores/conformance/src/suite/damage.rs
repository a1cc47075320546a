//! A record that was damaged: nothing is decided by it, and what does not need it goes on.

use tollgate::{AccountRef, Algorithm, Amount, StoreError, TokenPatch};

use crate::answer::{Answer, Verdict};
use crate::subject::{Damage, Subject};
use crate::world::{
    Ask, Desk, NOW_MS, SETTLE, account, claim, per_token, response, settle_with, token,
};

/// A store with two accounts, each with a settled key (1), an open reservation and a counted cell; and
/// account 1's open reservation.
fn filled(subject: &Subject) -> (std::sync::Arc<dyn tollgate::Store>, tollgate::ReservationId) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    let mut open = None;
    for number in [2, 1] {
        desk.open(number, 100);
        desk.put_token(10 + number, &account(number), TokenPatch::default());
        let id = desk.reserve(&Ask::new(token(number)).key(1).charge(5), NOW_MS);
        let settled = desk.finish(number, id, &settle_with(response(201, b"1")), NOW_MS);
        assert!(matches!(settled, Answer::Settled(_)));
        open = Some(desk.reserve(&limited(number).charge(7), NOW_MS));
    }
    (store, open.unwrap())
}

fn limited(number: u64) -> Ask {
    Ask::new(token(number)).limits(&[per_token(Algorithm::FixedWindow, 5, 3_600_000)])
}

fn is_failure(answer: &Answer) -> bool {
    matches!(answer, Answer::Failed(StoreError::Corrupt { .. } | StoreError::Unavailable { .. }))
}

fn others_go_on(desk: &Desk<'_>, damage: &Damage) {
    let verdict = desk.verdict(&Ask::new(token(2)).key(1).charge(5), NOW_MS);
    assert_eq!(verdict, Verdict::Replay(response(201, b"1")), "with damage to {damage:?}");
    let id = desk.reserve(&limited(2).charge(1), NOW_MS);
    assert!(matches!(desk.finish(2, id, &SETTLE, NOW_MS), Answer::Settled(_)));
    assert_eq!(desk.money(2), (94, 7, 6));
}

fn damaged(
    subject: &Subject,
    of: impl Fn(tollgate::ReservationId) -> Damage,
    check: impl Fn(&Desk<'_>),
) {
    let (store, open) = filled(subject);
    let damage = of(open);
    if !subject.corrupt(&store, &damage) {
        return;
    }
    let desk = Desk::new(&*store);
    check(&desk);
    others_go_on(&desk, &damage);
}

/// A token's record.
pub fn a_damaged_token_lets_nobody_in(subject: &Subject) {
    damaged(
        subject,
        |_| Damage::Token(token(1)),
        |desk| {
            let asked = desk.ask(&Ask::new(token(1)), NOW_MS);
            assert!(is_failure(&asked), "{asked:?}");
            let revoke = tollgate::Administration::RevokeToken { digest: &token(1) };
            let revoked = desk.administer(&revoke, NOW_MS);
            assert!(is_failure(&revoked), "{revoked:?}");
            // Its neighbour works.
            assert_eq!(desk.verdict(&Ask::new(token(11)), NOW_MS), Verdict::Admitted(None));
        },
    );
}

/// An account's settings.
pub fn a_damaged_account_decides_nothing(subject: &Subject) {
    damaged(
        subject,
        |_| Damage::Account(account(1)),
        |desk| {
            let asked = desk.ask(&Ask::new(token(1)).charge(1), NOW_MS);
            assert!(is_failure(&asked), "{asked:?}");
            let inspect = tollgate::Administration::Inspect { account: &account(1) };
            let shown = desk.administer(&inspect, NOW_MS);
            assert!(is_failure(&shown), "{shown:?}");
        },
    );
}

/// An account's money.
pub fn a_damaged_wallet_spends_nothing(subject: &Subject) {
    damaged(
        subject,
        |_| Damage::Wallet(account(1)),
        |desk| {
            let id = account(1);
            let deposit = tollgate::Administration::Deposit { account: &id, amount: Amount(1) };
            for answer in [
                desk.ask(&Ask::new(token(1)).charge(1), NOW_MS),
                desk.administer(&deposit, NOW_MS),
                desk.administer(&tollgate::Administration::Inspect { account: &id }, NOW_MS),
            ] {
                assert!(is_failure(&answer), "{answer:?}");
            }
        },
    );
}

/// An idempotency claim: neither replayed nor run again.
pub fn a_damaged_claim_neither_replays_nor_runs(subject: &Subject) {
    damaged(
        subject,
        |_| Damage::Claim(account(1), claim(1)),
        |desk| {
            let asked = desk.ask(&Ask::new(token(1)).key(1).charge(5), NOW_MS);
            assert!(is_failure(&asked), "{asked:?}");
        },
    );
}

/// A reservation: neither settled nor refunded.
pub fn a_damaged_reservation_posts_nothing(subject: &Subject) {
    let id = std::cell::Cell::new(None);
    let of = |open| {
        id.set(Some(open));
        Damage::Reservation(account(1), open)
    };
    damaged(subject, of, |desk| {
        let id = id.get().unwrap();
        let account = &AccountRef::Id(account(1));
        let refund = tollgate::Administration::Refund {
            account,
            reservation: id,
            amount: Amount(1),
            reference: "r",
        };
        for answer in [desk.settle(account, id, &SETTLE, NOW_MS), desk.administer(&refund, NOW_MS)]
        {
            assert!(is_failure(&answer), "{answer:?}");
        }
    });
}

/// A limiter cell: neither refused nor let through by it.
pub fn a_damaged_cell_counts_nothing(subject: &Subject) {
    let (store, _) = filled(subject);
    let desk = Desk::new(&*store);
    let own = desk.look_up(&token(1), NOW_MS).unwrap().account;
    let key = limited(1).limits[0].cell_key(&token(1), &own, None);
    let damage = Damage::Cell(key);
    if !subject.corrupt(&store, &damage) {
        return;
    }
    let asked = desk.ask(&limited(1), NOW_MS);
    assert!(is_failure(&asked), "{asked:?}");
    assert_eq!(desk.verdict(&Ask::new(token(1)), NOW_MS), Verdict::Admitted(None));
    others_go_on(&desk, &damage);
}
