//! Scenarios through a proxy: the API tells the server by the ticket how a request ended.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tollgate::{Amount, Finish, StoredResponse, Verdict};
use tollgate_gateway_tests::{Received, Response, RunningGateway, Said, Told, own_answer};
use tollgate_scenario::{RequestStep, StepError};

use crate::kind::Kind;
use crate::running::{IDLE, Running};
use crate::server::{Options, Serve};

/// nginx, by `X-Accel-Redirect`.
pub struct NginxAccel(Parts);

/// Envoy, by `ext_authz` over gRPC.
pub struct EnvoyGrpc(Parts);

struct Parts {
    /// There until it is dropped.
    running: Option<Running>,
    serve: Serve,
}

const ARGUMENTS: [&str; 12] = [
    "--sync",
    "never",
    "--cost-header",
    "x-test-cost",
    "--sender-header",
    "x-test-sender",
    "--invalid-header",
    "x-test-invalid",
    "--max-body-bytes",
    "67108864",
    "--max-head-bytes",
    "1048576",
];

/// What is odd reaches the server as it came, as far as nginx lets it; a test's client says where it comes from.
const NGINX: &[(&str, &str)] = &[
    (
        "    listen 127.0.0.1:8080;\n",
        "    listen 127.0.0.1:8080;\n    listen unix:DIR/socket;\n    client_max_body_size 64m;\n    client_header_buffer_size 16k;\n    \
         large_client_header_buffers 4 64k;\n    underscores_in_headers on;\n    ignore_invalid_headers off;\n    \
         set_real_ip_from 127.0.0.1;\n    real_ip_header X-Test-Peer;\n",
    ),
    // The server ends with each scenario, and its connections with it.
    ("    keepalive 16;\n", ""),
    ("proxy_buffer_size 16k;", "proxy_buffer_size 64k;"),
    ("proxy_buffers 8 16k;", "proxy_buffers 8 64k;"),
    ("        post_action @tollgate_settle;\n", "        proxy_read_timeout 1h;\n"),
    // One connection for each request.
    ("proxy_set_header Connection $connection_upgrade;", "proxy_set_header Connection close;"),
];

/// The same for Envoy.
const ENVOY: &[(&str, &str)] = &[
    (
        "          use_remote_address: true\n",
        "          codec_type: AUTO
          common_http_protocol_options: { headers_with_underscores_action: ALLOW, max_headers_count: 10000 }
          http_protocol_options: { allow_custom_methods: true }
          max_request_headers_kb: 1024
          generate_request_id: false
          stream_idle_timeout: 0s
",
    ),
    ("max_request_bytes: 1048576", "max_request_bytes: 67108864"),
    ("route: { cluster: api }", "route: { cluster: api, timeout: 0s }"),
    // One connection for each request.
    (
        "  - name: api\n    connect_timeout: 1s\n",
        "  - name: api
    connect_timeout: 1s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http_protocol_options: {} }
        common_http_protocol_options: { max_requests_per_connection: 1 }
",
    ),
    // Requests without an address.
    (
        "    filter_chains:\n    - filters:\n      - name: http\n",
        "    listener_filters:
    - name: peer
      typed_config:
        \"@type\": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol
    filter_chains:\n    - filters:\n      - &manager\n        name: http\n",
    ),
    (
        "  clusters:\n",
        "  - name: socket\n    address: { pipe: { path: DIR/socket } }\n    filter_chains:\n    - filters: [*manager]\n  clusters:\n",
    ),
];

impl Parts {
    fn start(kind: Kind, policy: &str, upstream: u16, edits: &[(&str, &str)]) -> Parts {
        let running = IDLE.take().unwrap_or_else(|| Running::start(kind, edits));
        running.relay.lead_to(upstream);
        let serve = Serve::start(Options {
            policy: policy.to_owned(),
            store: "lmdb:DIR/db".to_owned(),
            arguments: ARGUMENTS.map(str::to_owned).to_vec(),
            clock_ms: Some(1_600_000_000_000),
            port: Some(running.tollgate),
        });
        Parts { running: Some(running), serve }
    }

    fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    fn replace_policy(&self, policy: &str) {
        fs::write(self.serve.directory().join("policy.json"), policy).unwrap();
        self.serve.administer("POST", "/api/policy/reload", &Value::Null);
    }

    fn restart(&mut self) {
        self.serve.stop();
        self.serve.go_on();
    }

