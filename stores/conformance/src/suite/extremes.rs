//! The largest, the smallest and the oddest of everything.

use tollgate::{
    AccountPatch, AccountRef, Amount, CapHolder, Denial, IpNet, Limit, Period, Quota, SpendCap,
    StoredResponse, TokenPatch,
};

use crate::answer::{Answer, Verdict};
use crate::subject::Subject;
use crate::world::{
    ALGORITHMS, Ask, Desk, NOW_MS, SETTLE, account, account_named, address, named, per_token,
    scopes, settle_with, token, with,
};

/// Amounts up to 2^64 - 1 are kept to the last unit, and a sum that does not fit is refused in time.
pub fn amounts_of_64_bits(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, u64::MAX);
    let all = Ask::new(token(1)).charge(u64::MAX);
    let odd = Ask::new(token(1)).charge((1 << 53) + 1);
    let id = desk.reserve(&all, NOW_MS);
    assert_eq!(desk.money(1), (u64::MAX, u64::MAX, 0));
    let poor = Verdict::Denied(Denial::InsufficientBalance { available: Amount(0) });
    assert_eq!(desk.verdict(&Ask::new(token(1)).charge(1), NOW_MS), poor);
    let _ = desk.finish(1, id, &crate::world::VOID, NOW_MS);
    let id = desk.reserve(&odd, NOW_MS);
    assert_eq!(desk.reservations(1)[1].1.amount, Amount((1 << 53) + 1));
    let _ = desk.finish(1, id, &SETTLE, NOW_MS);
    let rest = u64::MAX - (1 << 53) - 1;
    assert_eq!(desk.money(1), (rest, 0, (1 << 53) + 1));
    let id = desk.reserve(&Ask::new(token(1)).charge(rest), NOW_MS);
    let _ = desk.finish(1, id, &SETTLE, NOW_MS);
    assert_eq!(desk.money(1), (0, 0, u64::MAX));
    // Given back, it is there; but nothing counts beyond the last unit that was ever spent.
    let reference = AccountRef::Id(account(1));
    desk.admin().refund(&reference, id, Amount(5), "r", NOW_MS).unwrap();
    assert_eq!(desk.money(1), (5, 0, u64::MAX));
    let denial = Denial::SpendCapExceeded {
        holder: CapHolder::Account,
        per: Period::Lifetime,
        left: Amount(0),
    };
    assert_eq!(desk.verdict(&Ask::new(token(1)).charge(5), NOW_MS), Verdict::Denied(denial));
}

/// Sixty-four scopes, and lists of thousands of networks, senders and caps, come back as they were put.
pub fn long_lists(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 0);
    let names: Vec<String> = (0..64).map(|number| format!("scope-{number:02}")).collect();
    let networks: Vec<IpNet> =
        (0..1_000).map(|number| IpNet::new(address(number), 32).unwrap()).collect();
    let v6 = (0..200).map(|number| format!("2001:db8:{number:x}::/48").parse().unwrap());
    let networks: Vec<IpNet> = networks.into_iter().chain(v6).collect();
    let per = |number: usize| [Period::Day, Period::Month, Period::Lifetime][number % 3];
    let caps: Vec<SpendCap> = (0..300_usize)
        .map(|number| SpendCap {
            per: per(number),
            amount: Amount(u64::MAX - number as u64),
            shadow: number % 2 == 0,
        })
        .collect();
    let senders: Vec<Box<str>> =
        (0..1_000).map(|number| format!("sender {number} é").into()).collect();
    let patch = AccountPatch {
        networks: Some(networks.clone()),
        spend_caps: Some(caps.clone()),
        senders: Some(senders.clone()),
    };
    desk.admin().put_account(&account(1), Amount(0), patch, NOW_MS).unwrap();
    let patch = TokenPatch {
        scopes: Some(names.iter().map(|name| name.as_str().into()).collect()),
        networks: Some(networks.clone()),
        spend_caps: Some(caps.clone()),
        ..TokenPatch::default()
    };
    desk.put_token(1, &account(1), patch);
    let view = desk.account(1);
    assert!(view.settings.networks == networks, "the account's networks differ");
    assert!(view.settings.spend_caps == caps, "the account's caps differ");
    assert!(view.settings.senders == senders, "the senders differ");
    let texts: Vec<&str> = names.iter().map(String::as_str).collect();
    let table = scopes(&texts);
    let lookup = tollgate::Lookup { digest: &token(1), scopes: &table, plain: None };
    let found = store.look_up(&lookup, NOW_MS).unwrap().credential.unwrap();
    assert_eq!(table.names_in(found.scopes).collect::<Vec<_>>(), texts);
    let record = found.token.unwrap();
    assert!(record.networks == networks && record.spend_caps == caps, "the token differs");
    let last = Ask { sender: Some("sender 999 é".into()), ..Ask::new(token(1)) };
    assert_eq!(desk.verdict(&last, NOW_MS), Verdict::Admitted(None));
}

