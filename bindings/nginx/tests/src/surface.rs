//! Scenarios through nginx: requests over HTTP, administration on the same LMDB store.

use std::collections::HashMap;
use std::io::Write;
use std::net::{IpAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tollgate::{
    AccountId, AccountRef, Admin, Amount, Engine, Finish, PolicyConfig, ReservationId,
    StoredResponse, Verdict,
};
use tollgate_lmdb::{LmdbOptions, LmdbStore, SyncPolicy};
use tollgate_scenario::{
    AccountStep, Decided, DepositStep, Finished, Header, InspectStep, LibrarySurface, Money,
    RequestStep, RevokeStep, RotateStep, StepError, Surface, Surfaces, TokenStep,
};

use crate::client::{Client, Response};
use crate::nginx::{Nginx, Options};
use crate::upstream::{Received, Upstream};

/// Longer response bodies are not kept.
const MAX_RESPONSE_BODY: usize = 1 << 16;

const HTTP: &str = "
    tollgate_policy policy.json;
    tollgate_zone tollgate:4m;
    tollgate_store lmdb:DIR/db sync=never map=256m;
    tollgate_expire_interval 0;
    tollgate_max_response_body 64k;
    tollgate_replay_headers Content-Type Location X-Tag X-Name X-Request-Id X-Bytes;
    client_header_buffer_size 16k;
    large_client_header_buffers 4 64k;
    underscores_in_headers on;
    ignore_invalid_headers off;
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Test-Peer;
    log_format t '$http_x_test_id|$tollgate_settled|';
    server {
        listen 127.0.0.1:PORT;
        listen unix:DIR/socket;
        client_max_body_size 64m;
        location = /up { return 200; }
        location / {
            access_log access.log t;
            tollgate on;
            tollgate_cost $http_x_test_cost;
            tollgate_sender $http_x_test_sender;
            tollgate_invalid $http_x_test_invalid;
            tollgate_charge $upstream_http_x_charge;
            add_header X-T-Verdict $tollgate_verdict always;
            add_header X-T-Code $tollgate_code always;
            add_header X-T-Account $tollgate_account always;
            add_header X-T-Route $tollgate_route always;
            proxy_set_header X-T-Account $tollgate_account;
            proxy_set_header X-T-Route $tollgate_route;
            proxy_set_header X-T-Reserved $tollgate_reserved;
            proxy_set_header X-T-Reservation $tollgate_reservation;
            proxy_http_version 1.1;
            proxy_set_header Connection close;
            proxy_read_timeout 1h;
            proxy_buffer_size 64k;
            proxy_buffers 8 64k;
            proxy_ignore_client_abort on;
            proxy_pass http://UPSTREAM;
        }
    }";

/// Starts an nginx for each scenario.
#[derive(Clone, Copy, Debug, Default)]
pub struct NginxSurfaces;

/// What waits for a request's arrival at the upstream, by its number.
type Waiting = Mutex<HashMap<u64, Sender<Event>>>;

enum Event {
    Arrived(Received, TcpStream),
    Answered(Option<Response>),
}

/// One nginx with its store.
pub struct NginxSurface {
    nginx: Nginx,
    _upstream: Upstream,
    waiting: Arc<Waiting>,
    admin: LibrarySurface,
    next: AtomicU64,
    clock: Clock,
    /// Requests are not ended by being forgotten.
    kept: Mutex<Vec<Open>>,
}

/// A request that waits at the upstream.
#[derive(Clone)]
pub struct Open(Arc<OpenParts>);

struct OpenParts {
    number: u64,
    method: Vec<u8>,
    has_key: bool,
    account: Option<String>,
    reservation: Option<u64>,
    reserved: Option<u64>,
    upstream: Mutex<Option<TcpStream>>,
    answer: Mutex<std::sync::mpsc::Receiver<Event>>,
}

/// The clock of all of nginx: requests with other times wait until nobody needs the present one.
#[derive(Default)]
struct Clock {
    users: Mutex<(u64, usize)>,
    free: Condvar,
}

impl Clock {
    fn at<T>(&self, nginx: &Nginx, now_ms: u64, work: impl FnOnce() -> T) -> T {
        let mut users = self.users.lock().unwrap();
        while users.1 > 0 && users.0 != now_ms {
            users = self.free.wait(users).unwrap();
        }
        *users = (now_ms, users.1 + 1);
        nginx.set_clock_ms(now_ms);
        drop(users);
        let done = work();
        self.users.lock().unwrap().1 -= 1;
        self.free.notify_all();
        done
    }
}

impl Surfaces for NginxSurfaces {
    type Surface = NginxSurface;

    fn start(&self, policy: PolicyConfig) -> Result<NginxSurface, StepError> {
        let text = serde_json::to_string(&policy).unwrap();
        let engine = Engine::new(policy.compile().map_err(StepError::of)?);
        let waiting: Arc<Waiting> = Arc::default();
        let arrivals = Arc::clone(&waiting);
        let upstream = Upstream::start(move |request, stream| {
            let number = request.header("x-test-id").and_then(|number| number.parse().ok());
            let waiter = number.and_then(|number: u64| arrivals.lock().unwrap().remove(&number));
            if let Some(waiter) = waiter {
                let _ = waiter.send(Event::Arrived(request.clone(), stream));
            }
        });
        let mut options = Options::new(HTTP, upstream.port());
        options.workers = 1;
        options.clock_ms = Some(1_600_000_000_000); // nginx itself does not start in 1970
        options.files.push(("policy.json".to_owned(), text));
        let nginx = Nginx::start(options);
        let mut lmdb = LmdbOptions::default();
        (lmdb.sync, lmdb.map_bytes) = (SyncPolicy::Never, 1 << 28);
        let store = LmdbStore::open(nginx.directory().join("db"), &lmdb).map_err(StepError::of)?;
        Ok(NginxSurface {
            nginx,
            _upstream: upstream,
            waiting,
            admin: LibrarySurface::new(engine, Arc::new(store)),
            next: AtomicU64::new(1),
            clock: Clock::default(),
            kept: Mutex::default(),
        })
    }

    /// New workers with the same configuration; the zone, like the store, stays.
    fn restart(&self, surface: NginxSurface) -> Result<NginxSurface, StepError> {
        surface.nginx.reload();
        Ok(surface)
    }

    fn keeps_state(&self) -> bool {
        true
    }
}

fn not_carried<T>(why: &str) -> Result<T, StepError> {
    Err(StepError::not_carried(why))
}

impl Surface for NginxSurface {
    type Open = Open;

    fn reload(&self, policy: PolicyConfig) -> Result<(), StepError> {
        let text = serde_json::to_string(&policy).unwrap();
        self.admin.reload(policy)?;
        self.nginx.rewrite("policy.json", &text);
        self.nginx.reload();
        Ok(())
    }

    fn put_account(&self, step: AccountStep, now_ms: u64) -> Result<(), StepError> {
        self.admin.put_account(step, now_ms)
    }

    fn put_token(&self, step: TokenStep, now_ms: u64) -> Result<(), StepError> {
        self.admin.put_token(step, now_ms)
    }

    fn rotate(&self, step: &RotateStep, now_ms: u64) -> Result<(), StepError> {
        self.admin.rotate(step, now_ms)
    }

    fn revoke(&self, step: &RevokeStep, now_ms: u64) -> Result<(), StepError> {
        self.admin.revoke(step, now_ms)
    }

    fn deposit(&self, step: &DepositStep, now_ms: u64) -> Result<(), StepError> {
        self.admin.deposit(step, now_ms)
    }

    fn inspect(&self, step: &InspectStep, now_ms: u64) -> Result<Money, StepError> {
        self.admin.inspect(step, now_ms)
    }

    fn expire(&self, now_ms: u64) -> Result<u64, StepError> {
        self.admin.expire(now_ms)
    }

    fn decide(&self, step: &RequestStep) -> Result<Decided<Open>, StepError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let bytes = bytes(step, number)?;
        if step.now_ms > 253_402_300_799_999 {
            return not_carried("a clock after the year 9999");
        }
        self.clock.at(&self.nginx, step.now_ms, || self.ask(step, number, &bytes))
    }

    fn finish(&self, open: &Open, finish: Finish, now_ms: u64) -> Result<Finished, StepError> {
        let answer = answer(open, &finish)?;
        if now_ms < 1000 {
            return not_carried("nginx writes no access log in the first second of 1970");
        }
        self.clock.at(&self.nginx, now_ms, || self.end(open, &answer))
    }

    fn resolve(
        &self,
        open: &Open,
        finish: Finish,
        now_ms: u64,
    ) -> Result<Option<Amount>, StepError> {
        let (account, reservation) = open.reservation()?;
        let store = self.admin.store();
        let settled = Admin::new(&**store).resolve(&account, reservation, finish, now_ms);
        Ok(settled.map_err(StepError::of)?.posted)
    }

    fn refund(
        &self,
        open: &Open,
        amount: Amount,
        reference: &str,
        now_ms: u64,
    ) -> Result<(), StepError> {
        let (account, reservation) = open.reservation()?;
        let store = self.admin.store();
        Admin::new(&**store)
            .refund(&AccountRef::Id(account), reservation, amount, reference, now_ms)
            .map_err(StepError::of)
    }

    fn late_headers(&self, open: &Open) -> Result<Vec<Header>, StepError> {
        let answer = respond(open, &empty(200), None)?;
        Ok(self.end(open, &answer)?.headers.unwrap_or_default())
    }
}

