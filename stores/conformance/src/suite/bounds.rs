//! A store that is full: new entries are refused, nothing live is forgotten, and there is room again
//! once something has ended.

use std::sync::Arc;

use tollgate::{
    AccountPatch, AccountRef, Administration, Algorithm, Amount, Partition, Store, TokenPatch,
};

use crate::answer::{Answer, Verdict};
use crate::subject::{Bound, Subject};
use crate::world::{Ask, DAY_MS, Desk, NOW_MS, SETTLE, VOID, account, address, limit_of, token};

/// How many new entries are tried before a store's bound counts as none.
pub const MAX_TRIES: u64 = 20_000;

fn bounded(subject: &Subject, bound: Bound) -> Option<Arc<dyn Store>> {
    subject.with_bound(bound)
}

/// Adds until the store is full, and gives the numbers of those that were taken.
fn fill(bound: Bound, mut add: impl FnMut(u64) -> Answer) -> Vec<u64> {
    let mut taken = Vec::new();
    for number in 1_000..1_000 + MAX_TRIES {
        match add(number) {
            Answer::Full => {
                assert!(!taken.is_empty(), "the store takes no {bound:?} at all");
                return taken;
            }
            Answer::Failed(error) => panic!("full of {bound:?}, it should say so: {error}"),
            _ => taken.push(number),
        }
    }
    panic!("the store took {MAX_TRIES} {bound:?}; give the suite one with a tiny bound")
}

/// Accounts.
pub fn full_of_accounts(subject: &Subject) {
    let Some(store) = bounded(subject, Bound::Accounts) else { return };
    let desk = Desk::new(&*store);
    let put = |number| {
        let (account, settings) = (&account(number), AccountPatch::default());
        let opening_balance = Amount(number);
        desk.administer(&Administration::PutAccount { account, opening_balance, settings }, NOW_MS)
    };
    let taken = fill(Bound::Accounts, put);
    for number in taken {
        assert_eq!(desk.money(number), (number, 0, 0));
        // Those that are there can be changed.
        assert_eq!(put(number), Answer::Done);
        desk.admin().deposit(&account(number), Amount(1), NOW_MS).unwrap();
    }
}

/// Tokens. Those that are dead make room, those that live stay.
pub fn full_of_tokens(subject: &Subject) {
    let Some(store) = bounded(subject, Bound::Tokens) else { return };
    let desk = Desk::new(&*store);
    desk.admin().put_account(&account(1), Amount(0), AccountPatch::default(), NOW_MS).unwrap();
    let put = |number| {
        let (digest, account) = (&token(number), &account(1));
        let settings = TokenPatch { scopes: Some(vec!["pay".into()]), ..TokenPatch::default() };
        desk.administer(&Administration::PutToken { digest, account, settings }, NOW_MS)
    };
    let taken = fill(Bound::Tokens, put);
    for number in &taken {
        assert!(desk.known(&token(*number), NOW_MS).is_some_and(|known| !known.revoked));
        assert_eq!(put(*number), Answer::Done);
    }
    assert_eq!(desk.admin().tokens(&account(1), NOW_MS).unwrap().len(), taken.len());
    // A full store still revokes, and a revoked token never works again, reclaimed or not.
    for number in &taken {
        desk.admin().revoke_token(&token(*number), NOW_MS).unwrap();
    }
    for number in &taken {
        assert!(desk.known(&token(*number), NOW_MS).is_none_or(|known| known.revoked));
    }
}

