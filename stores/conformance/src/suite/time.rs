//! Clocks that run back, and times at the end of the range.

use tollgate::{
    AccountPatch, AccountRef, Administration, Amount, Command, Denial, Lookup, MAX_NOW_MS, Mode,
    OnExpiry, PlainAdmit, Refusal, ReservationId, Store, TokenPatch,
};

use crate::answer::{Answer, Verdict};
use crate::subject::Subject;
use crate::world::{
    ALGORITHMS, Ask, Desk, NOW_MS, SETTLE, account, per_token, token, usual_scopes,
};

/// A clock that is set back by less than a minute gives no units twice, not even across a window's end
/// and a sweep.
pub fn a_clock_set_back_gives_nothing_twice(subject: &Subject) {
    for algorithm in ALGORITHMS {
        for sweeps in [false, true] {
            let store = subject.fresh();
            let desk = Desk::new(&*store);
            desk.open(1, 0);
            desk.put_token(2, &account(1), TokenPatch::default());
            let ask = Ask::new(token(1)).limits(&[per_token(algorithm, 3, 1_000)]);
            let late_ms = NOW_MS + 59_000;
            for round in 0..5 {
                // What was taken counts until a minute after it refilled.
                let passed = desk.verdict(&ask, NOW_MS) == Verdict::Admitted(None);
                assert_eq!(passed, round < 3, "{algorithm:?}, {round}");
                if round >= 2 {
                    let _ = desk.verdict(&Ask { token: token(2), ..ask.clone() }, late_ms);
                    if sweeps {
                        let _ = desk.admin().expire(late_ms);
                    }
                }
            }
            let mut passed = 0;
            for now_ms in [late_ms, late_ms, late_ms - 30_000, late_ms - 59_000, late_ms] {
                passed += u32::from(desk.verdict(&ask, now_ms) == Verdict::Admitted(None));
            }
            assert_eq!(passed, 3, "{algorithm:?}");
        }
    }
}

/// A clock that is set back leaves leases and retentions as they were decided.
pub fn a_clock_set_back_undoes_nothing(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 10);
    let ask = Ask::new(token(1)).charge(10).key(1);
    let id = desk.reserve(&ask, NOW_MS);
    assert_eq!(desk.admin().expire(NOW_MS + 60_000), Ok(1));
    let ended = Answer::Refused(Refusal::LeaseEnded);
    assert_eq!(desk.finish(1, id, &SETTLE, NOW_MS), ended);
    assert_eq!(desk.verdict(&ask, NOW_MS), Verdict::Denied(Denial::InFlight));
    let next = desk.reserve(&ask.clone().key(2), NOW_MS - 1_000);
    assert!(next > id);
    assert_eq!(desk.admin().expire(NOW_MS + 58_999), Ok(0));
    assert_eq!(desk.admin().expire(NOW_MS + 59_000), Ok(1));
    assert_eq!(desk.money(1), (10, 0, 0));
}

/// The last millisecond of the range is as good as any: what would end beyond it never does.
pub fn the_latest_time_is_a_time(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 100);
    let limits = ALGORITHMS.map(|algorithm| {
        crate::world::named(&format!("{algorithm:?}"), per_token(algorithm, 2, 60_000))
    });
    let ask = Ask::new(token(1)).limits(&limits).charge(7).key(1).on_expiry(OnExpiry::Settle);
    let id = desk.reserve(&ask, MAX_NOW_MS);
    assert_eq!(desk.verdict(&ask, MAX_NOW_MS), Verdict::Denied(Denial::InFlight));
    let refused = desk.verdict(&ask, MAX_NOW_MS);
    assert!(matches!(refused, Verdict::Denied(Denial::RateLimited { .. })), "{refused:?}");
    assert_eq!(desk.admin().expire(MAX_NOW_MS), Ok(0));
    assert!(matches!(desk.finish(1, id, &SETTLE, MAX_NOW_MS), Answer::Settled(_)));
    desk.admin().refund(&AccountRef::Id(account(1)), id, Amount(1), "r", MAX_NOW_MS).unwrap();
    desk.admin().rotate_token(&token(1), &token(2), u64::MAX, MAX_NOW_MS).unwrap();
    let old = desk.known(&token(1), MAX_NOW_MS).unwrap().token.unwrap();
    assert_eq!(old.expires_ms, Some(u64::MAX));
    assert_eq!(desk.money(1), (94, 0, 7));
}

