//! An API of two routes and two accounts, for tests of what may go wrong.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test uses a part; helpers of tests may do what tests may"
)]

use tollgate::*;

pub(crate) const NOW_MS: u64 = 1_700_000_000_000;

pub(crate) fn engine(policy: &str) -> Engine {
    let policy = format!(
        "tokens.format = \"opaque\"\n[scopes]\nall = [\"GET /free\", \"POST /pay\"]\n{policy}"
    );
    let config = PolicyConfig::from_toml(&policy).unwrap_or_else(|error| panic!("{error}"));
    Engine::new(config.compile().unwrap())
}

pub(crate) const KEYED: &str = "[routes.\"POST /pay\"]\nidempotency = true\nprice = 1";

pub(crate) fn account(name: &str) -> AccountId {
    AccountId::new(name).unwrap()
}

pub(crate) fn put_token(
    engine: &Engine,
    store: &impl Store,
    owner: &str,
    name: &str,
) -> TokenDigest {
    let digest = engine.digest(&TokenText::parse(TokenFormat::Opaque, name).unwrap());
    let patch = TokenPatch { scopes: Some(vec!["all".into()]), ..Default::default() };
    Admin::new(store).put_token(&digest, &account(owner), patch, 0).unwrap();
    digest
}

/// A store with two accounts, `acme` and `globex`, each with money and a token of its name.
pub(crate) fn store(engine: &Engine, set: impl FnOnce(&mut MemoryOptions)) -> MemoryStore {
    let mut options = MemoryOptions::default();
    set(&mut options);
    let store = MemoryStore::new(options);
    for name in ["acme", "globex"] {
        let patch = AccountPatch::default();
        Admin::new(&store).put_account(&account(name), Amount(1_000), patch, 0).unwrap();
        put_token(engine, &store, name, name);
    }
    store
}

#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) token: &'a str,
    pub(crate) method: &'a str,
    pub(crate) key: Option<&'a str>,
    pub(crate) peer: [u16; 8],
    pub(crate) cost: Option<u64>,
    pub(crate) now_ms: u64,
}

pub(crate) const FREE: Ask<'_> = Ask {
    token: "acme",
    method: "GET",
    key: None,
    peer: [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1],
    cost: None,
    now_ms: NOW_MS,
};
pub(crate) const PAY: Ask<'_> = Ask { method: "POST", ..FREE };

impl Ask<'_> {
    pub(crate) fn decide(self, engine: &Engine, store: &impl Store) -> Decision {
        let bearer = format!("Bearer {}", self.token);
        let name = if self.key.is_some() { "idempotency-key" } else { "x-none" };
        let headers = [("authorization", bearer.as_str()), (name, self.key.unwrap_or_default())];
        let target: &[u8] = if self.method == "GET" { b"/free" } else { b"/pay" };
        let request = Request {
            peer: Some(self.peer.into()),
            cost: self.cost.map(Amount),
            ..Request::new(self.method.as_bytes(), target, self.now_ms).with_headers(&headers)
        };
        engine.decide(store, &request)
    }
}

pub(crate) fn is_full(decision: &Decision, of: &str) -> bool {
    matches!(decision.store_error(), Some(StoreError::Full { what }) if *what == of)
        && decision.status() == Status::StoreUnavailable
}
