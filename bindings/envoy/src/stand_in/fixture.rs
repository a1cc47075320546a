//! Configurations, accounts and requests of the tests.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate::{
    AccountId, AccountPatch, Admin, Amount, Engine, Period, PolicyConfig, SpendCap, Store,
    TokenFormat, TokenPatch, TokenText,
};

use super::proxy::{Config, Proxy};
use super::stream::{Headers, Metadata, Stream};
use crate::clock::now_ms;
use crate::settings::{LimitsSettings, Settings};
use crate::store::{Backend, Place};

/// A policy with one route for each thing that matters here. `POST /pay` costs 5 and takes a key.
pub(super) fn policy() -> Value {
    json!({
        "tokens": { "format": "opaque" },
        "scopes": {
            "all": ["POST /pay", "GET /paid", "GET /read", "POST /free", "GET /quota", "POST /sent", "POST /must"]
        },
        "limits": {
            "token": { "per": "token", "quota": 1_000_000, "window_ms": 60_000 },
            "few": { "per": "token", "quota": 1, "window_ms": 86_400_000, "routes": ["GET /quota"] }
        },
        "routes": {
            "POST /pay": { "idempotency": true, "price": 5 },
            "POST /must": { "idempotency": { "required": true }, "price": 5 },
            "POST /free": { "idempotency": true },
            "GET /paid": { "idempotency": true, "price": 3 },
            "POST /sent": { "price": 7 }
        }
    })
}

/// How state is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// In memory: answers at once.
    Memory,
    /// In files that are never synced: answers at once.
    Never,
    /// In files that are synced with every commit: on the module's threads, all of it.
    EveryCommit,
    /// The same with limits in memory: what only reads is asked at once.
    LimitsInMemory,
}

impl Kept {
    /// All of them.
    pub(super) const ALL: [Kept; 4] =
        [Kept::Memory, Kept::Never, Kept::EveryCommit, Kept::LimitsInMemory];

    /// Those whose limits are in the store too: the others' memory is slow under Valgrind.
    pub(super) const MOST: [Kept; 3] = [Kept::Memory, Kept::Never, Kept::EveryCommit];

    /// At once, and on the module's threads.
    pub(super) const BOTH: [Kept; 2] = [Kept::Never, Kept::EveryCommit];
}

/// A configuration with the store that it names, as an administrator sees it.
pub(super) struct Bank {
    pub(super) name: String,
    settings: Value,
    store: Arc<dyn Store>,
    engine: Engine,
    /// Removed with the bank; what the module keeps open of it stays open.
    _directory: TempDir,
}

/// An account's money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Money {
    pub(super) balance: u64,
    pub(super) held: u64,
    pub(super) posted: u64,
}

impl Bank {
    /// A store of its own for the test of this name.
    pub(super) fn new(name: &str, kept: Kept) -> Bank {
        Bank::with(name, kept, &json!({}))
    }

    /// The same, with more settings.
    pub(super) fn with(name: &str, kept: Kept, more: &Value) -> Bank {
        let directory = TempDir::new().unwrap();
        let files = |sync: &str| json!({ "lmdb": { "directory": directory.path().join("db"), "sync": sync, "map_bytes": 1 << 26 } });
        let store = match kept {
            Kept::Memory => json!("memory"),
            Kept::Never => files("never"),
            Kept::EveryCommit | Kept::LimitsInMemory => files("every_commit"),
        };
        let limits = if kept == Kept::LimitsInMemory { "process" } else { "store" };
        let mut settings = json!({
            "policy": { "inline": policy() }, "store": store, "limits": limits, "expire_interval_ms": 0, "metadata": "all"
        });
        merge(&mut settings, more);
        let name = format!("{name} {kept:?}");
        // As Envoy has it: the module opens the store, and it is found where that keeps it.
        let config = Config::new(&name, &settings.to_string()).unwrap();
        let store = store_of(&name, &settings);
        drop(config);
        let engine = PolicyConfig::from_json_value(&policy()).unwrap().compile().unwrap();
        Bank { name, settings, store, engine: Engine::new(engine), _directory: directory }
    }

    /// A worker with this configuration.
    pub(super) fn proxy(&self) -> Proxy {
        Proxy::new(self.config(&json!({})).unwrap())
    }

    /// The configuration once more, with other settings.
    pub(super) fn config(&self, more: &Value) -> Result<Rc<Config>, Vec<String>> {
        let mut settings = self.settings.clone();
        merge(&mut settings, more);
        Config::new(&self.name, &settings.to_string())
    }

    /// An account, and its token `t-NAME`.
    pub(super) fn account(&self, name: &str, balance: u64) {
        let id = AccountId::new(name).unwrap();
        let admin = Admin::new(&*self.store);
        admin.put_account(&id, Amount(balance), AccountPatch::default(), now_ms()).unwrap();
        let text = format!("t-{name}");
        let digest = self.engine.digest(&TokenText::parse(TokenFormat::Opaque, &text).unwrap());
        let settings = TokenPatch { scopes: Some(vec!["all".into()]), ..TokenPatch::default() };
        admin.put_token(&digest, &id, settings, now_ms()).unwrap();
    }

    /// Only these senders.
    pub(super) fn senders(&self, name: &str, senders: &[&str]) {
        let senders = senders.iter().map(|sender| (*sender).into()).collect();
        self.patch(name, AccountPatch { senders: Some(senders), ..AccountPatch::default() });
    }