/// The epoch is a time too.
pub fn the_epoch_is_a_time(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 100);
    for algorithm in ALGORITHMS {
        let ask = Ask::new(token(1)).limits(&[per_token(algorithm, 1, 60_000)]);
        assert_eq!(desk.verdict(&ask, 0), Verdict::Admitted(None), "{algorithm:?}");
        assert!(matches!(desk.verdict(&ask, 0), Verdict::Denied(_)), "{algorithm:?}");
    }
    let id = desk.reserve(&Ask::new(token(1)).charge(7), 0);
    assert!(matches!(desk.finish(1, id, &SETTLE, 0), Answer::Settled(_)));
    assert_eq!(desk.admin().expire(0), Ok(0));
}

/// A time beyond the range is refused by every command but a look-up alone, and changes nothing.
pub fn a_time_beyond_the_range_is_refused(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 100);
    let id = desk.reserve(&Ask::new(token(1)).charge(7), NOW_MS);
    let name = account(1);
    let own = AccountRef::Id(name.clone());
    let (digest, fresh) = (token(1), token(2));
    let out_of_range = Answer::Refused(Refusal::ClockOutOfRange);
    let settings = AccountPatch {
        networks: Some(vec!["10.0.0.0/8".parse().unwrap()]),
        ..AccountPatch::default()
    };
    let (account, reservation, amount) = (&name, ReservationId(1), Amount(1));
    for now_ms in [MAX_NOW_MS + 1, u64::MAX] {
        for command in [
            Administration::PutAccount {
                account,
                opening_balance: amount,
                settings: settings.clone(),
            },
            Administration::PutToken { digest: &fresh, account, settings: TokenPatch::default() },
            Administration::RevokeToken { digest: &digest },
            Administration::RotateToken { old: &digest, new: &fresh, grace_ms: 0 },
            Administration::Deposit { account, amount },
            Administration::Refund { account: &own, reservation, amount, reference: "r" },
            Administration::Resolve { account, reservation, finish: SETTLE },
            Administration::Inspect { account },
            Administration::ListTokens { account },
            Administration::ListReservations { account },
            Administration::NameAccount { account: &own },
            Administration::Expire,
        ] {
            assert_eq!(desk.administer(&command, now_ms), out_of_range, "{command:?}");
        }
        assert_eq!(desk.finish(1, id, &SETTLE, now_ms), out_of_range);
    }
    let view = desk.account(1);
    assert_eq!((view.wallet.balance, view.wallet.held), (Amount(100), Amount(7)));
    assert!(view.settings.networks.is_empty());
    assert!(!desk.known(&digest, NOW_MS).unwrap().revoked);
    assert_eq!(desk.known(&fresh, NOW_MS), None);
    never_admitted(&*store);
}

/// An admission beyond the range is never granted: an engine asks for none, since it denies before.
fn never_admitted(store: &dyn Store) {
    let limits = [per_token(tollgate::Algorithm::Gcra, 1, 1_000)];
    let plain = PlainAdmit { granted_by: usual_scopes().set(["pay"]), limits: &limits };
    let lookup = Lookup { digest: &token(1), scopes: usual_scopes(), plain: Some(plain) };
    match store.perform(&Command::Lookup(lookup), MAX_NOW_MS + 1) {
        Ok(tollgate::Outcome::LookedUp(found)) => assert!(found.admission.is_none()),
        Ok(tollgate::Outcome::Refused(refusal)) => assert_eq!(refusal, Refusal::ClockOutOfRange),
        other => panic!("{other:?}"),
    }
    let desk = Desk::new(store);
    let peek = Ask::new(token(1)).limits(&limits).mode(Mode::Peek);
    assert_eq!(desk.admitted(&peek, NOW_MS).tightest.unwrap().left.remaining, 1);
}
