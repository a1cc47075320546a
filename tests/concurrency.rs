//! What must hold when threads race: limits exact, money conserved, keys claimed once.

// Helpers of tests may do what tests may; `clippy.toml` allows it in test functions alone.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use tollgate::*;

const NOW_MS: u64 = 1_700_000_000_000;
const THREADS: usize = 16;

fn engine(policy: &str) -> Engine {
    let policy = format!("tokens.format = \"opaque\"\n[scopes]\nall = [\"POST /pay\"]\n{policy}");
    let config = PolicyConfig::from_toml(&policy).unwrap_or_else(|error| panic!("{error}"));
    Engine::new(config.compile().unwrap())
}

fn account() -> AccountId {
    AccountId::new("acme").unwrap()
}

fn store(money: u64) -> MemoryStore {
    let store = MemoryStore::default();
    Admin::new(&store)
        .put_account(&account(), Amount(money), AccountPatch::default(), NOW_MS)
        .unwrap();
    store
}

fn put_token(engine: &Engine, store: &MemoryStore, name: &str) -> TokenDigest {
    let digest = engine.digest(&TokenText::parse(TokenFormat::Opaque, name).unwrap());
    let patch = TokenPatch { scopes: Some(vec!["all".into()]), ..Default::default() };
    Admin::new(store).put_token(&digest, &account(), patch, NOW_MS).unwrap();
    digest
}

/// A request of `cost` with a key, from an address.
#[derive(Clone, Copy, Default)]
struct Ask<'a> {
    token: &'a str,
    key: Option<&'a str>,
    peer: Option<[u8; 4]>,
    cost: u64,
    now_ms: u64,
}

impl Ask<'_> {
    fn decide(self, engine: &Engine, store: &MemoryStore) -> Decision {
        let bearer = format!("Bearer {}", self.token);
        let name = if self.key.is_some() { "idempotency-key" } else { "x-none" };
        let headers = [("authorization", bearer.as_str()), (name, self.key.unwrap_or_default())];
        let request = Request {
            peer: self.peer.map(Into::into),
            cost: Some(Amount(self.cost)),
            ..Request::new(b"POST", b"/pay", NOW_MS + self.now_ms).with_headers(&headers)
        };
        engine.decide(store, &request)
    }
}

fn wallet(store: &MemoryStore, now_ms: u64) -> Wallet {
    let wallet = Admin::new(store).account(&account(), NOW_MS + now_ms).unwrap().wallet;
    let whole = |amount: Amount| u128::from(amount.0);
    assert_eq!(
        whole(wallet.deposited) + whole(wallet.refunded),
        whole(wallet.balance) + whole(wallet.posted)
    );
    assert!(wallet.held <= wallet.balance, "{wallet:?}");
    wallet
}

/// Runs `work(thread, round)` on every thread; all threads begin a round together.
fn rounds(threads: usize, rounds: usize, work: impl Fn(usize, usize) + Sync) {
    struct Leaving<'a>(&'a AtomicBool);
    impl Drop for Leaving<'_> {
        fn drop(&mut self) {
            // A thread that fails must not leave the others waiting for it.
            self.0.fetch_or(thread::panicking(), Ordering::AcqRel);
        }
    }
    let arrived = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..threads {
            let (arrived, failed, work) = (&arrived, &failed, &work);
            scope.spawn(move || {
                let _leaving = Leaving(failed);
                for round in 0..rounds {
                    arrived.fetch_add(1, Ordering::AcqRel);
                    while arrived.load(Ordering::Acquire) < threads * (round + 1) {
                        if failed.load(Ordering::Acquire) {
                            return;
                        }
                        thread::yield_now();
                    }
                    work(number, round);
                }
            });
        }
    });
}

