//! `tollgate serve`, as users run it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate_gateway_tests::{Preloaded, Response, built_for_tests, free_port, send};

use crate::process::Process;

const ADMIN_TOKEN: &str = "operator-operator-operator";

/// How a server is started.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) policy: String,
    pub(crate) store: String,
    pub(crate) arguments: Vec<String>,
    /// The wall clock, in Unix milliseconds; `None` is the machine's.
    pub(crate) clock_ms: Option<u64>,
    /// Where it listens; `None` is a free port.
    pub(crate) port: Option<u16>,
}

/// A running server; stopped when dropped.
pub struct Serve {
    process: Option<Process>,
    directory: TempDir,
    port: u16,
    admin: u16,
    options: Options,
}

/// The command, in the profile of tests.
fn tollgate() -> PathBuf {
    static DONE: OnceLock<PathBuf> = OnceLock::new();
    DONE.get_or_init(|| built_for_tests("tollgate-cli", "tollgate")).clone()
}

impl Serve {
    pub(crate) fn start(options: Options) -> Serve {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("policy.json"), &options.policy).unwrap();
        fs::write(directory.path().join("admin-token"), ADMIN_TOKEN).unwrap();
        let (port, admin) = (options.port.unwrap_or_else(free_port), free_port());
        let mut serve = Serve { process: None, directory, port, admin, options };
        if let Some(now_ms) = serve.options.clock_ms {
            serve.set_clock_ms(now_ms);
        }
        serve.go_on();
        serve
    }

    /// Starts it, where it does not run.
    pub fn go_on(&mut self) {
        let store = self.options.store.replace("DIR", &self.directory().display().to_string());
        let mut command = Command::new(tollgate());
        command
            .arg("serve")
            .args(["--policy", "policy.json", "--store", &store])
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .args(["--admin-listen", &format!("127.0.0.1:{}", self.admin)])
            .args(["--admin-token-file", "admin-token", "--decision-log", "decisions.log"])
            .args(["--threads", "1"])
            .args(&self.options.arguments)
            .current_dir(self.directory());
        self.preloaded().apply(&mut command);
        let ports = [self.port, self.admin];
        self.process =
            Some(Process::start("tollgate", Signal::TERM, &mut command, self.directory(), &ports));
    }

    /// Ends it gracefully.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.stop();
        }
    }

    /// Where proxies ask.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn preloaded(&self) -> Preloaded {
        let clock = self.options.clock_ms.map(|_| self.directory().join("clock"));
        Preloaded { libraries: Vec::new(), clock }
    }

    pub(crate) fn set_clock_ms(&self, now_ms: u64) {
        self.preloaded().set_clock_ms(now_ms);
    }

    /// What it said.
    #[must_use]
    pub fn said(&self) -> String {
        self.process.as_ref().map(Process::said).unwrap_or_default()
    }

    /// The decisions that it logged.
    #[must_use]
    pub fn decisions(&self) -> Vec<Value> {
        let log = fs::read(self.directory().join("decisions.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        // The last line may not be whole yet.
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// What its administration answers.
    pub fn administer(&self, method: &str, target: &str, body: &Value) -> Value {
        let token = format!("Bearer {ADMIN_TOKEN}");
        let headers = [("Authorization", token.as_str()), ("Content-Type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = send(self.admin, method, target, &headers, body.as_bytes());
        assert!(answer.status / 100 == 2, "{method} {target}: {} {}", answer.status, answer.text());
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    /// Another account with a token of this name.
    pub fn add(&self, account: &str, settings: &Value, token: &str, token_settings: &Value) {
        self.administer("PUT", &format!("/api/accounts/{account}"), settings);
        let mut made = token_settings.clone();
        made["token"] = token.into();
        self.administer("POST", &format!("/api/accounts/{account}/tokens"), &made);
    }

    /// What an account holds and has posted.
    #[must_use]
    pub fn money(&self, account: &str) -> (u64, u64) {
        let account = self.administer("GET", &format!("/api/accounts/{account}"), &Value::Null);
        (account["held"].as_u64().unwrap(), account["posted"].as_u64().unwrap())
    }

    /// What the API answers.
    #[must_use]
    pub fn api(&self, target: &str, asked: &Value) -> Response {
        settle(self.port, target, asked)
    }

    /// How a request like this would be decided; nothing is consumed.
    #[must_use]
    pub fn peek(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        more: &Value,
    ) -> Value {
        let mut asked = json!({
            "method": method, "target": target, "headers": headers, "peer": "127.0.0.1", "peek": true,
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            asked[name] = value.clone();
        }
        let answer = self.api("/v1/decide", &asked);
        assert_eq!(answer.status, 200, "{}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }
}

/// Tells the server on this port something in JSON.
pub(crate) fn settle(port: u16, target: &str, asked: &Value) -> Response {
    let headers = [("Content-Type", "application/json")];
    send(port, "POST", target, &headers, asked.to_string().as_bytes())
}
