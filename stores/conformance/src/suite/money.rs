//! The wallet: held, posted, freed, refunded, capped.

use tollgate::{
    AccountPatch, AccountRef, Administration, Amount, CapHolder, Denial, Finish, OnExpiry, Period,
    Refusal, ReservationId, ReservationState, Settled, SpendCap, TokenPatch,
};

use crate::answer::{Answer, Verdict};
use crate::subject::Subject;
use crate::world::{Ask, DAY_MS, Desk, NOW_MS, SETTLE, VOID, account, settle_for, token};

fn posted(amount: u64) -> Answer {
    Answer::Settled(Settled { posted: Some(Amount(amount)) })
}

fn refund(desk: &Desk<'_>, id: ReservationId, amount: u64, reference: &str, now_ms: u64) -> Answer {
    let account = &AccountRef::Id(account(1));
    let amount = Amount(amount);
    desk.administer(&Administration::Refund { account, reservation: id, amount, reference }, now_ms)
}

fn resolve(desk: &Desk<'_>, reservation: ReservationId, finish: Finish, now_ms: u64) -> Answer {
    let account = &account(1);
    desk.administer(&Administration::Resolve { account, reservation, finish }, now_ms)
}

/// What is reserved is held; what is settled is posted and the rest is free.
pub fn money_is_held_then_posted_or_freed(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 100);
    let ask = Ask::new(token(1)).charge(30);
    let [a, b, c] = [0, 1, 2].map(|_| desk.reserve(&ask, NOW_MS));
    assert_eq!(desk.money(1), (100, 90, 0));
    let poor = Verdict::Denied(Denial::InsufficientBalance { available: Amount(10) });
    assert_eq!(desk.verdict(&ask, NOW_MS), poor);
    assert_eq!(desk.finish(1, a, &SETTLE, NOW_MS), posted(30));
    assert_eq!(desk.finish(1, b, &settle_for(12), NOW_MS), posted(12));
    assert_eq!(desk.finish(1, c, &VOID, NOW_MS), posted(0));
    assert_eq!(desk.money(1), (58, 0, 42));
    let wallet = desk.account(1).wallet;
    assert_eq!((wallet.open_reservations, wallet.sequence), (0, 3));
    assert_eq!(wallet.spend.within(Period::Lifetime, NOW_MS), Amount(42));
    let states: Vec<_> = desk.reservations(1).into_iter().map(|(id, r)| (id, r.state)).collect();
    let settled = |amount| ReservationState::Posted {
        amount: Amount(amount),
        refunds: vec![],
        by_expiry: false,
    };
    let voided = ReservationState::Voided { by_expiry: false };
    assert_eq!(states, [(a, settled(30)), (b, settled(12)), (c, voided)]);
}

/// Settling twice is settling once; another outcome after the end is refused and changes nothing.
pub fn settling_twice_is_settling_once(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 100);
    let ask = Ask::new(token(1)).charge(10);
    let id = desk.reserve(&ask, NOW_MS);
    let more = desk.finish(1, id, &settle_for(11), NOW_MS);
    assert_eq!(more, Answer::Refused(Refusal::MoreThanReserved));
    assert_eq!(desk.money(1), (100, 10, 0));
    for _ in 0..3 {
        assert_eq!(desk.finish(1, id, &settle_for(7), NOW_MS), posted(7));
        for other in [SETTLE, VOID, settle_for(6), Finish::Unknown] {
            let answer = desk.finish(1, id, &other, NOW_MS);
            assert_eq!(answer, Answer::Refused(Refusal::AlreadyFinished), "{other:?}");
            let answer = match other {
                Finish::Unknown => continue,
                other => resolve(&desk, id, other, NOW_MS),
            };
            assert_eq!(answer, Answer::Refused(Refusal::AlreadyFinished));
        }
        assert_eq!(desk.money(1), (93, 0, 7));
    }
    let id = desk.reserve(&ask, NOW_MS);
    for _ in 0..2 {
        assert_eq!(desk.finish(1, id, &VOID, NOW_MS), posted(0));
    }
    assert_eq!(desk.finish(1, id, &SETTLE, NOW_MS), Answer::Refused(Refusal::AlreadyFinished));
    assert_eq!(desk.money(1), (93, 0, 7));
}