/// A small random generator (splitmix64): seeded, so that a run can be told again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// 10 000 rounds in all, a fresh token in each; a quota of 120 under 160 requests.
#[test]
fn a_quota_of_120_admits_exactly_120() {
    const ROUNDS: usize = 2_500;
    // In the token's own slot, in a shared cell, and beside another limit.
    for (name, policy) in [
        ("slot", "[limits.l]\nper = \"token\"\nquota = 120\nwindow_ms = 60000"),
        (
            "fixed",
            "[limits.l]\nper = \"token\"\nquota = 120\nwindow_ms = 60000\nalgorithm = \"fixed_window\"",
        ),
        (
            "sliding",
            "[limits.l]\nper = \"token_source_ip\"\nquota = 120\nwindow_ms = 60000\n\
             algorithm = \"sliding_window\"",
        ),
        (
            "two",
            "[limits.l]\nper = \"token\"\nquota = 120\nwindow_ms = 60000\n\
             [limits.m]\nper = \"account\"\nquota = 1000000\nwindow_ms = 1\nalgorithm = \"fixed_window\"",
        ),
    ] {
        let (engine, store) = (engine(policy), store(0));
        let tokens: Vec<String> = (0..ROUNDS).map(|round| format!("{name}-{round}")).collect();
        tokens.iter().for_each(|token| {
            put_token(&engine, &store, token);
        });
        let allowed: Vec<AtomicU64> = (0..ROUNDS).map(|_| AtomicU64::new(0)).collect();
        rounds(THREADS, ROUNDS, |_, round| {
            for _ in 0..10 {
                let now_ms = round as u64;
                let ask = Ask { token: &tokens[round], now_ms, ..Ask::default() };
                match ask.decide(&engine, &store).status() {
                    Status::Allowed => {
                        allowed[round].fetch_add(1, Ordering::Relaxed);
                    }
                    status => assert_eq!(status, Status::RateLimited),
                }
            }
        });
        for (round, allowed) in allowed.iter().enumerate() {
            assert_eq!(allowed.load(Ordering::Relaxed), 120, "{name}, round {round}");
        }
    }
}

