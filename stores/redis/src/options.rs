//! Where the server is, and how long it may take.

use std::fmt;
use std::time::Duration;

use redis::{ConnectionInfo, IntoConnectionInfo};

use crate::connection::prepare_tls;
use crate::protocol::{OptionsError, ProtocolOptions};

/// How often the client of a cluster sends a call again.
pub(crate) const CLUSTER_RETRIES: u32 = 3;
const CLUSTER_TRIES: u32 = CLUSTER_RETRIES + 1;
/// The longest that it waits before.
pub(crate) const CLUSTER_WAIT: Duration = Duration::from_millis(200);

/// How to reach a server or a cluster.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisOptions {
    /// `redis://[USER:PASSWORD@]HOST[:PORT][/DB]`, or `rediss://` for TLS. Of a cluster, some nodes with
    /// commas between them: `redis+cluster://[USER:PASSWORD@]HOST:PORT,HOST:PORT`; `rediss+cluster://`.
    pub url: String,
    /// Prefix, memory of what was answered, cache. Whether there is a cluster is the URL's. A memory that is
    /// shorter than all tries of a call may take together is made as long: with the default timeouts 34 s
    /// for a cluster. A cluster's is not zero, because its client sends again by itself.
    pub protocol: ProtocolOptions,
    /// How long connecting may take. Default: 1 s.
    pub connect_timeout: Duration,
    /// How long an answer may take, before the call is sent once again. Default: 1 s.
    pub response_timeout: Duration,
    /// The most connections of a store that answers at once; more threads wait for a free one.
    /// Default: 16.
    pub connections: usize,
    /// Certificates in PEM that servers are checked against; `None`: the operating system's.
    pub root_certificates: Option<Vec<u8>>,
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may have a password.
        f.debug_struct("RedisOptions")
            .field("protocol", &self.protocol)
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

impl RedisOptions {
    /// The defaults, with this URL.
    #[must_use]
    pub fn new(url: &str) -> Self {
        RedisOptions {
            url: url.into(),
            protocol: ProtocolOptions::default(),
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(1),
            connections: 16,
            root_certificates: None,
        }
    }

    /// The servers that are named, whether they are a cluster, and what the URL says of the protocol.
    pub(crate) fn read(&self) -> Result<(Vec<ConnectionInfo>, ProtocolOptions), OptionsError> {
        let zero = |what| Err(OptionsError::Zero { what });
        if self.connect_timeout.is_zero() {
            return zero("the time to connect");
        }
        if self.response_timeout.is_zero() {
            return zero("the time to answer");
        }
        if self.connections == 0 {
            return zero("the number of connections");
        }
        let (scheme, rest) = self.url.split_once("://").ok_or(OptionsError::Url)?;
        let (urls, cluster) = match scheme {
            "redis+cluster" => (nodes("redis", rest), true),
            "rediss+cluster" => (nodes("rediss", rest), true),
            "redis" | "rediss" => (vec![self.url.clone()], self.protocol.cluster),
            _ => return Err(OptionsError::Url),
        };
        let servers: Result<Vec<_>, _> =
            urls.iter().map(|url| url.as_str().into_connection_info()).collect();
        let servers = servers.map_err(|_| OptionsError::Url)?;
        if cluster && self.protocol.remember.is_zero() {
            return zero(
                "the time for which a cluster, whose client sends again by itself, remembers",
            );
        }
        prepare_tls(&servers);
        let mut protocol = ProtocolOptions { cluster, ..self.protocol.clone() };
        if !protocol.remember.is_zero() {
            protocol.remember = protocol.remember.max(self.all_tries(cluster));
        }
        Ok((servers, protocol))
    }

    /// How long all tries of one call take together: both times that the store sends it, and each time
    /// that the client of a cluster does, which may connect to a second node to ask for the way.
    fn all_tries(&self, cluster: bool) -> Duration {
        let once = self.connect_timeout.saturating_add(self.response_timeout);
        let sent = match cluster {
            true => {
                once.saturating_mul(2).saturating_add(CLUSTER_WAIT).saturating_mul(CLUSTER_TRIES)
            }
            false => once.saturating_mul(2),
        };
        sent.saturating_mul(2)
    }
}

/// One URL for each node, all with the same user and password.
fn nodes(scheme: &str, rest: &str) -> Vec<String> {
    let (user, hosts) = match rest.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), rest),
    };
    hosts.split(',').map(|host| format!("{scheme}://{user}{host}")).collect()
}
