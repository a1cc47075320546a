//! The arguments of `tollgate serve`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::RangedU64ValueParser;
use tollgate_lmdb::SyncPolicy;
use tollgate_serve::telemetry::LogFormat;
use tollgate_serve::{
    AdminOptions, DecisionLog, FactHeaders, Listen, LoadPolicy, Options, Secret, Settlement,
    StoreLocation, TlsFiles,
};

use crate::exit::Failure;
use crate::policy::{self, Format};
use crate::settings::Network;
use crate::store::{Location, unknown_location};
use crate::token::pepper;

/// Decide requests over HTTP, for proxies and services that cannot link the engine: nginx, Envoy, Traefik and Caddy by
/// forward-auth, everything else by `POST /v1/decide` and `/v1/settle`.
///
/// Ends gracefully on SIGTERM or an interrupt: what was asked is answered. A second one ends it at once. SIGHUP reads policy and
/// certificates again and opens the decision log anew.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    proxies: ProxyArgs,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    logs: LogArgs,
    #[command(flatten)]
    bounds: BoundArgs,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Policy")]
struct PolicyArgs {
    /// Policy file, followed: it is read again when it changes. Together with --preset a merge patch (RFC 7396, JSON) on the preset
    #[arg(long, value_name = "FILE", required_unless_present = "preset")]
    policy: Option<PathBuf>,
    /// The preset of this name
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// How the policy file is written, if its name does not end in .toml or .json
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Key of the tokens' digests: 16 bytes at least
    #[arg(long, value_name = "FILE")]
    pepper_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Store")]
struct StoreArgs {
    /// memory (gone with the server), lmdb:DIRECTORY, redis://HOST:PORT (rediss:// with TLS), or redis+cluster://HOST:PORT,HOST:PORT.
    /// Arguments can be seen by other users: a URL with a password belongs into the variable
    #[arg(long, value_name = "STORE", env = "TOLLGATE_STORE", hide_env_values = true)]
    store: Location,
    /// Where limits are counted: with the rest, or in this server's memory
    #[arg(long, value_enum, default_value = "store")]
    limits: Limits,
    /// When LMDB writes reach the disk: each-commit, never, or after so many milliseconds
    #[arg(long, value_name = "each-commit|never|MS", default_value = "each-commit")]
    sync: Sync,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Listening")]
struct ListenArgs {
    /// ADDRESS:PORT or unix:PATH; may be given more than once
    #[arg(long, value_name = "WHERE", default_value = "127.0.0.1:8081")]
    listen: Vec<Where>,
    /// Certificate chain in PEM, read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// File with the token that POST /v1/decide and /v1/settle must show; without it whoever connects may ask
    #[arg(long, value_name = "FILE")]
    api_token_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Proxies")]
struct ProxyArgs {
    /// Who may ask on behalf of clients: the addresses of the proxies themselves [default: 127.0.0.0/8 and ::1]
    #[arg(long = "proxy", value_name = "NETWORK")]
    proxies: Vec<Network>,
    /// Which header has, as its last entry, the address that called the proxy
    #[arg(long, value_name = "NAME", default_value = "x-forwarded-for")]
    peer_header: http::HeaderName,
    /// What becomes of charges and idempotency keys where a proxy asks
    #[arg(long, value_enum, default_value = "reported")]
    settlement: SettlementArg,
    /// Header in which a proxy tells the price, in the ledger's minor unit
    #[arg(long, value_name = "NAME")]
    cost_header: Option<http::HeaderName>,
    /// Header in which a proxy tells the sender that must be approved for the account
    #[arg(long, value_name = "NAME")]
    sender_header: Option<http::HeaderName>,
    /// Header in which a proxy tells that the request is not valid, and why
    #[arg(long, value_name = "NAME")]
    invalid_header: Option<http::HeaderName>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Administration")]
struct AdminArgs {
    /// Serve administration, metrics and the settings page at ADDRESS:PORT or unix:PATH
    #[arg(long, value_name = "WHERE", requires = "admin_token_file")]
    admin_listen: Option<Where>,
    /// File with the operator's token
    #[arg(long, value_name = "FILE", requires = "admin_listen")]
    admin_token_file: Option<PathBuf>,
    /// Certificate chain in PEM for it
    #[arg(long, value_name = "FILE", requires = "admin_tls_key")]
    admin_tls_cert: Option<PathBuf>,
    /// Its private key in PEM
    #[arg(long, value_name = "FILE", requires = "admin_tls_cert")]
    admin_tls_key: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Logs")]
struct LogArgs {
    /// Write each decision as a line of JSON to the end of a file, or to standard output with `-`
    #[arg(long, value_name = "FILE|-")]
    decision_log: Option<PathBuf>,
    /// How the server's own lines on standard error are written
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormatArg,
    /// Send spans to an OTLP collector over gRPC, for instance http://127.0.0.1:4317
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
    /// How many decisions a second are kept with their trace for the settings page
    #[arg(long, value_name = "N", default_value_t = 20)]
    traces_per_second: u32,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Bounds")]
struct BoundArgs {
    /// Connections at once; those over it are closed
    #[arg(long, value_name = "N", default_value_t = 16_384, value_parser = between(1, 1 << 24))]
    max_connections: usize,
    /// Bytes of a request's head
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 10, value_parser = between(8 << 10, 16 << 20))]
    max_head_bytes: usize,
    /// Bytes of a body
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, value_parser = between(0, 1 << 30))]
    max_body_bytes: usize,
    /// How long a request may take to arrive, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = duration())]
    receive_timeout_ms: u64,
    /// How long a connection may be idle, in milliseconds: longer than proxies keep theirs
    #[arg(long, value_name = "MS", default_value_t = 300_000, value_parser = duration())]
    idle_timeout_ms: u64,
    /// How long an answer may take, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = duration())]
    answer_timeout_ms: u64,
    /// On SIGTERM, how long to go on answering as not ready before listening ends, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=86_400_000))]
    drain_ms: u64,
    /// After that, how long requests under way may take, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(0..=86_400_000))]
    grace_ms: u64,
    /// Threads that decide [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

fn between(least: u64, most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(least..=most)
}

/// A millisecond to a day: no connection and no answer is waited for without an end.
fn duration() -> RangedU64ValueParser<u64> {
    RangedU64ValueParser::new().range(1..=86_400_000)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Limits {
    Store,
    Memory,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SettlementArg {
    /// Whoever sees the upstream's answer reports to POST /v1/settle with the ticket
    Reported,
    /// Nobody reports: the price is posted as soon as the request may pass
    AtOnce,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormatArg {
    Text,
    Json,
}

/// `127.0.0.1:8081` or `unix:/run/tollgate.sock`.
#[derive(Clone, Debug)]
struct Where(Listen);

impl FromStr for Where {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Where(Listen::Unix(path.into())));
        }
        let address = text.parse::<SocketAddr>();
        address
            .map(|address| Where(Listen::Tcp(address)))
            .map_err(|_| "give ADDRESS:PORT or unix:PATH")
    }
}

/// When LMDB writes reach the disk.
#[derive(Clone, Copy, Debug)]
struct Sync(SyncPolicy);

impl FromStr for Sync {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "each-commit" => Ok(Sync(SyncPolicy::EveryCommit)),
            "never" => Ok(Sync(SyncPolicy::Never)),
            _ => match text.parse() {
                Ok(interval_ms) if interval_ms > 0 => Ok(Sync(SyncPolicy::IntervalMs(interval_ms))),
                _ => Err("give each-commit, never, or milliseconds"),
            },
        }
    }
}

impl Args {
    /// What the server is told.
    pub(super) fn options(&self) -> Result<Options, Failure> {
        let mut options = Options::new(self.policy.load());
        options.policy_file.clone_from(&self.policy.policy);
        options.pepper = pepper(self.policy.pepper_file.as_deref())?;
        options.store = self.store.location()?;
        options.limits_in_memory = self.store.limits == Limits::Memory;
        options.listen = self.listen.listen.iter().map(|Where(listen)| listen.clone()).collect();
        options.tls = tls(self.listen.tls_cert.as_ref(), self.listen.tls_key.as_ref());
        options.api_token = self.listen.api_token_file.as_deref().map(secret).transpose()?;
        if !self.proxies.proxies.is_empty() {
            options.proxies =
                self.proxies.proxies.iter().map(|Network(network)| *network).collect();
        }
        options.peer_header = self.proxies.peer_header.clone();
        options.facts = FactHeaders {
            cost: self.proxies.cost_header.clone(),
            sender: self.proxies.sender_header.clone(),
            invalid: self.proxies.invalid_header.clone(),
        };
        options.settlement = match self.proxies.settlement {
            SettlementArg::Reported => Settlement::Reported,
            SettlementArg::AtOnce => Settlement::AtOnce,
        };
        options.admin = self.admin.options()?;
        options.decision_log = match &self.logs.decision_log {
            None => DecisionLog::None,
            Some(path) if path.as_os_str() == "-" => DecisionLog::Stdout,
            Some(path) => DecisionLog::File(path.clone()),
        };
        options.traces_per_second = self.logs.traces_per_second;
        let bounds = &mut options.bounds;
        bounds.max_connections = self.bounds.max_connections;
        bounds.max_head_bytes = self.bounds.max_head_bytes;
        bounds.max_body_bytes = self.bounds.max_body_bytes;
        bounds.receive_timeout = Duration::from_millis(self.bounds.receive_timeout_ms);
        bounds.idle_timeout = Duration::from_millis(self.bounds.idle_timeout_ms);
        bounds.answer_timeout = Duration::from_millis(self.bounds.answer_timeout_ms);
        bounds.shutdown_grace = Duration::from_millis(self.bounds.grace_ms);
        Ok(options)
    }