#[test]
fn limits_by_address_are_exact_across_threads_and_tokens() {
    const ROUNDS: usize = 500;
    let engine = engine(
        "[limits.ip]\nper = \"source_ip\"\nquota = 10\nwindow_ms = 3600000\ncounts = \"executions\"\n\
         [limits.token]\nper = \"token\"\nquota = 1000000\nwindow_ms = 1000",
    );
    let store = store(0);
    let tokens: Vec<String> = (0..THREADS).map(|number| format!("token-{number}")).collect();
    tokens.iter().for_each(|token| {
        put_token(&engine, &store, token);
    });
    let allowed: Vec<AtomicU64> = (0..ROUNDS).map(|_| AtomicU64::new(0)).collect();
    rounds(THREADS, ROUNDS, |number, round| {
        let peer = Some([10, 0, (round / 256) as u8, (round % 256) as u8]);
        for _ in 0..3 {
            let ask = Ask { token: &tokens[number], peer, ..Ask::default() };
            if ask.decide(&engine, &store).verdict() == Verdict::Allow {
                allowed[round].fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    assert!(allowed.iter().all(|allowed| allowed.load(Ordering::Relaxed) == 10));
}

/// Reservations, settlements, voids, deposits, refunds and lost requests on one wallet, with sweeps.
#[test]
fn money_is_conserved_on_one_wallet() {
    const STEPS: usize = 4_000;
    let engine =
        engine("[reservations]\nlease_ms = 50\n[routes.\"POST /pay\"]\nidempotency = true");
    let store = store(200);
    put_token(&engine, &store, "t");
    let (posted, refunded) = (AtomicU64::new(0), AtomicU64::new(0));
    let clock = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    let too_late = AtomicU64::new(0);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|number| {
                let (engine, store, clock) = (&engine, &store, &clock);
                let (posted, refunded, too_late) = (&posted, &refunded, &too_late);
                scope.spawn(move || {
                    let mut random = Random(number as u64);
                    for step in 0..STEPS {
                        let now_ms = clock.fetch_add(random.below(2), Ordering::Relaxed);
                        let key = format!("key-{number}-{step}");
                        let key = (random.below(2) == 0).then_some(key.as_str());
                        let cost = 1 + random.below(30);
                        let decision =
                            Ask { token: "t", key, cost, now_ms, peer: None }.decide(engine, store);
                        let Some(ticket) = decision.ticket() else {
                            assert_eq!(decision.status(), Status::InsufficientBalance);
                            let admin = Admin::new(store);
                            let amount = Amount(random.below(20));
                            admin.deposit(&account(), amount, NOW_MS + now_ms).unwrap();
                            continue;
                        };
                        let amount = random.below(cost + 1);
                        let end = match random.below(4) {
                            0 => Finish::Void { response: None },
                            1 => continue, // lost: the end of its lease frees the money
                            _ => Finish::Settle { amount: Some(Amount(amount)), response: None },
                        };
                        let settled = matches!(end, Finish::Settle { .. });
                        let now_ms = clock.load(Ordering::Relaxed);
                        match engine.finish(store, ticket, end, NOW_MS + now_ms) {
                            Ok(_) if settled => {
                                posted.fetch_add(amount, Ordering::Relaxed);
                                if random.below(3) == 0 {
                                    let amount = amount / 2;
                                    let now_ms = NOW_MS + now_ms;
                                    let (account, id) = (&ticket.account, ticket.reservation);
                                    Admin::new(store)
                                        .refund(account, id, Amount(amount), "r", now_ms)
                                        .unwrap();
                                    refunded.fetch_add(amount, Ordering::Relaxed);
                                }
                            }
                            Ok(_) => {}
                            Err(error) => {
                                assert_eq!(error, FinishError::Refused(Refusal::LeaseEnded));
                                too_late.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    }
                })
            })
            .collect();
        let sweeper = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let now_ms = clock.load(Ordering::Relaxed);
                Admin::new(&store).expire(NOW_MS + now_ms).unwrap();
                wallet(&store, now_ms); // the invariants, in between
                thread::yield_now();
            }
        });
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        done.store(true, Ordering::Release);
        sweeper.join().unwrap();
    });
    let end_ms = clock.load(Ordering::Relaxed) + 1_000;
    Admin::new(&store).expire(NOW_MS + end_ms).unwrap();
    let wallet = wallet(&store, end_ms);
    assert_eq!(wallet.held, Amount(0));
    assert_eq!(wallet.open_reservations, 0);
    assert_eq!(wallet.posted.0, posted.load(Ordering::Relaxed));
    assert_eq!(wallet.refunded.0, refunded.load(Ordering::Relaxed));
}

#[test]
fn one_of_64_identical_requests_runs() {
    const ROUNDS: usize = 150;
    let engine = engine("[routes.\"POST /pay\"]\nidempotency = true");
    let store = store(1_000_000);
    put_token(&engine, &store, "t");
    let keys: Vec<String> = (0..ROUNDS).map(|round| format!("key-{round}")).collect();
    let counted: Vec<[AtomicU64; 3]> = (0..ROUNDS).map(|_| Default::default()).collect();
    rounds(64, ROUNDS, |_, round| {
        let ask = Ask { token: "t", key: Some(&keys[round]), cost: 7, ..Ask::default() };
        let decision = ask.decide(&engine, &store);
        let place = match decision.status() {
            Status::Allowed => 0,
            Status::IdempotencyInFlight => 1,
            Status::Replayed => 2,
            status => panic!("{status:?}"),
        };
        counted[round][place].fetch_add(1, Ordering::Relaxed);
        if let Some(ticket) = decision.ticket() {
            let stored = StoredResponse { status: 201, headers: Box::default(), body: None };
            let end = Finish::Settle { amount: None, response: Some(stored.into()) };
            engine.finish(&store, ticket, end, NOW_MS).unwrap();
        }
        if let Some(response) = decision.replay() {
            assert_eq!(response.status, 201);
        }
    });
    for counted in &counted {
        let [allowed, in_flight, replayed] =
            [0, 1, 2].map(|place: usize| counted[place].load(Ordering::Relaxed));
        assert_eq!((allowed, in_flight + replayed), (1, 63));
    }
    assert_eq!(wallet(&store, 0).posted.0, 7 * ROUNDS as u64);
}