/// When a lease ends its rule applies, from that millisecond, whether or not a sweep came by.
pub fn a_lease_ends_by_its_rule(subject: &Subject) {
    for sweeps in [false, true] {
        let store = subject.fresh();
        let desk = Desk::new(&*store);
        desk.open(1, 100);
        let ask = Ask::new(token(1)).charge(10);
        let [void, settle, hold, settled] =
            [OnExpiry::Void, OnExpiry::Settle, OnExpiry::Hold, OnExpiry::Void]
                .map(|on_expiry| desk.reserve(&ask.clone().on_expiry(on_expiry), NOW_MS));
        let end_ms = NOW_MS + 60_000;
        assert_eq!(desk.finish(1, settled, &SETTLE, end_ms - 1), posted(10));
        if sweeps {
            assert_eq!(desk.admin().expire(end_ms - 1), Ok(0));
            assert_eq!(desk.money(1), (90, 30, 10));
            // One voided, one posted, and one that stays held, which is no longer looked at.
            assert_eq!(desk.admin().expire(end_ms), Ok(3));
            assert_eq!(desk.money(1), (80, 10, 20));
            assert_eq!(desk.admin().expire(end_ms), Ok(0));
        }
        for id in [void, settle] {
            for late in [SETTLE, VOID, Finish::Unknown] {
                let answer = desk.finish(1, id, &late, end_ms);
                assert_eq!(answer, Answer::Refused(Refusal::LeaseEnded), "{late:?}");
            }
        }
        assert_eq!(desk.money(1), (80, 10, 20));
        // What stays held can still be settled, and an operator's word is that of the lease's end.
        assert_eq!(desk.finish(1, hold, &settle_for(4), end_ms), posted(4));
        assert_eq!(resolve(&desk, void, SETTLE, end_ms), Answer::Refused(Refusal::LeaseEnded));
        assert_eq!(resolve(&desk, void, VOID, end_ms), posted(0));
        assert_eq!(resolve(&desk, settle, VOID, end_ms), Answer::Refused(Refusal::LeaseEnded));
        assert_eq!(resolve(&desk, settle, SETTLE, end_ms), posted(10));
        assert_eq!(
            resolve(&desk, settle, settle_for(9), end_ms),
            Answer::Refused(Refusal::LeaseEnded)
        );
        assert_eq!(desk.money(1), (76, 0, 24));
    }
}

/// A request may spend what a lease that has ended held before.
pub fn a_lease_that_ended_frees_its_money(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 10);
    let ask = Ask::new(token(1)).charge(10);
    let _ = desk.reserve(&ask, NOW_MS);
    assert!(matches!(desk.verdict(&ask, NOW_MS + 59_999), Verdict::Denied(_)));
    let _ = desk.reserve(&ask, NOW_MS + 60_000);
    assert_eq!(desk.money(1), (10, 10, 0));
}

/// A refund gives back at most what was posted, once per reference.
pub fn refunds_are_once_per_reference(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 100);
    let ask = Ask::new(token(1)).charge(10);
    let id = desk.reserve(&ask, NOW_MS);
    assert_eq!(refund(&desk, id, 1, "a", NOW_MS), Answer::Refused(Refusal::NotPosted));
    assert_eq!(desk.finish(1, id, &SETTLE, NOW_MS), posted(10));
    for (amount, reference, expected) in [
        (11, "a", Answer::Refused(Refusal::MoreThanPosted)),
        (u64::MAX, "a", Answer::Refused(Refusal::MoreThanPosted)),
        (4, "a", Answer::Done),
        (4, "a", Answer::Done),
        (5, "a", Answer::Refused(Refusal::ReferenceReused)),
        (7, "b", Answer::Refused(Refusal::MoreThanPosted)),
        (6, "b", Answer::Done),
        (0, "c", Answer::Done),
        (0, "A", Answer::Done),
        (1, "d", Answer::Refused(Refusal::MoreThanPosted)),
        (6, "b", Answer::Done),
    ] {
        assert_eq!(refund(&desk, id, amount, reference, NOW_MS), expected, "{amount} {reference}");
    }
    let wallet = desk.account(1).wallet;
    assert_eq!(
        (wallet.balance, wallet.posted, wallet.refunded),
        (Amount(100), Amount(10), Amount(10))
    );
    let voided = desk.reserve(&ask, NOW_MS);
    assert_eq!(desk.finish(1, voided, &VOID, NOW_MS), posted(0));
    assert_eq!(refund(&desk, voided, 0, "a", NOW_MS), Answer::Refused(Refusal::NotPosted));
}

