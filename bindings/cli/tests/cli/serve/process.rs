//! A server of a test's own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate_gateway_tests::signal;

use crate::common::tollgate;

pub(super) const ADMIN: &str = "operator-operator-operator";

/// One route with a price and a key, one without; any text is a token.
pub(super) const POLICY: &str = r#"{
    "tokens": {"format": "opaque"},
    "scopes": {"all": ["GET /free", "POST /pay"]},
    "limits": {"token": {"per": "token", "quota": 100000000, "window_ms": 60000}},
    "routes": {"POST /pay": {"idempotency": true, "price": 5}}
}"#;

/// A running server. Dropped, it is killed.
pub(super) struct Serving {
    pub(super) child: Child,
    pub(super) place: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) directory: TempDir,
    said: Arc<Mutex<String>>,
}

impl Serving {
    pub(super) fn start(arguments: &[&str]) -> Serving {
        Serving::with(&["--store", "memory"], arguments, &[])
    }

    pub(super) fn with(store: &[&str], arguments: &[&str], variables: &[(&str, &str)]) -> Serving {
        Serving::run(tollgate(), store, arguments, variables)
    }

    /// By way of another program, which gets the command and its arguments.
    pub(super) fn through(program: &[&str], arguments: &[&str]) -> Serving {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(tollgate().get_program());
        Serving::run(command, &["--store", "memory"], arguments, &[])
    }

    fn run(
        mut command: Command,
        store: &[&str],
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Serving {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| -> PathBuf {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (policy, token) = (file("policy.json", POLICY), file("token", ADMIN));
        command.arg("serve").args(store).arg("--policy").arg(policy);
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.arg("--admin-token-file").arg(token).args(arguments);
        command.current_dir(directory.path()).envs(variables.iter().copied());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        listen(child.stderr.take().unwrap(), Arc::clone(&said));
        let mut serving = Serving {
            child,
            place: ([127, 0, 0, 1], 0).into(),
            admin: ([127, 0, 0, 1], 0).into(),
            directory,
            said,
        };
        serving.place = serving.address("decides at ");
        serving.admin = serving.address("administration at ");
        serving
    }

    /// The address that a line of standard error names.
    fn address(&mut self, words: &str) -> SocketAddr {
        let said = self.until_said(words);
        let line = said.split(words).nth(1).unwrap().lines().next().unwrap();
        line.trim().trim_end_matches('"').parse().unwrap()
    }

    pub(super) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until standard error has these words, with the rest of their line.
    pub(super) fn until_said(&mut self, words: &str) -> String {
        let began = Instant::now();
        loop {
            let said = self.said();
            let at = said.find(words);
            if at.and_then(|at| said.get(at..)).is_some_and(|rest| rest.contains('\n')) {
                return said;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended: {ended:?}: {said}");
            assert!(began.elapsed() < Duration::from_secs(60), "not said: {words}: {said}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(super) fn tell(&self, how: Signal) {
        signal(self.child.id(), how);
    }

    /// Waits for its end.
    pub(super) fn ended(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "it does not end: {}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(super) fn operate(&self, method: &str, path: &str, json: &Value) -> (u16, String) {
        call(self.admin, Some(ADMIN), method, path, &json.to_string())
    }

    pub(super) fn add_account(&self, account: &str, balance: u64, token: &str) {
        let path = format!("/api/accounts/{account}");
        assert_eq!(self.operate("PUT", &path, &json!({ "balance": balance })).0, 200);
        let token = json!({ "token": token, "scopes": ["all"] });
        assert_eq!(self.operate("POST", &format!("{path}/tokens"), &token).0, 201);
    }

    /// The value of a line of the metrics.
    pub(super) fn metric(&self, line: &str) -> f64 {
        let (_, text) = call(self.admin, None, "GET", "/metrics", "");
        let found = text.lines().find_map(|known| known.strip_prefix(line)?.strip_prefix(' '));
        found.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Its memory in KiB.
    pub(super) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(stderr: impl Read + Send + 'static, said: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stderr);
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
            said.lock().unwrap().push_str(&std::mem::take(&mut line));
        }
    });
}

/// A request of its own connection; status and body.
pub(super) fn call(
    place: SocketAddr,
    token: Option<&str>,
    method: &str,
    path: &str,
    body: &str,
) -> (u16, String) {
    let authorization =
        token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{authorization}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(place).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The lines of a decision log.
pub(super) fn decisions(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
