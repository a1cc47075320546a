//! Limits, and the order of the checks.

use std::net::IpAddr;

use tollgate::{
    AccountPatch, Algorithm, Amount, CapHolder, Denial, Idempotency, LimitConfig, Mode, Partition,
    Period, PlainAdmit, SpendCap, TokenPatch, TokenQuota,
};

use crate::answer::{Admitted, Answer, Verdict};
use crate::subject::Subject;
use crate::world::{
    ALGORITHMS, Ask, Desk, NOW_MS, account, address, executions, limit, limit_of, named, per_token,
    token, usual_scopes, with,
};

fn refused_by(verdict: &Verdict) -> Option<(u16, u64)> {
    match verdict {
        Verdict::Denied(Denial::RateLimited { limit, retry_at_ms }) => Some((*limit, *retry_at_ms)),
        _ => None,
    }
}

/// Each algorithm lets its quota through and no more, says truly when to come back, and says what is
/// left.
pub fn a_limit_lets_its_quota_through(subject: &Subject) {
    for algorithm in ALGORITHMS {
        let store = subject.fresh();
        let desk = Desk::new(&*store);
        desk.open(1, 0);
        let ask = Ask::new(token(1)).limits(&[per_token(algorithm, 5, 1_000)]);
        for left in (0..5).rev() {
            let admitted = desk.admitted(&ask, NOW_MS);
            assert_eq!(admitted.verdict, Verdict::Admitted(None), "{algorithm:?}");
            assert_eq!(admitted.tightest.unwrap().left.remaining, left);
        }
        let refused = desk.admitted(&ask, NOW_MS);
        let (place, retry_at_ms) = refused_by(&refused.verdict).unwrap();
        assert_eq!((place, refused.tightest.unwrap().left.remaining), (0, 0));
        assert!(retry_at_ms > NOW_MS);
        let early = desk.verdict(&ask, retry_at_ms - 1);
        assert_eq!(refused_by(&early), Some((0, retry_at_ms)), "{algorithm:?}");
        assert_eq!(desk.verdict(&ask, retry_at_ms), Verdict::Admitted(None), "{algorithm:?}");
    }
}

/// A token, a source, and whether the request passes.
type Request = (u64, Option<IpAddr>, bool);

/// Cells are apart by partition: tokens, accounts, addresses (IPv6 by /64) and what is joined of them.
pub fn partitions_are_counted_apart(subject: &Subject) {
    let (a, b) = (Some(address(1)), Some(address(2)));
    let v6 = |text: &str| Some(text.parse::<IpAddr>().unwrap());
    let (net, same, next) = (v6("2001:db8:1:2::1"), v6("2001:db8:1:2:9::"), v6("2001:db8:1:3::1"));
    // Tokens 1 and 2 are of account 1, token 3 is of account 3. Each request, and whether it passes a
    // limit of one.
    let table: [(Partition, &[Request]); 6] = [
        (Partition::Token, &[(1, a, true), (1, b, false), (2, a, true), (3, a, true)]),
        (Partition::Account, &[(1, a, true), (2, b, false), (3, a, true)]),
        (
            Partition::SourceIp,
            &[
                (1, a, true),
                (3, a, false),
                (1, b, true),
                (1, None, true),
                (2, None, false),
                (1, net, true),
                (3, same, false),
                (3, next, true),
            ],
        ),
        (Partition::TokenSourceIp, &[(1, a, true), (1, a, false), (1, b, true), (2, a, true)]),
        (Partition::AccountSourceIp, &[(1, a, true), (2, a, false), (2, b, true), (3, a, true)]),
        (Partition::Global, &[(1, a, true), (3, b, false)]),
    ];
    for (partition, requests) in table {
        for algorithm in ALGORITHMS {
            let store = subject.fresh();
            let desk = Desk::new(&*store);
            desk.open(1, 0);
            desk.open(3, 0);
            desk.put_token(2, &account(1), TokenPatch::default());
            let limits = [limit_of(partition, algorithm, 1, 60_000)];
            for (place, (number, source, passes)) in requests.iter().enumerate() {
                // The store's own reference and the name count in the same cell only where they are the
                // same words, so all come as the look-up gave them.
                let ask = Ask { source: *source, ..Ask::new(token(*number)).limits(&limits) };
                let passed = desk.verdict(&ask, NOW_MS) == Verdict::Admitted(None);
                assert_eq!(passed, *passes, "{partition:?}, {algorithm:?}, request {place}");
            }
        }
    }
}

