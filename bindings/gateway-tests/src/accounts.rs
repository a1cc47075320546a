//! Accounts and tokens of the LMDB store that a gateway uses.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tollgate::{
    AccountId, AccountPatch, Admin, Amount, Engine, PolicyConfig, TokenFormat, TokenPatch,
    TokenText,
};
use tollgate_lmdb::{LmdbOptions, LmdbStore, SyncPolicy};

/// The token of the account `acme`.
pub const TOKEN: &str = "t-acme";

/// A policy with one route for each thing that matters here. `POST /pay` costs 5 and takes a key.
pub const POLICY: &str = r#"{
  "tokens": {"format": "opaque"},
  "scopes": {"all": ["POST /pay", "PUT /pay", "GET /paid", "GET /read", "GET /file.txt", "POST /free", "GET /quota"]},
  "limits": {"token": {"per": "token", "quota": 1000000, "window_ms": 60000}},
  "routes": {
    "POST /pay": {"idempotency": true, "price": 5},
    "PUT /pay": {"idempotency": true, "price": 5},
    "POST /free": {"idempotency": true},
    "GET /paid": {"idempotency": true, "price": 3}
  }
}"#;

/// An account's money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    /// What is in the wallet.
    pub balance: u64,
    /// What is reserved.
    pub held: u64,
    /// What was posted so far.
    pub posted: u64,
}

/// The store that a running gateway has made, as an administrator opens it.
pub struct Accounts {
    store: LmdbStore,
    engine: Engine,
}

impl Accounts {
    /// The store in `db` of this gateway's directory, with the account `acme` and its token [`TOKEN`].
    #[must_use]
    pub fn open(directory: &Path, balance: u64, scopes: &[&str]) -> Accounts {
        let accounts = Accounts::open_empty(directory);
        accounts.add("acme", TOKEN, balance, scopes);
        accounts
    }

    /// Without accounts.
    #[must_use]
    pub fn open_empty(directory: &Path) -> Accounts {
        let place = directory.join("db");
        let end = Instant::now() + Duration::from_secs(10);
        while !place.join("lock.mdb").exists() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut options = LmdbOptions::default();
        options.sync = SyncPolicy::Never;
        options.map_bytes = 1 << 28;
        let store = LmdbStore::open(&place, &options).unwrap();
        let policy = PolicyConfig::from_json("{\"tokens\": {\"format\": \"opaque\"}}").unwrap();
        Accounts { store, engine: Engine::new(policy.compile().unwrap()) }
    }

    /// Another account with a token.
    pub fn add(&self, account: &str, token: &str, balance: u64, scopes: &[&str]) {
        let (id, now_ms) = (AccountId::new(account).unwrap(), now_ms());
        let admin = Admin::new(&self.store);
        admin.put_account(&id, Amount(balance), AccountPatch::default(), now_ms).unwrap();
        let digest = self.engine.digest(&TokenText::parse(TokenFormat::Opaque, token).unwrap());
        let settings = TokenPatch {
            scopes: Some(scopes.iter().map(|scope| (*scope).into()).collect()),
            ..TokenPatch::default()
        };
        admin.put_token(&digest, &id, settings, now_ms).unwrap();
    }

    /// The money of an account.
    #[must_use]
    pub fn money(&self, account: &str) -> Money {
        let id = AccountId::new(account).unwrap();
        let wallet = Admin::new(&self.store).account(&id, now_ms()).unwrap().wallet;
        Money { balance: wallet.balance.0, held: wallet.held.0, posted: wallet.posted.0 }
    }

    /// The money of `acme`, once it is as expected or does not become so.
    pub fn expect(&self, held: u64, posted: u64) {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let money = self.money("acme");
            if (money.held, money.posted) == (held, posted) {
                return;
            }
            assert!(
                Instant::now() < end,
                "held {held} and posted {posted} expected, there is {money:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}