    pub(super) fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.bounds.threads.map_or_else(cores, usize::from)
    }

    pub(super) fn drain(&self) -> Duration {
        Duration::from_millis(self.bounds.drain_ms)
    }

    pub(super) fn log_format(&self) -> LogFormat {
        match self.logs.log_format {
            LogFormatArg::Text => LogFormat::Text,
            LogFormatArg::Json => LogFormat::Json,
        }
    }

    pub(super) fn otlp(&self) -> Option<&str> {
        self.logs.otlp.as_deref()
    }
}

impl PolicyArgs {
    fn load(&self) -> LoadPolicy {
        let (file, format, preset) = (self.policy.clone(), self.format, self.preset.clone());
        Arc::new(move || {
            let place = policy::place(file.as_deref(), preset.as_deref());
            let checked = policy::load(file.as_deref(), format, preset.as_deref());
            let config = checked.map_err(|failure| failure.to_string())?;
            let compiled = config.and_then(|config| config.compile());
            compiled.map_err(|errors| format!("{place}: the policy has errors:\n{errors}"))
        })
    }
}

impl StoreArgs {
    fn location(&self) -> Result<StoreLocation, Failure> {
        match &self.store {
            Location::Memory => Ok(StoreLocation::Memory),
            Location::Lmdb(path) => Ok(StoreLocation::Lmdb(path.clone(), self.sync.0)),
            Location::Redis(url) => Ok(StoreLocation::Redis(url.clone())),
            Location::Unknown => Err(unknown_location()),
        }
    }
}

impl AdminArgs {
    fn options(&self) -> Result<Option<AdminOptions>, Failure> {
        let (Some(Where(listen)), Some(file)) = (&self.admin_listen, &self.admin_token_file) else {
            return Ok(None);
        };
        let tls = tls(self.admin_tls_cert.as_ref(), self.admin_tls_key.as_ref());
        Ok(Some(AdminOptions { listen: listen.clone(), tls, token: secret(file)? }))
    }
}

fn tls(certificate: Option<&PathBuf>, key: Option<&PathBuf>) -> Option<TlsFiles> {
    let (certificate, key) = certificate.zip(key)?;
    Some(TlsFiles { certificate: certificate.clone(), key: key.clone() })
}

fn secret(file: &Path) -> Result<Secret, Failure> {
    let text = fs::read_to_string(file).map_err(|error| Failure::at(file.display(), error))?;
    Secret::new(&text).map_err(|error| Failure::at(file.display(), error))
}
