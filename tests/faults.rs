//! What becomes of requests, keys and money when the store fails before, after, twice, wrongly or late.

// Helpers of tests may do what tests may; `clippy.toml` allows it in test functions alone.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod small_api;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use small_api::*;
use tollgate::*;
use tollgate_conformance::{FAULTS, Fault, FaultyAsyncStore, FaultyStore, Kind, Plan};

const PRICE: u64 = 10;
const START: u64 = 1_000;
/// The default lease of a reservation.
const LEASE_MS: u64 = 300_000;

/// Keys are taken, a request costs `PRICE`, and two limits are counted.
const PAID: &str = "[routes.\"POST /pay\"]\nidempotency = true\nprice = 10\n\
    [limits.l]\nper = \"token\"\nquota = 1000\nwindow_ms = 60000";

fn settle() -> Finish {
    let response = StoredResponse { status: 201, headers: Box::default(), body: None };
    Finish::Settle { amount: None, response: Some(response.into()) }
}

fn wallet(store: &impl Store, now_ms: u64) -> Wallet {
    let wallet = Admin::new(store).account(&account("acme"), now_ms).unwrap().wallet;
    assert_eq!(wallet.deposited.0 + wallet.refunded.0, wallet.balance.0 + wallet.posted.0);
    assert!(wallet.held <= wallet.balance, "{wallet:?}");
    wallet
}

/// A host as it is documented: it runs what is allowed, and sends the same outcome again until the store
/// has taken or refused it.
struct Host<'s, S> {
    engine: &'s Engine,
    store: &'s FaultyStore<S>,
    ran: BTreeMap<String, u32>,
    unkeyed: u32,
}

impl<'s, S: Store> Host<'s, S> {
    fn new(engine: &'s Engine, store: &'s FaultyStore<S>) -> Self {
        Host { engine, store, ran: BTreeMap::new(), unkeyed: 0 }
    }

    fn serve(&mut self, ask: Ask<'_>) -> Status {
        let decision = ask.decide(self.engine, self.store);
        if decision.verdict() != Verdict::Allow {
            assert_eq!(decision.ticket(), None);
            return decision.status();
        }
        match ask.key {
            Some(key) => *self.ran.entry(key.to_owned()).or_default() += 1,
            None => self.unkeyed += 1,
        }
        if let Some(ticket) = decision.ticket() {
            for attempt in 0.. {
                match self.engine.finish(self.store, ticket, settle(), ask.now_ms) {
                    Ok(_) => break,
                    Err(FinishError::Store(_)) => assert!(attempt < 50, "the store never answers"),
                    Err(refused) => panic!("{refused}"),
                }
            }
        }
        Status::Allowed
    }

    fn runs(&self) -> u32 {
        self.ran.values().sum::<u32>() + self.unkeyed
    }
}