/// A limit that refuses consumes nothing in any other, and one refusal names the limit that ends last.
pub fn a_refusal_by_a_limit_consumes_nothing(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 0);
    let wide = per_token(Algorithm::FixedWindow, 10, 60_000);
    let narrow = named("narrow", per_token(Algorithm::SlidingWindow, 2, 1_000));
    let last = executions(named("last", limit_of(Partition::Account, Algorithm::Gcra, 2, 3_000)));
    let ask = Ask::new(token(1)).limits(&[wide.clone(), narrow, last]);
    for _ in 0..2 {
        assert_eq!(desk.verdict(&ask, NOW_MS), Verdict::Admitted(None));
    }
    for _ in 0..5 {
        let (place, retry_at_ms) = refused_by(&desk.verdict(&ask, NOW_MS)).unwrap();
        assert_eq!(place, 1);
        // Not before the last of all limits, which counts something else.
        assert!(retry_at_ms >= NOW_MS + 1_500, "{retry_at_ms}");
    }
    let alone = Ask::new(token(1)).limits(&[wide]);
    let left = desk.admitted(&alone.mode(Mode::Peek), NOW_MS).tightest.unwrap().left.remaining;
    assert_eq!(left, 8);
}

/// What counts requests counts those that are denied or replayed later on too; what counts executions
/// counts only what goes through.
pub fn requests_and_executions_are_counted_as_they_say(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 10);
    let requests = per_token(Algorithm::FixedWindow, 100, 60_000);
    let runs = executions(named("runs", per_token(Algorithm::FixedWindow, 3, 60_000)));
    let limits = [requests, runs];
    let left = || {
        let of = |place: usize| {
            let ask = Ask::new(token(1)).limits(&limits[place..=place]).mode(Mode::Peek);
            desk.admitted(&ask, NOW_MS).tightest.unwrap().left.remaining
        };
        (of(0), of(1))
    };
    let ask = Ask::new(token(1)).limits(&limits);
    assert_eq!(
        desk.verdict(&ask.clone().key(1).charge(4), NOW_MS),
        Verdict::Admitted(Some(tollgate::ReservationId(1)))
    );
    assert_eq!(left(), (99, 2));
    let denied = [
        ask.clone().key(1).charge(4),
        ask.clone().key_with(1, 1, crate::world::RULE),
        Ask { idempotency: Idempotency::Invalid, ..ask.clone() },
        Ask { sender: Some("nobody".into()), ..ask.clone() },
        Ask { invalid: true, ..ask.clone() },
        ask.clone().charge(7),
    ];
    for (number, denied) in (0..).zip(denied) {
        let verdict = desk.verdict(&denied, NOW_MS);
        assert!(matches!(verdict, Verdict::Denied(_)), "{verdict:?}");
        assert_eq!(left(), (98 - number, 2), "{verdict:?}");
    }
    // A replay is not held by what counts executions, not even when that is used up.
    let _ = desk.finish(1, tollgate::ReservationId(1), &crate::world::SETTLE, NOW_MS);
    for _ in 0..2 {
        assert_eq!(desk.verdict(&ask, NOW_MS), Verdict::Admitted(None));
    }
    assert_eq!(left(), (91, 0));
    assert!(matches!(desk.verdict(&ask.clone().key(1), NOW_MS), Verdict::Replay(_)));
    assert_eq!(left(), (90, 0));
    assert_eq!(refused_by(&desk.verdict(&ask, NOW_MS)).unwrap().0, 1);
    assert_eq!(left(), (90, 0));
}

