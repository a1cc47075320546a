//! A proxy before an API, with the server behind it.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate_gateway_tests::{Client, Received, Response, Upstream, free_port, request, send};

use crate::kind::{Kind, Ports};
use crate::process::Process;
use crate::server::{Options, Serve, settle};

/// `POST /pay` costs 5 and takes a key.
pub const POLICY: &str = r#"{
  "tokens": {"format": "opaque"},
  "scopes": {"all": ["POST /pay", "GET /paid", "GET /read", "POST /free", "GET /hidden"], "read": ["GET /read"]},
  "limits": {"token": {"per": "token", "quota": 1000000, "window_ms": 60000}},
  "routes": {
    "POST /pay": {"idempotency": true, "price": 5},
    "POST /free": {"idempotency": true},
    "GET /paid": {"price": 3}
  }
}"#;

/// What is different from the example.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// More arguments of the server.
    pub arguments: Vec<&'static str>,
    /// Another store than memory.
    pub store: Option<String>,
    /// Texts of the proxy's configuration, and what stands there instead.
    pub edits: Vec<(&'static str, &'static str)>,
    /// Whether nginx tells how requests end, and not the API.
    pub post_action: bool,
    /// Who is asked in the server's place, by its port.
    pub asked: Option<u16>,
}

/// All of it; stopped when dropped, the proxy first.
pub struct Stand {
    proxy: Process,
    kind: Kind,
    port: u16,
    /// The server.
    pub serve: Serve,
    /// The API.
    pub upstream: Upstream,
    _directory: TempDir,
}

impl Stand {
    /// The example as it is, but that the API itself reports how requests end.
    #[must_use]
    pub fn start(kind: Kind) -> Stand {
        Stand::with(kind, Setup::default())
    }

    /// With these differences.
    #[must_use]
    pub fn with(kind: Kind, setup: Setup) -> Stand {
        let arguments = kind.arguments().iter().chain(&setup.arguments);
        let serve = Serve::start(Options {
            policy: POLICY.to_owned(),
            store: setup.store.clone().unwrap_or_else(|| "memory".to_owned()),
            arguments: arguments.map(|argument| (*argument).to_owned()).collect(),
            clock_ms: None,
            port: None,
        });
        if setup.store.is_none() {
            let all = json!({"scopes": ["all"]});
            serve.add("acme", &json!({"balance": 1000, "senders": ["ACME"]}), "t-acme", &all);
        }
        let reports = (!setup.post_action).then(|| serve.port());
        let upstream = Upstream::start(move |request, stream| upstream(reports, request, stream));
        let mut edits = setup.edits.clone();
        if kind.is_nginx() && !setup.post_action {
            edits.push(("        post_action @tollgate_settle;\n", ""));
        }
        let ports = Ports {
            web: free_port(),
            tollgate: setup.asked.unwrap_or(serve.port()),
            api: upstream.port(),
        };
        let directory = TempDir::new().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let mut command = kind.command(ports, &edits, directory.path());
        let proxy =
            Process::start("proxy", kind.end(), &mut command, directory.path(), &[ports.web]);
        if kind.is_traefik() {
            wait_for_routes(ports.web);
        }
        Stand { proxy, kind, port: ports.web, serve, upstream, _directory: directory }
    }

    /// Where clients connect.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the proxy said.
    #[must_use]
    pub fn said(&self) -> String {
        self.proxy.said()
    }

    /// One request with this token.
    #[must_use]
    pub fn ask(
        &self,
        token: &str,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let bearer = format!("Bearer {token}");
        let mut all = vec![("Authorization", bearer.as_str())];
        all.extend_from_slice(headers);
        send(self.port, method, target, &all, body)
    }

    /// A payment of `acme` under this key, which the API answers as it is told.
    #[must_use]
    pub fn pay(&self, key: &str, answer: &str) -> Response {
        let headers = [("Idempotency-Key", key), ("X-Answer", answer)];
        self.ask("t-acme", "POST", "/pay", &headers, b"{\"to\":1}")
    }

    /// Bytes on a connection of their own, and the answer, if there is one.
    #[must_use]
    pub fn raw(&self, method: &str, bytes: &[u8]) -> Option<Response> {
        let mut client = Client::connect(self.port);
        client.write(bytes);
        client.read(method).ok()
    }

    /// A request of `acme` with these headers, as bytes.
    #[must_use]
    pub fn bytes(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let mut all = vec![("Authorization", "Bearer t-acme")];
        all.extend_from_slice(headers);
        request(method, target, &all, body)
    }

    /// Whether the money becomes like this: (held, posted).
    pub fn expect_money(&self, account: &str, expected: (u64, u64)) {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let money = self.serve.money(account);
            if money == expected {
                return;
            }
            assert!(Instant::now() < end, "{:?}: {money:?}, not {expected:?}", self.kind);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Traefik listens before it knows its routes.
fn wait_for_routes(port: u16) {
    let end = Instant::now() + Duration::from_secs(60);
    while send(port, "GET", "/", &[], b"").text() == "404 page not found\n" {
        assert!(Instant::now() < end, "the proxy has no routes");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What the API gives a request with `X-Answer: STATUS`; a `b` behind it asks for a body that is no text.
#[must_use]
pub fn api_body(answer: &str) -> Vec<u8> {
    match answer.strip_suffix('b') {
        Some(_) => vec![0, 1, 0xFF, 0xFE, b'"', 0x80],
        None if answer.starts_with("204") => Vec::new(),
        None => format!("{{\"answered\":\"{answer}\"}}").into_bytes(),
    }
}

/// Answers, and reports first where it is to. `X-Answer: silent` reports nothing.
fn upstream(reports: Option<u16>, request: &Received, mut stream: TcpStream) {
    if request.header("upgrade").is_some() {
        let _ = stream.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello",
        );
        return;
    }
    let told = request.header("x-answer").unwrap_or("200");
    let body = api_body(told);
    let status: u16 = told.trim_end_matches('b').parse().unwrap_or(200);
    let ticket = request.header("x-tollgate-ticket").filter(|ticket| ticket.starts_with("1."));
    if let (Some(port), Some(ticket), true) = (reports, ticket, told != "silent") {
        let outcome = if status < 400 { "settle" } else { "void" };
        let text = std::str::from_utf8(&body).ok();
        let response = json!({
            "status": status,
            "headers": [
                ["Content-Type", "application/x-test"], ["X-Tag", "a"], ["X-Tag", "b"], ["Set-Cookie", "c=1"],
                ["Location", "http://tollgate/x"],
                // What would make nginx go elsewhere, and drip.
                ["X-Accel-Redirect", "/hidden"], ["X-Accel-Limit-Rate", "1"],
            ],
            "body": text, "body_base64": text.is_none().then_some("AAH//iKA"),
        });
        let asked = json!({"ticket": ticket, "outcome": outcome, "response": response});
        let settled = settle(port, "/v1/settle", &asked);
        assert_eq!(settled.status, 200, "{}", settled.text());
    }
    let mut head = format!(
        "HTTP/1.1 {status} Said\r\nContent-Type: application/x-test\r\nX-Tag: a\r\nX-Tag: b\r\n\
         X-RateLimit-Limit: 7\r\nCache-Control: public\r\nConnection: close\r\n"
    );
    if status != 204 {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    let head = head + "\r\n";
    let body = if request.method == "HEAD" { &[][..] } else { &body };
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
}

/// A decision's member as text.
#[must_use]
pub fn text<'v>(decision: &'v Value, member: &str) -> &'v str {
    decision[member].as_str().unwrap_or_default()
}
