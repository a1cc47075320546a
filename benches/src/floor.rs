//! The least that a decision can cost: digest, route, look-up, one compare-and-swap.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use matchit::Router;
use sha2::{Digest, Sha256};

use crate::{Get, QUOTA, ROUTES, START_MS, WINDOW_MS, token};

/// SHA-256, matchit, hashbrown with its own hasher, and a GCRA cell beside the token's digest. It
/// leaves out everything else: headers, the bearer prefix, status, scopes, networks.
#[derive(Debug)]
pub struct Floor {
    cells: HashMap<[u8; 32], AtomicU64>,
    router: Router<u16>,
}

impl Floor {
    /// Knows the first `tokens` tokens.
    #[must_use]
    pub fn new(tokens: usize) -> Self {
        let cells = (0..tokens)
            .map(|index| (Sha256::digest(token(index).expose()).into(), AtomicU64::new(0)))
            .collect();
        Floor { cells, router: router("GET") }
    }
}

impl Get for Floor {
    #[inline]
    fn get(&self, authorization: &[u8], now_ms: u64) -> bool {
        let digest: [u8; 32] = Sha256::digest(&authorization[7..]).into();
        let Ok(route) = self.router.at(black_box("/messages")) else { return false };
        let Some(cell) = self.cells.get(&digest) else { return false };
        *route.value > 0 && take(cell, now_ms)
    }
}

/// One unit of the quota, or none.
#[inline]
fn take(cell: &AtomicU64, now_ms: u64) -> bool {
    const INTERVAL_NS: u64 = WINDOW_MS * 1_000_000 / QUOTA;
    let now_ns = (now_ms - START_MS) * 1_000_000;
    cell.fetch_update(Ordering::AcqRel, Ordering::Acquire, |tat_ns| {
        let next_ns = tat_ns.max(now_ns) + INTERVAL_NS;
        (next_ns - now_ns <= INTERVAL_NS * QUOTA).then_some(next_ns)
    })
    .is_ok()
}

/// The routes of one method, by path, numbered from 1.
pub(crate) fn router(method: &str) -> Router<u16> {
    let mut router = Router::new();
    for ((of, path), number) in ROUTES.iter().zip(1..) {
        if *of == method {
            router.insert(*path, number).expect("routes do not conflict");
        }
    }
    router
}
