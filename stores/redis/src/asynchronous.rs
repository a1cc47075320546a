//! The store that answers later, on tokio.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::{AsyncConnectionConfig, Client, cluster::ClusterClient};
use tokio::sync::Mutex;
use tollgate::{AsyncStore, Command, Outcome, StoreError};

use crate::connection::{client, cluster_client, reply};
use crate::exchange::{Call, Reply};
use crate::failure::CallError;
use crate::options::RedisOptions;
use crate::protocol::{OptionsError, Protocol};
use crate::sync::{Nonces, is_lost};

/// A store on a Redis or Valkey server or cluster, for tasks of a tokio runtime.
///
/// All tasks share one connection, over which calls follow each other without waiting for replies. It
/// connects when it is first needed, and again when the connection broke.
pub struct AsyncRedisStore {
    protocol: Protocol,
    connector: Connector,
    line: Mutex<Shared>,
    nonces: Nonces,
    /// As in the store that answers at once.
    sends_again_within: Duration,
    round_trips: AtomicU64,
}

/// The connection that all tasks share.
#[derive(Default)]
struct Shared {
    /// With its number.
    line: Option<(u64, Line)>,
    connected: u64,
    /// The latest try to connect that failed.
    failed: Option<(Instant, CallError)>,
}

enum Connector {
    Server { client: Box<Client>, connect: Duration, response: Duration },
    Cluster { client: Box<ClusterClient>, patience: Duration },
}

#[derive(Clone)]
enum Line {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl fmt::Debug for AsyncRedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncRedisStore").finish_non_exhaustive()
    }
}

impl AsyncRedisStore {
    /// With these options. Nothing is sent yet.
    ///
    /// # Errors
    /// [`OptionsError`].
    pub fn new(options: &RedisOptions) -> Result<Self, OptionsError> {
        let (servers, protocol) = options.read()?;
        let (connect, response) = (options.connect_timeout, options.response_timeout);
        let connector = if protocol.cluster {
            let client = Box::new(cluster_client(options, servers)?);
            Connector::Cluster { client, patience: connect.saturating_add(response) }
        } else {
            Connector::Server { client: Box::new(client(options, servers)?), connect, response }
        };
        Ok(AsyncRedisStore {
            sends_again_within: protocol.remember.checked_div(2).unwrap_or_default(),
            protocol: Protocol::new(&protocol)?,
            connector,
            line: Mutex::default(),
            nonces: Nonces::new()?,
            round_trips: AtomicU64::new(0),
        })
    }

    /// How often something was sent and waited for since the store was made.
    #[must_use]
    pub fn round_trips(&self) -> u64 {
        self.round_trips.load(Ordering::Relaxed)
    }

    /// Sends calls, and once again when the connection breaks.
    async fn send(&self, calls: &[Call]) -> Vec<Reply> {
        let until = Instant::now().checked_add(self.sends_again_within);
        let replies = self.try_send(calls).await;
        let lost = replies.iter().any(is_lost);
        let in_time = until.is_none_or(|until| Instant::now() < until);
        if lost && in_time { self.try_send(calls).await } else { replies }
    }

    async fn try_send(&self, calls: &[Call]) -> Vec<Reply> {
        let (number, mut line) = match self.connected().await {
            Ok(line) => line,
            Err(error) => return calls.iter().map(|_| Err(error.clone())).collect(),
        };
        self.round_trips.fetch_add(1, Ordering::Relaxed);
        let replies = line.send(calls).await;
        if replies.iter().any(is_lost) {
            let mut shared = self.line.lock().await;
            // Another task may have connected anew already.
            if shared.line.as_ref().is_some_and(|(current, _)| *current == number) {
                shared.line = None;
            }
        }
        replies
    }

    /// The connection that all tasks share, with its number.
    async fn connected(&self) -> Result<(u64, Line), CallError> {
        let asked = Instant::now();
        let mut shared = self.line.lock().await;
        if let Some((number, line)) = &shared.line {
            return Ok((*number, line.clone()));
        }
        // Who waited for somebody else's try shares its failure: tries in a row would add up.
        if let Some((_, error)) = shared.failed.as_ref().filter(|(at, _)| *at >= asked) {
            return Err(error.clone());
        }
        match self.connector.connect().await {
            Ok(line) => {
                shared.connected = shared.connected.wrapping_add(1);
                shared.line = Some((shared.connected, line.clone()));
                Ok((shared.connected, line))
            }
            Err(error) => {
                shared.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }
}

impl Connector {
    async fn connect(&self) -> Result<Line, CallError> {
        match self {
            Connector::Server { client, connect, response } => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(*connect))
                    .set_response_timeout(Some(*response));
                Ok(Line::Server(
                    client.get_multiplexed_async_connection_with_config(&config).await?,
                ))
            }
            Connector::Cluster { client, patience } => {
                let line = tokio::time::timeout(*patience, client.get_async_connection()).await;
                let late = |_| CallError::lost("the cluster did not answer in time");
                Ok(Line::Cluster(line.map_err(late)??))
            }
        }
    }
}

impl Line {
    async fn send(&mut self, calls: &[Call]) -> Vec<Reply> {
        let mut replies = Vec::with_capacity(calls.len());
        for call in calls {
            let answer = match self {
                Line::Server(line) => line.req_packed_command(call.command()).await,
                Line::Cluster(line) => line.req_packed_command(call.command()).await,
            };
            replies.push(reply(answer));
        }
        replies
    }
}

impl AsyncStore for AsyncRedisStore {
    async fn perform_async(
        &self,
        command: &Command<'_>,
        now_ms: u64,
    ) -> Result<Outcome, StoreError> {
        let mut exchange = self.protocol.exchange(command, now_ms, self.nonces.next());
        while !exchange.calls().is_empty() {
            let replies = self.send(exchange.calls()).await;
            exchange.resume(replies);
        }
        exchange.into_outcome()
    }
}