#[test]
fn each_fault_at_each_command_ends_as_documented() {
    use Fault::*;
    use Status::*;
    // The first answer, the retry's with the same key, how often the upstream ran, and what is held by
    // nobody until its lease ends.
    let table = [
        (Kind::LookUp, Before, StoreUnavailable, Allowed, 1, 0),
        (Kind::LookUp, After, StoreUnavailable, Allowed, 1, 0),
        (Kind::LookUp, WrongOutcome, StoreUnavailable, Allowed, 1, 0),
        (Kind::LookUp, Twice, Allowed, Replayed, 1, 0),
        (Kind::LookUp, Slow, Allowed, Replayed, 1, 0),
        (Kind::Admit, Before, StoreUnavailable, Allowed, 1, 0),
        // Its answer was lost: nobody ran it, and nobody knows that. Never run silently again.
        (Kind::Admit, After, StoreUnavailable, IdempotencyInFlight, 0, PRICE),
        (Kind::Admit, WrongOutcome, StoreUnavailable, IdempotencyInFlight, 0, PRICE),
        (Kind::Admit, Twice, IdempotencyInFlight, IdempotencyInFlight, 0, PRICE),
        (Kind::Admit, Slow, Allowed, Replayed, 1, 0),
        (Kind::Settle, Before, Allowed, Replayed, 1, 0),
        (Kind::Settle, After, Allowed, Replayed, 1, 0),
        (Kind::Settle, WrongOutcome, Allowed, Replayed, 1, 0),
        (Kind::Settle, Twice, Allowed, Replayed, 1, 0),
        (Kind::Settle, Slow, Allowed, Replayed, 1, 0),
    ];
    let engine = engine(PAID);
    for (kind, fault, first, retry, runs, orphaned) in table {
        let what = format!("{fault:?} at {kind:?}");
        let store = FaultyStore::new(store(&engine, |_| {}), Plan::none());
        // The first call of this kind, and no other.
        let left = Arc::new(AtomicU64::new(1));
        store.follow(Plan::new(move |_, of| {
            let meets = of == kind && left.swap(0, Ordering::SeqCst) == 1;
            meets.then_some(fault)
        }));
        let mut host = Host::new(&engine, &store);
        let ask = Ask { key: Some("k"), ..PAY };
        assert_eq!(host.serve(ask), first, "{what}");
        assert_eq!(store.met(), [(kind, fault)]);
        assert_eq!(host.serve(ask), retry, "{what}");
        assert_eq!(host.runs(), runs, "{what}");
        let now = wallet(store.inner(), NOW_MS);
        assert_eq!((now.posted.0, now.held.0), (PRICE * u64::from(runs), orphaned), "{what}");
        Admin::new(store.inner()).expire(NOW_MS + LEASE_MS).unwrap();
        let later = wallet(store.inner(), NOW_MS + LEASE_MS);
        assert_eq!((later.posted, later.held.0), (now.posted, 0), "{what}");
    }
}

#[test]
fn a_request_without_a_key_is_charged_for_its_execution_alone() {
    let engine = engine(PAID);
    for fault in FAULTS {
        let store = FaultyStore::new(store(&engine, |_| {}), Plan::every(Kind::Admit, fault));
        let mut host = Host::new(&engine, &store);
        let status = host.serve(PAY);
        let runs = u64::from(status == Status::Allowed);
        assert_eq!(runs, u64::from(matches!(fault, Fault::Slow | Fault::Twice)), "{fault:?}");
        Admin::new(store.inner()).expire(NOW_MS + LEASE_MS).unwrap();
        let wallet = wallet(store.inner(), NOW_MS + LEASE_MS);
        assert_eq!((wallet.posted.0, wallet.held.0), (PRICE * runs, 0), "{fault:?}");
    }
}

#[test]
fn only_what_the_policy_leaves_open_passes_without_the_store() {
    for (limit_open, key_open) in [(false, false), (false, true), (true, false), (true, true)] {
        let mode = |open| if open { "open" } else { "closed" };
        let engine = engine(&format!(
            "[limits.l]\nper = \"token\"\nquota = 9\nwindow_ms = 1000\non_store_failure = \"{}\"\n\
             [routes.\"POST /pay\"]\nidempotency = {{ on_store_failure = \"{}\" }}",
            mode(limit_open),
            mode(key_open),
        ));
        let asks = [
            (PAY, limit_open),
            (Ask { key: Some("k"), ..PAY }, limit_open && key_open),
            (Ask { cost: Some(5), ..PAY }, false),
            (Ask { key: Some("k"), cost: Some(5), ..PAY }, false),
        ];
        for (ask, open) in asks {
            for fault in [Fault::Before, Fault::After, Fault::WrongOutcome] {
                let what = format!("{fault:?}, {:?}, {:?}", ask.key, ask.cost);
                // Look-up and admission apart, so that it is the admission that fails.
                let store =
                    FaultyStore::new(store(&engine, |_| {}), Plan::every(Kind::Admit, fault));
                let bearer = "Bearer acme";
                let name = if ask.key.is_some() { "idempotency-key" } else { "x-none" };
                let headers = [("authorization", bearer), (name, ask.key.unwrap_or_default())];
                let request = Request {
                    cost: ask.cost.map(Amount),
                    ..Request::new(b"POST", b"/pay", NOW_MS).with_headers(&headers)
                };
                let mut evaluation = engine.evaluate(&request).look_up_first();
                while let Some(command) = evaluation.command() {
                    let outcome = store.perform(&command, NOW_MS);
                    evaluation.resume(outcome);
                }
                let decision = evaluation.into_decision();
                let expected = if open { Status::Allowed } else { Status::StoreUnavailable };
                assert_eq!(decision.status(), expected, "{what}");
                assert_eq!(decision.ticket(), None, "{what}: nothing is left to settle");
                assert_eq!(decision.store_error().is_some(), !open, "{what}");
                // Without a credential nobody passes.
                store.follow(Plan::every(Kind::LookUp, fault));
                let decision = ask.decide(&engine, &store);
                assert_eq!(decision.status(), Status::StoreUnavailable, "{what}");
            }
        }
    }
}