/// The first check that fails decides, in the order of the statuses.
pub fn the_first_check_that_fails_decides(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    let caps = Some(vec![SpendCap { per: Period::Day, amount: Amount(5), shadow: false }]);
    let patch = AccountPatch { spend_caps: caps, ..AccountPatch::default() };
    desk.admin().put_account(&account(1), Amount(4), patch, NOW_MS).unwrap();
    desk.put_token(1, &account(1), TokenPatch::default());
    let requests = per_token(Algorithm::FixedWindow, 1, 60_000);
    let runs = executions(named("runs", per_token(Algorithm::FixedWindow, 1, 60_000)));
    let first = Ask::new(token(1)).limits(&[requests.clone(), runs.clone()]).key(1);
    assert!(matches!(desk.verdict(&first, NOW_MS), Verdict::Admitted(Some(_))));
    let mut ask = Ask {
        sender: Some("nobody".into()),
        invalid: true,
        ..Ask::new(token(1)).limits(&[requests, runs]).charge(9).key(1)
    };
    let denial = |ask: &Ask| match desk.verdict(ask, NOW_MS) {
        Verdict::Denied(denial) => denial,
        other => panic!("{other:?}"),
    };
    assert!(matches!(denial(&ask), Denial::RateLimited { limit: 0, .. }));
    ask.limits.remove(0);
    assert_eq!(denial(&ask), Denial::InFlight);
    assert_eq!(denial(&ask.clone().key_with(1, 1, crate::world::RULE)), Denial::KeyReused);
    let invalid = Ask { idempotency: Idempotency::Invalid, ..ask.clone() };
    assert_eq!(denial(&invalid), Denial::KeyInvalid);
    ask.idempotency = Idempotency::Absent;
    assert_eq!(denial(&ask), Denial::SenderNotApproved);
    ask.sender = None;
    assert_eq!(denial(&ask), Denial::ValidationFailed);
    ask.invalid = false;
    assert!(matches!(denial(&ask), Denial::RateLimited { limit: 0, .. }));
    ask.limits.clear();
    let capped =
        Denial::SpendCapExceeded { holder: CapHolder::Account, per: Period::Day, left: Amount(5) };
    assert_eq!(denial(&ask), capped);
    ask.charge = Some(Amount(5));
    assert_eq!(denial(&ask), Denial::InsufficientBalance { available: Amount(4) });
    ask.charge = Some(Amount(4));
    assert!(matches!(desk.verdict(&ask, NOW_MS), Verdict::Admitted(Some(_))));
}

/// A peek decides as the request would be decided, an observation tells where the limits stand, and
/// neither changes anything.
pub fn peeking_and_observing_change_nothing(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 10);
    let ask = Ask::new(token(1)).limits(&[per_token(Algorithm::Gcra, 2, 1_000)]).key(1).charge(4);
    for mode in [Mode::Peek, Mode::Observe, Mode::Peek, Mode::Observe] {
        for detail in [false, true] {
            let admitted = desk.admitted(&Ask { detail, ..ask.clone() }.mode(mode), NOW_MS);
            assert_eq!(admitted.verdict, Verdict::Admitted(None));
            assert_eq!(admitted.tightest.unwrap().left.remaining, 2);
            assert_eq!(admitted.detail.is_some(), detail);
        }
    }
    assert_eq!(desk.money(1), (10, 0, 0));
    assert_eq!(desk.reservations(1), []);
    assert_eq!(desk.account(1).wallet.sequence, 0);
    let _ = desk.reserve(&ask, NOW_MS);
    assert_eq!(
        desk.verdict(&ask.clone().mode(Mode::Peek), NOW_MS),
        Verdict::Denied(Denial::InFlight)
    );
    let poor = Ask::new(token(1)).charge(7).mode(Mode::Peek);
    let insufficient = Verdict::Denied(Denial::InsufficientBalance { available: Amount(6) });
    assert_eq!(desk.verdict(&poor, NOW_MS), insufficient);
    // It foresees that the lease will have ended, and does not end it.
    assert_eq!(desk.verdict(&poor, NOW_MS + 60_000), Verdict::Admitted(None));
    assert_eq!(desk.money(1), (10, 4, 0));
}

