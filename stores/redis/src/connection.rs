//! Connections of the store that answers at once, a bounded number of them.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use redis::cluster::{ClusterClient, ClusterConnection, cluster_pipe};
use redis::{
    Client, Connection, ConnectionAddr, ConnectionInfo, ConnectionLike, RedisError,
    TlsCertificates, Value,
};
use rustls::crypto::CryptoProvider;

use crate::exchange::{Call, Reply};
use crate::failure::CallError;
use crate::options::{CLUSTER_RETRIES, CLUSTER_WAIT, RedisOptions};
use crate::protocol::OptionsError;

/// How to connect.
pub(crate) enum Connector {
    Server { client: Box<Client>, connect: Duration, response: Duration },
    Cluster(Box<ClusterClient>),
}

/// Sees to it that TLS has its cryptography: the program's own choice where it made one.
pub(crate) fn prepare_tls(servers: &[ConnectionInfo]) {
    let tls = |server: &ConnectionInfo| matches!(server.addr(), ConnectionAddr::TcpTls { .. });
    if servers.iter().any(tls) && CryptoProvider::get_default().is_none() {
        // An error says that another thread has just made a choice.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

/// The certificates of TLS, where the options give any.
pub(crate) fn certificates(options: &RedisOptions) -> Option<TlsCertificates> {
    let root_cert = Some(options.root_certificates.clone()?);
    Some(TlsCertificates { client_tls: None, root_cert })
}

/// A client of one server.
pub(crate) fn client(
    options: &RedisOptions,
    servers: Vec<ConnectionInfo>,
) -> Result<Client, OptionsError> {
    let server = servers.into_iter().next().ok_or(OptionsError::Url)?;
    let client = match certificates(options) {
        Some(certificates) => Client::build_with_tls(server, certificates),
        None => Client::open(server),
    };
    client.map_err(|_| OptionsError::Unusable { what: "the certificates" })
}

/// A client of a cluster. It follows redirections and new primaries by itself.
pub(crate) fn cluster_client(
    options: &RedisOptions,
    servers: Vec<ConnectionInfo>,
) -> Result<ClusterClient, OptionsError> {
    let mut builder = ClusterClient::builder(servers)
        .connection_timeout(options.connect_timeout)
        .response_timeout(options.response_timeout)
        .retries(CLUSTER_RETRIES)
        .min_retry_wait(10)
        .max_retry_wait(u64::try_from(CLUSTER_WAIT.as_millis()).unwrap_or(u64::MAX));
    if let Some(certificates) = certificates(options) {
        builder = builder.certs(certificates);
    }
    builder.build().map_err(|_| OptionsError::Unusable { what: "the cluster's nodes" })
}

/// A connection that one thread uses at a time.
pub(crate) enum Line {
    Server(Box<Connection>),
    Cluster(Box<ClusterConnection>),
}

impl Connector {
    fn connect(&self) -> Result<Line, RedisError> {
        match self {
            Connector::Server { client, connect, response } => {
                let line = client.get_connection_with_timeout(*connect)?;
                line.set_read_timeout(Some(*response))?;
                line.set_write_timeout(Some(*response))?;
                Ok(Line::Server(Box::new(line)))
            }
            Connector::Cluster(client) => Ok(Line::Cluster(Box::new(client.get_connection()?))),
        }
    }
}

impl Line {
    /// Sends all calls and reads all replies.
    pub(crate) fn send(&mut self, calls: &[Call]) -> Vec<Reply> {
        let line: &mut dyn ConnectionLike = match self {
            Line::Server(line) if calls.len() > 1 => return pipeline(line, calls),
            Line::Server(line) => &mut **line,
            Line::Cluster(line) if calls.len() > 1 => return cluster_pipeline(line, calls),
            Line::Cluster(line) => &mut **line,
        };
        calls.iter().map(|call| reply(line.req_command(call.command()))).collect()
    }
}

fn pipeline(line: &mut Connection, calls: &[Call]) -> Vec<Reply> {
    let mut bytes = Vec::new();
    for call in calls {
        call.command().write_packed_command(&mut bytes);
    }
    match line.req_packed_commands(&bytes, 0, calls.len()) {
        Ok(values) => values.into_iter().map(|value| reply(Ok(value))).collect(),
        Err(error) => {
            let error = CallError::from(error);
            calls.iter().map(|_| Err(error.clone())).collect()
        }
    }
}

/// One pipeline for each node. Nothing here depends on anything else, and all of it may be sent again: where
/// a node refused, because slots have moved or a script is unknown, one by one.
fn cluster_pipeline(line: &mut ClusterConnection, calls: &[Call]) -> Vec<Reply> {
    let mut pipeline = cluster_pipe();
    for call in calls {
        pipeline.add_command(call.command().clone());
    }
    let failed = match pipeline.query::<Vec<Value>>(line) {
        Ok(values) => return values.into_iter().map(|value| reply(Ok(value))).collect(),
        Err(error) => CallError::from(error),
    };
    match failed {
        // Other nodes' replies may be unread: this connection is not used again.
        CallError::Lost { .. } => calls.iter().map(|_| Err(failed.clone())).collect(),
        CallError::Server { .. } => {
            calls.iter().map(|call| reply(line.req_command(call.command()))).collect()
        }
    }
}

/// An error of the server is one also where the library gives it as a value.
pub(crate) fn reply(answer: Result<Value, RedisError>) -> Reply {
    match answer {
        Ok(Value::ServerError(error)) => Err(error.into()),
        Ok(value) => Ok(value),
        Err(error) => Err(error.into()),
    }
}

/// Connections that are open.
pub(crate) struct Pool {
    connector: Connector,
    lines: Mutex<Lines>,
    freed: Condvar,
    most: usize,
    patience: Duration,
}

struct Lines {
    idle: Vec<Line>,
    open: usize,
}

impl Pool {
    pub(crate) fn new(connector: Connector, options: &RedisOptions) -> Self {
        Pool {
            connector,
            lines: Mutex::new(Lines { idle: Vec::new(), open: 0 }),
            freed: Condvar::new(),
            most: options.connections,
            patience: options.connect_timeout.saturating_add(options.response_timeout),
        }
    }

    /// A connection, an idle one if there is one.
    pub(crate) fn take(&self) -> Result<Lease<'_>, CallError> {
        let until = Instant::now().checked_add(self.patience);
        let mut lines = self.lines.lock();
        loop {
            if let Some(line) = lines.idle.pop() {
                return Ok(Lease { pool: self, line: Some(line), counted: true });
            }
            if lines.open < self.most {
                lines.open = lines.open.saturating_add(1);
                break;
            }
            let waited =
                until.is_none_or(|until| self.freed.wait_until(&mut lines, until).timed_out());
            if waited && lines.idle.is_empty() && lines.open >= self.most {
                return Err(CallError::lost("all connections are busy; allow more of them"));
            }
        }
        drop(lines);
        let mut lease = Lease { pool: self, line: None, counted: true };
        lease.line = Some(self.connector.connect()?);
        Ok(lease)
    }

    /// Closes the connections that are idle.
    fn close_idle(&self) {
        let idle = {
            let mut lines = self.lines.lock();
            let idle = std::mem::take(&mut lines.idle);
            lines.open = lines.open.saturating_sub(idle.len());
            idle
        };
        drop(idle);
        self.freed.notify_all();
    }

    fn closed(&self) {
        let mut lines = self.lines.lock();
        lines.open = lines.open.saturating_sub(1);
        drop(lines);
        self.freed.notify_one();
    }
}

/// A connection in use. It is closed when this is dropped, and not counted any more, whatever happened.
pub(crate) struct Lease<'p> {
    pool: &'p Pool,
    line: Option<Line>,
    /// Whether it has yet to be said that it is closed.
    counted: bool,
}