/// Clients that ask again, a host that settles until it is heard, and a store that fails every third
/// call: no key runs twice, what is posted is what ran, and in the end nothing is held.
#[test]
fn whatever_fails_nothing_is_run_or_charged_twice() {
    let engine = engine(PAID);
    let (mut failed, mut ran) = (0, 0);
    for seed in 0..300 {
        let store = FaultyStore::new(store(&engine, |_| {}), Plan::seeded(seed, 3, &FAULTS));
        let mut host = Host::new(&engine, &store);
        for number in 0..12 {
            let key = format!("key {}", number % 8).replace(' ', "-");
            let ask = Ask { key: Some(&key), ..PAY };
            let ask = if number % 5 == 4 { PAY } else { ask };
            for _ in 0..3 {
                match host.serve(ask) {
                    Status::Allowed | Status::Replayed => break,
                    Status::StoreUnavailable | Status::IdempotencyInFlight => {}
                    other => panic!("seed {seed}: {other:?}"),
                }
            }
            let now = wallet(store.inner(), NOW_MS);
            assert_eq!(now.posted.0, PRICE * u64::from(host.runs()), "seed {seed}");
        }
        assert!(host.ran.values().all(|times| *times == 1), "seed {seed}: {:?}", host.ran);
        failed += store.met().len();
        ran += host.runs();
        Admin::new(store.inner()).expire(NOW_MS + LEASE_MS).unwrap();
        let later = wallet(store.inner(), NOW_MS + LEASE_MS);
        assert_eq!(later.held.0, 0, "seed {seed}");
        assert_eq!(later.balance.0, START - PRICE * u64::from(host.runs()), "seed {seed}");
    }
    assert!(failed > 1_000 && ran > 1_000, "{failed} faults and {ran} executions prove little");
}

fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits for something"),
    }
}

#[test]
fn a_store_that_answers_later_fails_the_same_way() {
    let engine = engine(PAID);
    for kind in [Kind::LookUp, Kind::Admit, Kind::Settle] {
        for fault in FAULTS {
            let plan = || Plan::every(kind, fault);
            let sync = FaultyStore::new(store(&engine, |_| {}), plan());
            let later = FaultyAsyncStore::new(store(&engine, |_| {}), plan());
            let headers = [("authorization", "Bearer acme"), ("idempotency-key", "k")];
            let request = Request::new(b"POST", b"/pay", NOW_MS).with_headers(&headers);
            let (one, two) =
                (engine.decide(&sync, &request), ready(engine.decide_async(&later, &request)));
            assert_eq!(one.status(), two.status(), "{fault:?} at {kind:?}");
            assert_eq!(one.store_error(), two.store_error());
            if let (Some(one), Some(two)) = (one.ticket(), two.ticket()) {
                assert_eq!(
                    engine.finish(&sync, one, settle(), NOW_MS),
                    ready(engine.finish_async(&later, two, settle(), NOW_MS)),
                    "{fault:?} at {kind:?}"
                );
            }
            assert_eq!(wallet(sync.inner(), NOW_MS), wallet(later.inner(), NOW_MS));
            assert_eq!(sync.met(), later.met());
        }
    }
}

#[test]
fn a_slow_store_is_waited_for() {
    let engine = engine(PAID);
    let called = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&called);
    let store = FaultyStore::new(store(&engine, |_| {}), Plan::new(|_, _| Some(Fault::Slow)));
    let store = store.slow(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    let mut host = Host::new(&engine, &store);
    assert_eq!(host.serve(Ask { key: Some("k"), ..PAY }), Status::Allowed);
    assert_eq!((called.load(Ordering::SeqCst), store.calls()), (3, 3));
}
