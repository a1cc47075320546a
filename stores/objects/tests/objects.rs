//! Which objects are asked what, how often, and what each keeps.
#![cfg(test)]

mod common;

use std::sync::Arc;

use common::{Caller, World};
use tollgate::{
    AccountPatch, AccountRef, Administration, Admit, Algorithm, Command, Limit, Lookup, Mode,
    Outcome, Partition, PlainAdmit, Refusal, Store, StoreError, TokenPatch,
};
use tollgate_conformance::world::*;
use tollgate_conformance::{Answer, Verdict};
use tollgate_kv::KvOptions;
use tollgate_objects::{Lost, ObjectsStore, VERSION, name};

/// The names of what was sent, rounds with `|` between them. What may be sent again has a `?`.
fn sent(caller: &Caller) -> String {
    let call = |call: &tollgate_objects::Call| {
        let again = if call.repeatable { "?" } else { "" };
        format!("{}{again}", call.object)
    };
    let round = |round: Vec<_>| round.iter().map(call).collect::<Vec<_>>().join(" ");
    caller.sent().into_iter().map(round).collect::<Vec<_>>().join(" | ")
}

fn opened() -> (Arc<World>, Caller) {
    let world = Arc::new(World::default());
    let caller = Caller::new(&world);
    Desk::new(&caller).open(1, 1_000);
    caller.sent();
    (world, caller)
}

fn shard(number: u64) -> String {
    name::tokens(&token(number))
}

const ACCOUNT: &str = "account/account%201";

#[test]
fn a_request_is_one_message_once_its_token_is_known() {
    let (world, caller) = opened();
    let digest = &token(1);
    let limits = &[per_token(Algorithm::Gcra, 9, 1_000)];
    let plain = Some(PlainAdmit { granted_by: usual_scopes().set(["pay"]), limits });
    let get = Command::Lookup(Lookup { digest, scopes: usual_scopes(), plain });
    let ask = |caller: &Caller| match caller.perform(&get, NOW_MS).unwrap() {
        Outcome::LookedUp(found) => assert!(found.admission.is_some()),
        other => panic!("{other:?}"),
    };
    let fresh = Caller::new(&world);
    ask(&fresh);
    assert_eq!(sent(&fresh), format!("{}? | {ACCOUNT}", shard(1)));
    ask(&fresh);
    assert_eq!(sent(&fresh), ACCOUNT);
    let post = Ask::new(*digest).key(1).charge(5);
    let _ = Desk::new(&fresh).reserve(&post, NOW_MS);
    assert_eq!(sent(&fresh), ACCOUNT);
    let _ = Desk::new(&fresh).ask(&Ask { mode: Mode::Peek, ..post.clone() }, NOW_MS);
    assert_eq!(sent(&fresh), format!("{ACCOUNT}?"));
    let forgetful = Caller::without_cache(&world);
    let _ = Desk::new(&forgetful).ask(&post, NOW_MS);
    assert_eq!(sent(&forgetful), format!("{}? | {ACCOUNT}? | {ACCOUNT}", shard(1)));
    // Nobody's token is the directory's matter alone.
    assert_eq!(Desk::new(&fresh).known(&token(9), NOW_MS), None);
    assert_eq!(sent(&fresh), format!("{}?", shard(9)));
    drop(caller);
}

#[test]
fn limits_that_span_accounts_are_taken_first_and_given_back_where_they_do_not_count() {
    let (_, caller) = opened();
    let desk = Desk::new(&caller);
    let _ = desk.known(&token(1), NOW_MS);
    caller.sent();
    let limits = [
        named("source", limit_of(Partition::SourceIp, Algorithm::Gcra, 3, 60_000)),
        named("everybody", limit_of(Partition::Global, Algorithm::FixedWindow, 2, 60_000)),
        named("account", limit_of(Partition::Account, Algorithm::SlidingWindow, 9, 60_000)),
    ];
    let ask = Ask { source: Some(address(1)), ..Ask::new(token(1)).limits(&limits) };
    assert_eq!(desk.verdict(&ask, NOW_MS), Verdict::Admitted(None));
    assert_eq!(sent(&caller), format!("source/040a00000100000000 global | {ACCOUNT}"));
    assert_eq!(desk.verdict(&ask, NOW_MS), Verdict::Admitted(None));
    caller.sent();
    // Now everybody's is used up: what was taken of the source's is given back.
    assert!(matches!(desk.verdict(&ask, NOW_MS), Verdict::Denied(_)));
    let back = "source/040a00000100000000";
    assert_eq!(sent(&caller), format!("source/040a00000100000000 global | {ACCOUNT} | {back}"));
    let peek = Ask { mode: Mode::Peek, ..Ask::new(token(1)).limits(&limits[..1]) };
    let peek = Ask { source: Some(address(1)), ..peek };
    assert_eq!(desk.admitted(&peek, NOW_MS).tightest.unwrap().left.remaining, 1);
    assert_eq!(sent(&caller), format!("source/040a00000100000000? | {ACCOUNT}?"));
}

