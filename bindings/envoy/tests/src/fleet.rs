//! Several Envoys over one Redis server.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tollgate::{AccountId, Admin, Amount};
use tollgate_gateway_tests::{Money, RedisServer, Response, Upstream, send_as_account};
use tollgate_redis::RedisStore;

use crate::envoy::{Envoy, Options};

/// The Envoys, what is behind them, and what is in their store.
pub struct Fleet {
    /// Stopped before the rest.
    pub envoys: Vec<Envoy>,
    /// The service.
    pub upstream: Upstream,
    /// The server of the store.
    pub server: RedisServer,
    /// The store, as an administrator opens it: with the account `acme`, 1,000 in its wallet, and its token.
    pub store: RedisStore,
}

impl Fleet {
    /// So many Envoys with this policy, and these members in the store's settings.
    #[must_use]
    pub fn start(count: usize, upstream: Upstream, policy: &str, redis: &Value) -> Fleet {
        let server = RedisServer::start();
        let store = server.accounts();
        let envoys = (0..count).map(|_| start(&server, upstream.port(), policy, redis)).collect();
        Fleet { envoys, upstream, server, store }
    }

    /// Another Envoy of the fleet, also where the server is not there.
    pub fn add(&mut self, policy: &str, redis: &Value) {
        self.envoys.push(start(&self.server, self.upstream.port(), policy, redis));
    }

    /// The ports of the Envoys.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        self.envoys.iter().map(Envoy::port).collect()
    }

    /// A payment under a key, through one of them.
    #[must_use]
    pub fn pay(&self, envoy: usize, key: &str) -> Response {
        let port = self.envoys[envoy].port();
        send_as_account(port, "POST", "/pay", &[("Idempotency-Key", key)], b"{\"to\":1}")
    }

    /// Pays in.
    pub fn deposit(&self, amount: u64) {
        Admin::new(&self.store).deposit(&acme(), Amount(amount), now_ms()).unwrap();
    }

    /// The account's money.
    #[must_use]
    pub fn money(&self) -> Money {
        let wallet = Admin::new(&self.store).account(&acme(), now_ms()).unwrap().wallet;
        Money { balance: wallet.balance.0, held: wallet.held.0, posted: wallet.posted.0 }
    }

    /// The same, once it is as expected or does not become so.
    pub fn expect(&self, held: u64, posted: u64) {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let money = self.money();
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

fn start(server: &RedisServer, upstream: u16, policy: &str, redis: &Value) -> Envoy {
    let mut store = json!({"url": server.url()});
    for (name, value) in redis.as_object().unwrap() {
        store[name] = value.clone();
    }
    let filter = json!({
        "policy": {"file": "DIR/policy.json"},
        "store": {"redis": store},
        "charge": {"header": "x-charge"},
    });
    let mut options = Options::new(filter, upstream);
    options.routes = plain_route("/plain");
    options.files.push(("policy.json".to_owned(), policy.to_owned()));
    Envoy::start(options)
}

/// A route to the upstream that does without the filter.
fn plain_route(path: &str) -> String {
    let off =
        "{ \"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true }";
    format!(
        "{{ match: {{ path: {path} }}, route: {{ cluster: upstream, timeout: 0s }}, typed_per_filter_config: {{ tollgate: {off} }} }}, "
    )
}

fn acme() -> AccountId {
    AccountId::new("acme").unwrap()
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}
