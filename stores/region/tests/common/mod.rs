//! Limits, keys and regions for the tests.
#![allow(dead_code, unreachable_pub)] // each test uses a part

use tollgate::{
    Algorithm, CellKey, Command, Engine, Limit, LimitId, Lookup, Quota, Request, TokenText, preset,
};
use tollgate_region::{Region, RegionError, RegionOptions};

pub const NOW_MS: u64 = 1_700_000_000_000;
pub const KEY: [u8; 16] = *b"a key for tests.";
pub const ALGORITHMS: [Algorithm; 3] =
    [Algorithm::Gcra, Algorithm::FixedWindow, Algorithm::SlidingWindow];

/// A limit that takes `cost` units; quotas are given with each call.
pub fn limit(algorithm: Algorithm, cost: u64) -> Limit {
    let engine = Engine::new(preset("sms-gateway").unwrap().compile().unwrap());
    let authorization = format!("Bearer {}", TokenText::generate(&[7; 32]).expose());
    let headers = [("authorization", authorization.as_str())];
    let request = Request::new(b"GET", b"/balance", NOW_MS).with_headers(&headers);
    // What a store is asked first, with the limits of the route.
    let evaluation = engine.evaluate(&request);
    let Some(Command::Lookup(Lookup { plain: Some(plain), .. })) = evaluation.command() else {
        panic!("no look-up with limits")
    };
    let mut limit = plain.limits[0].clone();
    limit.id = LimitId::of("tests", algorithm);
    limit.quota = Quota::new(1, 1);
    limit.algorithm = algorithm;
    limit.cost = cost;
    limit
}

pub fn key(limit: &Limit, number: u64) -> CellKey {
    let mut partition = [0; 32];
    partition[..8].copy_from_slice(&number.to_le_bytes());
    CellKey { limit: limit.id, partition }
}

/// A region in memory of its own, which lives as long as the process.
pub fn region(cells: usize, windows: usize) -> Region {
    try_region(cells, windows).unwrap()
}

pub fn memory(bytes: usize) -> &'static mut [u64] {
    vec![0_u64; bytes.div_ceil(8)].leak()
}

pub fn try_region(cells: usize, windows: usize) -> Result<Region, RegionError> {
    let options = RegionOptions { cells, windows };
    let len = options.size_bytes()?;
    let memory = memory(len);
    // SAFETY: nobody else has the memory, and it is never freed.
    #[allow(unsafe_code)]
    unsafe {
        Region::create(memory.as_mut_ptr().cast(), len, &options, &KEY)
    }
}
