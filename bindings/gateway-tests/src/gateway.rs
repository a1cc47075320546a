//! What scenarios need of a gateway.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use tollgate::{Amount, Finish, Verdict};
use tollgate_scenario::{RequestStep, StepError};

use crate::client::Response;
use crate::upstream::Received;

/// Longer response bodies are not kept; a gateway under scenarios is configured like that.
pub const MAX_RESPONSE_BODY: usize = 1 << 16;

/// The response headers that are kept; a gateway under scenarios is configured like that.
pub const REPLAY_HEADERS: [&str; 6] =
    ["Content-Type", "Location", "X-Tag", "X-Name", "X-Request-Id", "X-Bytes"];

/// What the upstream is told of a request that passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Whose it is.
    pub account: Option<String>,
    /// The route that matched.
    pub route: Option<String>,
    /// What is reserved.
    pub reserved: Option<u64>,
    /// By which reservation.
    pub reservation: Option<u64>,
    /// With what its end is told, where the gateway does not find out by itself.
    pub ticket: Option<String>,
}

impl Told {
    fn in_headers_of_tests(request: &Received) -> Told {
        let text = |name: &str| request.header(name).map(str::to_owned);
        let number = |name: &str| request.header(name)?.parse().ok();
        Told {
            account: text("x-t-account"),
            route: text("x-t-route"),
            reserved: number("x-t-reserved"),
            reservation: number("x-t-reservation"),
            ticket: None,
        }
    }
}

/// What is known of a request that was answered and not passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Denied or replayed.
    pub verdict: Verdict,
    /// Why it was denied.
    pub code: Option<String>,
    /// Whose it is.
    pub account: Option<String>,
    /// The route that matched.
    pub route: Option<String>,
}

/// A gateway that runs, as scenarios need it; stopped when dropped.
///
/// It takes the peer's address out of `X-Test-Peer` or [`preamble`](Self::preamble) on its port, and has none for what comes over its socket. Cost, sender and refusal of a request are in
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

    /// What goes before a request from this address on its connection.
    #[must_use]
    fn preamble(_: IpAddr) -> Vec<u8> {
        Vec::new()
    }

    /// What it told the upstream of this request.
    #[must_use]
    fn told(request: &Received) -> Told {
        Told::in_headers_of_tests(request)
    }

    /// What it said by this answer of its own to this request.
    ///
    /// # Errors
    /// An answer that says that the request passed; [`StepError::not_carried`] for one that no policy gave.
    fn said(&self, _: &RequestStep, answer: &Response) -> Result<Said, StepError> {
        let text = |name: &str| answer.header(name).map(str::to_owned);
        let verdict = match answer.header("x-t-verdict") {
            Some("deny") => Verdict::Deny,
            Some("replay") => Verdict::Replay,
            Some(other) => {
                return Err(StepError::new(format!("the upstream was not asked: {other}")));
            }
            None => return Err(own_answer(Self::NAME, answer)),
        };
        let code = text("x-t-code").filter(|_| verdict == Verdict::Deny);
        Ok(Said { verdict, code, account: text("x-t-account"), route: text("x-t-route") })
    }

    /// Tells it how a request ended that passed with this ticket, and gives what was settled.
    ///
    /// # Errors
    /// The gateway's refusal; it is not asked where [`Told::ticket`] is absent.
    fn settle(&self, _: &str, _: &Finish) -> Result<Option<Amount>, StepError> {
        Err(StepError::new("this gateway finds out by itself"))
    }

    /// Whether it is told by tickets how requests end, and finds out nothing by itself.
    const IS_TOLD: bool = false;

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

/// An answer that is the gateway's and not the policy's.
#[must_use]
pub fn own_answer(gateway: &str, answer: &Response) -> StepError {
    StepError::not_carried(format!("{gateway} itself answers with {}", answer.status))
}
