//! What one take of a limit costs: in this process's memory, and in a region that processes share.

use std::hint::black_box;
use std::time::Instant;

use tollgate::{
    AccountId, AccountRef, Algorithm, CellKey, Command, Engine, Limit, LimitConfig, LimitStore,
    MemoryOptions, MemoryStore, Partition, PolicyConfig, Request, TokenDigest, TokenText,
};
use tollgate_region::{Region, RegionOptions};

const START_MS: u64 = 1_700_000_000_000;
const ROUNDS: usize = 9;
const TAKES: usize = 200_000;

/// Nanoseconds a take, medians.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Takes {
    pub(crate) memory: f64,
    pub(crate) region: f64,
}

impl Takes {
    pub(crate) fn ratio(&self) -> f64 {
        self.region / self.memory
    }

    /// Measures both in turns, on the same keys in the same order.
    pub(crate) fn measure(algorithm: Algorithm, keys: usize) -> Result<Takes, String> {
        let limit = limit(algorithm);
        let keys = cell_keys(&limit, keys);
        let directory = in_memory().map_err(|error| error.to_string())?;
        let windows = if algorithm == Algorithm::Gcra { 0 } else { keys.len() };
        let options = RegionOptions { cells: keys.len() * 2, windows };
        let region = Region::open(directory.path().join("region"), &options, &[7; 16])
            .map_err(|error| error.to_string())?;
        let memory = MemoryStore::new({
            let mut options = MemoryOptions::default();
            options.max_cells = keys.len() * 2;
            options
        });
        let mut order = Order(0x9e37_79b9_7f4a_7c15);
        let mut now_ms = START_MS;
        let mut times = (Vec::new(), Vec::new());
        for key in &keys {
            take(&memory, key, &limit, now_ms);
            take(&region, key, &limit, now_ms);
        }
        for _ in 0..ROUNDS {
            let places: Vec<usize> = (0..TAKES).map(|_| order.draw(keys.len())).collect();
            times.0.push(round(&memory, &keys, &places, &limit, now_ms));
            times.1.push(round(&region, &keys, &places, &limit, now_ms));
            now_ms += 1_000;
        }
        let median = |mut times: Vec<f64>| {
            times.sort_unstable_by(f64::total_cmp);
            times[times.len() / 2]
        };
        Ok(Takes { memory: median(times.0), region: median(times.1) })
    }
}

/// A directory whose files are in memory, where there is one.
fn in_memory() -> std::io::Result<tempfile::TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

/// As a store is given it.
fn limit(algorithm: Algorithm) -> Limit {
    let mut policy = PolicyConfig::default();
    policy.scopes.insert("all".into(), vec!["GET /x".into()]);
    let mut config = LimitConfig::new(Partition::Token, 1_000_000_000, 60_000);
    config.algorithm = algorithm;
    policy.limits.insert("token".into(), config);
    let engine = Engine::new(policy.compile().unwrap());
    let text = format!("Bearer {}", TokenText::generate(&[7; 32]).expose());
    let headers = [("authorization", text.as_str())];
    let request = Request::new(b"GET", b"/x", START_MS).with_headers(&headers);
    let evaluation = engine.evaluate(&request);
    let Some(Command::Lookup(lookup)) = evaluation.command() else { panic!("no look-up") };
    lookup.plain.unwrap().limits[0].clone()
}

fn cell_keys(limit: &Limit, count: usize) -> Vec<CellKey> {
    let account = AccountRef::Id(AccountId::new("acme").unwrap());
    let digest = |index: usize| {
        let text = index.to_be_bytes();
        tollgate::digest(&text, None)
    };
    let key = |digest: TokenDigest| limit.cell_key(&digest, &account, None);
    (0..count).map(|index| key(digest(index))).collect()
}

fn take(store: &impl LimitStore, key: &CellKey, limit: &Limit, now_ms: u64) {
    let check = store.take(key, limit, &limit.quota, now_ms).unwrap();
    assert!(check.verdict.is_ok());
    black_box(check);
}

fn round(
    store: &impl LimitStore,
    keys: &[CellKey],
    places: &[usize],
    limit: &Limit,
    now_ms: u64,
) -> f64 {
    let began = Instant::now();
    for place in places {
        take(store, &keys[*place], limit, now_ms);
    }
    began.elapsed().as_nanos() as f64 / places.len() as f64
}

/// A xorshift generator: the same order every time.
struct Order(u64);

impl Order {
    fn draw(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}