    fn log(&self) -> String {
        format!("{}\n{}", self.running().process.said(), self.serve.said())
    }

    fn said(&self, name: &str, step: &RequestStep, answer: &Response) -> Result<Said, StepError> {
        let kind = answer.header("content-type").unwrap_or_default();
        let verdict = if answer.header("idempotent-replayed").is_some() {
            Verdict::Replay
        } else if matches!(kind, "application/json" | "application/problem+json") {
            Verdict::Deny
        } else {
            return Err(own_answer(name, answer));
        };
        if answer.code() == "replay_not_carried" {
            return Err(StepError::not_carried(format!("{name} carries nothing that is not text")));
        }
        if answer.code() == "malformed_request" {
            return Err(StepError::new(answer.text()));
        }
        // The client learns the code and no more; a denial changed nothing, so the server can be asked again.
        let again = self.asked_again(step);
        let text = |member: &str| again[member].as_str().map(str::to_owned);
        let code = Some(answer.code()).filter(|code| !code.is_empty()).or_else(|| text("code"));
        let code = code.filter(|_| verdict == Verdict::Deny);
        Ok(Said { verdict, code, account: text("account"), route: text("route") })
    }

    fn asked_again(&self, step: &RequestStep) -> Value {
        let wire = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
        let headers: Vec<[String; 2]> = step
            .headers
            .0
            .iter()
            .map(|(name, value)| [wire(name.as_ref()), wire(value.as_ref())])
            .collect();
        let peer = step
            .peer
            .as_ref()
            .and_then(|peer| std::str::from_utf8(peer.as_ref()).ok()?.parse::<IpAddr>().ok());
        let asked = json!({
            "method": wire(step.method.as_ref()), "target": wire(step.target.as_ref()), "headers": headers,
            "peer": peer.map(|peer| peer.to_string()), "body": step.body, "peek": true,
        });
        serde_json::from_slice(&self.serve.api("/v1/decide", &asked).body).unwrap_or_default()
    }

    fn settle(&self, ticket: &str, finish: &Finish) -> Result<Option<Amount>, StepError> {
        let (outcome, amount, response) = match finish {
            Finish::Settle { amount, response } => ("settle", *amount, response.as_deref()),
            Finish::Void { response } => ("void", None, response.as_deref()),
            Finish::Unknown => ("unknown", None, None),
        };
        let mut asked = json!({"ticket": ticket, "outcome": outcome});
        if let Some(Amount(amount)) = amount {
            asked["amount"] = amount.into();
        }
        if let Some(response) = response {
            asked["response"] = stored(response)?;
        }
        let answer = self.serve.api("/v1/settle", &asked);
        let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        match answer.status {
            200 => Ok(told["posted"].as_u64().map(Amount)),
            _ => Err(StepError::new(told["message"].as_str().unwrap_or_default())),
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        // The server is gone before the next one is there.
        self.serve.stop();
        if !std::thread::panicking() {
            let _ = IDLE.try_with(|idle| idle.set(self.running.take()));
        }
    }
}

fn stored(response: &StoredResponse) -> Result<Value, StepError> {
    let wire = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
    if response.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("set-cookie")) {
        return Err(StepError::not_carried("Set-Cookie is never kept"));
    }
    let headers: Vec<[String; 2]> =
        response.headers.iter().map(|(name, value)| [name.to_string(), wire(value)]).collect();
    let Some(body) = &response.body else {
        return Err(StepError::not_carried("a body that is not kept is one that is too long"));
    };
    let body = std::str::from_utf8(body)
        .map_err(|_| StepError::not_carried("this test tells bodies as text"))?;
    Ok(json!({"status": response.status, "headers": headers, "body": body}))
}

fn told(request: &Received) -> Told {
    let text = |name: &str| {
        let value = request.header(name).filter(|value| *value != "-")?;
        Some(decoded(value))
    };
    let ticket = text("x-tollgate-ticket");
    let reservation = ticket.as_deref().and_then(|ticket| ticket.split('.').nth(1)?.parse().ok());
    Told {
        account: text("x-tollgate-account"),
        route: text("x-tollgate-route"),
        reserved: text("x-tollgate-reserved").and_then(|text| text.parse().ok()),
        reservation,
        ticket,
    }
}

/// Percent-encoding is undone.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).filter(|_| *first == b'%');
        let hex = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(hex.unwrap_or(*first));
        rest = if hex.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).unwrap()
}

