//! What a host may set on the layer.

use std::any::Any;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::request;
use http::response;
use tollgate::{Amount, FinishError, LiveEngine, Ticket};

use crate::layer::TollgateLayer;
use crate::peer;
use crate::settlement::{Settlement, default_error_rule, default_rule};

/// What only the host knows about a request. The default leaves all of it to the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Price in the ledger's minor unit; `None` takes the route's default.
    pub cost: Option<Amount>,
    /// The sender that the request names, to be checked against the account's approved ones.
    pub sender: Option<String>,
    /// The host's own validation: the message for the client when it refuses the request (422).
    pub invalid: Option<String>,
}

/// Response headers that are kept for replays, unless
/// [`replay_headers`](TollgateLayerBuilder::replay_headers) says otherwise.
pub static DEFAULT_REPLAY_HEADERS: [HeaderName; 11] = [
    header::CONTENT_TYPE,
    header::CONTENT_LANGUAGE,
    header::CONTENT_ENCODING,
    header::CONTENT_DISPOSITION,
    header::CONTENT_LOCATION,
    header::LOCATION,
    header::CACHE_CONTROL,
    header::ETAG,
    header::LAST_MODIFIED,
    header::LINK,
    header::VARY,
];

/// Headers of one connection, one moment or one client: they are never kept.
static NEVER_KEPT: [HeaderName; 10] = [
    header::SET_COOKIE,
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::DATE,
    header::CONTENT_LENGTH,
];