impl Open {
    fn reservation(&self) -> Result<(AccountId, ReservationId), StepError> {
        match (&self.0.account, self.0.reservation) {
            (Some(account), Some(reservation)) => {
                Ok((AccountId::new(account).map_err(StepError::of)?, ReservationId(reservation)))
            }
            _ => Err(StepError::new("nginx named no reservation")),
        }
    }
}

impl NginxSurface {
    fn ask(
        &self,
        step: &RequestStep,
        number: u64,
        bytes: &[u8],
    ) -> Result<Decided<Open>, StepError> {
        let (told, tells) = channel();
        self.waiting.lock().unwrap().insert(number, told.clone());
        let address = step.peer.as_ref().is_some_and(|peer| parse_peer(peer.as_ref()).is_some());
        let mut client = if address {
            Client::connect(self.nginx.port())
        } else {
            Client::connect_unix(&self.nginx.directory().join("socket"))
        };
        client.write(bytes);
        let method = String::from_utf8_lossy(step.method.as_ref()).into_owned();
        std::thread::spawn(move || drop(told.send(Event::Answered(client.read(&method).ok()))));
        let event = tells.recv_timeout(Duration::from_secs(30));
        self.waiting.lock().unwrap().remove(&number);
        match event {
            Ok(Event::Answered(answer)) => answered(answer),
            Ok(Event::Arrived(request, stream)) => {
                let told = |name: &str| request.header(name).map(str::to_owned);
                let number_of = |name: &str| told(name).and_then(|text| text.parse::<u64>().ok());
                let open = Open(Arc::new(OpenParts {
                    number,
                    method: step.method.as_ref().to_vec(),
                    has_key: request.header("idempotency-key").is_some(),
                    account: told("x-t-account"),
                    reservation: number_of("x-t-reservation"),
                    reserved: number_of("x-t-reserved"),
                    upstream: Mutex::new(Some(stream)),
                    answer: Mutex::new(tells),
                }));
                self.kept.lock().unwrap().push(open.clone());
                Ok(Decided {
                    verdict: Verdict::Allow,
                    status: 200,
                    code: None,
                    headers: None,
                    body: Vec::new(),
                    account: told("x-t-account"),
                    route: told("x-t-route"),
                    reserved: number_of("x-t-reserved").map(Amount),
                    must_finish: open.0.reservation.is_some(),
                    open: Some(open),
                })
            }
            Err(error) => {
                Err(StepError::new(format!("nginx: {error}: {}", self.nginx.error_log())))
            }
        }
    }