/// A reservation takes a hundred refunds, each of which is remembered.
pub fn refunds_are_bounded(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 1_000);
    let id = desk.reserve(&Ask::new(token(1)).charge(500), NOW_MS);
    assert_eq!(desk.finish(1, id, &SETTLE, NOW_MS), posted(500));
    let most = tollgate::transition::MAX_REFUNDS;
    let reference = |number: usize| format!("{number:0255}");
    for number in 0..most {
        assert_eq!(refund(&desk, id, 1, &reference(number), NOW_MS), Answer::Done);
    }
    let too_many = Answer::Refused(Refusal::TooManyRefunds);
    assert_eq!(refund(&desk, id, 1, &reference(most), NOW_MS), too_many);
    assert_eq!(refund(&desk, id, 1, &reference(0), NOW_MS), Answer::Done);
    assert_eq!(desk.account(1).wallet.refunded, Amount(most as u64));
}

/// What was posted can be given back, also where deposits have filled the account to the last unit.
pub fn a_refund_always_fits(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 10);
    let id = desk.reserve(&Ask::new(token(1)).charge(10), NOW_MS);
    assert_eq!(desk.finish(1, id, &SETTLE, NOW_MS), posted(10));
    desk.admin().deposit(&account(1), Amount(u64::MAX - 10), NOW_MS).unwrap();
    assert_eq!(desk.money(1), (u64::MAX - 10, 0, 10));
    assert_eq!(refund(&desk, id, 10, "all", NOW_MS), Answer::Done);
    assert_eq!(desk.money(1), (u64::MAX, 0, 10));
}

/// A record is kept for its retention after the last change of it, and then it is gone.
pub fn a_finished_record_is_kept_for_its_retention(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 100);
    let id = desk.reserve(&Ask::new(token(1)).charge(10), NOW_MS);
    let settled_ms = NOW_MS + 1_000;
    assert_eq!(desk.finish(1, id, &SETTLE, settled_ms), posted(10));
    let refunded_ms = settled_ms + 3_599_999;
    assert_eq!(refund(&desk, id, 1, "a", refunded_ms), Answer::Done);
    let end_ms = refunded_ms + 3_600_000;
    assert_eq!(desk.finish(1, id, &SETTLE, end_ms - 1), posted(10));
    assert_eq!(desk.admin().expire(end_ms - 1), Ok(0));
    assert_eq!(desk.reservations(1).len(), 1);
    // Forgetting a finished record is nothing that ends.
    let gone = Answer::Refused(Refusal::UnknownReservation);
    assert_eq!(refund(&desk, id, 1, "b", end_ms), gone);
    assert_eq!(desk.finish(1, id, &SETTLE, end_ms), gone);
    assert_eq!(resolve(&desk, id, VOID, end_ms), gone);
    assert_eq!(desk.reservations(1), []);
    assert_eq!(desk.money(1), (91, 0, 10));
}

/// `Expire` counts the leases and claims that ended in all accounts, each once.
pub fn expire_counts_what_ended(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    for number in 1..=3 {
        desk.open(number, 100);
        for key in 0..number {
            let _ = desk.reserve(&Ask::new(token(number)).charge(1).key(key), NOW_MS + number);
        }
    }
    assert_eq!(desk.admin().expire(NOW_MS + 60_000), Ok(0));
    assert_eq!(desk.admin().expire(NOW_MS + 60_001), Ok(1));
    assert_eq!(desk.admin().expire(NOW_MS + 60_003), Ok(5));
    assert_eq!(desk.money(3), (100, 0, 0));
    // Six claims; their reservations' records were forgotten before.
    assert_eq!(desk.admin().expire(NOW_MS + DAY_MS + 3), Ok(6));
    for number in 1..=3 {
        assert_eq!(desk.reservations(number), []);
    }
}

