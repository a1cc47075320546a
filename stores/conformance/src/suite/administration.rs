//! Accounts and tokens: created, changed, listed, revoked, rotated.

use tollgate::{
    AccountId, AccountPatch, AccountRef, AccountSettings, Administration, Amount, Finish, Period,
    Refusal, ReservationId, SpendCap, Token, TokenPatch, TokenQuota,
};

use crate::answer::Answer;
use crate::subject::Subject;
use crate::world::{Desk, NOW_MS, SETTLE, account, account_named, scopes, token};

fn cap(per: Period, amount: u64) -> SpendCap {
    SpendCap { per, amount: Amount(amount), shadow: false }
}

/// What is not there is refused, each command in its own words, and nothing comes into being by it.
pub fn what_is_not_there_is_refused(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 10);
    let (nobody, unknown) = (account(9), token(9));
    let reference = AccountRef::Id(nobody.clone());
    let (amount, reservation) = (Amount(1), ReservationId(1));
    let commands = [
        Administration::PutToken {
            digest: &unknown,
            account: &nobody,
            settings: TokenPatch::default(),
        },
        Administration::Deposit { account: &nobody, amount },
        Administration::Resolve { account: &nobody, reservation, finish: SETTLE },
        Administration::Inspect { account: &nobody },
        Administration::ListTokens { account: &nobody },
        Administration::ListReservations { account: &nobody },
        Administration::NameAccount { account: &reference },
    ];
    for command in &commands {
        let answer = desk.administer(command, NOW_MS);
        assert_eq!(answer, Answer::Refused(Refusal::UnknownAccount), "{command:?}");
    }
    let fresh = token(10);
    for command in [
        Administration::RevokeToken { digest: &unknown },
        Administration::RotateToken { old: &unknown, new: &fresh, grace_ms: 1 },
    ] {
        let answer = desk.administer(&command, NOW_MS);
        assert_eq!(answer, Answer::Refused(Refusal::UnknownToken), "{command:?}");
    }
    let known = AccountRef::Id(account(1));
    let refund = Administration::Refund { account: &known, reservation, amount, reference: "r" };
    let resolve = Administration::Resolve { account: &account(1), reservation, finish: SETTLE };
    let no_reservation = Answer::Refused(Refusal::UnknownReservation);
    assert_eq!(desk.administer(&refund, NOW_MS), no_reservation);
    assert_eq!(desk.administer(&resolve, NOW_MS), no_reservation);
    assert_eq!(desk.settle(&known, reservation, &SETTLE, NOW_MS), no_reservation);
    assert_eq!(desk.settle(&reference, reservation, &SETTLE, NOW_MS), no_reservation);
    assert_eq!(desk.known(&unknown, NOW_MS), None);
    assert_eq!(desk.known(&fresh, NOW_MS), None);
    assert_eq!(desk.money(1), (10, 0, 0));
}

/// A setting that is given replaces what was there, one that is not given stays, and the opening balance
/// counts once.
pub fn accounts_keep_what_is_not_given(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    let id = account(1);
    let networks = Some(vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()]);
    let spend_caps = Some(vec![cap(Period::Day, 5), cap(Period::Month, 50)]);
    let senders = Some(vec!["ACME".into(), "a {}:* é".into()]);
    let mut expected = AccountSettings::default();
    for (balance, patch) in [
        (7, AccountPatch::default()),
        (8, AccountPatch { networks, ..AccountPatch::default() }),
        (9, AccountPatch { spend_caps, ..AccountPatch::default() }),
        (10, AccountPatch { senders, ..AccountPatch::default() }),
        (11, AccountPatch::default()),
        (12, AccountPatch { networks: Some(vec![]), ..AccountPatch::default() }),
        (13, AccountPatch { spend_caps: Some(vec![]), senders: Some(vec![]), networks: None }),
    ] {
        expected.networks = patch.networks.clone().unwrap_or(expected.networks);
        expected.spend_caps = patch.spend_caps.clone().unwrap_or(expected.spend_caps);
        expected.senders = patch.senders.clone().unwrap_or(expected.senders);
        desk.admin().put_account(&id, Amount(balance), patch, NOW_MS).unwrap();
        let view = desk.account(1);
        assert_eq!(*view.settings, expected);
        assert_eq!((view.wallet.balance, view.wallet.deposited), (Amount(7), Amount(7)));
    }
}