/// The last time that a `Date` can tell; at a later one the server answers nothing.
const LAST_DATE_MS: u64 = 253_402_300_799_999;

fn carries(name: &str, request: &RequestStep) -> Result<(), StepError> {
    if request.now_ms > LAST_DATE_MS {
        return Err(StepError::not_carried("a clock after the year 9999"));
    }
    lines_are_joined(name, request)
}

/// How many lines of one header the library reads.
const MAX_LINES: usize = 64;

/// The proxy makes one line of the forwarding header's, for its own entry.
fn lines_are_joined(name: &str, request: &RequestStep) -> Result<(), StepError> {
    let named = |name: &[u8]| name.eq_ignore_ascii_case(b"x-forwarded-for");
    if request.headers.0.iter().filter(|(name, _)| named(name.as_ref())).count() <= MAX_LINES {
        return Ok(());
    }
    let why = format!("{name} joins the lines of X-Forwarded-For, so that they are not too many");
    Err(StepError::not_carried(why))
}

macro_rules! gateway {
    ($gateway:ident, $name:literal, $start:expr, $carries:expr, $preamble:expr) => {
        impl RunningGateway for $gateway {
            const NAME: &'static str = $name;
            const IS_TOLD: bool = true;

            fn start_for_scenarios(policy: &str, upstream: u16) -> Self {
                $gateway($start(policy, upstream))
            }

            fn port(&self) -> u16 {
                self.0.running().port
            }

            fn directory(&self) -> &Path {
                self.0.serve.directory()
            }

            fn socket(&self) -> PathBuf {
                self.0.running().directory.path().join("socket")
            }

            fn set_clock_ms(&self, now_ms: u64) {
                self.0.serve.set_clock_ms(now_ms);
            }

            fn replace_policy(&self, policy: &str) {
                self.0.replace_policy(policy);
            }

            fn restart(&mut self) {
                self.0.restart();
            }

            fn access_log(&self) -> String {
                String::new()
            }

            fn error_log(&self) -> String {
                self.0.log()
            }

            fn preamble(peer: IpAddr) -> Vec<u8> {
                $preamble(peer)
            }

            fn told(request: &Received) -> Told {
                told(request)
            }

            fn said(&self, step: &RequestStep, answer: &Response) -> Result<Said, StepError> {
                self.0.said($name, step, answer)
            }

            fn settle(&self, ticket: &str, finish: &Finish) -> Result<Option<Amount>, StepError> {
                self.0.settle(ticket, finish)
            }

            fn not_settled(_: &str) -> Option<&str> {
                None
            }

            fn carries(request: &RequestStep) -> Result<(), StepError> {
                $carries(request)
            }

            fn ends_at(_: u64) -> Result<(), StepError> {
                Ok(())
            }
        }
    };
}

gateway!(
    NginxAccel,
    "nginx",
    |policy: &str, upstream| Parts::start(Kind::NginxAccel, policy, upstream, NGINX),
    |request: &RequestStep| carries("nginx", request),
    |_| Vec::new()
);

gateway!(
    EnvoyGrpc,
    "Envoy",
    |policy: &str, upstream| Parts::start(Kind::EnvoyGrpc, policy, upstream, ENVOY),
    envoy_carries,
    proxy_protocol
);

/// Envoy tells the address of the connection.
fn proxy_protocol(peer: IpAddr) -> Vec<u8> {
    match peer {
        IpAddr::V4(peer) => format!("PROXY TCP4 {peer} 127.0.0.1 1 1\r\n").into_bytes(),
        IpAddr::V6(peer) => format!("PROXY TCP6 {peer} ::1 1 1\r\n").into_bytes(),
    }
}

fn envoy_carries(request: &RequestStep) -> Result<(), StepError> {
    let tokens: Vec<&[u8]> = request
        .headers
        .0
        .iter()
        .filter(|(name, _)| name.as_ref().eq_ignore_ascii_case(b"authorization"))
        .map(|(_, value)| value.as_ref())
        .collect();
    let bearer = |value: &&[u8]| value.to_ascii_lowercase().starts_with(b"bearer");
    // A first line with a bearer token is refused either way.
    if tokens.len() > 1 && !tokens.first().is_some_and(bearer) {
        let why = "Envoy joins the lines of Authorization to one of the first one's scheme";
        return Err(StepError::not_carried(why));
    }
    carries("Envoy", request)
}
