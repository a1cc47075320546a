//! What a careful engineer composes by hand: hashbrown, matchit, ipnet, governor, dashmap.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use governor::clock::{Clock, FakeRelativeClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use hashbrown::HashMap;
use ipnet::IpNet;
use matchit::Router;
use sha2::{Digest, Sha256};

use crate::floor::router;
use crate::{BODY, QUOTA, START_MS, TOKENS_PER_ACCOUNT, Tokens, token};

type Limiter = RateLimiter<
    u32,
    DashMapStateStore<u32>,
    FakeRelativeClock,
    NoOpMiddleware<<FakeRelativeClock as Clock>::Instant>,
>;

/// Tokens in a map, routes in matchit, limits in governor, keys and wallets in dashmap.
#[derive(Debug)]
pub struct Composed {
    tokens: HashMap<[u8; 32], Arc<Token>>,
    get: Router<u16>,
    post: Router<u16>,
    limiter: Limiter,
    clock: FakeRelativeClock,
    claims: DashMap<(u32, [u8; 24]), Claim>,
    wallets: DashMap<u32, Wallet>,
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

#[derive(Debug, Default)]
struct Wallet {
    balance: u64,
    held: u64,
}

impl Composed {
    #[must_use]
    pub fn new(tokens: usize) -> Self {
        let clock = FakeRelativeClock::default();
        let quota = Quota::per_minute(u32::try_from(QUOTA).unwrap().try_into().unwrap());
        let limiter = RateLimiter::new(quota, DashMapStateStore::default(), clock.clone());
        let record = |index: usize| {
            let id = u32::try_from(index).unwrap();
            let account = id / TOKENS_PER_ACCOUNT as u32;
            let token_record = Token { id, account, scopes: u64::MAX, networks: Vec::new() };
            (Sha256::digest(token(index).expose()).into(), Arc::new(token_record))
        };
        let wallet = |account| (account, Wallet { balance: 1 << 60, held: 0 });
        Composed {
            tokens: (0..tokens).map(record).collect(),
            get: router("GET"),
            post: router("POST"),
            limiter,
            clock,
            claims: DashMap::new(),
            wallets: (0..=(tokens / TOKENS_PER_ACCOUNT) as u32).map(wallet).collect(),
        }
    }

    #[inline]
    fn admit(&self, router: &Router<u16>, path: &str, value: &[u8]) -> Option<&Token> {
        let text = value.strip_prefix(b"Bearer ")?;
        let digest: [u8; 32] = Sha256::digest(text).into();
        let token = self.tokens.get(&digest)?;
        let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
        if !token.networks.is_empty() && !token.networks.iter().any(|net| net.contains(&source)) {
            return None;
        }
        let route = *router.at(path).ok()?.value;
        if token.scopes & (1 << route) == 0 {
            return None;
        }
        self.limiter.check_key(&token.id).ok()?;
        Some(token)
    }

    #[inline]
    pub fn get(&self, tokens: &mut Tokens) -> bool {
        let (_, value, _) = tokens.next();
        self.clock.advance(Duration::from_millis(4));
        self.admit(&self.get, "/messages", value).is_some()
    }

    /// Limits, wallet hold and idempotency claim; nothing is settled.
    #[inline]
    pub fn post_claim(&self, tokens: &mut Tokens, key: &[u8; 24]) -> bool {
        let (_, value, now_ms) = tokens.next();
        self.clock.advance(Duration::from_millis(4));
        let Some(token) = self.admit(&self.post, "/sms/send", value) else { return false };
        let mut fingerprint = Sha256::new();
        fingerprint.update(b"POST");
        fingerprint.update(b"/sms/send");
        fingerprint.update(Sha256::digest(BODY));
        let fingerprint: [u8; 32] = fingerprint.finalize().into();
        let fresh = || Claim { fingerprint, expires_ms: now_ms + KEEP_MS };
        match self.claims.entry((token.account, *key)) {
            Entry::Vacant(place) => {
                place.insert(fresh());
            }
            Entry::Occupied(mut claim) if claim.get().expires_ms <= now_ms => {
                claim.insert(fresh());
            }
            Entry::Occupied(claim) => return claim.get().fingerprint != fingerprint,
        }
        let Some(mut wallet) = self.wallets.get_mut(&token.account) else { return false };
        if wallet.balance - wallet.held < 5 {
            return false;
        }
        // Held and given back at once: what a settlement would do is left out, in its favour.
        wallet.held += 5;
        wallet.held -= 5;
        now_ms >= START_MS
    }
}

/// How long a claim is kept.
pub(crate) const KEEP_MS: u64 = 10_000;
