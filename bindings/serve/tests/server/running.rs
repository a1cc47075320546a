//! A server with its policy file.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate::CompiledPolicy;
use tollgate_serve::{AdminOptions, Bound, Clock, Listen, Options, Secret, Server, StartError};

use crate::client::{Reply, call};

pub(crate) const ADMIN: &str = "operator-operator-operator";

pub(crate) const NOW_MS: u64 = 1_700_000_000_000;

/// One route that takes a key and a price, one that takes neither; any text is a token.
pub(crate) const POLICY: &str = r#"{
    "tokens": {"format": "opaque"},
    "scopes": {"all": ["GET /free", "POST /pay"]},
    "limits": {"token": {"per": "token", "quota": 1000000, "window_ms": 60000}},
    "routes": {"POST /pay": {"idempotency": true, "price": 5}}
}"#;

pub(crate) static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());

/// What a test's server runs on.
pub(crate) struct Running {
    /// `None` while it is stopped.
    server: Option<Server>,
    pub(crate) place: Bound,
    pub(crate) admin: Bound,
    clock: Arc<AtomicU64>,
    pub(crate) directory: TempDir,
}

impl Running {
    pub(crate) fn start() -> Running {
        Running::with(POLICY, |_, _| {}).unwrap()
    }

    /// Starts one with this policy and what `change` says.
    pub(crate) fn with(
        policy: &str,
        change: impl FnOnce(&mut Options, &Path),
    ) -> Result<Running, StartError> {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("policy.json");
        std::fs::write(&file, policy).unwrap();
        let clock = Arc::new(AtomicU64::new(NOW_MS));
        let options = options(&file, &clock);
        Running::of(options, clock, directory, change)
    }

    pub(crate) fn of(
        mut options: Options,
        clock: Arc<AtomicU64>,
        directory: TempDir,
        change: impl FnOnce(&mut Options, &Path),
    ) -> Result<Running, StartError> {
        change(&mut options, directory.path());
        let server = RUNTIME.block_on(Server::start(options))?;
        let (place, admin) = (server.bound()[0].clone(), server.admin_bound().unwrap().clone());
        Ok(Running { server: Some(server), place, admin, clock, directory })
    }

    pub(crate) fn policy_file(&self) -> PathBuf {
        self.directory.path().join("policy.json")
    }

    pub(crate) fn set_clock_ms(&self, now_ms: u64) {
        self.clock.store(now_ms, Ordering::SeqCst);
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub(crate) fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            RUNTIME.block_on(server.stop(Duration::ZERO));
        }
    }

    /// What it runs on, once it has stopped.
    pub(crate) fn into_parts(mut self) -> (Arc<AtomicU64>, TempDir) {
        self.stop();
        let clock = Arc::clone(&self.clock);
        (clock, std::mem::replace(&mut self.directory, TempDir::new().unwrap()))
    }

    /// Asks as an operator.
    pub(crate) fn operate(&self, method: &str, path: &str, json: Option<&Value>) -> Reply {
        call(&self.admin, Some(ADMIN), method, path, json)
    }

    /// Asks the API.
    pub(crate) fn ask(&self, path: &str, json: &Value) -> Reply {
        call(&self.place, None, "POST", path, Some(json))
    }

    /// An account with money, and its token of the scope `all`.
    pub(crate) fn add_account(&self, account: &str, balance: u64, token: &str) {
        let path = format!("/api/accounts/{account}");
        let made = self.operate("PUT", &path, Some(&json!({ "balance": balance })));
        assert_eq!(made.status, 200, "{}", made.text());
        let token = json!({ "token": token, "scopes": ["all"] });
        let made = self.operate("POST", &format!("{path}/tokens"), Some(&token));
        assert_eq!(made.status, 201, "{}", made.text());
    }

    pub(crate) fn metrics(&self) -> String {
        call(&self.admin, None, "GET", "/metrics", None).text()
    }

    /// The value of a line of the metrics.
    pub(crate) fn metric(&self, line: &str) -> f64 {
        let text = self.metrics();
        let found = text.lines().find_map(|known| known.strip_prefix(line)?.strip_prefix(' '));
        found.map_or(0.0, |value| value.parse().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Options of a server on free ports, whose policy is read from this file.
pub(crate) fn options(file: &Path, clock: &Arc<AtomicU64>) -> Options {
    let read = file.to_owned();
    let mut options = Options::new(Arc::new(move || {
        let text = std::fs::read_to_string(&read).map_err(|error| error.to_string())?;
        CompiledPolicy::from_json(&text).map_err(|errors| errors.to_string())
    }));
    let anywhere = Listen::Tcp(([127, 0, 0, 1], 0).into());
    options.listen = vec![anywhere.clone()];
    let token = Secret::new(ADMIN).unwrap();
    options.admin = Some(AdminOptions { listen: anywhere, tls: None, token });
    // What is due is ended when a test says so.
    options.expire_every = Duration::from_secs(86_400);
    let clock = Arc::clone(clock);
    options.clock = Clock::new(move || clock.load(Ordering::SeqCst));
    options
}
