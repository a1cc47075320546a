//! What scenarios need of a gateway.

use std::path::{Path, PathBuf};

use tollgate_scenario::{RequestStep, StepError};

/// Longer response bodies are not kept; a gateway under scenarios is configured like that.
pub const MAX_RESPONSE_BODY: usize = 1 << 16;

/// The response headers that are kept; a gateway under scenarios is configured like that.
pub const REPLAY_HEADERS: [&str; 6] =
    ["Content-Type", "Location", "X-Tag", "X-Name", "X-Request-Id", "X-Bytes"];

/// A gateway that runs, as scenarios need it; stopped when dropped.
///
/// It takes the peer's address out of `X-Test-Peer` on its port, and has none for what comes over its socket. Cost, sender and refusal of a request are in
/// `X-Test-Cost`, `X-Test-Sender` and `X-Test-Invalid`, the charge of a response in `X-Charge`. It tells the client `X-T-Verdict`, `X-T-Code`, `X-T-Account` and
/// `X-T-Route`, and the upstream `X-T-Account`, `X-T-Route`, `X-T-Reserved` and `X-T-Reservation`. Each request has a connection of its own to the upstream.
pub trait RunningGateway: Sized + Send + Sync {
    /// What it is called in the reasons for what it does not carry.
    const NAME: &'static str;

    /// Starts one with this policy, as JSON, and this port of the upstream on 127.0.0.1.
    fn start_for_scenarios(policy: &str, upstream: u16) -> Self;

    /// Its port on 127.0.0.1.
    fn port(&self) -> u16;

    /// Its directory, with the store in `db`.
    fn directory(&self) -> &Path;

    /// The socket for requests without an address.
    fn socket(&self) -> PathBuf {
        self.directory().join("socket")
    }

    /// Sets its wall clock.
    fn set_clock_ms(&self, now_ms: u64);

    /// Writes this policy to its file, and returns once every later request is decided by it.
    fn replace_policy(&self, policy: &str);

    /// Goes on with the same configuration and store in new processes; requests that are under way may still end.
    fn restart(&mut self);

    /// A line for each request that ended: its `X-Test-Id`, `|`, what was settled or `-`, `|`.
    fn access_log(&self) -> String;

    /// What else it logged.
    fn error_log(&self) -> String;

    /// Why a request was not settled, where this part of [`error_log`](Self::error_log) says so.
    fn not_settled(logged: &str) -> Option<&str>;

    /// Whether this gateway can carry a request that HTTP can.
    ///
    /// # Errors
    /// [`StepError::not_carried`] with what is the gateway's reason.
    fn carries(request: &RequestStep) -> Result<(), StepError>;

    /// Whether it can end a request at this time.
    ///
    /// # Errors
    /// [`StepError::not_carried`] with what is the gateway's reason.
    fn ends_at(now_ms: u64) -> Result<(), StepError>;
}