/// Limiter cells. A flood of addresses resets no live cell; once they have expired there is room.
pub fn full_of_cells(subject: &Subject) {
    let Some(store) = bounded(subject, Bound::Cells) else { return };
    let desk = Desk::new(&*store);
    desk.open(1, 0);
    let limits = [limit_of(Partition::SourceIp, Algorithm::FixedWindow, 1, 60_000)];
    let request = |number, now_ms| {
        let source = Some(address(number));
        desk.ask(&Ask { source, ..Ask::new(token(1)).limits(&limits) }, now_ms)
    };
    let taken = fill(Bound::Cells, |number| request(number, NOW_MS));
    for number in &taken {
        let Answer::Admission(admitted) = request(*number, NOW_MS) else { panic!("no admission") };
        assert!(matches!(admitted.verdict, Verdict::Denied(_)), "a live cell was forgotten");
    }
    let full = (5_000_000..5_000_000 + MAX_TRIES).find(|n| request(*n, NOW_MS) == Answer::Full);
    assert!(full.is_some());
    let later_ms = NOW_MS + 200_000;
    let _ = desk.admin().expire(later_ms).unwrap();
    for number in &taken {
        let Answer::Admission(admitted) = request(*number, later_ms) else { panic!("still full") };
        assert_eq!(admitted.verdict, Verdict::Admitted(None));
    }
}

/// Idempotency claims. A key that was taken stays taken; past their retention there is room.
pub fn full_of_claims(subject: &Subject) {
    let Some(store) = bounded(subject, Bound::Claims) else { return };
    let desk = Desk::new(&*store);
    desk.open(1, 100);
    let ask = |number| Ask::new(token(1)).key(number);
    let taken = fill(Bound::Claims, |number| desk.ask(&ask(number), NOW_MS));
    for number in &taken {
        assert!(
            matches!(desk.verdict(&ask(*number), NOW_MS), Verdict::Denied(_)),
            "a key came free"
        );
    }
    // What needs no new entry goes on.
    assert_eq!(desk.verdict(&Ask::new(token(1)), NOW_MS), Verdict::Admitted(None));
    let (id, _) = desk.reservations(1)[0];
    assert!(matches!(desk.finish(1, id, &VOID, NOW_MS), Answer::Settled(_)));
    let _ = desk.admin().expire(NOW_MS + 2 * DAY_MS).unwrap();
    let again = desk.ask(&ask(1), NOW_MS + 2 * DAY_MS);
    assert!(matches!(again, Answer::Admission(_)), "there should be room: {again:?}");
}

/// Reservations. A refused one changes no money; those that are open settle; then there is room.
pub fn full_of_reservations(subject: &Subject) {
    full_of_reservations_by(subject, Bound::Reservations);
}

/// One account's part of them.
pub fn full_of_one_accounts_part(subject: &Subject) {
    full_of_reservations_by(subject, Bound::PerAccount);
    let Some(store) = bounded(subject, Bound::PerAccount) else { return };
    let desk = Desk::new(&*store);
    desk.open(1, MAX_TRIES);
    desk.open(2, 100);
    let _ = fill(Bound::PerAccount, |_| desk.ask(&Ask::new(token(1)).charge(1), NOW_MS));
    // Another account is not held back by the first one.
    let _ = desk.reserve(&Ask::new(token(2)).charge(1), NOW_MS);
}

fn full_of_reservations_by(subject: &Subject, bound: Bound) {
    let Some(store) = bounded(subject, bound) else { return };
    let desk = Desk::new(&*store);
    desk.open(1, 2 * MAX_TRIES);
    let ask = Ask::new(token(1)).charge(1);
    let taken = fill(bound, |_| desk.ask(&ask, NOW_MS)).len() as u64;
    assert_eq!(desk.money(1), (2 * MAX_TRIES, taken, 0));
    assert_eq!(desk.account(1).wallet.sequence, taken);
    let open = desk.reservations(1);
    assert_eq!(open.len() as u64, taken);
    for (id, _) in &open {
        let settled = desk.settle(&AccountRef::Id(account(1)), *id, &SETTLE, NOW_MS);
        assert!(matches!(settled, Answer::Settled(_)), "a full store still settles: {settled:?}");
    }
    let later_ms = NOW_MS + DAY_MS;
    let _ = desk.admin().expire(later_ms).unwrap();
    assert!(desk.reserve(&ask, later_ms).0 > taken);
    assert_eq!(desk.money(1), (2 * MAX_TRIES - taken, 1, taken));
}