/// A token without scopes, an account without anything: empty is not absent.
pub fn empty_lists(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    let patch = AccountPatch {
        networks: Some(vec![]),
        spend_caps: Some(vec![]),
        senders: Some(vec!["".into()]),
    };
    desk.admin().put_account(&account(1), Amount(0), patch, NOW_MS).unwrap();
    desk.put_token(1, &account(1), TokenPatch { scopes: Some(vec![]), ..TokenPatch::default() });
    assert_eq!(desk.known(&token(1), NOW_MS).unwrap().scopes, Vec::<String>::new());
    assert_eq!(*desk.account(1).settings.senders, ["".into()]);
    let nobody = Ask { sender: Some(String::new()), ..Ask::new(token(1)) };
    assert_eq!(desk.verdict(&nobody, NOW_MS), Verdict::Admitted(None));
    assert_eq!(desk.reservations(1), []);
    let bare = StoredResponse { status: 204, headers: Box::default(), body: Some(Box::default()) };
    let id = desk.reserve(&Ask::new(token(1)).key(1), NOW_MS);
    let _ = desk.finish(1, id, &settle_with(bare.clone().into()), NOW_MS);
    // An empty body is a body.
    assert_eq!(desk.verdict(&Ask::new(token(1)).key(1), NOW_MS), Verdict::Replay(bare.into()));
}

/// An account's name of 128 bytes, with everything in it that some store may take for a sign.
pub fn a_name_of_128_odd_bytes(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    let odd = "{a}:b*c?[d] e|f'g\"h\\i/j%k$l#m@n!o~p`q^r&s(t)u-v+w=x,y;z<>.é🦀\u{a0}\u{2028}";
    let name = format!("{odd}{}", "z".repeat(128 - odd.len()));
    assert_eq!(name.len(), 128);
    let id = account_named(&name);
    desk.admin().put_account(&id, Amount(50), AccountPatch::default(), NOW_MS).unwrap();
    desk.put_token(1, &id, TokenPatch::default());
    let ask = Ask { by_name: true, ..Ask::new(token(1)).charge(7).key(1) };
    let reservation = desk.reserve(&ask, NOW_MS);
    let settled = desk.settle(&AccountRef::Id(id.clone()), reservation, &SETTLE, NOW_MS);
    assert!(matches!(settled, Answer::Settled(_)));
    let reference = AccountRef::Id(id.clone());
    desk.admin().refund(&reference, reservation, Amount(1), &"r{}:*".repeat(51), NOW_MS).unwrap();
    assert_eq!(desk.account_of(&id).wallet.balance, Amount(44));
    assert_eq!(desk.admin().reservations(&id, NOW_MS).unwrap().len(), 1);
    assert_eq!(desk.admin().tokens(&id, NOW_MS).unwrap()[0].1.account, id);
}

/// A response of a mebibyte, of every byte there is, is replayed whole.
pub fn a_response_of_a_mebibyte(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 0);
    let body: Vec<u8> =
        (0..1_u32 << 20).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let header = ("x-large".into(), vec![0xfe; 8_192].into());
    let large =
        StoredResponse { status: 200, headers: Box::new([header]), body: Some(body.into()) };
    let ask = Ask::new(token(1)).key(1);
    let id = desk.reserve(&ask, NOW_MS);
    let settled = desk.finish(1, id, &settle_with(large.clone().into()), NOW_MS);
    assert!(matches!(settled, Answer::Settled(_)), "{settled:?}");
    let Verdict::Replay(replayed) = desk.verdict(&ask, NOW_MS) else { panic!("no replay") };
    assert!(*replayed == large, "the response differs");
    // The same again is the same as once.
    let settled = desk.finish(1, id, &settle_with(large.into()), NOW_MS);
    assert!(matches!(settled, Answer::Settled(_)), "{settled:?}");
}

/// Sixteen limits on one request, of quotas from nothing to 2^64 - 1.
pub fn sixteen_limits_and_extreme_quotas(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 0);
    let limits: Vec<Limit> = (0..16)
        .map(|number| {
            let algorithm = ALGORITHMS[number % 3];
            let quota = [20 - number as u64, 1_000_000, 50][number % 3];
            named(&format!("limit {number}"), per_token(algorithm, quota, 60_000))
        })
        .collect();
    let ask = Ask::new(token(1)).limits(&limits);
    // The narrowest is number 15, with a quota of five.
    for left in (0..5).rev() {
        let admitted = desk.admitted(&ask, NOW_MS);
        assert_eq!(admitted.verdict, Verdict::Admitted(None));
        assert_eq!(
            admitted.tightest.map(|tightest| (tightest.limit, tightest.left.remaining)),
            Some((15, left))
        );
    }
    let refused = desk.verdict(&ask, NOW_MS);
    assert!(
        matches!(refused, Verdict::Denied(Denial::RateLimited { limit: 15, .. })),
        "{refused:?}"
    );
    for (number, algorithm) in (0_u64..).zip(ALGORITHMS) {
        for (units, window_ms) in [(u64::MAX, 1), (1, u64::MAX / 4), (u64::MAX, u64::MAX / 4)] {
            let quota = Quota { units, window_ms, burst: units };
            let own = tollgate::TokenQuota { limit: units, window_ms };
            let limit = with(per_token(algorithm, 1, 1), |limit| limit.token_override = true);
            let limit = named(&format!("{algorithm:?} {units} {window_ms}"), limit);
            desk.put_token(
                10 + number,
                &account(1),
                TokenPatch { quota: Some(Some(own)), ..TokenPatch::default() },
            );
            let ask = Ask::new(token(10 + number)).limits(&[limit]);
            let expected = tollgate::check(algorithm, &quota, None, NOW_MS, 1);
            let passed = matches!(desk.verdict(&ask, NOW_MS), Verdict::Admitted(_));
            assert_eq!(passed, expected.verdict.is_ok(), "{algorithm:?} {quota:?}");
        }
    }
}
