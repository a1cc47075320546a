//! What a careful engineer composes by hand: hashbrown, matchit, ipnet, governor, dashmap.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::InMemoryState;
use governor::{Quota, RateLimiter};
use hashbrown::{DefaultHashBuilder, HashMap};
use ipnet::IpNet;
use matchit::Router;
use sha2::{Digest, Sha256};

use crate::clock::ToldClock;
use crate::floor::router;
use crate::{BODY, Get, KEEP_MS, Post, QUOTA, START_MS, TOKENS_PER_ACCOUNT, token};

type Shared<K, V> = DashMap<K, V, DefaultHashBuilder>;
type Limiter = RateLimiter<u32, Shared<u32, InMemoryState>, ToldClock, NoOpMiddleware<Nanos>>;

/// Tokens in a map, routes in matchit, limits in governor, keys and wallets in dashmap; all maps with
/// hashbrown's fast hasher. A GET checks the bearer prefix, the digest, networks, the route, scopes and
/// the limit.
///
/// A POST also makes a fingerprint, claims the key and holds money. What is left out is in its favour:
/// nothing is settled and no response is kept, an expired claim is removed outside the measured time,
/// tokens can neither be added nor revoked while it runs (no lock around their map), and the three
/// steps of a POST are not one transaction.
#[derive(Debug)]
pub struct Composed {
    tokens: HashMap<[u8; 32], Arc<Token>>,
    get: Router<u16>,
    post: Router<u16>,
    limiter: Limiter,
    claims: Shared<(u32, [u8; 24]), Claim>,
    wallets: Shared<u32, Wallet>,
}

#[derive(Debug)]
struct Token {
    id: u32,
    account: u32,
    scopes: u64,
    networks: Vec<IpNet>,
}

#[derive(Debug)]
struct Claim {
    fingerprint: [u8; 32],
    expires_ms: u64,
}

#[derive(Debug)]
struct Wallet {
    balance: u64,
    held: u64,
}

#[derive(PartialEq, Eq)]
enum Claimed {
    Fresh,
    InFlight,
    OtherRequest,
}

impl Composed {
    /// Knows the first `tokens` tokens.
    #[must_use]
    pub fn new(tokens: usize) -> Self {
        ToldClock::tell(START_MS);
        let quota = Quota::per_minute(u32::try_from(QUOTA).unwrap().try_into().unwrap());
        let record = |index: usize| {
            let id = u32::try_from(index).unwrap();
            let account = id / TOKENS_PER_ACCOUNT as u32;
            let record = Token { id, account, scopes: u64::MAX, networks: Vec::new() };
            (Sha256::digest(token(index).expose()).into(), Arc::new(record))
        };
        let wallet = |account| (account, Wallet { balance: 1 << 60, held: 0 });
        Composed {
            tokens: (0..tokens).map(record).collect(),
            get: router("GET"),
            post: router("POST"),
            limiter: RateLimiter::new(quota, Shared::default(), ToldClock),
            claims: Shared::default(),
            wallets: (0..=(tokens / TOKENS_PER_ACCOUNT) as u32).map(wallet).collect(),
        }
    }

    #[inline]
    fn admit(&self, router: &Router<u16>, path: &str, value: &[u8], now_ms: u64) -> Option<&Token> {
        let text = value.strip_prefix(b"Bearer ")?;
        let digest: [u8; 32] = Sha256::digest(text).into();
        let token = self.tokens.get(&digest)?;
        let source = black_box(IpAddr::V4(Ipv4Addr::LOCALHOST));
        if !token.networks.is_empty() && !token.networks.iter().any(|net| net.contains(&source)) {
            return None;
        }
        let route = *router.at(path).ok()?.value;
        if token.scopes & (1 << route) == 0 {
            return None;
        }
        ToldClock::tell(now_ms);
        self.limiter.check_key(&token.id).ok()?;
        Some(token)
    }

    #[inline]
    fn claim(&self, account: u32, key: &[u8; 24], now_ms: u64) -> Claimed {
        let mut fingerprint = Sha256::new();
        fingerprint.update(b"POST");
        fingerprint.update(b"/sms/send");
        fingerprint.update(Sha256::digest(black_box(BODY)));
        let fingerprint: [u8; 32] = fingerprint.finalize().into();
        match self.claims.entry((account, *key)) {
            Entry::Occupied(claim) if claim.get().expires_ms > now_ms => {
                if claim.get().fingerprint == fingerprint {
                    Claimed::InFlight
                } else {
                    Claimed::OtherRequest
                }
            }
            place => {
                place.insert(Claim { fingerprint, expires_ms: now_ms + KEEP_MS });
                Claimed::Fresh
            }
        }
    }

    #[inline]
    fn hold(&self, account: u32, amount: u64) -> bool {
        let Some(mut wallet) = self.wallets.get_mut(&account) else { return false };
        if wallet.balance - wallet.held < amount {
            return false;
        }
        wallet.held += amount;
        true
    }
}

impl Get for Composed {
    #[inline]
    fn get(&self, authorization: &[u8], now_ms: u64) -> bool {
        self.admit(&self.get, black_box("/messages"), authorization, now_ms).is_some()
    }
}

impl Post for Composed {
    #[inline]
    fn post(&self, authorization: &[u8], key: &[u8; 24], now_ms: u64) -> bool {
        let path = black_box("/sms/send");
        let Some(token) = self.admit(&self.post, path, authorization, now_ms) else { return false };
        self.claim(token.account, key, now_ms) == Claimed::Fresh && self.hold(token.account, 5)
    }

    fn tidy(&self, now_ms: u64) {
        self.claims.retain(|_, claim| claim.expires_ms > now_ms);
    }
}