    /// What it may spend for ever.
    pub(super) fn caps(&self, name: &str, amount: u64) {
        let cap = SpendCap { per: Period::Lifetime, amount: Amount(amount), shadow: false };
        self.patch(name, AccountPatch { spend_caps: Some(vec![cap]), ..AccountPatch::default() });
    }

    /// From where it may be used.
    pub(super) fn networks(&self, name: &str, network: &str) {
        let networks = Some(vec![network.parse().unwrap()]);
        self.patch(name, AccountPatch { networks, ..AccountPatch::default() });
    }

    fn patch(&self, name: &str, patch: AccountPatch) {
        let id = AccountId::new(name).unwrap();
        Admin::new(&*self.store).put_account(&id, Amount(0), patch, now_ms()).unwrap();
    }

    /// What an account has; paid in is balance and posted.
    pub(super) fn money(&self, name: &str) -> Money {
        let id = AccountId::new(name).unwrap();
        let wallet = Admin::new(&*self.store).account(&id, now_ms()).unwrap().wallet;
        assert_eq!(wallet.deposited.0 + wallet.refunded.0, wallet.balance.0 + wallet.posted.0);
        Money { balance: wallet.balance.0, held: wallet.held.0, posted: wallet.posted.0 }
    }

    /// Waits until an account is so.
    pub(super) fn expect(&self, proxy: &Proxy, name: &str, held: u64, posted: u64) {
        // Read at once: a settlement between two reads would make up what never was.
        let is = || {
            let money = self.money(name);
            (money.held, money.posted)
        };
        let came = proxy.within(|| is() == (held, posted));
        assert!(came, "held and posted {:?} expected, there is {:?}", (held, posted), is());
    }
}

/// The store that the module keeps for these settings.
fn store_of(name: &str, settings: &Value) -> Arc<dyn Store> {
    let settings = Settings::of_filter(settings.to_string().as_bytes()).unwrap();
    let limits: LimitsSettings = settings.limits.unwrap_or_default();
    let place = Place::named(name, &settings.store.unwrap(), limits, 0).unwrap();
    match place.backend().unwrap() {
        Backend::Here(store) | Backend::Disk { store, .. } => Arc::clone(store),
        Backend::Network(_) => panic!("no store of a network is used here"),
    }
}

/// Puts members of one object into another; null takes one away.
fn merge(settings: &mut Value, more: &Value) {
    let settings = settings.as_object_mut().unwrap();
    for (name, value) in more.as_object().unwrap() {
        match value.is_null() {
            true => settings.remove(name),
            false => settings.insert(name.clone(), value.clone()),
        };
    }
}

/// A request of an account's.
pub(super) fn request(method: &str, path: &str, account: &str, more: &[(&str, &str)]) -> Headers {
    let token = format!("Bearer t-{account}");
    let own = [
        (":method", method),
        (":path", path),
        (":authority", "api.test"),
        ("authorization", &token),
    ];
    super::manager::headers(&[&own, more].concat())
}

/// A request that ends with its head.
pub(super) fn asks(proxy: &Proxy, request: Headers) -> Rc<Stream> {
    let stream = proxy.stream();
    stream.sends_head(request, true);
    decided(proxy, &stream);
    stream
}

/// A request with a key and a body.
pub(super) fn pays(proxy: &Proxy, account: &str, key: &str) -> Rc<Stream> {
    let stream = proxy.stream();
    stream.sends_head(request("POST", "/pay", account, &[("idempotency-key", key)]), false);
    stream.sends_body(&[b"{\"to\":1}"], true);
    decided(proxy, &stream);
    stream
}

/// Waits for a decision.
pub(super) fn decided(proxy: &Proxy, stream: &Stream) {
    proxy.until("a decision", || {
        let state = stream.state();
        state.decode.passed || state.encode.begun || stream.is_gone()
    });
}

/// Waits until the client has all of its response.
pub(super) fn answered(proxy: &Proxy, stream: &Stream) {
    proxy.until("the response is passed on", || stream.state().client.ended);
}

impl Stream {
    /// A header of the response as the client has it.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let state = self.state();
        let mut found = state.client.headers.iter().filter(|(header, _)| header == name);
        let value = found.next().map(|(_, value)| value.clone());
        assert!(found.next().is_none(), "{name} is there twice");
        value
    }

    /// The status that the client has.
    pub(super) fn received(&self) -> u16 {
        self.header(":status").map_or(0, |status| status.parse().unwrap())
    }

    /// The body that the client has.
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.state().client.body.clone()).unwrap()
    }

    /// What the module has said about the stream.
    pub(super) fn said(&self, key: &str) -> String {
        match self.state().metadata("tollgate", key) {
            Some(Metadata::Text(text)) => String::from_utf8(text.to_vec()).unwrap(),
            _ => String::new(),
        }
    }
}

thread_local! {
    static ONLY_VALIDATES: Cell<bool> = const { Cell::new(false) };
}

/// Whether Envoy only checks its configuration, on this thread.
pub(super) fn only_validates() -> bool {
    ONLY_VALIDATES.get()
}

/// Does something as if Envoy were only checking its configuration.
pub(super) fn validating<T>(work: impl FnOnce() -> T) -> T {
    ONLY_VALIDATES.set(true);
    let result = work();
    ONLY_VALIDATES.set(false);
    result
}
