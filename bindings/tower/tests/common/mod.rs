//! A gateway on a real socket, with an upstream that counts and a store that tells what it is asked.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod client;
pub mod upstream;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tollgate::*;
use tollgate_tower::{Facts, TollgateLayer, TollgateLayerBuilder};

pub use client::{Call, Reply};
pub use upstream::Upstream;

pub const NOW_MS: u64 = 1_700_000_000_000;
pub const PRICE: u64 = 5;

/// A memory store that notes every settlement.
pub struct Watched {
    pub memory: MemoryStore,
    pub finishes: Mutex<Vec<(ReservationId, Finish)>>,
    told: Semaphore,
    /// Settlements that fail before one is let through.
    pub failing: AtomicU64,
}

impl Store for Watched {
    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        let Command::Settle(settle) = command else { return self.memory.perform(command, now_ms) };
        let fail =
            self.failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if fail.is_ok() {
            return Err(StoreError::Unavailable { reason: "as the test wants".into() });
        }
        let outcome = self.memory.perform(command, now_ms);
        self.finishes.lock().unwrap().push((settle.reservation, settle.finish.clone()));
        self.told.add_permits(1);
        outcome
    }
}

/// At most this long for anything that a test waits for.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("not within 20 seconds")
}

pub struct Gateway {
    pub address: SocketAddr,
    pub store: Arc<Watched>,
    pub live: Arc<LiveEngine>,
    pub upstream: Arc<Upstream>,
    pub now_ms: Arc<AtomicU64>,
    server: JoinHandle<()>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub type Builder = TollgateLayerBuilder<Watched>;

/// What the layer of a test is made of, before a server is put around it.
pub struct Parts {
    pub builder: Builder,
    pub store: Arc<Watched>,
    pub live: Arc<LiveEngine>,
    pub now_ms: Arc<AtomicU64>,
}

pub fn policy() -> PolicyConfig {
    preset("sms-gateway").unwrap()
}

pub fn parts(policy: PolicyConfig) -> Parts {
    let live = Arc::new(LiveEngine::new(Engine::new(policy.compile().unwrap())));
    let store = Arc::new(Watched {
        memory: MemoryStore::default(),
        finishes: Mutex::default(),
        told: Semaphore::new(0),
        failing: AtomicU64::new(0),
    });
    let now_ms = Arc::new(AtomicU64::new(NOW_MS));
    let clock = Arc::clone(&now_ms);
    let builder = TollgateLayer::builder(Arc::clone(&live), Arc::clone(&store))
        .clock(move || clock.load(Ordering::SeqCst))
        .facts(|parts| Facts {
            cost: (parts.uri.path() == "/sms/send").then_some(Amount(PRICE)),
            sender: parts.headers.get("x-sender").map(|v| v.to_str().unwrap().to_owned()),
            invalid: parts.headers.get("x-invalid").map(|v| v.to_str().unwrap().to_owned()),
        });
    let parts = Parts { builder, store, live, now_ms };
    parts.account(
        "acme",
        1_000_000,
        AccountPatch { senders: Some(vec!["ACME".into()]), ..AccountPatch::default() },
    );
    parts.token(1, "acme", TokenPatch::default());
    parts
}

impl Parts {
    pub fn account(&self, name: &str, balance: u64, patch: AccountPatch) {
        let id = AccountId::new(name).unwrap();
        Admin::new(&self.store.memory).put_account(&id, Amount(balance), patch, NOW_MS).unwrap();
    }

    pub fn token(&self, seed: u8, account: &str, patch: TokenPatch) {
        put_token(&self.store, &self.live, seed, account, patch);
    }
}

fn put_token(store: &Watched, live: &LiveEngine, seed: u8, account: &str, patch: TokenPatch) {
    let all = ["sms:send", "otp", "voice", "lookup", "reports", "balance", "webhooks"];
    let scopes = patch.scopes.unwrap_or_else(|| all.map(Into::into).into());
    let patch = TokenPatch { scopes: Some(scopes), ..patch };
    let digest = live.load().digest(&token(seed));
    let account = AccountId::new(account).unwrap();
    Admin::new(&store.memory).put_token(&digest, &account, patch, NOW_MS).unwrap();
}

pub fn token(seed: u8) -> TokenText {
    TokenText::generate(&[seed; 32])
}

impl Gateway {
    pub async fn start() -> Gateway {
        Gateway::with(policy(), |builder| builder).await
    }

    pub async fn with(policy: PolicyConfig, set: impl FnOnce(Builder) -> Builder) -> Gateway {
        let Parts { builder, store, live, now_ms } = parts(policy);
        let upstream = Arc::new(Upstream::default());
        let layer = set(builder).build();
        let app = upstream::router(Arc::clone(&upstream)).layer(layer);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        let server = tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
        Gateway { address, store, live, upstream, now_ms, server }
    }

    pub fn account(&self, name: &str, balance: u64, patch: AccountPatch) {
        let id = AccountId::new(name).unwrap();
        self.admin().put_account(&id, Amount(balance), patch, NOW_MS).unwrap();
    }

    pub fn token(&self, seed: u8, account: &str, patch: TokenPatch) {
        put_token(&self.store, &self.live, seed, account, patch);
    }

    pub fn admin(&self) -> Admin<'_, MemoryStore> {
        Admin::new(&self.store.memory)
    }

    /// Balance and held money of an account.
    pub fn money(&self, name: &str) -> (u64, u64) {
        let wallet = self.admin().account(&AccountId::new(name).unwrap(), NOW_MS).unwrap().wallet;
        (wallet.balance.0, wallet.held.0)
    }

    /// Waits for the next settlement.
    pub async fn settled(&self) -> (ReservationId, Finish) {
        within(self.store.told.acquire()).await.unwrap().forget();
        let finishes = self.store.finishes.lock().unwrap();
        finishes[finishes.len() - 1 - self.store.told.available_permits()].clone()
    }

    pub fn finishes(&self) -> usize {
        self.store.finishes.lock().unwrap().len()
    }

    pub fn executions(&self) -> usize {
        self.upstream.executions.load(Ordering::SeqCst)
    }

    pub async fn send(&self, call: Call) -> Reply {
        within(client::send(self.address, call)).await
    }
}
