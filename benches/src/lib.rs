//! The contenders: a floor, a stack composed by hand from the usual crates, and tollgate. All decide
//! the same requests on the same tokens, in the same order, at the same simulated time.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)] // measures; nothing here is input
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod composed;
mod engine;
mod floor;

pub use composed::Composed;
pub use engine::Tollgate;
pub use floor::Floor;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tollgate::TokenText;

static NEXT_MS: AtomicU64 = AtomicU64::new(START_MS);

/// 120 requests a minute, as in the preset.
pub const QUOTA: u64 = 120;
pub const WINDOW_MS: u64 = 60_000;
/// When simulated time begins.
pub const START_MS: u64 = 1_700_000_000_000;
/// The routes that a request is matched against.
pub const ROUTES: &[(&str, &str)] = &[
    ("POST", "/sms/send"),
    ("POST", "/otp/send"),
    ("POST", "/otp/verify"),
    ("POST", "/voice/send"),
    ("GET", "/voice/{id}"),
    ("POST", "/lookup"),
    ("GET", "/lookups"),
    ("GET", "/lookup/{id}"),
    ("POST", "/email/verify"),
    ("GET", "/messages"),
    ("GET", "/messages/{id}"),
    ("GET", "/campaigns"),
    ("GET", "/campaigns/{id}"),
    ("GET", "/balance"),
];
/// Distinct idempotency keys; by the time one comes round again its first use has expired.
pub const KEYS: usize = 1 << 14;
/// Every tenth token starts an account.
pub const TOKENS_PER_ACCOUNT: usize = 10;

/// Token texts, and an order in which to use them.
#[derive(Debug)]
pub struct Tokens {
    texts: Arc<[[u8; 51]]>,
    state: u64,
    now_ms: u64,
}

impl Tokens {
    #[must_use]
    pub fn new(count: usize) -> Self {
        let texts = (0..count).map(|index| authorization(&token(index))).collect();
        Tokens { texts, state: 0x9e37_79b9_7f4a_7c15, now_ms: START_MS }
    }

    /// The same tokens in another order, at a time after all that were used before: no store ever
    /// sees the clock run backwards.
    #[must_use]
    pub fn reordered(&self, seed: u64) -> Self {
        let now_ms = NEXT_MS.fetch_add(1_000_000_000, Ordering::Relaxed);
        Tokens { texts: Arc::clone(&self.texts), state: seed | 1, now_ms }
    }

    /// An `Authorization` value and the time of its request, one simulated millisecond after the last
    /// (with few tokens more, so that nobody reaches the quota).
    #[inline]
    pub fn next(&mut self) -> (usize, &[u8; 51], u64) {
        // xorshift64: a few cycles, and no two requests in a row share a cache line.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.now_ms += 4;
        let index = (self.state % self.texts.len() as u64) as usize;
        (index, &self.texts[index], self.now_ms)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }
}

/// The token with this number.
#[must_use]
pub fn token(index: usize) -> TokenText {
    let mut entropy = [0x5a; 32];
    entropy[8..16]
        .copy_from_slice(&(index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    TokenText::generate(&entropy)
}

fn authorization(token: &TokenText) -> [u8; 51] {
    let mut value = [0; 51];
    value[..7].copy_from_slice(b"Bearer ");
    value[7..].copy_from_slice(token.expose().as_bytes());
    value
}

/// The names of the idempotency keys.
#[must_use]
pub fn keys() -> Vec<[u8; 24]> {
    (0..KEYS)
        .map(|index| {
            let mut key = [b'k'; 24];
            let digits = format!("{index:08}");
            key[16..].copy_from_slice(digits.as_bytes());
            key
        })
        .collect()
}

/// The body of every POST.
pub const BODY: &[u8] =
    br#"{"to":"+15550100","sender":"ACME","message":"Your parcel is on its way."}"#;