/// Caps of the token and then of the account hold what is posted and held, by UTC day, month and for
/// ever; what is freed counts no more.
pub fn caps_count_what_is_posted_and_held(subject: &Subject) {
    // 2023-11-14 22:13:20; the day ends in 6 400 s, the month on the 30th.
    let (day_ms, month_ms) = (NOW_MS + 6_400_000, NOW_MS + 6_400_000 + 16 * DAY_MS);
    for (per, next_ms) in
        [(Period::Day, day_ms), (Period::Month, month_ms), (Period::Lifetime, u64::MAX)]
    {
        for holder in [CapHolder::Token, CapHolder::Account] {
            let store = subject.fresh();
            let desk = Desk::new(&*store);
            desk.open(1, 1_000);
            let caps = Some(vec![SpendCap { per, amount: Amount(10), shadow: false }]);
            if holder == CapHolder::Account {
                let patch = AccountPatch { spend_caps: caps, ..AccountPatch::default() };
                desk.admin().put_account(&account(1), Amount(0), patch, NOW_MS).unwrap();
            } else {
                desk.put_token(
                    1,
                    &account(1),
                    TokenPatch { spend_caps: caps, ..TokenPatch::default() },
                );
            }
            let ask = Ask::new(token(1)).charge(6);
            let left = |left| {
                Verdict::Denied(Denial::SpendCapExceeded { holder, per, left: Amount(left) })
            };
            let first = desk.reserve(&ask, NOW_MS);
            assert_eq!(desk.verdict(&ask, NOW_MS), left(4), "{per:?} {holder:?}");
            assert_eq!(desk.finish(1, first, &settle_for(1), NOW_MS), posted(1));
            let second = desk.reserve(&ask, NOW_MS);
            assert_eq!(desk.finish(1, second, &SETTLE, NOW_MS), posted(6));
            assert_eq!(desk.verdict(&ask, NOW_MS), left(3));
            let third = desk.reserve(&ask.clone().charge(3), NOW_MS);
            assert_eq!(desk.finish(1, third, &VOID, NOW_MS), posted(0));
            assert_eq!(desk.verdict(&ask, NOW_MS), left(3));
            if next_ms == u64::MAX {
                assert_eq!(desk.verdict(&ask, NOW_MS + 400 * DAY_MS), left(3));
            } else {
                assert_eq!(desk.verdict(&ask, next_ms - 1), left(3));
                let _ = desk.reserve(&ask, next_ms);
            }
        }
    }
}

/// A cap in shadow mode is reported and lets through; a lease that ended counts no more against one.
pub fn shadow_caps_and_ended_leases(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 100);
    let cap = |amount, shadow| SpendCap { per: Period::Day, amount: Amount(amount), shadow };
    let spend_caps = Some(vec![cap(5, true), cap(20, false)]);
    desk.put_token(1, &account(1), TokenPatch { spend_caps, ..TokenPatch::default() });
    let ask = Ask::new(token(1)).charge(12);
    let admitted = desk.admitted(&ask, NOW_MS);
    assert!(admitted.shadows.spend_caps);
    assert!(matches!(admitted.verdict, Verdict::Admitted(Some(_))));
    assert!(matches!(
        desk.verdict(&ask, NOW_MS + 59_999),
        Verdict::Denied(Denial::SpendCapExceeded { .. })
    ));
    assert!(matches!(desk.verdict(&ask, NOW_MS + 60_000), Verdict::Admitted(Some(_))));
}

/// What a token spends counts for those that replace it.
pub fn a_tokens_caps_survive_its_rotation(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 100);
    let cap = SpendCap { per: Period::Lifetime, amount: Amount(10), shadow: false };
    desk.put_token(
        1,
        &account(1),
        TokenPatch { spend_caps: Some(vec![cap]), ..TokenPatch::default() },
    );
    desk.put_token(5, &account(1), TokenPatch::default());
    let spent = desk.reserve(&Ask::new(token(1)).charge(4), NOW_MS);
    for (old, new, left) in [(1, 2, 6), (2, 3, 3)] {
        desk.admin().rotate_token(&token(old), &token(new), 60_000, NOW_MS).unwrap();
        for number in [old, new] {
            let denial = Denial::SpendCapExceeded {
                holder: CapHolder::Token,
                per: Period::Lifetime,
                left: Amount(left),
            };
            let ask = Ask::new(token(number)).charge(left + 1);
            assert_eq!(desk.verdict(&ask, NOW_MS), Verdict::Denied(denial));
        }
        let _ = desk.reserve(&Ask::new(token(new)).charge(3), NOW_MS);
    }
    // Freed by the one, and free for the other. A token beside them has nothing to do with it.
    let _ = desk.reserve(&Ask::new(token(5)).charge(50), NOW_MS);
    assert_eq!(desk.finish(1, spent, &VOID, NOW_MS), posted(0));
    let _ = desk.reserve(&Ask::new(token(3)).charge(4), NOW_MS);
    assert!(matches!(desk.verdict(&Ask::new(token(3)).charge(1), NOW_MS), Verdict::Denied(_)));
}

/// Money of one account is no other's.
pub fn accounts_are_apart(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 10);
    desk.open(2, 20);
    let id = desk.reserve(&Ask::new(token(1)).charge(5), NOW_MS);
    let foreign = desk.finish(2, id, &SETTLE, NOW_MS);
    assert_eq!(foreign, Answer::Refused(Refusal::UnknownReservation));
    assert_eq!(desk.reserve(&Ask::new(token(2)).charge(5), NOW_MS), id);
    assert_eq!(desk.finish(2, id, &VOID, NOW_MS), posted(0));
    assert_eq!(desk.money(1), (10, 5, 0));
    assert_eq!(desk.money(2), (20, 0, 0));
}
