//! The same commands on a Redis server.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::common::{Ran, run, tollgate};

/// A server of this test's own, which ends with it.
struct Server {
    child: Child,
    port: u16,
    _directory: TempDir,
}

impl Server {
    fn start(password: Option<&str>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()]);
        if let Some(password) = password {
            command.args(["--requirepass", password]);
        }
        let child = command.current_dir(directory.path()).stdout(Stdio::null()).spawn();
        let child = child.expect("redis-server: install it (Debian: redis-server)");
        let server = Server { child, port, _directory: directory };
        let began = Instant::now();
        while !server.ask("PING").starts_with(['+', '-']) {
            assert!(began.elapsed() < Duration::from_secs(20), "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// The first bytes of the server's answer; nothing if it does not listen.
    fn ask(&self, command: &str) -> String {
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) else {
            return String::new();
        };
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let mut answer = [0; 64];
        let length = stream.read(&mut answer).unwrap_or(0);
        String::from_utf8_lossy(&answer[..length]).into_owned()
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn run(&self, args: &[&str]) -> Ran {
        let url = self.url();
        let mut args = args.to_vec();
        args.extend(["--store", &url, "--json"]);
        run(&args, b"")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors");

#[test]
fn scenarios_leave_a_server_as_it_was() {
    let server = Server::start(None);
    assert_eq!(server.ask("SET kept 1"), "+OK\r\n");
    let ran = run(&["scenario", VECTORS, "--store", &server.url()], b"");
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(ran.out.contains(" scenarios passed, 0 failed"), "{}", ran.out);
    let demo = run(&["demo", "--run", "--store", &server.url()], b"");
    assert!(demo.code == 0 && demo.out.contains("35 of 35"), "{}{}", demo.out, demo.err);
    assert_eq!(server.ask("DBSIZE"), ":1\r\n", "only what was there before");
}

#[test]
fn operators_see_and_change_what_servers_use() {
    let server = Server::start(None);
    assert_eq!(server.run(&["account", "list"]).json(), json!([]));
    assert_eq!(server.run(&["account", "create", "{acme}", "--balance", "7"]).code, 0);
    assert_eq!(server.run(&["account", "deposit", "{acme}", "3"]).json()["balance"], 10);
    assert_eq!(server.run(&["account", "list"]).json(), json!(["{acme}"]));
    let made = server.run(&["token", "new", "--account", "{acme}", "--scope", "pay"]).json();
    let digest = made["digest"].as_str().unwrap();
    assert_eq!(server.run(&["token", "revoke", "--digest", digest]).code, 0);
    let listed = server.run(&["token", "list", "{acme}"]).json();
    assert_eq!((&listed[0]["digest"], &listed[0]["state"]), (&made["digest"], &json!("revoked")));
    assert_eq!(server.run(&["reservation", "list", "{acme}"]).json(), json!([]));
    assert_eq!(server.run(&["store", "expire"]).json(), json!({ "expired": 0 }));
    assert_eq!(server.run(&["account", "show", "nobody"]).code, 1);
    // What only LMDB can do says so.
    let ran = server.run(&["store", "info"]);
    assert!(ran.code == 2 && ran.err.contains("this is for LMDB"), "{}", ran.err);
}

#[test]
fn passwords_are_used_and_never_shown() {
    let server = Server::start(Some("hush-hush"));
    let list = |url: &str| {
        let output =
            tollgate().args(["account", "list"]).env("TOLLGATE_STORE", url).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let port = server.port;
    assert_eq!(list(&format!("redis://:hush-hush@127.0.0.1:{port}")).0, Some(0));
    for wrong in [
        format!("redis://:hush-wrong@127.0.0.1:{port}"),
        format!("redis://127.0.0.1:{port}"),
        "redis://:hush-hush@127.0.0.1:1".to_owned(),
        "redis://:hush-hush@".to_owned(),
    ] {
        let (code, err) = list(&wrong);
        assert!(code == Some(2) && !err.is_empty() && !err.contains("hush"), "{err}");
    }
    assert!(!run(&["account", "--help"], b"").out.contains("hush"));
}

#[test]
fn limits_are_counted_apart_in_a_region() {
    let directory = tempfile::tempdir().unwrap();
    let store = format!("lmdb:{}", directory.path().join("scratch").display());
    let file = directory.path().join("limits");
    let limits = format!("region:{}", file.display());
    let ran = run(&["scenario", VECTORS, "--store", &store, "--limits", &limits], b"");
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(ran.out.contains(" scenarios passed, 0 failed"), "{}", ran.out);
    assert!(!file.exists(), "it is gone in the end");
    // A file that is there is somebody's.
    std::fs::write(&file, "mine").unwrap();
    let ran = run(&["scenario", VECTORS, "--store", &store, "--limits", &limits], b"");
    assert!(ran.code == 2 && ran.err.contains("there already"), "{}", ran.err);
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    assert_eq!(run(&["scenario", VECTORS, "--limits", "file"], b"").code, 2);
}