/// A shadow limit is reported and lets through.
pub fn a_shadow_limit_lets_through(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 0);
    let shadow = with(per_token(Algorithm::FixedWindow, 1, 60_000), |limit| limit.shadow = true);
    let real = named("real", per_token(Algorithm::FixedWindow, 2, 60_000));
    let ask = Ask::new(token(1)).limits(&[shadow, real]);
    let Admitted { verdict, shadows, tightest, .. } = desk.admitted(&ask, NOW_MS);
    assert_eq!((verdict, shadows.limits), (Verdict::Admitted(None), 0));
    assert_eq!(tightest.unwrap().limit, 1);
    let Admitted { verdict, shadows, .. } = desk.admitted(&ask, NOW_MS);
    assert_eq!((verdict, shadows.limits), (Verdict::Admitted(None), 1));
    let Admitted { verdict, shadows, .. } = desk.admitted(&ask, NOW_MS);
    assert_eq!((refused_by(&verdict).unwrap().0, shadows.limits), (1, 1));
}

/// A token's own quota takes the place of the limit's where the limit takes it, from the next request.
pub fn a_tokens_own_quota_is_taken(subject: &Subject) {
    for algorithm in ALGORITHMS {
        let store = subject.fresh();
        let desk = Desk::new(&*store);
        desk.open(1, 0);
        let own = with(per_token(algorithm, 1, 60_000), |limit| limit.token_override = true);
        let fixed = named("fixed", per_token(algorithm, 100, 60_000));
        let ask = Ask::new(token(1)).limits(&[own, fixed]);
        let quota = |limit| {
            let quota = Some(Some(TokenQuota { limit, window_ms: 60_000 }));
            desk.put_token(1, &account(1), TokenPatch { quota, ..TokenPatch::default() });
        };
        quota(0);
        assert!(refused_by(&desk.verdict(&ask, NOW_MS)).is_some());
        quota(50);
        assert_eq!(desk.verdict(&ask, NOW_MS), Verdict::Admitted(None));
        let admitted = desk.admitted(&ask, NOW_MS);
        assert_eq!(admitted.verdict, Verdict::Admitted(None), "{algorithm:?}");
        assert_eq!(admitted.tightest.unwrap().quota.units, 50);
    }
}

/// A request may take more units than one, and a limit with a burst lets that many through at once.
pub fn cost_and_burst_are_heeded(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 0);
    let burst = limit(LimitConfig {
        burst: Some(7),
        cost: 3,
        ..LimitConfig::new(Partition::Token, 1, 1_000)
    });
    let ask = Ask::new(token(1)).limits(&[burst]);
    for left in [4, 1] {
        assert_eq!(desk.admitted(&ask, NOW_MS).tightest.unwrap().left.remaining, left);
    }
    assert_eq!(refused_by(&desk.verdict(&ask, NOW_MS)), Some((0, NOW_MS + 2_000)));
    assert_eq!(desk.verdict(&ask, NOW_MS + 2_000), Verdict::Admitted(None));
}