    /// Answers for the upstream, and reads what the client gets.
    fn end(&self, open: &Open, answer: &[u8]) -> Result<Finished, StepError> {
        let Some(mut upstream) = open.0.upstream.lock().unwrap().take() else {
            return not_carried("over HTTP a request ends once");
        };
        let begin = self.nginx.error_log().len();
        let _ = upstream.write_all(answer);
        drop(upstream);
        let event = open.0.answer.lock().unwrap().recv_timeout(Duration::from_secs(30));
        let Ok(Event::Answered(Some(answer))) = event else {
            return Err(StepError::new(format!("no answer of nginx: {}", self.nginx.error_log())));
        };
        let line = format!("{}|", open.0.number);
        let end = Instant::now() + Duration::from_secs(10);
        let settled = loop {
            let log = self.nginx.access_log();
            let found = log.lines().find_map(|entry| entry.strip_prefix(&line)?.strip_suffix('|'));
            match found {
                Some(settled) => break settled.parse::<u64>().ok().map(Amount),
                None if Instant::now() > end => {
                    return Err(StepError::new(format!("not in the access log: {line}: {log}")));
                }
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        let log = self.nginx.error_log();
        let new = log.get(begin..).unwrap_or_default();
        if let Some((_, why)) = new.split_once("tollgate could not settle a request: ") {
            let why = why.split_once(": ").map_or(why, |(_, why)| why);
            let why = why.split_once("; it ends with its lease").map_or(why, |(why, _)| why);
            return Err(StepError::new(why));
        }
        Ok(Finished { settled, headers: Some(policy_headers(answer.headers)) })
    }
}

fn answered(answer: Option<Response>) -> Result<Decided<Open>, StepError> {
    let Some(answer) = answer else {
        return not_carried("nginx itself closes the connection");
    };
    let told = |name: &str| answer.header(name).map(str::to_owned);
    let verdict = match answer.header("x-t-verdict") {
        Some("deny") => Verdict::Deny,
        Some("replay") => Verdict::Replay,
        Some(other) => return Err(StepError::new(format!("the upstream was not asked: {other}"))),
        None => return not_carried(&format!("nginx itself answers with {}", answer.status)),
    };
    Ok(Decided {
        verdict,
        status: answer.status,
        code: told("x-t-code").filter(|_| verdict == Verdict::Deny),
        body: answer.body.clone(),
        account: told("x-t-account"),
        route: told("x-t-route"),
        reserved: None,
        must_finish: false,
        open: None,
        headers: Some(policy_headers(answer.headers)),
    })
}

/// Without what is nginx's own, or this file's.
fn policy_headers(mut headers: Vec<Header>) -> Vec<Header> {
    let own = ["server", "date", "connection", "content-length", "transfer-encoding"];
    headers.retain(|(name, _)| {
        let name = name.to_ascii_lowercase();
        !name.starts_with("x-t-") && !own.contains(&name.as_str())
    });
    headers
}

fn parse_peer(peer: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(peer).ok()?.parse().ok()
}

fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b':')
}

