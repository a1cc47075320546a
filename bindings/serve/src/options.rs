//! What a server is told when it starts.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tollgate::{CompiledPolicy, IpNet, Pepper};

use crate::clock::Clock;
use crate::secret::Secret;

/// Reads and compiles the policy; an error says what is wrong, with its lines.
pub type LoadPolicy = Arc<dyn Fn() -> Result<CompiledPolicy, String> + Send + Sync>;

/// How to start a server. Start with [`Options::new`] and set what should differ.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// Reads the policy, at the start and whenever its file changed.
    pub load_policy: LoadPolicy,
    /// The file that is watched, if there is one: once a second its content is compared.
    pub policy_file: Option<PathBuf>,
    /// Key of the tokens' digests.
    pub pepper: Option<Pepper>,
    /// Where state is kept.
    pub store: StoreLocation,
    /// Whether limits are counted in this process's memory, and the rest in the store.
    pub limits_in_memory: bool,
    /// Where proxies ask. At least one.
    pub listen: Vec<Listen>,
    /// Certificate and key of those; none: plain text.
    pub tls: Option<TlsFiles>,
    /// Who may ask on behalf of clients: the proxies' own addresses. Others are refused. Sockets in the file system
    /// are guarded by its permissions instead.
    pub proxies: Vec<IpNet>,
    /// Which header tells the client's address: its last entry is what the proxy itself saw.
    pub peer_header: http::HeaderName,
    /// Headers in which a proxy tells price, sender, and that the request is not valid; none: they are not read.
    pub facts: FactHeaders,
    /// What becomes of a charge and of an idempotency key where a proxy asks.
    pub settlement: Settlement,
    /// The token of `POST /v1/decide` and `/v1/settle`; none: who may connect may ask.
    pub api_token: Option<Secret>,
    /// Administration, metrics and the settings page; none: they are not served.
    pub admin: Option<AdminOptions>,
    /// Bounds on what callers may send and how long they may take.
    pub bounds: Bounds,
    /// Where each decision is written as a line of JSON.
    pub decision_log: DecisionLog,
    /// How many decisions a second are kept with their trace for the settings page.
    pub traces_per_second: u32,
    /// How often leases and claims that are due are ended in accounts that nobody asks about.
    pub expire_every: Duration,
    /// Where the time comes from.
    pub clock: Clock,
}

impl Options {
    /// A server on 127.0.0.1, port 8081, with a store in memory and without administration.
    #[must_use]
    pub fn new(load_policy: LoadPolicy) -> Self {
        Options {
            load_policy,
            policy_file: None,
            pepper: None,
            store: StoreLocation::Memory,
            limits_in_memory: false,
            listen: vec![Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 8081)))],
            tls: None,
            proxies: loopback(),
            peer_header: http::HeaderName::from_static("x-forwarded-for"),
            facts: FactHeaders::default(),
            settlement: Settlement::Reported,
            api_token: None,
            admin: None,
            bounds: Bounds::default(),
            decision_log: DecisionLog::None,
            traces_per_second: 20,
            expire_every: Duration::from_secs(5),
            clock: Clock::system(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("policy_file", &self.policy_file)
            .field("store", &self.store)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

fn loopback() -> Vec<IpNet> {
    ["127.0.0.0/8", "::1/128"].into_iter().filter_map(|network| network.parse().ok()).collect()
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address and a port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A socket in the file system. One that is left of a server that died is replaced.
    Unix(PathBuf),
}

/// Files of a certificate chain and its key, in PEM. They are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Where state is kept.
#[derive(Clone)]
pub enum StoreLocation {
    /// In this process, and gone with it.
    Memory,
    /// In LMDB, in this directory. The sync policy says what a loss of power may take.
    Lmdb(PathBuf, tollgate_lmdb::SyncPolicy),
    /// On Redis or Valkey; a URL, which may hold a password.
    Redis(String),
}

impl fmt::Debug for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreLocation::Memory => f.write_str("memory"),
            StoreLocation::Lmdb(path, _) => write!(f, "lmdb:{}", path.display()),
            StoreLocation::Redis(_) => f.write_str("redis"),
        }
    }
}

/// Headers in which a proxy tells what it knows of a request. A proxy that does not set one must remove it from what
/// clients send.
#[derive(Clone, Debug, Default)]
pub struct FactHeaders {
    /// The price, in the ledger's minor unit.
    pub cost: Option<http::HeaderName>,
    /// The sender that must be approved for the account.
    pub sender: Option<http::HeaderName>,
    /// The message of a validation that refused the request.
    pub invalid: Option<http::HeaderName>,
}

/// What becomes of a charge and of an idempotency key where a proxy asks, which does not tell how the request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The upstream, or whoever sees its answer, reports to `POST /v1/settle` with the ticket that it was passed. What
    /// nobody reports ends with its lease, by the policy's rule.
    Reported,
    /// Nobody reports: the price is posted as soon as the request may pass, and its key replays an empty answer with
    /// status 200.
    AtOnce,
}

/// The administration's listener.
#[derive(Clone, Debug)]
pub struct AdminOptions {
    /// Where it listens.
    pub listen: Listen,
    /// Certificate and key; none: plain text.
    pub tls: Option<TlsFiles>,
    /// What an operator shows.
    pub token: Secret,
}

/// Bounds on what callers may send and how long they may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections at once; those over it are closed at once.
    pub max_connections: usize,
    /// Bytes of a request's head.
    pub max_head_bytes: usize,
    /// Bytes of a body.
    pub max_body_bytes: usize,
    /// Streams of one HTTP/2 connection at once.
    pub max_streams: u32,
    /// How long a request may take to arrive, from its first byte, and a new connection until that byte.
    pub receive_timeout: Duration,
    /// How long a connection may be idle between requests. Longer than the proxies' own pools keep theirs.
    pub idle_timeout: Duration,
    /// How long an answer may take.
    pub answer_timeout: Duration,
    /// How long requests under way may take to end when the server is told to stop.
    pub shutdown_grace: Duration,
    /// Bytes of answers that are kept for nginx to fetch.
    pub max_kept_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            max_connections: 16_384,
            max_head_bytes: 64 << 10,
            max_body_bytes: 1 << 20,
            max_streams: 256,
            receive_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(300),
            answer_timeout: Duration::from_secs(10),
            shutdown_grace: Duration::from_secs(30),
            max_kept_bytes: 32 << 20,
        }
    }
}

/// Where each decision is written as a line of JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DecisionLog {
    /// Nowhere.
    #[default]
    None,
    /// To standard output.
    Stdout,
    /// To the end of this file. It is opened anew on SIGHUP, for those who rotate it.
    File(PathBuf),
}