/// The same of tokens. What was set to nothing is nothing again.
pub fn tokens_keep_what_is_not_given(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 0);
    let id = account(1);
    let quota = TokenQuota { limit: 3, window_ms: 1_000 };
    let mut expected = Token::plain(id.clone(), vec!["pay".into()]);
    let none = TokenPatch::default();
    for patch in [
        none.clone(),
        TokenPatch { scopes: Some(vec!["read".into(), "no such".into()]), ..none.clone() },
        TokenPatch { networks: Some(vec!["10.0.0.0/8".parse().unwrap()]), ..none.clone() },
        TokenPatch { quota: Some(Some(quota)), ..none.clone() },
        TokenPatch { spend_caps: Some(vec![cap(Period::Lifetime, 9)]), ..none.clone() },
        TokenPatch { expires_ms: Some(Some(NOW_MS + 1)), ..none.clone() },
        none.clone(),
        TokenPatch { scopes: Some(vec![]), quota: Some(None), ..none.clone() },
        TokenPatch { networks: Some(vec![]), spend_caps: Some(vec![]), ..none.clone() },
        TokenPatch { scopes: Some(vec!["pay".into()]), expires_ms: Some(None), ..none.clone() },
    ] {
        expected.scopes = patch.scopes.clone().unwrap_or(expected.scopes);
        expected.networks = patch.networks.clone().unwrap_or(expected.networks);
        expected.quota = patch.quota.unwrap_or(expected.quota);
        expected.spend_caps = patch.spend_caps.clone().unwrap_or(expected.spend_caps);
        expected.expires_ms = patch.expires_ms.unwrap_or(expected.expires_ms);
        desk.admin().put_token(&token(1), &id, patch, NOW_MS).unwrap();
        let listed = desk.admin().tokens(&id, NOW_MS).unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!((listed[0].0, &*listed[0].1), (token(1), &expected));
        let known = desk.known(&token(1), NOW_MS).unwrap();
        assert_eq!(known.account, Some(id.clone()));
        assert_eq!(known.token, expected.is_restricted().then(|| expected.clone()));
    }
}

/// Tokens are listed by account, in the order of their digests, revoked and expired ones too.
pub fn tokens_are_listed_by_account(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    for number in [1, 2] {
        desk.open(number, 0);
    }
    for number in 10..40 {
        desk.put_token(number, &account(1 + number % 2), TokenPatch::default());
    }
    desk.admin().revoke_token(&token(10), NOW_MS).unwrap();
    desk.admin().revoke_token(&token(11), NOW_MS).unwrap();
    for owner in [1, 2] {
        let mut expected: Vec<_> = (10..40).filter(|number| 1 + number % 2 == owner).collect();
        expected.push(owner);
        let mut expected: Vec<_> = expected.into_iter().map(token).collect();
        expected.sort_unstable();
        let listed = desk.admin().tokens(&account(owner), NOW_MS).unwrap();
        let digests: Vec<_> = listed.iter().map(|(digest, _)| *digest).collect();
        assert_eq!(digests, expected);
        assert!(listed.iter().all(|(_, token)| token.account == account(owner)));
        let revoked = listed.iter().filter(|(_, token)| token.revoked).count();
        assert_eq!(revoked, 1);
    }
}

/// A token stays with its account.
pub fn a_token_never_changes_its_account(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 0);
    desk.open(2, 0);
    let settings = TokenPatch { scopes: Some(vec!["admin".into()]), ..TokenPatch::default() };
    let steal = Administration::PutToken { digest: &token(1), account: &account(2), settings };
    assert_eq!(desk.administer(&steal, NOW_MS), Answer::Refused(Refusal::ForeignToken));
    let known = desk.known(&token(1), NOW_MS).unwrap();
    assert_eq!((known.account, known.scopes), (Some(account(1)), vec!["pay".to_owned()]));
    assert_eq!(desk.admin().tokens(&account(2), NOW_MS).unwrap().len(), 1);
}

/// Scopes are given in the bits of the table that asks, whatever table asked before.
pub fn scopes_are_given_in_the_askers_bits(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 0);
    let patch = TokenPatch { scopes: Some(vec!["b".into(), "d".into()]), ..TokenPatch::default() };
    desk.put_token(1, &account(1), patch);
    let tables = [&["a", "b", "c", "d"][..], &["d", "e"], &["x"], &["b"], &["a", "b", "c", "d"]];
    for names in tables {
        let scopes = scopes(names);
        let lookup = tollgate::Lookup { digest: &token(1), scopes: &scopes, plain: None };
        let found = store.look_up(&lookup, NOW_MS).unwrap().credential.unwrap();
        let expected: Vec<&str> =
            names.iter().filter(|name| "bd".contains(**name)).copied().collect();
        assert_eq!(scopes.names_in(found.scopes).collect::<Vec<_>>(), expected);
    }
}