impl Lease<'_> {
    /// Sends all calls and reads all replies.
    pub(crate) fn send(&mut self, calls: &[Call]) -> Vec<Reply> {
        let closed = || CallError::lost("the connection is closed");
        match &mut self.line {
            Some(line) => line.send(calls),
            None => calls.iter().map(|_| Err(closed())).collect(),
        }
    }

    /// It can be used again.
    pub(crate) fn give_back(mut self) {
        let Some(line) = self.line.take() else { return };
        self.pool.lines.lock().idle.push(line);
        self.pool.freed.notify_one();
        self.counted = false;
    }

    /// It broke. Those that are idle have most likely broken with it.
    pub(crate) fn broken(self) {
        self.pool.close_idle();
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.line = None;
        if self.counted {
            self.pool.closed();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    /// Says `OK` to each of the lines that have a command's length, as a server does to what connecting
    /// sends.
    fn serve(listener: &TcpListener) {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 4_096];
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    let commands = buffer[..read].iter().filter(|byte| **byte == b'*').count();
                    let _ = stream.write_all(&b"+OK\r\n".repeat(commands));
                }
            });
        }
    }

    /// How many are open, and idle.
    fn counts(pool: &Pool) -> (usize, usize) {
        let lines = pool.lines.lock();
        (lines.open, lines.idle.len())
    }

    #[test]
    fn a_connection_whose_user_panics_is_not_missing_for_ever() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || serve(&listener));
        let mut options = RedisOptions::new(&url);
        options.connections = 2;
        options.connect_timeout = Duration::from_millis(500);
        options.response_timeout = Duration::from_millis(100);
        let (servers, _) = options.read().unwrap();
        let connector = Connector::Server {
            client: Box::new(client(&options, servers).unwrap()),
            connect: options.connect_timeout,
            response: options.response_timeout,
        };
        let pool = Pool::new(connector, &options);
        for _ in 0..3 {
            let panics = catch_unwind(AssertUnwindSafe(|| {
                let _lease = pool.take().unwrap();
                panic!("as a host's code may");
            }));
            assert!(panics.is_err());
        }
        let (one, two) = (pool.take().unwrap(), pool.take().unwrap());
        assert!(pool.take().is_err());
        one.give_back();
        assert_eq!(counts(&pool), (2, 1));
        two.broken();
        assert_eq!(counts(&pool), (0, 0));
    }
}