/// Of limits in one object all are counted, or as far as none refuses that is enforced.
#[test]
fn limits_of_one_object_are_counted_together() {
    let of = |name, quota| named(name, limit_of(Partition::Global, Algorithm::Gcra, quota, 60_000));
    let shadow = |limit| with(limit, |limit| limit.shadow = true);
    // Quotas of requests and of executions; what is left after two tries; who gives back.
    let table = [
        ([of("a", 9), of("b", 1)], [8, 0], ""),
        ([of("a", 9), shadow(of("b", 1))], [7, 0], ""),
        ([of("a", 9), executions(of("b", 1))], [8, 0], " | global"),
        ([of("a", 9), shadow(executions(of("b", 1)))], [7, 0], ""),
        ([shadow(of("a", 1)), executions(of("b", 9))], [0, 7], ""),
        ([of("a", 1), executions(of("b", 9))], [0, 8], ""),
    ];
    for (row, (limits, expected, back)) in table.into_iter().enumerate() {
        let (_, caller) = opened();
        let desk = Desk::new(&caller);
        let ask = Ask::new(token(1)).limits(&limits);
        let _ = desk.ask(&ask, NOW_MS);
        caller.sent();
        let _ = desk.ask(&ask, NOW_MS);
        assert_eq!(sent(&caller), format!("global | {ACCOUNT}{back}"), "row {row}");
        let enforced = limits.map(|limit| with(limit, |limit| limit.shadow = false));
        let left = [0, 1].map(|place| remaining(desk, &enforced[place..=place]));
        assert_eq!(left, expected, "row {row}");
    }
}

#[test]
fn what_operators_ask_takes_these_messages() {
    let (world, _) = opened();
    let caller = Caller::without_cache(&world);
    let (desk, admin) = (Desk::new(&caller), Desk::new(&caller).admin());
    let id = &account(1);
    admin.put_account(id, tollgate::Amount(7), AccountPatch::default(), NOW_MS).unwrap();
    assert_eq!(sent(&caller), format!("accounts? | {ACCOUNT}?"));
    admin.put_account(&account(2), tollgate::Amount(7), AccountPatch::default(), NOW_MS).unwrap();
    assert_eq!(sent(&caller), "accounts? | account/account%202? | accounts?");
    admin.put_token(&token(1), id, TokenPatch::default(), NOW_MS).unwrap();
    assert_eq!(sent(&caller), format!("{ACCOUNT}?"));
    admin.put_token(&token(2), id, TokenPatch::default(), NOW_MS).unwrap();
    assert_eq!(sent(&caller), format!("{ACCOUNT}? | {}? | {ACCOUNT}?", shard(2)));
    admin.rotate_token(&token(2), &token(3), 1_000, NOW_MS).unwrap();
    let (old, new) = (shard(2), shard(3));
    assert_eq!(sent(&caller), format!("{old}? | {ACCOUNT}? | {new}? | {ACCOUNT}"));
    admin.revoke_token(&token(3), NOW_MS).unwrap();
    assert_eq!(sent(&caller), format!("{new}? | {ACCOUNT}?"));
    admin.deposit(id, tollgate::Amount(1), NOW_MS).unwrap();
    assert_eq!(sent(&caller), ACCOUNT);
    let reservation = desk.reserve(&Ask::new(token(1)).charge(5), NOW_MS);
    caller.sent();
    assert!(matches!(desk.finish(1, reservation, &SETTLE, NOW_MS), Answer::Settled(_)));
    assert_eq!(sent(&caller), format!("{ACCOUNT}?"));
    let account = AccountRef::Id(id.clone());
    admin.refund(&account, reservation, tollgate::Amount(2), "r", NOW_MS).unwrap();
    assert_eq!(sent(&caller), format!("{ACCOUNT}?"));
    assert_eq!(admin.accounts(None, 9, NOW_MS).unwrap().len(), 2);
    assert_eq!(sent(&caller), "accounts? | accounts?");
    assert_eq!(admin.expire(NOW_MS), Ok(0));
    assert_eq!(sent(&caller), format!("accounts? | {ACCOUNT}? account/account%202? | accounts?"));
}