#[test]
fn a_ticket_settled_by_8_threads_posts_once() {
    const ROUNDS: usize = 1_000;
    let (engine, store) = (engine(""), store(1_000_000));
    put_token(&engine, &store, "t");
    let ask = Ask { token: "t", cost: 9, ..Ask::default() };
    let tickets: Vec<Ticket> =
        (0..ROUNDS).map(|_| ask.decide(&engine, &store).ticket().unwrap().clone()).collect();
    let posted: Vec<AtomicU64> = (0..ROUNDS).map(|_| AtomicU64::new(0)).collect();
    rounds(8, ROUNDS, |number, round| {
        // Two of the threads agree, the others each say something else.
        let amount = 1 + (number as u64).min(6);
        let end = Finish::Settle { amount: Some(Amount(amount)), response: None };
        match engine.finish(&store, &tickets[round], end, NOW_MS) {
            Ok(settled) => {
                assert_eq!(settled.posted, Some(Amount(amount)));
                let earlier = posted[round].swap(amount, Ordering::Relaxed);
                assert!(earlier == 0 || earlier == amount, "{earlier} and {amount}");
            }
            Err(error) => assert_eq!(error, FinishError::Refused(Refusal::AlreadyFinished)),
        }
    });
    let posted: u64 = posted.iter().map(|amount| amount.load(Ordering::Relaxed)).sum();
    let wallet = wallet(&store, 0);
    assert_eq!((wallet.posted.0, wallet.held), (posted, Amount(0)));
}

/// Under one policy a call is limited and free, under the other it is dear and has no limit.
#[test]
fn a_request_is_decided_under_one_policy_as_a_whole() {
    let limited = "[limits.l]\nper = \"token\"\nquota = 1000000\nwindow_ms = 3600000\n\
                   [routes.\"POST /pay\"]\nprice = 0";
    let priced = "[answers]\nrealm = \"priced\"\n[routes.\"POST /pay\"]\nprice = 1";
    let policies = [limited, priced];
    let compile = |which: usize| {
        let text = format!(
            "tokens.format = \"opaque\"\n[scopes]\nall = [\"POST /pay\"]\n{}",
            policies[which]
        );
        PolicyConfig::from_toml(&text).unwrap().compile().unwrap()
    };
    let live = LiveEngine::new(Engine::new(compile(0)));
    let store = store(u64::MAX);
    put_token(&live.load(), &store, "t");
    let seen = [AtomicU64::new(0), AtomicU64::new(0)];
    let both_seen = || seen.iter().all(|seen| seen.load(Ordering::Relaxed) > 0);
    let request = || {
        let engine = live.load();
        let headers = [("authorization", "Bearer t")];
        let request = Request::new(b"POST", b"/pay", NOW_MS).with_headers(&headers);
        let decision = engine.decide(&store, &request);
        assert_eq!(decision.status(), Status::Allowed);
        let has_limit = decision.limit().is_some();
        assert_eq!(decision.reserved().is_some(), !has_limit);
        let answer = engine.answer(&decision);
        assert_eq!(answer.header("x-ratelimit-limit").is_some(), has_limit);
        seen[usize::from(!has_limit)].fetch_add(1, Ordering::Relaxed);
        if let Some(ticket) = decision.ticket() {
            // It ends under whatever policy is there by now.
            let end = Finish::Settle { amount: None, response: None };
            live.with(|engine| engine.finish(&store, ticket, end, NOW_MS)).unwrap();
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                // Within the quota and the store's bounds, however fast it goes.
                scope.spawn(|| {
                    for number in 0..200_000 {
                        if number >= 5_000 && both_seen() {
                            break;
                        }
                        request();
                    }
                })
            })
            .collect();
        let mut which = 1;
        while workers.iter().any(|worker| !worker.is_finished()) {
            live.reload(compile(which));
            which = 1 - which;
            thread::yield_now();
        }
    });
    assert!(both_seen());
    let wallet = wallet(&store, 0);
    assert_eq!(wallet.posted.0, seen[1].load(Ordering::Relaxed));
    assert_eq!(wallet.held, Amount(0));
}