/// A plain token may be admitted with its look-up; the outcome is that of the two commands apart, and a
/// token that is not plain is never admitted so.
pub fn a_plain_token_may_be_admitted_with_its_look_up(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 0);
    let limits = [per_token(Algorithm::Gcra, 2, 60_000)];
    let granted_by = usual_scopes().set(["pay"]);
    let plain = PlainAdmit { granted_by, limits: &limits };
    let mut admitted = 0;
    for _ in 0..3 {
        let found = desk.try_look_up(&token(1), Some(plain), NOW_MS).unwrap();
        let verdict = match found.admission {
            Some(admission) => Verdict::of(&admission.verdict),
            None => desk.verdict(&Ask::new(token(1)).limits(&limits), NOW_MS),
        };
        admitted += u32::from(verdict == Verdict::Admitted(None));
    }
    assert_eq!(admitted, 2);
    let other = PlainAdmit { granted_by: usual_scopes().set(["read"]), limits: &[] };
    let restricted = TokenPatch { expires_ms: Some(Some(NOW_MS * 2)), ..TokenPatch::default() };
    desk.put_token(2, &account(1), restricted);
    desk.put_token(3, &account(1), TokenPatch::default());
    desk.admin().revoke_token(&token(3), NOW_MS).unwrap();
    let networks = Some(vec!["192.0.2.0/24".parse().unwrap()]);
    desk.open(4, 0);
    let patch = AccountPatch { networks, ..AccountPatch::default() };
    desk.admin().put_account(&account(4), Amount(0), patch, NOW_MS).unwrap();
    let free = PlainAdmit { granted_by, limits: &[] };
    for (number, plain) in [(1, other), (2, free), (3, free), (4, free)] {
        let found = desk.try_look_up(&token(number), Some(plain), NOW_MS).unwrap();
        assert!(found.credential.is_some());
        assert!(found.admission.is_none(), "token {number}");
    }
    assert!(desk.try_look_up(&token(9), Some(free), NOW_MS).unwrap().credential.is_none());
}

/// A sender passes when the account has it, letter by letter.
pub fn senders_are_approved_by_account(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 0);
    let senders = Some(vec!["ACME".into(), "é {}".into()]);
    let patch = AccountPatch { senders, ..AccountPatch::default() };
    desk.admin().put_account(&account(1), Amount(0), patch, NOW_MS).unwrap();
    for (sender, passes) in
        [("ACME", true), ("é {}", true), ("acme", false), ("ACM", false), ("", false)]
    {
        let verdict =
            desk.verdict(&Ask { sender: Some(sender.into()), ..Ask::new(token(1)) }, NOW_MS);
        assert_eq!(verdict == Verdict::Admitted(None), passes, "{sender}");
    }
}

/// The detail of an admission has every limit and cap with what was seen.
pub fn detail_has_every_check(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    let cap = |per, amount| SpendCap { per, amount: Amount(amount), shadow: false };
    let spend_caps = Some(vec![cap(Period::Day, 20), cap(Period::Lifetime, 90)]);
    let patch = AccountPatch { spend_caps, ..AccountPatch::default() };
    desk.admin().put_account(&account(1), Amount(30), patch, NOW_MS).unwrap();
    let spend_caps = Some(vec![cap(Period::Month, 40)]);
    desk.put_token(1, &account(1), TokenPatch { spend_caps, ..TokenPatch::default() });
    let limits = [
        per_token(Algorithm::Gcra, 1, 60_000),
        named("b", per_token(Algorithm::FixedWindow, 9, 60_000)),
    ];
    let ask = Ask { detail: true, ..Ask::new(token(1)).limits(&limits).charge(7) };
    let _ = desk.reserve(&ask, NOW_MS);
    let Answer::Admission(admitted) = desk.ask(&ask.mode(Mode::Peek), NOW_MS) else {
        panic!("no admission")
    };
    let detail = admitted.detail.unwrap();
    assert_eq!(detail.limits.len(), 2);
    assert_eq!(detail.limits[0].1, Err(Some(NOW_MS + 60_000)));
    assert_eq!((detail.limits[1].0.left.remaining, detail.limits[1].1), (8, Ok(())));
    assert_eq!(detail.available, Amount(23));
    let spent: Vec<_> =
        detail.spend_caps.iter().map(|(holder, cap, spent)| (*holder, cap.per, spent.0)).collect();
    assert_eq!(
        spent,
        [
            (CapHolder::Token, Period::Month, 7),
            (CapHolder::Account, Period::Day, 7),
            (CapHolder::Account, Period::Lifetime, 7),
        ]
    );
}