fn is_value(value: &[u8]) -> bool {
    !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}

/// The request as bytes; or why HTTP, or this module, cannot carry it.
fn bytes(step: &RequestStep, number: u64) -> Result<Vec<u8>, StepError> {
    if step.peek == Some(true) {
        return not_carried("HTTP has no peek");
    }
    let no_text = |text: &Option<String>| {
        text.as_deref().is_some_and(|text| {
            !is_value(text.as_bytes()) || text.trim() != text || text.is_empty()
        })
    };
    if no_text(&step.sender) || no_text(&step.invalid) {
        return not_carried("a sender or refusal that is no header's value");
    }
    let (method, target) = (step.method.as_ref(), step.target.as_ref());
    if !is_token(method)
        || target.is_empty()
        || target.iter().any(|byte| byte.is_ascii_whitespace())
    {
        return not_carried("a request line that would be another one");
    }
    if target.starts_with(b"http://") {
        return not_carried("nginx takes the path out of an absolute target");
    }
    let mut bytes =
        [method, b" ", target, b" HTTP/1.1\r\nHost: test\r\nConnection: close\r\n"].concat();
    let mut add = |name: &[u8], value: &[u8]| bytes.extend([name, b": ", value, b"\r\n"].concat());
    add(b"X-Test-Id", number.to_string().as_bytes());
    let peer = step.peer.as_ref().and_then(|peer| parse_peer(peer.as_ref()));
    if let Some(peer) = peer {
        add(b"X-Test-Peer", peer.to_string().as_bytes());
    }
    if let Some(Amount(cost)) = step.cost {
        add(b"X-Test-Cost", cost.to_string().as_bytes());
    }
    if let Some(sender) = &step.sender {
        add(b"X-Test-Sender", sender.as_bytes());
    }
    if let Some(invalid) = &step.invalid {
        add(b"X-Test-Invalid", invalid.as_bytes());
    }
    let framing =
        ["host", "connection", "content-length", "transfer-encoding", "expect", "upgrade"];
    for (name, value) in &step.headers.0 {
        let lower = String::from_utf8_lossy(name.as_ref()).to_ascii_lowercase();
        if !is_token(name.as_ref())
            || !is_value(value.as_ref())
            || framing.contains(&lower.as_str())
        {
            return not_carried("a header that would be another one, or the connection's");
        }
        add(name.as_ref(), value.as_ref());
    }
    let body = step.body.as_deref().unwrap_or_default();
    if !body.is_empty() {
        add(b"Content-Length", body.len().to_string().as_bytes());
    }
    bytes.extend(b"\r\n");
    bytes.extend(body.as_bytes());
    Ok(bytes)
}

