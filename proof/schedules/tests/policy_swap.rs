//! A policy is replaced while requests are decided: each is decided, answered and finished under one policy.
//!
//! arc-swap itself is not scheduled here, but what stands in its place: a load and a store, each at one instant.
#![cfg(tollgate_shuttle)]
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;

use shuttle::thread;
use tollgate::{
    AccountId, AccountPatch, Admin, Amount, CompiledPolicy, Engine, Finish, LiveEngine,
    MemoryStore, PolicyConfig, Request, RouteConfig, Store, TokenFormat, TokenPatch, TokenText,
    Verdict,
};
use tollgate_schedules::{every, explore, finds, small_store};

const NOW_MS: u64 = 1_700_000_000_000;
const HEADERS: [(&str, &str); 1] = [("authorization", "Bearer secret")];
const PRICES: [u64; 2] = [3, 5];

/// Two policies: the first lets `alpha` on `/one`, the second on `/two`. Their tables of scopes have `alpha` in
/// different bits, and what is `alpha`'s bit in one grants the forbidden path in the other.
fn policy(number: usize) -> CompiledPolicy {
    let mut config = PolicyConfig::default();
    config.tokens.format = TokenFormat::Opaque;
    let scopes = [
        [("alpha", "POST /one"), ("beta", "POST /two")],
        [("aaa", "POST /one"), ("alpha", "POST /two")],
    ];
    for (scope, route) in scopes[number] {
        config.scopes.insert(scope.to_owned(), vec![route.to_owned()]);
        let price = Some(Amount(PRICES[number]));
        config.routes.insert(route.to_owned(), RouteConfig { price, ..RouteConfig::default() });
    }
    config.answers.realm = format!("policy {number}");
    config.compile().unwrap()
}

fn number_of(engine: &Engine) -> usize {
    let first = engine.policy().scopes().names_in(engine.policy().scopes().set(["aaa"]));
    first.count()
}

fn store() -> MemoryStore {
    let store = small_store();
    let (admin, id) = (Admin::new(&store), AccountId::new("acme").unwrap());
    admin.put_account(&id, Amount(1_000), AccountPatch::default(), NOW_MS).unwrap();
    let patch = TokenPatch { scopes: Some(vec!["alpha".into()]), ..TokenPatch::default() };
    let text = TokenText::parse(TokenFormat::Opaque, "secret").unwrap();
    admin.put_token(&Engine::new(policy(0)).digest(&text), &id, patch, NOW_MS).unwrap();
    store
}

fn request(target: &'static [u8]) -> Request<'static> {
    Request::new(b"POST", target, NOW_MS).with_headers(&HEADERS)
}

/// Whether each path is allowed, and whether what is reserved is this policy's price.
fn decide(engine: &Engine, store: &impl Store) -> [bool; 2] {
    [b"/one".as_slice(), b"/two"].map(|target| {
        let decision = engine.decide(store, &request(target));
        let allowed = decision.verdict() == Verdict::Allow;
        let price = Amount(PRICES[number_of(engine)]);
        assert_eq!(decision.reserved(), allowed.then_some(price));
        allowed
    })
}

#[test]
fn no_request_is_decided_under_a_mix_of_two_policies() {
    explore(300, || {
        let (store, live) = (store(), LiveEngine::new(Engine::new(policy(0))));
        thread::scope(|scope| {
            scope.spawn(|| {
                live.reload(policy(1));
                live.reload(policy(0));
            });
            scope.spawn(|| {
                let engine = live.load();
                let allowed = decide(&engine, &store);
                assert_eq!(allowed, [number_of(&engine) == 0, number_of(&engine) == 1]);
            });
            scope.spawn(|| {
                live.with(|engine| {
                    let allowed = decide(engine, &store);
                    assert_eq!(allowed, [number_of(engine) == 0, number_of(engine) == 1]);
                });
            });
        });
    });
}

#[test]
fn a_request_ends_under_the_policy_that_it_began_under() {
    explore(300, || {
        let (store, live) = (store(), LiveEngine::new(Engine::new(policy(0))));
        thread::scope(|scope| {
            scope.spawn(|| live.reload(policy(1)));
            scope.spawn(|| {
                let engine = live.load();
                let number = number_of(&engine);
                let target: &[u8] = if number == 0 { b"/one" } else { b"/two" };
                let request = request(target);
                let mut evaluation = engine.evaluate(&request);
                while let Some(command) = evaluation.command() {
                    let outcome = store.perform(&command, NOW_MS);
                    evaluation.resume(outcome);
                }
                let decision = evaluation.into_decision();
                assert_eq!(decision.verdict(), Verdict::Allow);
                let finish = Finish::Settle { amount: None, response: None };
                let ticket = decision.ticket().unwrap();
                let settled = engine.finish(&store, ticket, finish, NOW_MS).unwrap();
                assert_eq!(settled.posted, Some(Amount(PRICES[number])));
                assert_eq!(number_of(&engine), number);
            });
        });
        assert_eq!(number_of(&live.load()), 1);
    });
}

/// What [`no_request_is_decided_under_a_mix_of_two_policies`] would find.
#[test]
fn a_host_that_takes_the_engine_twice_is_found() {
    let found = finds(300, || {
        let (store, live) = (store(), LiveEngine::new(Engine::new(policy(0))));
        thread::scope(|scope| {
            scope.spawn(|| live.reload(policy(1)));
            scope.spawn(|| {
                let one = decide(&live.load(), &store)[0];
                let two = decide(&live.load(), &store)[1];
                assert!(one != two, "both or neither is allowed");
            });
        });
    });
    assert!(found.unwrap().contains("both or neither"));
}

#[test]
fn every_schedule_of_a_reload_and_two_loads_gives_whole_policies_in_their_order() {
    let schedules = every(10_000, || {
        let live = Arc::new(LiveEngine::new(Engine::new(policy(0))));
        let reload = {
            let live = Arc::clone(&live);
            thread::spawn(move || live.reload(policy(1)))
        };
        let first = number_of(&live.load());
        let again = live.with(number_of);
        assert!(first <= again, "the earlier policy came back");
        reload.join().unwrap();
        assert_eq!(number_of(&live.load()), 1);
    });
    assert!(schedules > 10, "{schedules} schedules: nothing was scheduled");
}
