//! What the contenders are asked: tokens in a random order, idempotency keys one after the other.

use std::sync::Arc;

use tollgate::TokenText;

use crate::SimulatedClock;

/// The length of `Bearer ` and a token.
const VALUE_LEN: usize = 51;
/// So many requests fit the first-level cache beside what a decision touches.
pub const RING: usize = 256;
/// Distinct idempotency keys; by the time one comes round again its first use has expired.
const KEYS: usize = 1 << 14;

/// The `Authorization` values of all tokens, a random order in which to use them, and the time.
#[derive(Debug)]
pub struct Tokens {
    values: Arc<[[u8; VALUE_LEN]]>,
    order: u64,
    clock: SimulatedClock,
}

impl Tokens {
    /// The first `count` tokens.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let values = (0..count).map(|index| authorization(&token(index))).collect();
        Tokens { values, order: 1, clock: SimulatedClock::new() }
    }

    /// The same tokens in the order of `seed`, as time goes on.
    #[must_use]
    pub fn ordered(&self, seed: u64) -> Self {
        let order = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Tokens { values: Arc::clone(&self.values), order, clock: self.clock.reader() }
    }

    /// The `Authorization` value of a random token, and the time of the request in Unix ms. Among a
    /// million tokens the value is seldom in a cache: every contender pays for that alike.
    #[inline]
    pub fn draw(&mut self) -> (&[u8], u64) {
        // xorshift64, scaled without a division.
        self.order ^= self.order << 13;
        self.order ^= self.order >> 7;
        self.order ^= self.order << 17;
        let index = ((self.order >> 32) * self.values.len() as u64) >> 32;
        (&self.values[index as usize], self.clock.step())
    }

    /// Every token once, in the order in which they were made.
    pub fn each(&mut self, mut request: impl FnMut(&[u8], u64)) {
        for value in self.values.iter() {
            request(value, self.clock.step());
        }
    }

    /// Copies the next requests into a small ring: a server has just received what it decides on.
    pub fn fill(&mut self, ring: &mut Ring) {
        for (place, at_ms) in ring.iter_mut() {
            let (value, now_ms) = self.draw();
            place.copy_from_slice(value);
            *at_ms = now_ms;
        }
    }
}

/// Requests whose text is in the first-level cache.
pub type Ring = [([u8; VALUE_LEN], u64); RING];

/// A ring to be filled.
#[must_use]
pub fn empty_ring() -> Ring {
    [([0; VALUE_LEN], 0); RING]
}

/// Idempotency keys, one after the other, round and round.
#[derive(Debug)]
pub struct Keys {
    keys: Vec<[u8; 24]>,
    next: usize,
}

impl Default for Keys {
    fn default() -> Self {
        let key = |index| format!("{index:k>24}").into_bytes().try_into().unwrap();
        Keys { keys: (0..KEYS).map(key).collect(), next: 0 }
    }
}

impl Keys {
    /// The next key.
    #[inline]
    pub fn draw(&mut self) -> &[u8; 24] {
        self.next = (self.next + 1) % KEYS;
        &self.keys[self.next]
    }
}

/// The token with this number.
#[must_use]
pub fn token(index: usize) -> TokenText {
    let mut entropy = [0x5a; 32];
    let mixed = (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    entropy[8..16].copy_from_slice(&mixed.to_be_bytes());
    TokenText::generate(&entropy)
}

fn authorization(token: &TokenText) -> [u8; VALUE_LEN] {
    let mut value = [0; VALUE_LEN];
    value[..7].copy_from_slice(b"Bearer ");
    value[7..].copy_from_slice(token.expose().as_bytes());
    value
}
