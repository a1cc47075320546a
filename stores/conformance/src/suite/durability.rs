//! What a durable store still knows after a restart of what it lives in.

use tollgate::{
    AccountPatch, Algorithm, Amount, Denial, OnExpiry, Period, SpendCap, TokenPatch, TokenQuota,
};

use crate::answer::{Answer, Verdict};
use crate::subject::Subject;
use crate::world::{
    ALGORITHMS, Ask, DAY_MS, Desk, NOW_MS, SETTLE, account, named, per_token, response,
    settle_with, token,
};

/// Accounts, tokens, money, keys, responses, reservations and cells are all there.
pub fn everything_outlives_a_restart(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    let cap = SpendCap { per: Period::Lifetime, amount: Amount(50), shadow: false };
    let patch = AccountPatch {
        networks: Some(vec!["192.0.2.0/24".parse().unwrap()]),
        spend_caps: Some(vec![cap]),
        senders: Some(vec!["ACME".into()]),
    };
    desk.admin().put_account(&account(1), Amount(100), patch, NOW_MS).unwrap();
    let patch = TokenPatch {
        quota: Some(Some(TokenQuota { limit: 3, window_ms: 60_000 })),
        spend_caps: Some(vec![cap]),
        expires_ms: Some(Some(NOW_MS + DAY_MS)),
        ..TokenPatch::default()
    };
    desk.put_token(1, &account(1), patch);
    desk.put_token(2, &account(1), TokenPatch::default());
    desk.put_token(3, &account(1), TokenPatch::default());
    desk.admin().revoke_token(&token(3), NOW_MS).unwrap();
    desk.admin().rotate_token(&token(2), &token(4), 5_000, NOW_MS).unwrap();
    let limits = ALGORITHMS
        .map(|algorithm| named(&format!("{algorithm:?}"), per_token(algorithm, 3, 60_000)));
    let ask = Ask::new(token(1)).limits(&limits).charge(5);
    let settled = desk.reserve(&ask.clone().key(1), NOW_MS);
    let finish = settle_with(response(201, b"done \x00\xff"));
    let _ = desk.finish(1, settled, &finish, NOW_MS);
    let reference = tollgate::AccountRef::Id(account(1));
    desk.admin().refund(&reference, settled, Amount(1), "r", NOW_MS).unwrap();
    let open = desk.reserve(&ask.clone().key(2), NOW_MS);
    let before = (
        desk.account(1),
        desk.reservations(1),
        desk.admin().tokens(&account(1), NOW_MS).unwrap(),
        [1, 2, 3, 4].map(|number| desk.known(&token(number), NOW_MS)),
    );

    let store = subject.reopen(store);
    let desk = Desk::new(&*store);
    let after = (
        desk.account(1),
        desk.reservations(1),
        desk.admin().tokens(&account(1), NOW_MS).unwrap(),
        [1, 2, 3, 4].map(|number| desk.known(&token(number), NOW_MS)),
    );
    assert_eq!(after, before);
    assert_eq!(
        desk.verdict(&ask.clone().key(1), NOW_MS),
        Verdict::Replay(response(201, b"done \x00\xff"))
    );
    assert_eq!(
        desk.finish(1, settled, &finish, NOW_MS),
        Answer::Settled(tollgate::Settled { posted: Some(Amount(5)) })
    );
    // Three requests were counted: two that were admitted, and the replay.
    assert!(matches!(
        desk.verdict(&ask.key(2), NOW_MS),
        Verdict::Denied(Denial::RateLimited { .. })
    ));
    assert!(matches!(desk.finish(1, open, &SETTLE, NOW_MS), Answer::Settled(_)));
    assert_eq!(desk.money(1), (91, 0, 10));
}

/// The last command before a restart is as durable as the first, one after the other.
pub fn the_last_command_outlives_a_restart(subject: &Subject) {
    let mut store = subject.fresh();
    Desk::new(&*store).open(1, 1_000);
    let mut expected = 1_000;
    for round in 0..8_u64 {
        let desk = Desk::new(&*store);
        desk.admin().deposit(&account(1), Amount(round + 1), NOW_MS).unwrap();
        expected += round + 1;
        store = subject.reopen(store);
        assert_eq!(Desk::new(&*store).money(1).0, expected, "the deposit of round {round} is lost");
        let desk = Desk::new(&*store);
        let id = desk.reserve(&Ask::new(token(1)).charge(1), NOW_MS);
        store = subject.reopen(store);
        let desk = Desk::new(&*store);
        assert_eq!(desk.money(1).1, 1, "the reservation of round {round} is lost");
        let _ = desk.finish(1, id, &SETTLE, NOW_MS);
        expected -= 1;
        store = subject.reopen(store);
        assert_eq!(Desk::new(&*store).money(1), (expected, 0, round + 1));
        assert_eq!(Desk::new(&*store).account(1).wallet.sequence, round + 1);
    }
}

/// What falls due after a restart is dealt with as if there had been none.
pub fn what_falls_due_after_a_restart(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 100);
    let ask = Ask::new(token(1)).charge(10);
    for on_expiry in [OnExpiry::Void, OnExpiry::Settle, OnExpiry::Hold] {
        let _ = desk.reserve(&ask.clone().on_expiry(on_expiry).key(on_expiry as u64), NOW_MS);
    }
    let store = subject.reopen(store);
    let desk = Desk::new(&*store);
    assert_eq!(desk.admin().expire(NOW_MS + 59_999), Ok(0));
    assert_eq!(desk.admin().expire(NOW_MS + 60_000), Ok(3));
    assert_eq!(desk.money(1), (90, 10, 10));
    let store = subject.reopen(store);
    let desk = Desk::new(&*store);
    assert_eq!(desk.admin().expire(NOW_MS + DAY_MS), Ok(3));
    assert_eq!(desk.money(1), (90, 10, 10));
}

/// A credential from before a restart is old, or still true, but never wrongly taken for new.
pub fn credentials_from_before_a_restart(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 10);
    let old = desk.look_up(&token(1), NOW_MS).unwrap();
    desk.put_token(1, &account(1), TokenPatch::default());
    let store = subject.reopen(store);
    let desk = Desk::new(&*store);
    let ask = Ask::new(token(1)).charge(1).limits(&[per_token(Algorithm::Gcra, 9, 1_000)]);
    let stale = tollgate::Credential { account: tollgate::AccountRef::Id(account(1)), ..old };
    let Answer::Admission(admitted) = desk.admit(&ask, &stale, NOW_MS) else {
        panic!("no admission")
    };
    assert_eq!(admitted.verdict, Verdict::CredentialChanged);
}
