//! Envoy with the module before an upstream, with one account.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_gateway_tests::{
    Accounts, Client, POLICY, Response, Upstream, begin_to_pay, send_as_account,
};

use crate::envoy::{Envoy, Options};

/// How the store is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// On Envoy's own threads.
    Inline,
    /// On threads of the module's, where each commit is synced.
    Threads,
}

impl Writes {
    /// Both.
    pub const BOTH: [Writes; 2] = [Writes::Inline, Writes::Threads];

    /// The store of the filter's configuration.
    #[must_use]
    pub fn store(self) -> Value {
        let sync = match self {
            Writes::Inline => "never",
            Writes::Threads => "every_commit",
        };
        json!({"lmdb": {"directory": "DIR/db", "sync": sync, "map_bytes": 1 << 28}})
    }
}

/// The gateway, what is behind it, and what is in its store.
pub struct Gateway {
    /// Envoy; stopped before the rest.
    pub envoy: Envoy,
    /// The service.
    pub upstream: Upstream,
    /// Accounts.
    pub accounts: Accounts,
}

impl Gateway {
    /// With these members in the filter's configuration.
    #[must_use]
    pub fn start(writes: Writes, upstream: Upstream, filter: &Value) -> Gateway {
        Gateway::with(Gateway::options(writes, upstream.port(), filter), upstream)
    }

    /// With these options, of [`options`](Self::options), say.
    #[must_use]
    pub fn with(options: Options, upstream: Upstream) -> Gateway {
        let envoy = Envoy::start(options);
        let accounts = Accounts::open(envoy.directory(), 1_000_000, &["all"]);
        Gateway { envoy, upstream, accounts }
    }

    /// The options of [`start`](Self::start).
    #[must_use]
    pub fn options(writes: Writes, upstream: u16, filter: &Value) -> Options {
        let mut all = json!({
            "policy": {"file": "DIR/policy.json"},
            "store": writes.store(),
            "charge": {"header": "x-charge"},
            "metadata": "all",
            "policy_reload_interval_ms": 20,
        });
        for (name, value) in filter.as_object().unwrap() {
            all[name] = value.clone();
        }
        let mut options = Options::new(all, upstream);
        options.access =
            ["verdict", "code", "status", "account", "route", "reserved", "settled", "shadow"]
                .iter()
                .fold("%REQ(X-ID)%|%RESPONSE_CODE%".to_owned(), |line, name| {
                    format!("{line}|%DYNAMIC_METADATA(tollgate:{name})%")
                });
        options.files.push(("policy.json".to_owned(), POLICY.to_owned()));
        options
    }

    /// The line of the access log of the request with this `X-Id`, behind that.
    #[must_use]
    pub fn logged(&self, id: &str) -> String {
        let (begin, end) = (format!("{id}|"), Instant::now() + Duration::from_secs(5));
        loop {
            let log = self.envoy.access_log();
            if let Some(line) = log.lines().find_map(|line| line.strip_prefix(&begin)) {
                return line.to_owned();
            }
            assert!(Instant::now() < end, "not in the access log: {id}\n{log}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// A request of the account's.
    #[must_use]
    pub fn ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        send_as_account(self.envoy.port(), method, target, headers, body)
    }

    /// A payment under a key.
    #[must_use]
    pub fn pay(&self, key: &str) -> Response {
        self.ask("POST", "/pay", &[("Idempotency-Key", key)], b"{\"to\":1}")
    }

    /// The same, sent on a connection that is left open.
    #[must_use]
    pub fn begin_to_pay(&self, key: &str) -> Client {
        begin_to_pay(self.envoy.port(), key)
    }

    /// Waits until requests have ended like this so often; panics if they do not.
    pub fn ended(&self, how: &str, times: u64) {
        let name = format!("dynamicmodulescustom.tollgate.{how}");
        for _ in 0..1000 {
            if self.envoy.stat(&name) == times {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{how}: {}, not {times}", self.envoy.stat(&name));
    }
}