#[test]
fn refusals_leave_nothing_in_the_directory() {
    let (world, caller) = opened();
    let desk = Desk::new(&caller);
    let put = |number, account_number| {
        let (digest, account) = (&token(number), &account(account_number));
        let settings = TokenPatch::default();
        desk.administer(&Administration::PutToken { digest, account, settings }, NOW_MS)
    };
    let rotate = |old, new| {
        let (old, new) = (&token(old), &token(new));
        desk.administer(&Administration::RotateToken { old, new, grace_ms: 5 }, NOW_MS)
    };
    assert_eq!(put(5, 9), Answer::Refused(Refusal::UnknownAccount));
    assert_eq!(rotate(7, 5), Answer::Refused(Refusal::UnknownToken));
    assert_eq!(put(2, 1), Answer::Done);
    desk.admin().revoke_token(&token(2), NOW_MS).unwrap();
    assert_eq!(rotate(2, 5), Answer::Refused(Refusal::TokenRevoked));
    // So the digest is free for another account.
    let (id, nothing) = (account(2), tollgate::Amount(0));
    desk.admin().put_account(&id, nothing, AccountPatch::default(), NOW_MS).unwrap();
    assert_eq!(put(5, 2), Answer::Done);
    assert_eq!(put(5, 1), Answer::Refused(Refusal::ForeignToken));
    assert_eq!(rotate(1, 5), Answer::Refused(Refusal::TokenExists));
    world.verify();
}

#[test]
fn one_callers_change_is_no_others_mistake() {
    let (world, caller) = opened();
    let other = Caller::new(&world);
    let (desk, others) = (Desk::new(&caller), Desk::new(&other));
    let ask = Ask::new(token(1)).charge(1);
    let _ = (desk.reserve(&ask, NOW_MS), others.reserve(&ask, NOW_MS));
    others.admin().revoke_token(&token(1), NOW_MS).unwrap();
    // What is at hand is stale: the account says so, and the next look-up asks it.
    assert_eq!(desk.verdict(&ask, NOW_MS), Verdict::CredentialChanged);
    assert!(desk.known(&token(1), NOW_MS).unwrap().revoked);
    // A revoked one is never answered from what is at hand.
    caller.sent();
    assert!(desk.look_up(&token(1), NOW_MS).unwrap().revoked);
    assert_eq!(sent(&caller), format!("{ACCOUNT}?"));
}

fn remaining(desk: Desk<'_>, limits: &[Limit]) -> u64 {
    let peek = Ask { mode: Mode::Peek, ..Ask::new(token(1)).limits(limits) };
    desk.admitted(&peek, NOW_MS).tightest.unwrap().left.remaining
}

/// A request takes a unit of everybody's, another one the next, and the first is refused by its account.
/// Its unit comes back, unless so long after that some may have refilled.
#[test]
fn units_come_back_in_time_only() {
    for (own_ms, left) in [(NOW_MS + 999, 8), (NOW_MS + 1_000, 7), (NOW_MS - 1, 7)] {
        let (world, caller) = opened();
        let desk = Desk::new(&caller);
        let limits = [limit_of(Partition::Global, Algorithm::FixedWindow, 9, 60_000)];
        let account = &AccountRef::Id(account(1));
        let digest = token(1);
        let stale = Admit { revision: Some(77), ..Admit::limits_only(&digest, account, &limits) };
        let stale = Command::Admit(stale);
        let store = ObjectsStore::default();
        let mut exchange = store.start(&stale, NOW_MS);
        for round in 0..3 {
            if round == 2 {
                let ask = Ask::new(token(1)).limits(&limits);
                assert_eq!(desk.verdict(&ask, NOW_MS), Verdict::Admitted(None));
            }
            let clock_ms = if round == 2 { own_ms } else { NOW_MS };
            let send = |call| world.send(call, clock_ms);
            exchange.resume(exchange.calls().iter().map(send).collect());
        }
        assert!(exchange.calls().is_empty());
        assert_eq!(remaining(desk, &limits), left, "at {own_ms}");
    }
}

