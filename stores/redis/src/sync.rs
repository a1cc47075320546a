//! The store that answers at once.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tollgate::{Command, Outcome, Store, StoreError};

use crate::connection::{Connector, Lease, Pool, client, cluster_client};
use crate::exchange::{Call, Nonce, Reply};
use crate::failure::CallError;
use crate::options::RedisOptions;
use crate::protocol::{OptionsError, Protocol};

/// A store on a Redis or Valkey server or cluster, for threads that wait for the answer.
///
/// Threads share a bounded number of connections. It connects when it is first needed, and again when
/// a connection broke. A program that forks may make it before, and use it first after.
pub struct RedisStore {
    protocol: Protocol,
    pool: Pool,
    nonces: Nonces,
    /// How long after it was sent first a call may be sent again, for as long again: the server remembers
    /// what it answered. Zero: never.
    sends_again_within: Duration,
    round_trips: AtomicU64,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").finish_non_exhaustive()
    }
}

impl RedisStore {
    /// With these options. Nothing is sent yet.
    ///
    /// # Errors
    /// [`OptionsError`].
    pub fn new(options: &RedisOptions) -> Result<Self, OptionsError> {
        let (servers, protocol) = options.read()?;
        let connector = if protocol.cluster {
            Connector::Cluster(Box::new(cluster_client(options, servers)?))
        } else {
            Connector::Server {
                client: Box::new(client(options, servers)?),
                connect: options.connect_timeout,
                response: options.response_timeout,
            }
        };
        Ok(RedisStore {
            sends_again_within: protocol.remember.checked_div(2).unwrap_or_default(),
            protocol: Protocol::new(&protocol)?,
            pool: Pool::new(connector, options),
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
    fn send<'s>(&'s self, calls: &[Call], line: &mut Option<Lease<'s>>) -> Vec<Reply> {
        let until = Instant::now().checked_add(self.sends_again_within);
        let replies = self.try_send(calls, line);
        let lost = replies.iter().any(is_lost);
        let in_time = until.is_none_or(|until| Instant::now() < until);
        if lost && in_time { self.try_send(calls, line) } else { replies }
    }

    fn try_send<'s>(&'s self, calls: &[Call], line: &mut Option<Lease<'s>>) -> Vec<Reply> {
        let mut own = match line.take().map_or_else(|| self.pool.take(), Ok) {
            Ok(own) => own,
            Err(error) => return calls.iter().map(|_| Err(error.clone())).collect(),
        };
        self.round_trips.fetch_add(1, Ordering::Relaxed);
        let replies = own.send(calls);
        if replies.iter().any(is_lost) {
            own.broken();
        } else {
            *line = Some(own);
        }
        replies
    }
}

pub(crate) fn is_lost(reply: &Reply) -> bool {
    matches!(reply, Err(CallError::Lost { .. }))
}

impl Store for RedisStore {
    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        let mut exchange = self.protocol.exchange(command, now_ms, self.nonces.next());
        let mut line = None;
        while !exchange.calls().is_empty() {
            let replies = self.send(exchange.calls(), &mut line);
            exchange.resume(replies);
        }
        if let Some(line) = line {
            line.give_back();
        }
        exchange.into_outcome()
    }
}

/// Names for the exchanges of one store: a random number of its own with the process mixed in, and a
/// count. A store may be made before a program forks, and each process then counts for itself.
pub(crate) struct Nonces {
    own: u64,
    count: AtomicU64,
}

impl Nonces {
    pub(crate) fn new() -> Result<Self, OptionsError> {
        let mut own = [0; 8];
        let random = getrandom::fill(&mut own);
        random.map_err(|_| OptionsError::Unusable { what: "the system's randomness" })?;
        Ok(Nonces { own: u64::from_be_bytes(own), count: AtomicU64::new(0) })
    }

    pub(crate) fn next(&self) -> Nonce {
        self.next_of(std::process::id())
    }

    fn next_of(&self, process: u32) -> Nonce {
        let mut nonce = [0; 16];
        let (own, count) = nonce.split_at_mut(8);
        own.copy_from_slice(&(self.own ^ u64::from(process)).to_be_bytes());
        count.copy_from_slice(&self.count.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        Nonce(nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_that_came_of_one_never_use_a_name_twice() {
        let (parent, child) = (Nonces::new().unwrap(), Nonces::new().unwrap());
        let child = Nonces { own: parent.own, ..child };
        let mut names: Vec<[u8; 16]> = Vec::new();
        for _ in 0..100 {
            names.extend([parent.next_of(7).0, child.next_of(8).0]);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 200);
        assert_eq!(parent.next().0[..8], child.next().0[..8]);
    }
}