/// A revoked token is known as revoked from then on, whatever is done to it.
pub fn revocation_is_at_once_and_for_good(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 0);
    desk.put_token(
        2,
        &account(1),
        TokenPatch { expires_ms: Some(Some(NOW_MS * 2)), ..TokenPatch::default() },
    );
    for number in [1, 2] {
        assert!(!desk.known(&token(number), NOW_MS).unwrap().revoked);
        for _ in 0..2 {
            desk.admin().revoke_token(&token(number), NOW_MS).unwrap();
            assert!(desk.known(&token(number), NOW_MS).unwrap().revoked);
        }
        desk.put_token(
            number,
            &account(1),
            TokenPatch { expires_ms: Some(None), ..TokenPatch::default() },
        );
        assert!(desk.known(&token(number), NOW_MS).unwrap().revoked);
        let rotate =
            Administration::RotateToken { old: &token(number), new: &token(50), grace_ms: 0 };
        assert_eq!(desk.administer(&rotate, NOW_MS), Answer::Refused(Refusal::TokenRevoked));
    }
    assert_eq!(desk.known(&token(50), NOW_MS), None);
}

/// The new token has the old one's settings, and the old one expires after the grace period, or earlier
/// if it did anyway.
pub fn rotation_puts_a_new_token_beside_the_old(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 0);
    desk.put_token(5, &account(1), TokenPatch::default());
    let quota = Some(Some(TokenQuota { limit: 3, window_ms: 9 }));
    desk.put_token(1, &account(1), TokenPatch { quota, ..TokenPatch::default() });
    let rotate = |old: u64, new: u64, grace_ms| {
        let (old, new) = (&token(old), &token(new));
        desk.administer(&Administration::RotateToken { old, new, grace_ms }, NOW_MS)
    };
    assert_eq!(rotate(1, 5, 9), Answer::Refused(Refusal::TokenExists));
    assert_eq!(rotate(1, 1, 9), Answer::Refused(Refusal::TokenExists));
    assert_eq!(rotate(1, 2, 1_000), Answer::Done);
    assert_eq!(rotate(2, 3, 0), Answer::Done);
    let record = |number| desk.known(&token(number), NOW_MS).unwrap().token.unwrap();
    let (first, second, third) = (record(1), record(2), record(3));
    assert_eq!((first.expires_ms, first.ancestor), (Some(NOW_MS + 1_000), None));
    assert_eq!((second.expires_ms, second.ancestor), (Some(NOW_MS), Some(token(1))));
    assert_eq!((third.expires_ms, third.ancestor), (None, Some(token(1))));
    for rotated in [&second, &third] {
        assert_eq!((&rotated.scopes, rotated.quota), (&first.scopes, first.quota));
    }
    // It has expired by now, and one that expires is not prolonged by its rotation.
    assert_eq!(rotate(2, 4, 9), Answer::Refused(Refusal::TokenRevoked));
    assert_eq!(rotate(1, 4, u64::MAX), Answer::Done);
    assert_eq!(record(1).expires_ms, Some(NOW_MS + 1_000));
    assert_eq!(record(4).expires_ms, Some(NOW_MS + 1_000));
}

/// Deposits add up, to the last unit that fits.
pub fn deposits_add_up_and_never_overflow(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, u64::MAX - 5);
    let id = account(1);
    let deposit = |amount| {
        let deposit = Administration::Deposit { account: &id, amount: Amount(amount) };
        desk.administer(&deposit, NOW_MS)
    };
    assert_eq!(deposit(2), Answer::Done);
    assert_eq!(deposit(0), Answer::Done);
    assert_eq!(deposit(4), Answer::Refused(Refusal::AmountOverflow));
    assert_eq!(deposit(u64::MAX), Answer::Refused(Refusal::AmountOverflow));
    assert_eq!(desk.money(1), (u64::MAX - 3, 0, 0));
    assert_eq!(deposit(3), Answer::Done);
    assert_eq!(deposit(1), Answer::Refused(Refusal::AmountOverflow));
    assert_eq!(desk.money(1), (u64::MAX, 0, 0));
}

