//! Who keeps a request with an idempotency key from being executed twice.

use dashmap::DashMap;
use sha2::{Digest, Sha256};
use tollgate_bench::{BODY, Composed, Post, Tollgate};

use crate::START_MS;

/// An idempotency key.
pub type Key = [u8; 24];

/// Executes requests, each key once.
pub trait Once: Sync {
    /// Whether this request is to be executed. `request` tells requests of one key apart, and `round` is
    /// later for each round of a race.
    fn executes(&self, key: &Key, request: usize, round: usize) -> bool;
}

/// Looks whether the key is there, and if not puts it there.
#[derive(Debug)]
pub struct GetThenSet {
    claims: DashMap<Key, [u8; 32]>,
    between: fn(),
}

impl GetThenSet {
    /// As it is written every day.
    #[must_use]
    pub fn new() -> Self {
        GetThenSet::with(|| ())
    }

    /// With something that happens between the two.
    #[must_use]
    pub fn with(between: fn()) -> Self {
        GetThenSet { claims: DashMap::new(), between }
    }
}

impl Default for GetThenSet {
    fn default() -> Self {
        GetThenSet::new()
    }
}

impl Once for GetThenSet {
    fn executes(&self, key: &Key, _: usize, _: usize) -> bool {
        if self.claims.contains_key(key) {
            return false;
        }
        (self.between)();
        self.claims.insert(*key, Sha256::digest(BODY).into());
        true
    }
}

/// A whole POST, as often as there are rounds: each is two minutes after the one before, when limits are
/// whole again.
#[derive(Debug)]
pub struct WholePost<P> {
    post: P,
    authorizations: Vec<Vec<u8>>,
}

/// Tokens of one account: they share the key, and no token comes near its quota of 120 a minute.
const TOKENS: usize = 10;
const ROUND_MS: u64 = 120_000;

impl WholePost<Composed> {
    /// The stack composed by hand, which claims a key through its map's entry.
    #[must_use]
    pub fn composed() -> Self {
        WholePost::of(Composed::new(TOKENS))
    }
}

impl WholePost<Tollgate> {
    /// tollgate's cycle: decide, then finish.
    #[must_use]
    pub fn tollgate() -> Self {
        WholePost::of(Tollgate::new(TOKENS))
    }
}

impl<P> WholePost<P> {
    fn of(post: P) -> Self {
        let value =
            |index| format!("Bearer {}", tollgate_bench::token(index).expose()).into_bytes();
        WholePost { post, authorizations: (0..TOKENS).map(value).collect() }
    }
}

impl<P: Post + Sync> Once for WholePost<P> {
    fn executes(&self, key: &Key, request: usize, round: usize) -> bool {
        let Some(value) = self.authorizations.get(request % TOKENS) else { return false };
        self.post.post(value, key, START_MS + ROUND_MS * (round as u64 + 1))
    }
}
