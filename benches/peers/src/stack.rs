//! A GET decision composed of peers: sha2 and hashbrown know tokens, Cedar authorizes, governor limits.

use hashbrown::HashMap;
use sha2::{Digest, Sha256};
use tollgate_bench::Get;

use crate::authorizers::{Cedar, Routes};
use crate::limiters::{Governor, Limiter, Terms};

/// What a team gets that takes a policy language for scopes and a limiter beside it. All tokens have the same
/// scopes, so one caller stands for all of them in Cedar, and no entities are made for a request.
#[derive(Debug)]
pub struct PeerStack {
    tokens: HashMap<[u8; 32], u64>,
    cedar: Cedar,
    governor: Governor,
}

impl PeerStack {
    /// Knows the first `tokens` tokens, each with all scopes and 120 requests a minute.
    #[must_use]
    pub fn new(tokens: usize) -> Self {
        let digest = |index| Sha256::digest(tollgate_bench::token(index).expose()).into();
        let grants = Routes::grants();
        let scopes: Vec<&str> = grants.keys().map(String::as_str).collect();
        PeerStack {
            tokens: (0..tokens).map(|index| (digest(index), index as u64)).collect(),
            cedar: Cedar::new(&grants, &scopes),
            governor: Governor::new(Terms { units: 120, window_s: 60 }),
        }
    }
}

impl Get for PeerStack {
    #[inline]
    fn get(&self, authorization: &[u8], now_ms: u64) -> bool {
        let Some(text) = authorization.strip_prefix(b"Bearer ") else { return false };
        let digest: [u8; 32] = Sha256::digest(text).into();
        let Some(token) = self.tokens.get(&digest) else { return false };
        self.cedar.permits("GET", std::hint::black_box("/messages"))
            && self.governor.take(token, now_ms)
    }
}