/// An account's name and the store's own reference to it mean the same in every command.
pub fn a_name_and_the_stores_own_reference_mean_the_same(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 100);
    let own = desk.look_up(&token(1), NOW_MS).unwrap().account;
    let name = AccountRef::Id(account(1));
    for reference in [&own, &name] {
        assert_eq!(desk.admin().account_id(reference, NOW_MS), Ok(account(1)));
    }
    // Each pair of references: admitted by one, settled by one, refunded by the other.
    let (mut posted, mut refunded) = (0, 0);
    for (number, (by_name, settles)) in
        [(false, &name), (true, &own), (true, &name), (false, &own)].into_iter().enumerate()
    {
        let ask = crate::world::Ask::new(token(1)).charge(5).key(number as u64);
        let id = desk.reserve(&crate::world::Ask { by_name, ..ask }, NOW_MS);
        assert_eq!(id, ReservationId(number as u64 + 1));
        let settled = desk.settle(settles, id, &SETTLE, NOW_MS);
        assert!(matches!(settled, Answer::Settled(_)), "{settled:?}");
        posted += 5;
        let refunds = if *settles == name { &own } else { &name };
        desk.admin().refund(refunds, id, Amount(2), "r", NOW_MS).unwrap();
        refunded += 2;
        assert_eq!(desk.money(1), (100 - posted + refunded, 0, posted));
    }
}

/// Accounts whose names differ in anything are different accounts, down to spaces, case and accents.
pub fn names_are_taken_as_they_are(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    let long = "é".repeat(64);
    let names = [
        "a",
        "A",
        " a",
        "a ",
        "á",
        "a\u{301}",
        "{a}",
        "a}",
        "a:*",
        "a*",
        "a?",
        "[a]",
        "a/b",
        "a\\b",
        "a%00",
        "a'",
        "a\"",
        "a;b",
        "a,b",
        "*",
        "{}",
        ":",
        "-",
        ".",
        "..",
        "🦀",
        "\u{feff}a",
        "a\u{200b}",
        "ａ",
        &long,
        &long[2..],
        &"x".repeat(128),
        &"x".repeat(127),
    ];
    for (number, name) in (0..).zip(names) {
        let id = account_named(name);
        desk.admin().put_account(&id, Amount(number), AccountPatch::default(), NOW_MS).unwrap();
        desk.put_token(number, &id, TokenPatch::default());
    }
    for (number, name) in (0..).zip(names) {
        let id = account_named(name);
        assert_eq!(desk.account_of(&id).wallet.deposited, Amount(number), "{name:?}");
        let listed = desk.admin().tokens(&id, NOW_MS).unwrap();
        assert_eq!(listed.iter().map(|(digest, _)| *digest).collect::<Vec<_>>(), [token(number)]);
        assert_eq!(desk.known(&token(number), NOW_MS).unwrap().account, Some(id.clone()));
        assert_eq!(desk.admin().account_id(&AccountRef::Id(id.clone()), NOW_MS), Ok(id));
    }
}

/// Nobody can end what an operator must not: `Unknown` is no resolution.
pub fn unknown_is_no_resolution(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    desk.open(1, 10);
    let id = desk.reserve(&crate::world::Ask::new(token(1)).charge(3), NOW_MS);
    let resolve =
        Administration::Resolve { account: &account(1), reservation: id, finish: Finish::Unknown };
    assert_eq!(desk.administer(&resolve, NOW_MS), Answer::Refused(Refusal::NotAResolution));
    assert_eq!(desk.money(1), (10, 3, 0));
}

/// Accounts are listed by the bytes of their names, page by page, and none that was refused is.
pub fn accounts_are_listed_by_name(subject: &Subject) {
    let store = subject.fresh();
    let desk = Desk::new(&*store);
    let list = |after: Option<&AccountId>, at_most: usize| match desk
        .administer(&Administration::ListAccounts { after, at_most }, NOW_MS)
    {
        Answer::Accounts(names) => names,
        other => panic!("{other:?}"),
    };
    assert_eq!(list(None, 10), []);
    let names = ["a", "B", "é", "{x}", "a b", "%7B", "ab", "0"].map(account_named);
    for name in &names {
        let put = Administration::PutAccount {
            account: name,
            opening_balance: Amount(1),
            settings: AccountPatch::default(),
        };
        assert_eq!(desk.administer(&put, NOW_MS), Answer::Done);
        assert_eq!(desk.administer(&put, NOW_MS), Answer::Done, "an account is listed once");
    }
    let nobody = account(9);
    let deposit = Administration::Deposit { account: &nobody, amount: Amount(1) };
    assert_eq!(desk.administer(&deposit, NOW_MS), Answer::Refused(Refusal::UnknownAccount));
    let mut sorted = names.to_vec();
    sorted.sort_unstable_by(|a, b| a.as_str().as_bytes().cmp(b.as_str().as_bytes()));
    assert_eq!(list(None, usize::MAX), sorted);
    assert_eq!(list(None, 0), []);
    let mut paged = Vec::new();
    while let [first, second @ ..] = &list(paged.last(), 2)[..] {
        paged.push(first.clone());
        paged.extend(second.iter().cloned());
    }
    assert_eq!(paged, sorted);
    assert_eq!(list(Some(&account_named("b")), 2), [account_named("{x}"), account_named("é")]);
}
