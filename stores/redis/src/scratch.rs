//! Stores that leave nothing behind, for tests and demonstrations on a server that others use too.

use redis::{ConnectionAddr, ConnectionInfo, RedisError, Value};

use crate::connection::client;
use crate::options::RedisOptions;
use crate::protocol::OptionsError;
use crate::sync::{Nonces, RedisStore};

/// Keys that are removed at a time.
const AT_ONCE: usize = 500;

/// A prefix of its own on a server or cluster, whose keys are removed when this is dropped.
#[derive(Debug)]
pub struct RedisScratch {
    options: RedisOptions,
}

impl RedisScratch {
    /// On this server. Of `options` all but the prefix count.
    ///
    /// # Errors
    /// [`OptionsError`].
    pub fn new(options: &RedisOptions) -> Result<Self, OptionsError> {
        let mut options = options.clone();
        let name = Nonces::new()?.next().0;
        let name: String = name.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        options.protocol.prefix = format!("tg-scratch-{name}");
        options.read()?;
        Ok(RedisScratch { options })
    }

    /// The store, which is empty at first; a second one sees what the first one wrote.
    ///
    /// # Errors
    /// [`OptionsError`].
    pub fn open(&self) -> Result<RedisStore, OptionsError> {
        RedisStore::new(&self.options)
    }

    fn remove_all(&self) -> Result<(), RedisError> {
        let Ok((servers, protocol)) = self.options.read() else { return Ok(()) };
        let servers = if protocol.cluster { self.primaries(servers)? } else { servers };
        servers.into_iter().try_for_each(|server| self.remove_from(server))
    }

    fn connect(&self, server: ConnectionInfo) -> Result<redis::Connection, RedisError> {
        let unusable = |_| RedisError::from(std::io::Error::other("no such server"));
        let client = client(&self.options, vec![server]).map_err(unusable)?;
        let line = client.get_connection_with_timeout(self.options.connect_timeout)?;
        line.set_read_timeout(Some(self.options.response_timeout))?;
        Ok(line)
    }

    /// Where a cluster's primaries are, as the first node that answers knows it.
    fn primaries(&self, servers: Vec<ConnectionInfo>) -> Result<Vec<ConnectionInfo>, RedisError> {
        let mut last = Err(std::io::Error::other("no node is named").into());
        for server in servers {
            let slots = self.connect(server.clone()).and_then(|mut line| slots(&mut line, &server));
            match slots {
                Ok(primaries) => return Ok(primaries),
                Err(error) => last = Err(error),
            }
        }
        last
    }

    fn remove_from(&self, server: ConnectionInfo) -> Result<(), RedisError> {
        let mut line = self.connect(server)?;
        let pattern = format!("{}:*", self.options.protocol.prefix);
        let mut cursor = String::from("0");
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(&cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(AT_ONCE);
            let (next, keys): (String, Vec<Vec<u8>>) = scan.query(&mut line)?;
            // One by one: in a cluster they are in different slots.
            let mut removals = redis::pipe();
            for key in &keys {
                removals.cmd("UNLINK").arg(key).ignore();
            }
            if !keys.is_empty() {
                removals.exec(&mut line)?;
            }
            if next == "0" {
                return Ok(());
            }
            cursor = next;
        }
    }
}

impl Drop for RedisScratch {
    fn drop(&mut self) {
        // A server that is gone has nothing left to be removed.
        let _ = self.remove_all();
    }
}

/// `CLUSTER SLOTS`: of each range the first node is the primary.
fn slots(
    line: &mut redis::Connection,
    server: &ConnectionInfo,
) -> Result<Vec<ConnectionInfo>, RedisError> {
    let ranges: Vec<Value> = redis::cmd("CLUSTER").arg("SLOTS").query(line)?;
    let mut primaries: Vec<(String, u16)> = Vec::new();
    for range in ranges {
        let Value::Array(parts) = range else { continue };
        let Some(Value::Array(node)) = parts.into_iter().nth(2) else { continue };
        let mut node = node.into_iter();
        let (Some(host), Some(port)) = (node.next(), node.next()) else { continue };
        let at: (String, u16) = (redis::from_redis_value(host)?, redis::from_redis_value(port)?);
        if !primaries.contains(&at) {
            primaries.push(at);
        }
    }
    let of = |(node, port): (String, u16)| match server.addr() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
            host: node,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(node, port),
    };
    Ok(primaries.into_iter().map(|at| server.clone().set_addr(of(at))).collect())
}
