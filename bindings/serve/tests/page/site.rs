//! A server in this process, with a clock that tests set.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Once};

use serde_json::{Value, json};
use tollgate::PolicyConfig;
use tollgate_lmdb::SyncPolicy;
use tollgate_serve::{
    AdminOptions, Bound, Clock, Listen, Options, Secret, Server, StoreLocation, TlsFiles,
};

use crate::browser::{self, Answer};

pub(crate) const OPERATOR: &str = "operator-token-0123456789";

pub(crate) const START_MS: u64 = 1_700_000_000_000;

const POLICY: &str = r#"
[scopes]
"sms:send" = ["POST /sms/send"]
reports = ["GET /messages", "GET /messages/{id}"]
[limits.token]
per = "token"
quota = 20
window_ms = 60_000
[limits.account]
per = "account"
quota = 1000
window_ms = 86_400_000
algorithm = "fixed_window"
[limits.sends_per_address]
per = "source_ip"
quota = 10
window_ms = 60_000
counts = "executions"
routes = ["POST /sms/send"]
[routes."POST /sms/send"]
idempotency = true
price = 5
lease_ms = 60_000
on_expiry = "hold"
"#;

/// A running server.
pub(crate) struct Site {
    pub admin: SocketAddr,
    decisions: SocketAddr,
    clock: Arc<AtomicU64>,
    _server: Server,
    // After the server: it ends in it.
    _runtime: tokio::runtime::Runtime,
}

impl Site {
    pub(crate) fn start() -> Site {
        Site::with(POLICY, None)
    }

    pub(crate) fn with(policy: &'static str, tls: Option<TlsFiles>) -> Site {
        Site::on(StoreLocation::Memory, policy, tls)
    }

    /// On a store in this directory.
    pub(crate) fn on_disk(directory: &Path) -> Site {
        let store = StoreLocation::Lmdb(directory.to_owned(), SyncPolicy::Never);
        Site::on(store, POLICY, None)
    }

    fn on(store: StoreLocation, policy: &'static str, tls: Option<TlsFiles>) -> Site {
        keep_log();
        let clock = Arc::new(AtomicU64::new(START_MS));
        let told = Arc::clone(&clock);
        let load = move || {
            let config = PolicyConfig::from_toml(policy).map_err(|error| error.to_string())?;
            config.compile().map_err(|error| error.to_string())
        };
        let port_0 = || Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
        let mut options = Options::new(Arc::new(load));
        options.store = store;
        options.listen = vec![port_0()];
        let token = Secret::new(OPERATOR).unwrap();
        options.admin = Some(AdminOptions { listen: port_0(), tls, token });
        options.clock = Clock::new(move || told.load(Ordering::Relaxed));
        options.traces_per_second = 1_000;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let server = runtime.block_on(Server::start(options)).unwrap();
        let address = |bound: &Bound| match bound {
            Bound::Tcp(address) => *address,
            Bound::Unix(_) => panic!("a path"),
        };
        let admin = address(server.admin_bound().unwrap());
        let decisions = address(&server.bound()[0]);
        Site { admin, decisions, clock, _server: server, _runtime: runtime }
    }

    pub(crate) fn later(&self, ms: u64) {
        self.clock.fetch_add(ms, Ordering::Relaxed);
    }

    /// The JSON API of operators.
    pub(crate) fn api(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let bearer = format!("Bearer {OPERATOR}");
        let mut headers = vec![("authorization", bearer.as_str())];
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        if !body.is_empty() {
            headers.push(("content-type", "application/json"));
        }
        let answer = browser::send(self.admin, method, path, &headers, body.as_bytes());
        assert!((200..300).contains(&answer.status), "{method} {path}: {}", answer.text);
        serde_json::from_str(&answer.text).unwrap_or_default()
    }

    pub(crate) fn account(&self, name: &str, settings: Value) {
        self.api("PUT", &format!("/api/accounts/{}", encoded(name)), Some(settings));
    }

    /// A key, and its digest.
    pub(crate) fn key(&self, account: &str, settings: Value) -> (String, String) {
        let path = format!("/api/accounts/{}/tokens", encoded(account));
        let made = self.api("POST", &path, Some(settings));
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        (text("token"), text("digest"))
    }

    pub(crate) fn keys(&self, account: &str) -> Vec<Value> {
        let listed = self.api("GET", &format!("/api/accounts/{}/tokens", encoded(account)), None);
        listed["tokens"].as_array().unwrap().clone()
    }

    pub(crate) fn shown(&self, account: &str) -> Value {
        self.api("GET", &format!("/api/accounts/{}", encoded(account)), None)
    }

    /// All that operators could have changed.
    pub(crate) fn everything(&self) -> Value {
        let listed = self.api("GET", "/api/accounts", None);
        let names = listed["accounts"].as_array().unwrap().clone();
        let all = names.iter().map(|name| {
            let name = name.as_str().unwrap();
            let path = format!("/api/accounts/{}/reservations", encoded(name));
            json!([self.shown(name), self.keys(name), self.api("GET", &path, None)])
        });
        all.collect()
    }

    /// Decides a request with a key, as if it came from `peer`.
    pub(crate) fn decide(&self, key: &str, method: &str, target: &str, peer: &str) -> Value {
        let headers = [["authorization", &format!("Bearer {key}")]];
        let body = json!({"method": method, "target": target, "headers": headers, "peer": peer});
        let body = body.to_string();
        let headers = [("content-type", "application/json")];
        let answer = browser::send(self.decisions, "POST", "/v1/decide", &headers, body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text);
        serde_json::from_str(&answer.text).unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        browser::send(self.admin, "GET", path, &[], b"")
    }
}

pub(crate) fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// What all servers of this process log.
static LOG: LazyLock<Arc<Mutex<Vec<u8>>>> = LazyLock::new(Arc::default);

struct Kept;

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn keep_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let everything = tracing_subscriber::filter::LevelFilter::TRACE;
        let subscriber =
            tracing_subscriber::fmt().with_max_level(everything).with_writer(|| Kept).finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

pub(crate) fn log() -> String {
    String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned()
}