#[test]
fn an_account_that_is_full_of_cells_is_full_alone() {
    let mut options = KvOptions::default();
    options.max_cells = 20;
    let world = World::bounded(options);
    let caller = Caller::new(&world);
    let desk = Desk::new(&caller);
    desk.open(1, 0);
    desk.open(2, 0);
    let limits = [
        named("all", limit_of(Partition::Global, Algorithm::FixedWindow, 99, 60_000)),
        limit_of(Partition::TokenSourceIp, Algorithm::FixedWindow, 1, 60_000),
    ];
    let ask = |number, from, now_ms| {
        let source = Some(address(from));
        desk.ask(&Ask { source, ..Ask::new(token(number)).limits(&limits) }, now_ms)
    };
    for from in 0..20 {
        assert!(matches!(ask(1, from, NOW_MS), Answer::Admission(_)));
    }
    assert_eq!(ask(1, 20, NOW_MS), Answer::Full);
    assert!(matches!(ask(2, 20, NOW_MS), Answer::Admission(_)));
    // What was taken of everybody's is given back.
    assert_eq!(remaining(desk, &limits[..1]), 99 - 21);
    assert!(matches!(ask(1, 20, NOW_MS + 200_000), Answer::Admission(_)));
    world.verify();
}

#[test]
fn an_object_for_many_says_that_it_is_full() {
    let mut options = KvOptions::default();
    options.max_cells = 1;
    let world = World::bounded(options);
    let caller = Caller::new(&world);
    let desk = Desk::new(&caller);
    desk.open(1, 0);
    let limits = [
        named("source", limit_of(Partition::SourceIp, Algorithm::Gcra, 9, 60_000)),
        named("one", limit_of(Partition::Global, Algorithm::Gcra, 9, 60_000)),
        named("two", limit_of(Partition::Global, Algorithm::Gcra, 9, 60_000)),
    ];
    let ask = Ask::new(token(1)).limits(&limits);
    assert_eq!(desk.ask(&ask, NOW_MS), Answer::Full);
    // Nothing is counted in the source's.
    assert_eq!(remaining(desk, &limits[..1]), 9);
    world.verify();
}

#[test]
fn another_version_is_a_clear_error_on_both_sides() {
    let (world, _) = opened();
    let object = world.object(ACCOUNT);
    let command = Command::Administer(&Administration::Expire);
    let store = ObjectsStore::default();
    let call = store.start(&command, NOW_MS).calls()[0].clone();
    assert_eq!(call.message[0], VERSION);
    let mut message = call.message.clone();
    message[0] = VERSION + 1;
    let refused = object.lock().unwrap().perform(&message, NOW_MS).unwrap_err();
    let says = format!("a message has version {}", VERSION + 1);
    assert!(refused.to_string().contains(&says), "{refused}");

    // The host passes on what the object says; and an answer of a later version is told alike.
    for reply in [Err(Lost::new(&refused.to_string())), Ok(vec![VERSION + 1, 0, 0])] {
        let mut exchange = store.start(&command, NOW_MS);
        exchange.resume(vec![reply]);
        let error = exchange.into_outcome().unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }));
        assert!(error.to_string().contains(&says), "{error}");
    }
}

#[test]
fn references_of_other_stores_are_refused() {
    let (_, caller) = opened();
    let slot = AccountRef::Slot(0);
    let digest = token(1);
    let admit = Command::Admit(Admit::limits_only(&digest, &slot, &[]));
    let error = caller.perform(&admit, NOW_MS).unwrap_err();
    assert!(error.to_string().contains("another store's"), "{error}");
    assert_eq!(sent(&caller), "");
}

#[test]
fn an_exchange_that_is_given_up_is_an_error() {
    let store = ObjectsStore::default();
    let command = Command::Administer(&Administration::Expire);
    let exchange = store.start(&command, NOW_MS);
    assert!(!format!("{exchange:?}").contains("message:"));
    assert!(matches!(exchange.into_outcome(), Err(StoreError::Unavailable { .. })));
    let mut exchange = store.start(&command, NOW_MS);
    exchange.resume(Vec::new());
    assert!(exchange.calls().is_empty());
    assert!(matches!(exchange.into_outcome(), Err(StoreError::Unavailable { .. })));
}