#[test]
fn no_request_that_begins_after_a_revocation_passes() {
    const ROUNDS: usize = 200;
    let engine = engine("[limits.l]\nper = \"token\"\nquota = 1000000\nwindow_ms = 1000");
    let store = Arc::new(store(0));
    for round in 0..ROUNDS {
        let name = format!("token-{round}");
        let digest = put_token(&engine, &store, &name);
        let revoked = AtomicBool::new(false);
        let start = Barrier::new(5);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..100 {
                        let before = revoked.load(Ordering::SeqCst);
                        let ask = Ask { token: &name, ..Ask::default() };
                        match ask.decide(&engine, &store).status() {
                            Status::Allowed => assert!(!before, "allowed after the revocation"),
                            status => assert_eq!(status, Status::InvalidToken),
                        }
                    }
                });
            }
            start.wait();
            Admin::new(&*store).revoke_token(&digest, NOW_MS).unwrap();
            revoked.store(true, Ordering::SeqCst);
        });
    }
}

/// Each lease ends at the moment when a thread settles it: one of the two wins, and money is counted once.
#[test]
fn a_sweep_and_a_late_settlement_agree() {
    const ROUNDS: usize = 1_000;
    for on_expiry in ["void", "settle", "hold"] {
        let engine = engine(&format!("[reservations]\nlease_ms = 10\non_expiry = \"{on_expiry}\""));
        let store = store(1_000_000);
        put_token(&engine, &store, "t");
        let tickets: Vec<Ticket> = (0..ROUNDS)
            .map(|round| {
                let now_ms = round as u64 * 10;
                let ask = Ask { token: "t", cost: 5, now_ms, ..Ask::default() };
                let decision = ask.decide(&engine, &store);
                decision.ticket().unwrap().clone()
            })
            .collect();
        // Settled before their own time as each thread knows it, while sweeps know a later one.
        let posted = AtomicU64::new(0);
        let sweep = AtomicU64::new(0);
        rounds(4, ROUNDS, |number, round| {
            let now_ms = NOW_MS + round as u64 * 10;
            if number % 2 == 0 {
                sweep.fetch_add(Admin::new(&store).expire(now_ms + 10).unwrap(), Ordering::Relaxed);
            } else {
                let end = Finish::Settle { amount: Some(Amount(3)), response: None };
                match engine.finish(&store, &tickets[round], end, now_ms) {
                    Ok(settled) => {
                        assert_eq!(settled.posted, Some(Amount(3)));
                        if number == 1 {
                            posted.fetch_add(3, Ordering::Relaxed);
                        }
                    }
                    Err(error) => {
                        assert_ne!(on_expiry, "hold", "held money can be settled late");
                        assert_eq!(error, FinishError::Refused(Refusal::LeaseEnded));
                        if number == 1 && on_expiry == "settle" {
                            posted.fetch_add(5, Ordering::Relaxed);
                        }
                    }
                }
            }
        });
        let end_ms = ROUNDS as u64 * 10 + 100;
        Admin::new(&store).expire(NOW_MS + end_ms).unwrap();
        let wallet = wallet(&store, end_ms);
        assert_eq!(wallet.held, Amount(0), "{on_expiry}");
        assert_eq!(wallet.posted.0, posted.load(Ordering::Relaxed), "{on_expiry}");
    }
}
