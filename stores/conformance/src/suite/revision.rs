//! Nothing is decided by a credential that is no longer so.

use tollgate::{AccountPatch, Administration, Algorithm, Amount, Mode, TokenPatch};

use crate::answer::{Answer, Verdict};
use crate::subject::Subject;
use crate::world::{Ask, Desk, NOW_MS, SETTLE, account, executions, named, per_token, token};

/// Every change of the account's settings or of the token between look-up and admission is seen; the
/// admission then changes nothing, and under the new credential it goes on. Whether a change of
/// another token of the account counts is the store's to say.
pub fn every_change_is_seen_by_the_next_admission(subject: &Subject) {
    let (first, fresh) = (token(1), token(3));
    let name = account(1);
    let changes = [
        Administration::PutAccount {
            account: &name,
            opening_balance: Amount(0),
            settings: AccountPatch { senders: Some(vec![]), ..AccountPatch::default() },
        },
        Administration::PutToken {
            digest: &first,
            account: &name,
            settings: TokenPatch::default(),
        },
        Administration::RotateToken { old: &first, new: &fresh, grace_ms: 1_000 },
        Administration::RevokeToken { digest: &first },
    ];
    let free = Ask::new(first);
    let limited = free.clone().limits(&[per_token(Algorithm::Gcra, 9, 60_000)]);
    let several = free.clone().limits(&[
        per_token(Algorithm::FixedWindow, 9, 60_000),
        executions(named("runs", per_token(Algorithm::SlidingWindow, 9, 60_000))),
    ]);
    let asks = [
        free.clone(),
        limited.clone(),
        several,
        limited.clone().charge(3),
        limited.clone().key(1),
        limited.clone().key(2).charge(1),
        Ask { detail: true, ..limited.clone() }.mode(Mode::Peek),
        limited.mode(Mode::Observe),
    ];
    for change in &changes {
        for ask in &asks {
            let store = subject.fresh();
            let desk = Desk::new(&*store);
            desk.open(1, 10);
            let old = desk.look_up(&first, NOW_MS).unwrap();
            assert_eq!(desk.administer(change, NOW_MS), Answer::Done);
            let Answer::Admission(admitted) = desk.admit(ask, &old, NOW_MS) else {
                panic!("no admission after {change:?}")
            };
            assert_eq!(admitted.verdict, Verdict::CredentialChanged, "{change:?}, {ask:?}");
            assert_eq!(desk.money(1), (10, 0, 0));
            assert_eq!(desk.account(1).wallet.sequence, 0);
            let new = desk.look_up(&first, NOW_MS).unwrap();
            assert_ne!(new.revision, old.revision, "{change:?}");
            let Answer::Admission(admitted) = desk.admit(ask, &new, NOW_MS) else {
                panic!("no admission under the new credential")
            };
            assert!(matches!(admitted.verdict, Verdict::Admitted(_)), "{change:?}, {admitted:?}");
            if let (Some(tightest), Mode::Apply) = (admitted.tightest, ask.mode) {
                assert_eq!(
                    tightest.left.remaining, 8,
                    "the first admission was counted: {change:?}"
                );
            }
        }
    }
}

/// What is nothing of settings and tokens makes nobody look up again: money, keys, other accounts, and
/// what was refused.
pub fn other_changes_are_not_taken_for_one(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 100);
    desk.open(2, 100);
    let before = desk.look_up(&token(1), NOW_MS).unwrap();
    let ask = Ask::new(token(1)).charge(3).key(1).limits(&[per_token(Algorithm::Gcra, 99, 1_000)]);
    let id = desk.reserve(&ask, NOW_MS);
    desk.admin().deposit(&account(1), Amount(5), NOW_MS).unwrap();
    let _ = desk.finish(1, id, &SETTLE, NOW_MS);
    let reference = tollgate::AccountRef::Id(account(1));
    desk.admin().refund(&reference, id, Amount(1), "r", NOW_MS).unwrap();
    let _ = desk.admin().expire(NOW_MS + 60_000);
    desk.put_token(2, &account(2), TokenPatch::default());
    desk.admin().revoke_token(&token(2), NOW_MS).unwrap();
    let foreign = Administration::PutToken {
        digest: &token(1),
        account: &account(2),
        settings: TokenPatch::default(),
    };
    assert!(matches!(desk.administer(&foreign, NOW_MS), Answer::Refused(_)));
    let Answer::Admission(admitted) = desk.admit(&ask.key(2), &before, NOW_MS) else {
        panic!("no admission")
    };
    assert!(matches!(admitted.verdict, Verdict::Admitted(Some(_))), "{admitted:?}");
}

/// A revision never comes again: one that was looked up long ago is old for good.
pub fn a_revision_never_comes_again(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 0);
    let mut seen = Vec::new();
    for round in 0..20 {
        let scopes = Some(vec![if round % 2 == 0 { "pay" } else { "read" }.into()]);
        desk.put_token(1, &account(1), TokenPatch { scopes, ..TokenPatch::default() });
        let revision = desk.look_up(&token(1), NOW_MS).unwrap().revision;
        assert!(!seen.contains(&revision), "{revision} was there before: {seen:?}");
        seen.push(revision);
    }
}
