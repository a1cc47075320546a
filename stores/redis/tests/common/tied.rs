//! Servers for all tests of one program: they end with it, also when it is killed.

use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use super::{Cluster, Server};

/// A process that ends others when its standard input closes, as it does when this program ends.
struct Keeper {
    _input: Option<ChildStdin>,
    _child: Child,
}

/// Ends the servers with these ids, and removes their directories, when this program has ended.
fn keep(servers: &[&Server]) -> Keeper {
    let mut command = Command::new("sh");
    command.args(["-c", "read _; for pid in $PIDS; do kill -9 $pid; done; rm -rf \"$@\"", "sh"]);
    let ids: Vec<String> = servers.iter().map(|server| server.pid().to_string()).collect();
    command.env("PIDS", ids.join(" "));
    command.args(servers.iter().map(|server| server.directory.path()));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    Keeper { _input: child.stdin.take(), _child: child }
}

/// The URL of a server that all tests of this program share.
pub(crate) fn server() -> String {
    static SERVER: OnceLock<(Server, Keeper)> = OnceLock::new();
    let (server, _) = SERVER.get_or_init(|| {
        let server = Server::start(&[]);
        let keeper = keep(&[&server]);
        (server, keeper)
    });
    server.url()
}

/// The URL of a cluster that all tests of this program share.
pub(crate) fn cluster() -> String {
    static CLUSTER: OnceLock<(Cluster, Keeper)> = OnceLock::new();
    let (cluster, _) = CLUSTER.get_or_init(|| {
        let cluster = Cluster::start();
        let nodes: Vec<&Server> = cluster.nodes.iter().collect();
        let keeper = keep(&nodes);
        (cluster, keeper)
    });
    cluster.url()
}
