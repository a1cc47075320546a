//! Requests on a store by many callers at once, and how long each took.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tollgate::{
    AccountId, AccountPatch, Admin, Amount, Body, Engine, Finish, PolicyConfig, Request, Store,
    StoredResponse, TokenPatch, TokenText, Verdict,
};

const WARM_UP: Duration = Duration::from_millis(300);
const MEASURED: Duration = Duration::from_millis(1_500);

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Look-up, and an admission by one GCRA limit.
    Get,
    /// Look-up, admission with limit, claim and charge, and settlement with a response that is kept for two
    /// seconds: what is new and what is forgotten balance.
    Post,
}

/// How it went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// Decisions a second, of all callers.
    pub(crate) per_second: f64,
    /// Microseconds a decision.
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// An engine, and a token for each of so many callers, each of an account of its own.
pub(crate) struct Load {
    engine: Engine,
    authorizations: Vec<String>,
    response: Arc<StoredResponse>,
    keys: AtomicU64,
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

impl Load {
    pub(crate) fn new(callers: usize) -> Self {
        let policy = PolicyConfig::from_toml(
            "[scopes]\nall = [\"GET /messages\", \"POST /sms/send\"]\n\
             [limits.token]\nper = \"token\"\nquota = 1000000000\nwindow_ms = 60000\n\
             [routes.\"POST /sms/send\"]\nidempotency = true\nprice = 5\n\
             [idempotency]\nretention_ms = 2000\n[reservations]\nlease_ms = 60000\nretention_ms = 2000\n",
        );
        let token = |caller: usize| {
            let mut entropy = [7; 32];
            entropy[..8].copy_from_slice(&caller.to_be_bytes());
            format!("Bearer {}", TokenText::generate(&entropy).expose())
        };
        let response = StoredResponse {
            status: 201,
            headers: [("content-type".into(), b"application/json".as_slice().into())].into(),
            body: Some(br#"{"id":"msg_1","status":"queued"}"#.as_slice().into()),
        };
        Load {
            engine: Engine::new(policy.unwrap().compile().unwrap()),
            authorizations: (0..callers).map(token).collect(),
            response: Arc::new(response),
            keys: AtomicU64::new(0),
        }
    }

    /// Puts accounts and tokens into a store.
    pub(crate) fn set_up(&self, store: &dyn Store) {
        let admin = Admin::new(store);
        for (caller, authorization) in self.authorizations.iter().enumerate() {
            let account = AccountId::new(&format!("account-{caller:07}")).unwrap();
            admin
                .put_account(&account, Amount(1 << 60), AccountPatch::default(), now_ms())
                .unwrap();
            let patch = TokenPatch { scopes: Some(vec!["all".into()]), ..TokenPatch::default() };
            let text = authorization.strip_prefix("Bearer ").unwrap();
            let token = TokenText::parse(tollgate::TokenFormat::Native, text).unwrap();
            admin.put_token(&self.engine.digest(&token), &account, patch, now_ms()).unwrap();
        }
    }

    /// Lets every caller ask, one request after the other, for a second and a half.
    pub(crate) fn run(&self, store: &dyn Store, kind: Kind, callers: usize) -> Figures {
        let measures = AtomicBool::new(false);
        let stops = AtomicBool::new(false);
        let (mut latencies, elapsed) = thread::scope(|scope| {
            let callers: Vec<_> = self
                .authorizations
                .iter()
                .take(callers)
                .map(|authorization| {
                    let (measures, stops) = (&measures, &stops);
                    scope.spawn(move || {
                        let mut latencies = Vec::with_capacity(1 << 16);
                        while !stops.load(Ordering::Relaxed) {
                            let began = Instant::now();
                            self.ask(store, kind, authorization);
                            if measures.load(Ordering::Relaxed) {
                                latencies.push(began.elapsed());
                            }
                        }
                        latencies
                    })
                })
                .collect();
            thread::sleep(WARM_UP);
            measures.store(true, Ordering::Relaxed);
            let began = Instant::now();
            thread::sleep(MEASURED);
            measures.store(false, Ordering::Relaxed);
            let elapsed = began.elapsed();
            stops.store(true, Ordering::Relaxed);
            let latencies = callers.into_iter().flat_map(|caller| caller.join().unwrap());
            (latencies.collect::<Vec<_>>(), elapsed)
        });
        latencies.sort_unstable();
        let at = |share: f64| {
            let place = (latencies.len() as f64 * share) as usize;
            latencies.get(place).map_or(f64::NAN, |latency| latency.as_nanos() as f64 / 1_000.0)
        };
        Figures {
            per_second: latencies.len() as f64 / elapsed.as_secs_f64(),
            p50_us: at(0.5),
            p99_us: at(0.99),
        }
    }

    /// One decision of a caller.
    pub(crate) fn run_once(&self, store: &dyn Store, kind: Kind, caller: usize) {
        self.ask(store, kind, &self.authorizations[caller]);
    }

    fn ask(&self, store: &dyn Store, kind: Kind, authorization: &str) {
        let key = format!("key-{}", self.keys.fetch_add(1, Ordering::Relaxed));
        let headers = [("authorization", authorization), ("idempotency-key", key.as_str())];
        let (method, target, body): (&[u8], &[u8], &[u8]) = match kind {
            Kind::Get => (b"GET", b"/messages", b""),
            Kind::Post => (b"POST", b"/sms/send", br#"{"to":"+15550100","message":"hello"}"#),
        };
        let request = Request {
            peer: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            body: Body::Bytes(body),
            ..Request::new(method, target, now_ms()).with_headers(&headers)
        };
        let decision = self.engine.decide(store, &request);
        assert_eq!(decision.verdict(), Verdict::Allow, "{:?}", decision.store_error());
        if let Some(ticket) = decision.ticket() {
            let response = Some(Arc::clone(&self.response));
            let finish = Finish::Settle { amount: None, response };
            self.engine.finish(store, ticket, finish, now_ms()).unwrap();
        }
    }
}
