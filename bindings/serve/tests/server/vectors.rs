//! Every file in `tests/vectors` of the workspace: requests over `POST /v1/decide` and `/v1/settle`, administration over
//! `/api`, on each store.

use std::io::{Read, Write};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tollgate::{
    Amount, Finish, NEVER_REPLAYED_HEADERS, PolicyConfig, StoredResponse, TraceStep, Verdict,
};
use tollgate_conformance::vectors;
use tollgate_gateway_tests::{RedisServer, root};
use tollgate_lmdb::SyncPolicy;
use tollgate_scenario::{
    AccountStep, Decided, DepositStep, Finished, Header, InspectStep, Money, RequestStep,
    RevokeStep, RotateStep, StepError, Surface, Surfaces, TokenStep, Wire, wire_text,
};
use tollgate_serve::StoreLocation;

use crate::client::Reply;
use crate::running::{Running, options};

/// Why a scenario is not for this surface, and of how many that holds. All others reply as expected.
const NOT_CARRIED: [(&str, usize); 2] =
    [("Set-Cookie is never kept", 1), ("a path has no empty name", 2)];

#[derive(Clone, Copy)]
enum Servers<'r> {
    Memory,
    Lmdb,
    Redis(&'r RedisServer),
}

struct Served {
    running: Running,
    time: Time,
}

/// The clock of the whole server: requests with other times wait until nobody needs the present one.
#[derive(Default)]
struct Time {
    users: Mutex<(u64, usize)>,
    free: Condvar,
}

#[derive(Clone)]
struct Open {
    ticket: Option<String>,
    account: Option<String>,
    headers: Vec<Header>,
}

fn start(
    servers: Servers<'_>,
    policy: &str,
    clock: Arc<AtomicU64>,
    directory: tempfile::TempDir,
) -> Result<Served, StepError> {
    let file = directory.path().join("policy.json");
    std::fs::write(&file, policy).unwrap();
    let options = options(&file, &clock);
    let running = Running::of(options, clock, directory, |options, directory| {
        options.store = match servers {
            Servers::Memory => StoreLocation::Memory,
            Servers::Lmdb => StoreLocation::Lmdb(directory.join("db"), SyncPolicy::Never),
            Servers::Redis(server) => StoreLocation::Redis(server.url()),
        };
    });
    Ok(Served { running: running.map_err(StepError::of)?, time: Time::default() })
}

fn empty(server: &RedisServer) {
    let place = server.url().replace("redis://", "");
    let mut stream = std::net::TcpStream::connect(place).unwrap();
    stream.write_all(b"FLUSHALL\r\n").unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+OK\r\n");
}

impl Surfaces for Servers<'_> {
    type Surface = Served;

    fn start(&self, policy: PolicyConfig) -> Result<Served, StepError> {
        let policy = serde_json::to_string(&policy).unwrap();
        if let Servers::Redis(server) = self {
            empty(server);
        }
        start(*self, &policy, Arc::default(), tempfile::tempdir().unwrap())
    }

    fn restart(&self, served: Served) -> Result<Served, StepError> {
        let policy = std::fs::read_to_string(served.running.policy_file()).unwrap();
        let (clock, directory) = served.running.into_parts();
        start(*self, &policy, clock, directory)
    }

    fn keeps_state(&self) -> bool {
        !matches!(self, Servers::Memory)
    }
}

impl Served {
    fn at<T>(&self, now_ms: u64, work: impl FnOnce(&Running) -> T) -> T {
        let mut users = self.time.users.lock().unwrap();
        while users.1 > 0 && users.0 != now_ms {
            users = self.time.free.wait(users).unwrap();
        }
        *users = (now_ms, users.1 + 1);
        self.running.set_clock_ms(now_ms);
        drop(users);
        let done = work(&self.running);
        self.time.users.lock().unwrap().1 -= 1;
        self.time.free.notify_all();
        done
    }

    fn operate(
        &self,
        now_ms: u64,
        method: &str,
        path: &str,
        json: Option<Value>,
    ) -> Result<Value, StepError> {
        done(&self.at(now_ms, |running| running.operate(method, path, json.as_ref())))
    }

    fn digest(&self, token: &str) -> String {
        tollgate::digest(token.as_bytes(), None).to_string()
    }

    fn request(
        &self,
        step: &RequestStep,
        explain: bool,
    ) -> Result<(Decided<Open>, Vec<TraceStep>), StepError> {
        let text = |bytes: &Wire| wire_text(bytes.as_ref());
        let headers = step.headers.0.iter().map(|(name, value)| json!([text(name), text(value)]));
        let peer = step.to_request().peer;
        let asked = json!({
            "method": text(&step.method), "target": text(&step.target), "headers": headers.collect::<Vec<_>>(),
            "peer": peer, "body": step.body, "cost": step.cost, "sender": step.sender, "invalid": step.invalid,
            "peek": explain || step.peek.unwrap_or(false), "explain": explain,
        });
        let reply = done(&self.at(step.now_ms, |running| running.ask("/v1/decide", &asked)))?;
        let trace = serde_json::from_value(reply["trace"].clone()).unwrap_or_default();
        Ok((decided(&reply, step)?, trace))
    }

