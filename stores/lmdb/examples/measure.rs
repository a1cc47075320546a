//! Measures decisions on a store in a directory, for each sync policy and number of callers:
//!
//! ```sh
//! cargo run --release -p tollgate-lmdb --example measure -- DIRECTORY [SECONDS [ONE…]]
//! ```
//!
//! `get` is a decision with one GCRA limit; `admit` is the admission alone, without the look-up before
//! it; `post` claims an idempotency key, holds money, and settles with a response: four commands.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::arithmetic_side_effects)]
#![allow(clippy::indexing_slicing, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
#![allow(clippy::expect_used, clippy::panic)] // a program for the developer, not for users

use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tollgate::{
    AccountId, AccountPatch, Admin, Admit, Amount, Command, Engine, Finish, Limit, Lookup,
    PolicyConfig, Request, Store, StoredResponse, TokenFormat, TokenPatch, TokenText, Verdict,
};
use tollgate_lmdb::{LmdbOptions, LmdbStore, SyncPolicy};

const TOKENS: usize = 10_000;
const ACCOUNTS: usize = 2_000;
const POLICY: &str = r#"{
    "tokens": {"format": "opaque"},
    "scopes": {"all": ["GET /things", "POST /things"]},
    "routes": {"POST /things": {"idempotency": true, "price": 1}},
    "limits": {"token": {"per": "token", "quota": 1000000000, "window_ms": 60000}}
}"#;

fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64
}

fn token(number: usize) -> String {
    format!("token-{number:06}")
}

fn fill(store: &LmdbStore, engine: &Engine) {
    let admin = Admin::new(store);
    thread::scope(|scope| {
        for part in 0..50 {
            let admin = &admin;
            scope.spawn(move || {
                for number in (part..TOKENS).step_by(50) {
                    let account =
                        AccountId::new(&format!("account-{}", number % ACCOUNTS)).unwrap();
                    if number < ACCOUNTS {
                        let patch = AccountPatch::default();
                        admin.put_account(&account, Amount(1 << 50), patch, now_ms()).unwrap();
                    }
                    let text = TokenText::parse(TokenFormat::Opaque, &token(number)).unwrap();
                    let scopes = Some(vec!["all".into()]);
                    let patch = TokenPatch { scopes, ..TokenPatch::default() };
                    loop {
                        let digest = engine.digest(&text);
                        if admin.put_token(&digest, &account, patch.clone(), now_ms()).is_ok() {
                            break; // its account may come a moment later
                        }
                    }
                }
            });
        }
    });
}

fn get(store: &LmdbStore, engine: &Engine, number: usize) {
    let bearer = format!("Bearer {}", token(number % TOKENS));
    let headers = [("authorization", bearer)];
    let request = Request::new(b"GET", b"/things", now_ms()).with_headers(&headers);
    let decision = engine.decide(store, &request);
    assert_eq!(decision.verdict(), Verdict::Allow, "{decision:?}");
}

fn post(store: &LmdbStore, engine: &Engine, number: usize) {
    let headers = [
        ("authorization", format!("Bearer {}", token(number % TOKENS))),
        ("idempotency-key", format!("key-{number}-{}", now_ms())),
    ];
    let request = Request::new(b"POST", b"/things", now_ms()).with_headers(&headers);
    let decision = engine.decide(store, &request);
    assert_eq!(decision.verdict(), Verdict::Allow, "{decision:?}");
    let response =
        StoredResponse { status: 200, headers: Box::default(), body: Some(vec![b'x'; 200].into()) };
    let finish = Finish::Settle { amount: None, response: Some(response.into()) };
    engine.finish(store, decision.ticket().unwrap(), finish, now_ms()).unwrap();
}

/// The limits of the GET, as its look-up carries them.
fn limits_of(engine: &Engine) -> Vec<Limit> {
    let headers = [("authorization", "Bearer x")];
    let request = Request::new(b"GET", b"/things", now_ms()).with_headers(&headers);
    match engine.evaluate(&request).command() {
        Some(Command::Lookup(Lookup { plain: Some(plain), .. })) => plain.limits.to_vec(),
        other => panic!("{other:?}"),
    }
}

fn admit_alone(store: &LmdbStore, engine: &Engine, limits: &[Limit], number: usize) {
    let text = TokenText::parse(TokenFormat::Opaque, &token(number % TOKENS)).unwrap();
    let digest = engine.digest(&text);
    let account = tollgate::AccountRef::Slot((number % ACCOUNTS) as u32);
    let admit = Admit::limits_only(&digest, &account, limits);
    store.admit(&admit, now_ms()).unwrap();
}

fn run(
    name: &str,
    sync: SyncPolicy,
    callers: usize,
    length: Duration,
    store: &LmdbStore,
    one: &(dyn Fn(usize) + Sync),
) {
    let label = format!("{name:<6} {:<16} {callers:>3} callers", format!("{sync:?}"));
    let wanted: Vec<String> = std::env::args().skip(3).collect();
    if !wanted.iter().all(|word| label.contains(word.as_str())) {
        return;
    }
    let stop = AtomicBool::new(false);
    let next = AtomicU64::new(0);
    let barrier = Barrier::new(callers + 1);
    let commits = store.statistics().unwrap().commits;
    let (mut times, elapsed) = thread::scope(|scope| {
        let threads: Vec<_> = (0..callers)
            .map(|_| {
                scope.spawn(|| {
                    let mut times = Vec::new();
                    barrier.wait();
                    while !stop.load(Ordering::Relaxed) {
                        let number = next.fetch_add(7_919, Ordering::Relaxed) as usize;
                        let started = Instant::now();
                        one(number);
                        times.push(started.elapsed());
                    }
                    times
                })
            })
            .collect();
        barrier.wait();
        let started = Instant::now();
        thread::sleep(length);
        stop.store(true, Ordering::Relaxed);
        let times: Vec<_> = threads.into_iter().flat_map(|one| one.join().unwrap()).collect();
        (times, started.elapsed())
    });
    times.sort_unstable();
    let commits = store.statistics().unwrap().commits - commits;
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!(
        "{label} {:>9.0}/s  p50 {:>9.1?}  p99 {:>9.1?}  {:>5.1} decisions a commit",
        times.len() as f64 / elapsed.as_secs_f64(),
        at(0.5),
        at(0.99),
        times.len() as f64 / commits.max(1) as f64,
    );
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().expect("give a directory");
    let seconds: f64 = arguments.next().map_or(2.0, |text| text.parse().unwrap());
    let engine = Engine::new(PolicyConfig::from_json(POLICY).unwrap().compile().unwrap());
    let limits = limits_of(&engine);
    for sync in [SyncPolicy::EveryCommit, SyncPolicy::IntervalMs(100), SyncPolicy::Never] {
        let path = Path::new(&directory).join(format!("{sync:?}"));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        let mut options = LmdbOptions::default();
        options.sync = sync;
        let store = LmdbStore::open(&path, &options).unwrap();
        fill(&store, &engine);
        for callers in [1, 8, 64] {
            let length = Duration::from_secs_f64(seconds);
            run("get", sync, callers, length, &store, &|number| get(&store, &engine, number));
            run("admit", sync, callers, length, &store, &|number| {
                admit_alone(&store, &engine, &limits, number);
            });
            run("post", sync, callers, length, &store, &|number| post(&store, &engine, number));
        }
        println!("{:?}", store.statistics().unwrap());
    }
}