/// What the upstream answers so that the module ends the request like this.
fn answer(open: &Open, finish: &Finish) -> Result<Vec<u8>, StepError> {
    let has_key = has_key(open);
    match finish {
        Finish::Unknown => Ok(Vec::new()),
        Finish::Settle { amount: Some(Amount(amount)), .. }
            if *amount > open.0.reserved.unwrap_or(0) =>
        {
            not_carried("a charge above what was reserved is cut to it")
        }
        Finish::Settle { amount, response } => match response {
            None if has_key => not_carried("an upstream that settles gives a response"),
            None => respond(open, &empty(200), *amount),
            Some(response) if !(200..400).contains(&response.status) => {
                not_carried("a 4xx or 5xx of the upstream is voided")
            }
            Some(response) => respond(open, response, *amount),
        },
        Finish::Void { response } => match response {
            None if has_key => not_carried("only a refused connection frees a key"),
            None => respond(open, &empty(500), None),
            Some(response) if response.status < 400 => {
                not_carried("a 2xx or 3xx of the upstream settles")
            }
            Some(response) => respond(open, response, None),
        },
    }
}

fn has_key(open: &Open) -> bool {
    open.0.has_key && open.0.reservation.is_some()
}

fn empty(status: u16) -> StoredResponse {
    StoredResponse { status, headers: Box::default(), body: Some(Box::default()) }
}

fn respond(
    open: &Open,
    response: &StoredResponse,
    amount: Option<Amount>,
) -> Result<Vec<u8>, StepError> {
    let too_long = vec![b'.'; MAX_RESPONSE_BODY + 1];
    let body = response.body.as_deref().unwrap_or(&too_long);
    let status = response.status;
    if status > 599 || (matches!(status, 204 | 304) && !body.is_empty()) {
        return not_carried("a response that HTTP does not have");
    }
    let mut bytes = format!("HTTP/1.1 {status} Said\r\n").into_bytes();
    for (name, value) in &response.headers {
        if has_key(open) && name.eq_ignore_ascii_case("set-cookie") {
            return not_carried("Set-Cookie is never kept");
        }
        if !is_token(name.as_bytes()) || !is_value(value) {
            return not_carried("a response header that would be another one");
        }
        bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    if let Some(Amount(amount)) = amount {
        bytes.extend(format!("X-Charge: {amount}\r\n").into_bytes());
    }
    if !matches!(status, 204 | 304) {
        bytes.extend(format!("Content-Length: {}\r\n", body.len()).into_bytes());
    }
    bytes.extend(b"\r\n");
    if open.0.method != b"HEAD" {
        bytes.extend(body);
    }
    Ok(bytes)
}