    fn reservation(&self, open: &Open) -> Result<String, StepError> {
        let number = open.ticket.as_deref().and_then(|ticket| ticket.split('.').nth(1));
        let (Some(account), Some(number)) = (&open.account, number) else {
            return Err(StepError::new("there is no account, or nothing was reserved"));
        };
        Ok(format!("{}/reservations/{number}", account_path(account)))
    }
}

/// The members of a good answer, or the message of another one.
fn done(reply: &Reply) -> Result<Value, StepError> {
    match reply.status {
        204 => Ok(Value::Null),
        200..=299 => Ok(reply.json()),
        _ => Err(StepError::new(reply.json()["message"].as_str().unwrap())),
    }
}

fn account_path(account: &str) -> String {
    format!("/api/accounts/{}", utf8_percent_encode(account, NON_ALPHANUMERIC))
}

fn texts(value: &Value) -> Vec<Header> {
    let bytes = |text: &Value| Wire::parse(text.as_str().unwrap()).unwrap().as_ref().to_vec();
    let pair = |pair: &Value| (pair[0].as_str().unwrap().to_owned(), bytes(&pair[1]));
    value.as_array().unwrap().iter().map(pair).collect()
}

fn decided(reply: &Value, step: &RequestStep) -> Result<Decided<Open>, StepError> {
    let text = |name: &str| reply[name].as_str().map(str::to_owned);
    let verdict = match reply["verdict"].as_str().unwrap() {
        "allow" => Verdict::Allow,
        "deny" => Verdict::Deny,
        "replay" => Verdict::Replay,
        other => return Err(StepError::new(format!("{other} is no verdict"))),
    };
    let (headers, ticket) = (texts(&reply["headers"]), text("ticket"));
    let open = Open { ticket: ticket.clone(), account: text("account"), headers: headers.clone() };
    Ok(Decided {
        verdict,
        status: u16::try_from(reply["status"].as_u64().unwrap()).unwrap(),
        code: text("code").filter(|_| verdict == Verdict::Deny),
        headers: Some(headers),
        body: text("body").unwrap_or_default().into_bytes(),
        account: text("account"),
        route: text("route"),
        reserved: reply["reserved"].as_u64().map(Amount),
        must_finish: ticket.is_some(),
        open: (verdict == Verdict::Allow && step.peek != Some(true)).then_some(open),
    })
}

/// How a request ended, in the words of the API.
fn ending(finish: &Finish) -> Result<Value, StepError> {
    let (outcome, amount, response) = match finish {
        Finish::Settle { amount, response } => ("settle", *amount, response.as_deref()),
        Finish::Void { response } => ("void", None, response.as_deref()),
        Finish::Unknown => ("unknown", None, None),
    };
    let mut ending = json!({ "outcome": outcome });
    if let Some(Amount(amount)) = amount {
        ending["amount"] = amount.into();
    }
    if let Some(response) = response {
        ending["response"] = upstream(response)?;
    }
    Ok(ending)
}

fn upstream(response: &StoredResponse) -> Result<Value, StepError> {
    for (name, value) in &response.headers {
        let name = http::HeaderName::from_bytes(name.as_bytes());
        let value = http::HeaderValue::from_bytes(value);
        match (name, value) {
            (Ok(name), Ok(_)) if NEVER_REPLAYED_HEADERS.contains(&name.as_str()) => {
                return Err(StepError::not_carried("Set-Cookie is never kept"));
            }
            (Ok(_), Ok(_)) => {}
            _ => return Err(StepError::not_carried("a header that HTTP does not allow")),
        }
    }
    if response.status > 599 {
        return Err(StepError::not_carried("a status that HTTP does not have"));
    }
    let headers = response.headers.iter().map(|(name, value)| json!([name, wire_text(value)]));
    let mut upstream = json!({ "status": response.status, "headers": headers.collect::<Vec<_>>() });
    match response.body.as_deref() {
        None => upstream["body_left_out"] = true.into(),
        Some(body) => upstream["body"] = String::from_utf8(body.to_vec()).unwrap().into(),
    }
    Ok(upstream)
}

impl Surface for Served {
    type Open = Open;

    fn reload(&self, policy: PolicyConfig) -> Result<(), StepError> {
        let text = serde_json::to_string(&policy).unwrap();
        std::fs::write(self.running.policy_file(), text).unwrap();
        done(&self.running.operate("POST", "/api/policy/reload", None)).map(drop)
    }