type Hook<F> = Arc<F>;
type Clock = dyn Fn() -> u64 + Send + Sync;
type Peer = dyn Fn(&request::Parts) -> Option<IpAddr> + Send + Sync;
type Rule = dyn Fn(&response::Parts) -> Settlement + Send + Sync;
type ErrorRule = dyn Fn(&(dyn Any + 'static)) -> Settlement + Send + Sync;
type OnFinishError = dyn Fn(&Ticket, &FinishError) + Send + Sync;
type HeadFacts = dyn Fn(&request::Parts) -> Facts + Send + Sync;
type BodyFacts = dyn Fn(&request::Parts, &Bytes) -> Facts + Send + Sync;

/// Where a request's facts come from.
pub(crate) enum FactsHook {
    None,
    Head(Hook<HeadFacts>),
    Body(Hook<BodyFacts>),
}

pub(crate) struct Options {
    pub clock: Hook<Clock>,
    pub peer: Hook<Peer>,
    pub facts: FactsHook,
    pub rule: Hook<Rule>,
    pub error_rule: Hook<ErrorRule>,
    pub on_finish_error: Hook<OnFinishError>,
    pub max_request_body: usize,
    pub max_response_body: usize,
    pub replay_headers: Box<[HeaderName]>,
    pub upstream_timeout: Option<Duration>,
    pub carry_on: Duration,
}

/// What every request of a layer shares.
pub(crate) struct Shared<S> {
    pub live: Arc<LiveEngine>,
    pub store: Arc<S>,
    pub options: Options,
}

/// Sets up a [`TollgateLayer`]; see [`TollgateLayer::builder`].
pub struct TollgateLayerBuilder<S> {
    shared: Shared<S>,
}

impl<S> TollgateLayerBuilder<S> {
    pub(crate) fn new(live: Arc<LiveEngine>, store: Arc<S>) -> Self {
        let options = Options {
            clock: Arc::new(system_now_ms),
            peer: Arc::new(peer::from_extensions),
            facts: FactsHook::None,
            rule: Arc::new(default_rule),
            error_rule: Arc::new(default_error_rule),
            on_finish_error: Arc::new(|_, _| {}),
            max_request_body: 1 << 20,
            max_response_body: 1 << 20,
            replay_headers: DEFAULT_REPLAY_HEADERS.to_vec().into(),
            upstream_timeout: None,
            carry_on: Duration::from_secs(60),
        };
        TollgateLayerBuilder { shared: Shared { live, store, options } }
    }

    /// Where the time comes from, in Unix milliseconds. Default: the system's clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.shared.options.clock = Arc::new(clock);
        self
    }

    /// Where the address of the TCP peer comes from. Default: the [`PeerAddr`](crate::PeerAddr)
    /// extension, else (feature `axum`) axum's `ConnectInfo<SocketAddr>`. `None` is no address: networks deny it.
    ///
    /// Addresses in forwarding headers are the policy's business (`source.trusted_proxies`), not this hook's.
    #[must_use]
    pub fn peer(
        mut self,
        peer: impl Fn(&request::Parts) -> Option<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        self.shared.options.peer = Arc::new(peer);
        self
    }

    /// Tells price, sender and validity from the request's head. Replaces either facts hook.
    #[must_use]
    pub fn facts(
        mut self,
        facts: impl Fn(&request::Parts) -> Facts + Send + Sync + 'static,
    ) -> Self {
        self.shared.options.facts = FactsHook::Head(Arc::new(facts));
        self
    }

    /// Tells price, sender and validity from the request's head and body. Replaces either facts hook.
    ///
    /// With this hook the body of every request is read before it is decided, up to
    /// [`max_request_body`](Self::max_request_body), once token, network and scope allow it; without
    /// it only bodies of requests that hold an idempotency key are.
    #[must_use]
    pub fn facts_with_body(
        mut self,
        facts: impl Fn(&request::Parts, &Bytes) -> Facts + Send + Sync + 'static,
    ) -> Self {
        self.shared.options.facts = FactsHook::Body(Arc::new(facts));
        self
    }

    /// How a request ends whose upstream answered. Default: the table in the crate's documentation.
    #[must_use]
    pub fn settlement(
        mut self,
        rule: impl Fn(&response::Parts) -> Settlement + Send + Sync + 'static,
    ) -> Self {
        self.shared.options.rule = Arc::new(rule);
        self
    }

    /// How a request ends whose service failed: it is given the service's error to downcast. Default:
    /// always [`Settlement::Unknown`], since a failed call may have been carried out. A rule may say
    /// [`Settlement::Release`] for errors that prove that nothing was sent, such as a refused connection.
    #[must_use]
    pub fn error_settlement(
        mut self,
        rule: impl Fn(&(dyn Any + 'static)) -> Settlement + Send + Sync + 'static,
    ) -> Self {
        self.shared.options.error_rule = Arc::new(rule);
        self
    }

    /// Told of a settlement that the store refused, or failed three times. Default: nobody is. The
    /// reservation then ends with its lease, as the policy says.
    #[must_use]
    pub fn on_finish_error(
        mut self,
        hook: impl Fn(&Ticket, &FinishError) + Send + Sync + 'static,
    ) -> Self {
        self.shared.options.on_finish_error = Arc::new(hook);
        self
    }

    /// The longest request body that is read before deciding, in bytes. Default: 1 MiB. A longer one
    /// is answered with 422 `validation_failed` and never forwarded; bodies that nobody needs to read
    /// are streamed and have no bound.
    #[must_use]
    pub fn max_request_body(mut self, bytes: usize) -> Self {
        self.shared.options.max_request_body = bytes;
        self
    }

    /// The longest response body that is kept for replays, in bytes. Default: 1 MiB. A longer one
    /// reaches its client whole, but is replayed with an empty body.
    #[must_use]
    pub fn max_response_body(mut self, bytes: usize) -> Self {
        self.shared.options.max_response_body = bytes;
        self
    }

    /// Response headers that are kept for replays, in place of [`DEFAULT_REPLAY_HEADERS`]. `Set-Cookie`,
    /// `Date`, `Content-Length` and the headers of a connection are never kept.
    #[must_use]
    pub fn replay_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.shared.options.replay_headers =
            names.into_iter().filter(|name| !NEVER_KEPT.contains(name)).collect();
        self
    }

    /// How long the head of the upstream's response may take; then the client gets 504 and the request's
    /// end is unknown. Default: no bound. Needs a tokio runtime with time enabled.
    #[must_use]
    pub fn upstream_timeout(mut self, timeout: Duration) -> Self {
        self.shared.options.upstream_timeout = Some(timeout);
        self
    }

    /// How long a request that must be settled is carried on after its client went away. Default: 60
    /// seconds. [`Duration::ZERO`] cancels it at once, with an unknown end.
    #[must_use]
    pub fn carry_on(mut self, bound: Duration) -> Self {
        self.shared.options.carry_on = bound;
        self
    }

    /// The layer.
    #[must_use]
    pub fn build(self) -> TollgateLayer<S> {
        TollgateLayer::from_shared(self.shared)
    }
}

impl<S> std::fmt::Debug for TollgateLayerBuilder<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TollgateLayerBuilder").finish_non_exhaustive()
    }
}

/// A clock before 1970 or beyond 64 bits of milliseconds is broken: the engine refuses `u64::MAX`.
fn system_now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_those_of_every_host() {
        let names = |list: &[HeaderName]| {
            list.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(&DEFAULT_REPLAY_HEADERS), tollgate::REPLAY_HEADERS);
        assert_eq!(names(&NEVER_KEPT), tollgate::NEVER_REPLAYED_HEADERS);
    }
}
