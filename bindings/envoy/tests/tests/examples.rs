//! The configurations in `examples`, as they are but for their ports.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tollgate_envoy_tests::{binary, module};
use tollgate_gateway_tests::{RedisServer, Response, Upstream, free_port, root, send};

/// An Envoy of an example; stopped by its own id.
struct Example {
    child: Child,
    port: u16,
    directory: TempDir,
}

impl Example {
    fn start(name: &str, upstream: u16, redis: &str) -> Example {
        let directory = TempDir::new().unwrap();
        let examples = root().join("bindings/envoy/examples");
        fs::copy(examples.join("policy.toml"), directory.path().join("policy.toml")).unwrap();
        fs::write(directory.path().join("redis-url"), format!("{redis}\n")).unwrap();
        let port = free_port();
        let config = fs::read_to_string(examples.join(name)).unwrap();
        let ports = [("9901", 0), ("8080", port), ("8081", upstream)];
        let config = ports.iter().fold(config, |config, (from, to)| {
            let from = format!("port_value: {from} ");
            assert_eq!(config.matches(&from).count(), 1, "{from}");
            config.replace(&from, &format!("port_value: {to} "))
        });
        fs::write(directory.path().join(name), config).unwrap();
        let checked = command(directory.path(), name).args(["--mode", "validate"]).output();
        let checked = checked.unwrap();
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(checked.status.success(), "{said}");
        assert!(!directory.path().join("db").exists(), "nothing is opened to check it");
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let child = command(directory.path(), name)
            .args([
                "--concurrency",
                "2",
                "--disable-hot-restart",
                "--file-flush-interval-msec",
                "1",
            ])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let example = Example { child, port, directory };
        let end = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "{}", example.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        example
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn get(&self, target: &str, token: Option<&str>) -> Response {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> =
            bearer.iter().map(|token| ("Authorization", token.as_str())).collect();
        send(self.port, "GET", target, &headers, b"")
    }

    fn says(&self, line: &str) {
        let end = Instant::now() + Duration::from_secs(10);
        while !self.log().contains(line) {
            assert!(Instant::now() < end, "no {line}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(directory: &Path, name: &str) -> Command {
    let mut command = Command::new(binary());
    command
        .arg("-c")
        .arg(name)
        .current_dir(directory)
        .env("ENVOY_DYNAMIC_MODULES_SEARCH_PATH", module().parent().unwrap())
        .stdin(Stdio::null());
    command
}

#[test]
fn the_examples_serve() {
    let redis = RedisServer::start();
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    for name in ["envoy.yaml", "fleet.yaml"] {
        let calls = upstream.calls();
        let example = Example::start(name, upstream.port(), &redis.url());
        assert_eq!(example.get("/health", None).text(), "ok\n", "{name}");
        let denied = example.get("/messages", None);
        assert_eq!((denied.status, denied.code().as_str()), (401, "missing_token"), "{name}");
        // Well formed, and nobody's.
        let stranger =
            example.get("/messages", Some("tg_live_cmg8ayEic92dX6EM1U6I996wgb9Dt71EV0Tw"));
        assert_eq!((stranger.status, stranger.code().as_str()), (401, "invalid_token"), "{name}");
        assert_eq!(upstream.calls(), calls);
        example.says("ABI version v0.2.0 matched");
        example.says("GET /messages 401 tollgate_missing_token account=- code=missing_token");
    }
}