    fn put_account(&self, step: AccountStep, now_ms: u64) -> Result<(), StepError> {
        if step.id.is_empty() {
            return Err(StepError::not_carried("a path has no empty name"));
        }
        let settings = json!({
            "balance": step.balance, "networks": step.networks, "spend_caps": step.spend_caps, "senders": step.senders,
        });
        self.operate(now_ms, "PUT", &account_path(&step.id), Some(settings)).map(drop)
    }

    fn put_token(&self, step: TokenStep, now_ms: u64) -> Result<(), StepError> {
        let mut token = json!({
            "token": step.token.expose(), "scopes": step.scopes, "networks": step.networks, "spend_caps": step.spend_caps,
        });
        if let Some(quota) = step.quota {
            token["quota"] = serde_json::to_value(quota).unwrap();
        }
        if let Some(expires_ms) = step.expires_ms {
            token["expires_ms"] = expires_ms.into();
        }
        let path = format!("{}/tokens", account_path(&step.account));
        self.operate(now_ms, "POST", &path, Some(token)).map(drop)
    }

    fn rotate(&self, step: &RotateStep, now_ms: u64) -> Result<(), StepError> {
        let path = format!("/api/tokens/{}/rotate", self.digest(step.token.expose()));
        let new = json!({ "token": step.new_token.expose(), "grace_ms": step.grace_ms });
        self.operate(now_ms, "POST", &path, Some(new)).map(drop)
    }

    fn revoke(&self, step: &RevokeStep, now_ms: u64) -> Result<(), StepError> {
        let path = format!("/api/tokens/{}", self.digest(step.token.expose()));
        self.operate(now_ms, "DELETE", &path, None).map(drop)
    }

    fn deposit(&self, step: &DepositStep, now_ms: u64) -> Result<(), StepError> {
        let path = format!("{}/deposits", account_path(&step.account));
        self.operate(now_ms, "POST", &path, Some(json!({ "amount": step.amount }))).map(drop)
    }

    fn inspect(&self, step: &InspectStep, now_ms: u64) -> Result<Money, StepError> {
        let shown = self.operate(now_ms, "GET", &account_path(&step.account), None)?;
        let number = |name: &str| shown[name].as_u64().unwrap();
        Ok(Money {
            balance: Amount(number("balance")),
            held: Amount(number("held")),
            available: Amount(number("available")),
            posted: Amount(number("posted")),
            reservations: number("open_reservations"),
        })
    }

    fn decide(&self, step: &RequestStep) -> Result<Decided<Open>, StepError> {
        Ok(self.request(step, false)?.0)
    }

    fn explain(&self, step: &RequestStep) -> Result<(Decided<Open>, Vec<TraceStep>), StepError> {
        self.request(step, true)
    }

    fn finish(&self, open: &Open, finish: Finish, now_ms: u64) -> Result<Finished, StepError> {
        let headers = Some(open.headers.clone());
        let Some(ticket) = &open.ticket else { return Ok(Finished { settled: None, headers }) };
        let mut settlement = ending(&finish)?;
        settlement["ticket"] = ticket.as_str().into();
        let settled = done(&self.at(now_ms, |running| running.ask("/v1/settle", &settlement)))?;
        Ok(Finished { settled: settled["posted"].as_u64().map(Amount), headers })
    }

    fn resolve(
        &self,
        open: &Open,
        finish: Finish,
        now_ms: u64,
    ) -> Result<Option<Amount>, StepError> {
        let path = format!("{}/resolve", self.reservation(open)?);
        let moved = self.operate(now_ms, "POST", &path, Some(ending(&finish)?))?;
        Ok(moved["amount"].as_u64().map(Amount))
    }

    fn refund(
        &self,
        open: &Open,
        Amount(amount): Amount,
        reference: &str,
        now_ms: u64,
    ) -> Result<(), StepError> {
        let path = format!("{}/refunds", self.reservation(open)?);
        let refund = json!({ "amount": amount, "reference": reference });
        self.operate(now_ms, "POST", &path, Some(refund)).map(drop)
    }

    fn expire(&self, now_ms: u64) -> Result<u64, StepError> {
        let expired = self.operate(now_ms, "POST", "/api/expire", None)?;
        Ok(expired["expired"].as_u64().unwrap())
    }
}

fn every_scenario(servers: Servers<'_>) {
    let report = vectors(&root().join("tests/vectors"), servers).unwrap();
    assert_eq!(report.failed().count(), 0, "{report}");
    assert_eq!(report.not_carried_by_reason(), NOT_CARRIED.into(), "{report}");
    assert!(report.scenarios.len() >= 610, "{report}");
}

#[test]
fn every_scenario_replies_as_expected_on_a_store_in_memory() {
    every_scenario(Servers::Memory);
}

#[test]
fn every_scenario_replies_as_expected_on_lmdb() {
    every_scenario(Servers::Lmdb);
}

#[test]
fn every_scenario_replies_as_expected_on_redis() {
    every_scenario(Servers::Redis(&RedisServer::start()));
}
