//! Limits in one store, everything else in another: what is taken is given back.

mod small_api;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use small_api::*;
use tollgate::*;

const LIMITS: &str = "
    [limits.requests]
    per = \"account\"
    quota = 50
    window_ms = 60000
    algorithm = \"ALGORITHM\"
    [limits.sends]
    per = \"token\"
    quota = 3
    window_ms = 60000
    counts = \"executions\"
    algorithm = \"ALGORITHM\"
    routes = [\"POST /pay\"]
    [routes.\"POST /pay\"]
    idempotency = true
    price = 1
";

const ALGORITHMS: [&str; 3] = ["gcra", "fixed_window", "sliding_window"];

fn limited(algorithm: &str) -> Engine {
    engine(&LIMITS.replace("ALGORITHM", algorithm))
}

fn composite(engine: &Engine) -> CompositeStore<Arc<MemoryStore>, MemoryStore> {
    CompositeStore::new(Arc::default(), store(engine, |_| {}))
}

/// What is left of the limit over requests and of the one over executions.
#[allow(clippy::unwrap_used, reason = "helpers of tests may do what tests may")]
fn left(engine: &Engine, store: &impl Store) -> (u64, u64) {
    let bearer = [("authorization", "Bearer acme")];
    let request = Request {
        peer: Some(FREE.peer.into()),
        ..Request::new(b"POST", b"/pay", NOW_MS).with_headers(&bearer)
    };
    let steps = engine.explain(store, &request).steps;
    let of = |check: ExplainedCheck| {
        let step = steps.iter().find(|step| step.check == check).unwrap();
        step.observed.split(' ').next().unwrap().parse().unwrap()
    };
    (of(ExplainedCheck::RequestLimit), of(ExplainedCheck::ExecutionLimit))
}

#[test]
fn a_denial_counts_in_the_limits_that_count_requests_and_in_no_other() {
    for engine in ALGORITHMS.map(limited) {
        let store = composite(&engine);
        assert_eq!(left(&engine, &store), (50, 3));
        let keyed = Ask { key: Some("k"), ..PAY };
        let allowed = keyed.decide(&engine, &store);
        assert_eq!((allowed.status(), left(&engine, &store)), (Status::Allowed, (49, 2)));
        assert_eq!(keyed.decide(&engine, &store).status(), Status::IdempotencyInFlight);
        assert_eq!(left(&engine, &store), (48, 2));
        let response = StoredResponse { status: 201, headers: Box::default(), body: None };
        let finish = Finish::Settle { amount: None, response: Some(response.into()) };
        engine.finish(&store, allowed.ticket().unwrap(), finish, NOW_MS).unwrap();
        assert_eq!(keyed.decide(&engine, &store).status(), Status::Replayed);
        assert_eq!(left(&engine, &store), (47, 2));
        let dear = Ask { cost: Some(5_000), ..PAY };
        assert_eq!(dear.decide(&engine, &store).status(), Status::InsufficientBalance);
        assert_eq!(left(&engine, &store), (46, 2));
        for _ in 0..2 {
            assert_eq!(PAY.decide(&engine, &store).status(), Status::Allowed);
        }
        // A 429 consumes nothing in any limit; a replay is not held by executions.
        assert_eq!(PAY.decide(&engine, &store).status(), Status::RateLimited);
        assert_eq!(left(&engine, &store), (44, 0));
        assert_eq!(keyed.decide(&engine, &store).status(), Status::Replayed);
        assert_eq!(left(&engine, &store), (43, 0));
    }
}

#[test]
fn sixteen_threads_take_exactly_what_there_is_and_leave_the_rest() {
    for engine in ALGORITHMS.map(limited) {
        for round in 0..30 {
            let store = composite(&engine);
            let allowed = AtomicUsize::new(0);
            let limited = AtomicUsize::new(0);
            thread::scope(|scope| {
                for thread in 0..16 {
                    let (engine, store, allowed, limited) = (&engine, &store, &allowed, &limited);
                    scope.spawn(move || {
                        for _ in 0..2 {
                            // Money refuses some after their executions were taken.
                            let cost = Some(if (thread + round) % 3 == 0 { 5_000 } else { 1 });
                            match (Ask { cost, ..PAY }).decide(engine, store).status() {
                                Status::Allowed => allowed.fetch_add(1, Ordering::Relaxed),
                                Status::RateLimited => limited.fetch_add(1, Ordering::Relaxed),
                                Status::InsufficientBalance => 0,
                                other => panic!("{other:?}"),
                            };
                        }
                    });
                }
            });
            let (allowed, limited) = (allowed.into_inner(), limited.into_inner());
            assert!(allowed <= 3, "{allowed} of 3");
            // Whoever met a unit that came back may come again, in a second at the latest.
            let later = Ask { now_ms: NOW_MS + 1_000, ..PAY };
            let more = (0..3).filter(|_| later.decide(&engine, &store).status() == Status::Allowed);
            assert_eq!(allowed + more.count(), 3);
            let (requests, executions) = left(&engine, &store);
            assert_eq!(executions, 0);
            let asked = 32 - limited + 3;
            assert!(requests >= 50 - asked as u64, "{requests}");
        }
    }
}

/// Counts limits, and fails its `nth` call.
struct Failing {
    store: MemoryStore,
    calls: AtomicUsize,
    nth: usize,
}

impl Failing {
    fn call(&self) -> Result<(), StoreError> {
        if self.calls.fetch_add(1, Ordering::Relaxed) == self.nth {
            return Err(StoreError::Unavailable { reason: "planned".into() });
        }
        Ok(())
    }
}

impl LimitStore for Failing {
    fn take(
        &self,
        key: &CellKey,
        limit: &Limit,
        quota: &Quota,
        now_ms: u64,
    ) -> Result<Check, StoreError> {
        self.call()?;
        self.store.take(key, limit, quota, now_ms)
    }

    fn peek(
        &self,
        key: &CellKey,
        limit: &Limit,
        quota: &Quota,
        now_ms: u64,
    ) -> Result<Check, StoreError> {
        self.call()?;
        self.store.peek(key, limit, quota, now_ms)
    }

    fn give_back(
        &self,
        key: &CellKey,
        limit: &Limit,
        quota: &Quota,
        taken: &Cell,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        self.call()?;
        self.store.give_back(key, limit, quota, taken, now_ms)
    }

    fn expire(&self, now_ms: u64) -> Result<(), StoreError> {
        self.call()?;
        LimitStore::expire(&self.store, now_ms)
    }
}

#[test]
fn a_limit_store_that_fails_denies_and_leaves_no_money_held() {
    let engine = limited("gcra");
    // Two looks and two takes: each of them fails once.
    for nth in 0..4 {
        let failing = Failing { store: MemoryStore::default(), calls: 0.into(), nth };
        let store = CompositeStore::new(failing, store(&engine, |_| {}));
        assert_eq!(PAY.decide(&engine, &store).status(), Status::StoreUnavailable, "{nth}");
        let view = Admin::new(&store).account(&account("acme"), NOW_MS).unwrap();
        assert_eq!((view.wallet.held, view.wallet.open_reservations), (Amount(0), 0));
        assert_eq!(left(&engine, &store), (50, 3), "what was taken before is given back");
    }
}

#[test]
fn accounts_that_fail_give_back_what_was_taken() {
    struct Broken(MemoryStore);
    impl Store for Broken {
        fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
            match command {
                Command::Admit(admit) if admit.mode == Mode::Apply => {
                    Err(StoreError::Unavailable { reason: "planned".into() })
                }
                _ => self.0.perform(command, now_ms),
            }
        }
    }
    let engine = limited("sliding_window");
    let store = CompositeStore::new(MemoryStore::default(), Broken(store(&engine, |_| {})));
    assert_eq!(PAY.decide(&engine, &store).status(), Status::StoreUnavailable);
    assert_eq!(left(&engine, &store), (50, 3));
}

/// Says of every cell that nothing was taken: what a request looks at is old when it takes.
struct Late(Arc<MemoryStore>);

impl LimitStore for Late {
    fn take(
        &self,
        key: &CellKey,
        limit: &Limit,
        quota: &Quota,
        now_ms: u64,
    ) -> Result<Check, StoreError> {
        self.0.take(key, limit, quota, now_ms)
    }

    fn peek(
        &self,
        _: &CellKey,
        limit: &Limit,
        quota: &Quota,
        now_ms: u64,
    ) -> Result<Check, StoreError> {
        Ok(check(limit.algorithm, quota, None, now_ms, limit.cost))
    }

    fn give_back(
        &self,
        key: &CellKey,
        limit: &Limit,
        quota: &Quota,
        taken: &Cell,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        self.0.give_back(key, limit, quota, taken, now_ms)
    }

    fn expire(&self, now_ms: u64) -> Result<(), StoreError> {
        LimitStore::expire(&self.0, now_ms)
    }
}

/// What is left where limits are counted, asked of the cells themselves.
#[allow(clippy::unwrap_used, reason = "helpers of tests may do what tests may")]
fn really_left(
    engine: &Engine,
    limits: &Arc<MemoryStore>,
    method: &[u8],
    target: &[u8],
) -> Vec<u64> {
    let bearer = [("authorization", "Bearer acme")];
    let request = Request::new(method, target, NOW_MS).with_headers(&bearer);
    let beside = CompositeStore::new(Arc::clone(limits), store(engine, |_| {}));
    let steps = engine.explain(&beside, &request).steps;
    let limits = [ExplainedCheck::RequestLimit, ExplainedCheck::ExecutionLimit];
    let steps = steps.iter().filter(|step| limits.contains(&step.check));
    steps.map(|step| step.observed.split(' ').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn what_refuses_only_when_it_is_taken_gives_the_others_back() {
    for shadow in ["false", "true"] {
        let engine = engine(&format!(
            "[limits.a]\nper = \"token\"\nquota = 9\nwindow_ms = 60000\nalgorithm = \"fixed_window\"\n\
             [limits.b]\nper = \"token\"\nquota = 1\nwindow_ms = 60000\nalgorithm = \"fixed_window\"\n\
             shadow = {shadow}\n"
        ));
        let store = CompositeStore::new(Late(Arc::default()), store(&engine, |_| {}));
        assert_eq!(FREE.decide(&engine, &store).status(), Status::Allowed);
        let (status, left) =
            if shadow == "true" { (Status::Allowed, 7) } else { (Status::RateLimited, 8) };
        assert_eq!(FREE.decide(&engine, &store).status(), status);
        assert_eq!(really_left(&engine, &store.limits().0, b"GET", b"/free")[0], left);
    }
}

#[test]
fn a_replay_that_executions_would_refuse_counts_as_a_request() {
    let engine = limited("fixed_window");
    let store = CompositeStore::new(Late(Arc::default()), store(&engine, |_| {}));
    let keyed = Ask { key: Some("k"), ..PAY };
    let first = keyed.decide(&engine, &store);
    let finish = Finish::Settle { amount: None, response: None };
    engine.finish(&store, first.ticket().unwrap(), finish, NOW_MS).unwrap();
    for _ in 0..2 {
        assert_eq!(PAY.decide(&engine, &store).status(), Status::Allowed);
    }
    assert_eq!(keyed.decide(&engine, &store).status(), Status::Replayed);
    assert_eq!(really_left(&engine, &store.limits().0, b"POST", b"/pay"), [46, 0]);
}

fn engine_of_one_limit() -> Engine {
    engine("[limits.l]\nper = \"token\"\nquota = 9\nwindow_ms = 60000\n")
}

#[test]
fn accounts_count_no_limits_and_no_time_is_too_late_for_one_half() {
    let engine = limited("fixed_window");
    let store = composite(&engine);
    for ask in [FREE, PAY, Ask { key: Some("k"), ..PAY }] {
        assert_eq!(ask.decide(&engine, &store).status(), Status::Allowed);
    }
    assert_eq!(left(&engine, store.accounts()), (50, 3));
    assert_eq!(left(&engine, &store), (47, 1));

    // Nor where a look-up admits at once.
    let plain = engine_of_one_limit();
    let store = composite(&plain);
    assert_eq!(FREE.decide(&plain, &store).status(), Status::Allowed);
    assert_eq!(really_left(&plain, store.limits(), b"GET", b"/free"), [8]);
    let bearer = [("authorization", "Bearer acme")];
    let request = Request::new(b"GET", b"/free", NOW_MS).with_headers(&bearer);
    let decision = plain.decide(store.accounts(), &request);
    assert_eq!(decision.limit().unwrap().left.remaining, 8, "the first that the accounts count");

    let digest = put_token(&engine, &store, "acme", "acme");
    let acme = AccountRef::Id(account("acme"));
    let admit = Admit::limits_only(&digest, &acme, engine.policy().limits(None));
    let at = |now_ms| store.perform(&Command::Admit(admit), now_ms).unwrap();
    assert!(matches!(at(MAX_NOW_MS), Outcome::Admission(_)));
    assert!(matches!(at(MAX_NOW_MS + 1), Outcome::Refused(Refusal::ClockOutOfRange)));
}
