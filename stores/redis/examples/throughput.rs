//! How many requests a second a Redis server decides, and how long one takes.
//!
//! ```text
//! redis-server --port 6390 --save "" &
//! cargo run --release -p tollgate-redis --example throughput -- redis://127.0.0.1:6390
//! ```
#![allow(clippy::print_stdout, clippy::arithmetic_side_effects)]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tollgate::{
    AccountId, AccountPatch, Admin, Amount, Engine, PolicyConfig, Request, Status, TokenFormat,
    TokenPatch, TokenText,
};
use tollgate_redis::{RedisOptions, RedisStore};

type Failure = Box<dyn Error + Send + Sync>;

const TOKENS: usize = 64;
const TIME: Duration = Duration::from_secs(4);

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(0)
}

struct World {
    engine: Engine,
    store: RedisStore,
}

impl World {
    fn new(url: &str, connections: usize) -> Result<World, Failure> {
        let policy = r#"{"tokens": {"format": "opaque"},
            "scopes": {"all": ["GET /a", "POST /b"]},
            "limits": {"token": {"per": "token", "quota": 1000000000, "window_ms": 60000}},
            "routes": {"POST /b": {"idempotency": {}, "price": 1}}}"#;
        let engine = Engine::new(PolicyConfig::from_json(policy)?.compile()?);
        let mut options = RedisOptions::new(url);
        options.protocol.prefix = format!("bench{}", now_ms());
        options.connections = connections;
        let world = World { engine, store: RedisStore::new(&options)? };
        let admin = Admin::new(&world.store);
        for number in 0..TOKENS {
            let account = AccountId::new(&format!("account-{number}"))?;
            let balance = Amount(1_000_000_000_000);
            admin.put_account(&account, balance, AccountPatch::default(), now_ms())?;
            let text = TokenText::parse(TokenFormat::Opaque, &format!("token-{number}"))?;
            let digest = world.engine.digest(&text);
            let patch = TokenPatch { scopes: Some(vec!["all".into()]), ..TokenPatch::default() };
            admin.put_token(&digest, &account, patch, now_ms())?;
        }
        Ok(world)
    }

    /// Decides one request and, where it went through with something to settle, settles it.
    fn ask(&self, token: usize, key: Option<&str>) -> Result<(), Failure> {
        let bearer = format!("Bearer token-{token}");
        let name = if key.is_some() { "idempotency-key" } else { "x-other" };
        let headers = [("authorization", bearer.as_str()), (name, key.unwrap_or_default())];
        let (method, target) = match key {
            Some(_) => (&b"POST"[..], &b"/b"[..]),
            None => (&b"GET"[..], &b"/a"[..]),
        };
        let request = Request::new(method, target, now_ms()).with_headers(&headers);
        let decision = self.engine.decide(&self.store, &request);
        if decision.status() != Status::Allowed {
            return Err(format!("{:?}", decision.status()).into());
        }
        if let Some(ticket) = decision.ticket() {
            let finish = tollgate::Finish::Settle { amount: None, response: None };
            self.engine.finish(&self.store, ticket, finish, now_ms())?;
        }
        Ok(())
    }
}

fn measure(url: &str, what: &str, threads: usize, keys: bool) -> Result<(), Failure> {
    let world = Arc::new(World::new(url, threads.min(32))?);
    let start = Instant::now();
    let thread = |thread: usize| {
        let world = Arc::clone(&world);
        std::thread::spawn(move || -> Result<Vec<u64>, Failure> {
            let mut took_us = Vec::new();
            while start.elapsed() < TIME {
                let key = keys.then(|| format!("key-{thread}-{}", took_us.len()));
                let begin = Instant::now();
                world.ask(thread % TOKENS, key.as_deref())?;
                took_us.push(u64::try_from(begin.elapsed().as_micros())?);
            }
            Ok(took_us)
        })
    };
    let handles: Vec<_> = (0..threads).map(thread).collect();
    let mut all = Vec::new();
    for handle in handles {
        all.extend(handle.join().map_err(|_| "a thread failed")??);
    }
    let seconds = start.elapsed().as_secs_f64();
    all.sort_unstable();
    let at = |part: usize| all.get(all.len() * part / 100).copied().unwrap_or(0);
    let (count, median, late) = (all.len(), at(50), at(99));
    #[allow(clippy::cast_precision_loss, reason = "a figure to look at")]
    let rate = count as f64 / seconds;
    println!("{what:<26} {threads:>3} callers {rate:>8.0}/s  p50 {median:>6} µs  p99 {late:>6} µs");
    Ok(())
}

fn main() -> Result<(), Failure> {
    let url = std::env::args().nth(1).ok_or("give the URL of a server")?;
    for threads in [1, 64] {
        measure(&url, "GET: one limit", threads, false)?;
        measure(&url, "POST: key, charge, settle", threads, true)?;
    }
    Ok(())
}
