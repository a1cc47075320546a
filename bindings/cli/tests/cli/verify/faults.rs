//! What is wrong with a gateway: each fault is one, over a gateway that is right.

use std::net::IpAddr;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode, request, response};
use http_body_util::BodyExt;
use serde_json::Value;
use tollgate::{AccountId, Admin, Engine, Finish};
use tollgate_tower::PeerAddr;

use super::gateway::{Parts, host_price, pass_on};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    AllowlistIgnored,
    CacheableDenial,
    CapsIgnored,
    CaseSensitiveScheme,
    DenialConsumes,
    DenialExecuted,
    DenialIsStored,
    DoubleSlashAccepted,
    DuplicatesExecuted,
    ExpiredAccepted,
    ForwardedBelieved,
    HangsOnReplay,
    HeadIsNotGet,
    HtmlError,
    KeyOfAnotherAccount,
    KeyReuseAccepted,
    LimitNotEnforced,
    MissingChallenge,
    MissingRetryAfter,
    NoRetryAfterOnConflict,
    Overdrawn,
    QueryToken,
    RateLimitHeadersMissing,
    ReplayChanged,
    ReplayCharged,
    ReplayUnmarked,
    RequiredKeyNotRequired,
    RetryAfterTooEarly,
    RetryAfterTooLate,
    RetryAfterZero,
    RetryExecuted,
    RevokedForAWhile,
    ScopeNotGranted,
    UnknownRouteOpen,
    WildcardScope,
    WrongCode,
    WrongRemaining,
    WrongReset,
    WrongStatus,
    Garbage,
    /// None: the HTTP server itself refuses what is malformed.
    StrictServer,
    /// None: it is reached below a path.
    UnderPrefix,
}

/// Where a gateway is that is not at the root.
pub(super) const PREFIX: &str = "/v1";

/// A request that can be sent more than once.
struct Asked {
    head: request::Parts,
    body: Bytes,
}

impl Asked {
    fn request(&self) -> Request {
        Request::from_parts(self.head.clone(), Body::from(self.body.clone()))
    }

    fn without_key(&self) -> Request {
        let mut request = self.request();
        request.headers_mut().remove("idempotency-key");
        request
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    fn token(&self) -> String {
        let value = self.header("authorization").unwrap_or_default();
        value.split_once(' ').map_or("", |(_, token)| token).to_owned()
    }

    /// A key in the name of its token.
    fn key(&self) -> Option<String> {
        Some(format!("{} {}", self.token(), self.header("idempotency-key")?))
    }
}

struct Answered {
    head: response::Parts,
    body: Bytes,
}

impl Answered {
    async fn of(response: Response) -> Answered {
        let (head, body) = response.into_parts();
        Answered { head, body: body.collect().await.unwrap().to_bytes() }
    }

    fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }

    fn is_replay(&self) -> bool {
        self.head.headers.contains_key("idempotent-replayed")
    }

    fn is_allowed(&self) -> bool {
        self.head.status.is_success() && !self.is_replay()
    }

    fn header(&self, name: &str) -> &str {
        self.head.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn set(&mut self, name: &'static str, value: &str) {
        self.head.headers.insert(name, HeaderValue::from_str(value).unwrap());
    }

    fn set_body(&mut self, body: &'static str) {
        self.body = Bytes::from_static(body.as_bytes());
        self.head.headers.remove("content-length");
    }

    fn into_response(self) -> Response {
        Response::from_parts(self.head, Body::from(self.body))
    }
}

pub(super) async fn answer(parts: &Parts, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut asked = Asked { head, body };
    before(parts.fault, &mut asked);
    if parts.fault == Fault::StrictServer && is_malformed(&asked) {
        let answer = (StatusCode::BAD_REQUEST, "<html>Bad Request</html>");
        return axum::response::IntoResponse::into_response(answer);
    }
    if let Some(request) = another(parts, &asked) {
        return next.run(request).await;
    }
    if let Some(key) = asked.key() {
        parts.memory.lock().unwrap().running.insert(key);
    }
    let answered = Answered::of(next.clone().run(asked.request()).await).await;
    after(parts, &asked, answered, next).await
}

fn is_malformed(asked: &Asked) -> bool {
    let twice = |name: &str| asked.head.headers.get_all(name).iter().count() > 1;
    twice("authorization") || twice("idempotency-key") || asked.head.uri.path().contains("%2f")
}

/// Faults in how a request is read.
fn before(fault: Fault, asked: &mut Asked) {
    let path = asked.head.uri.path_and_query().unwrap().as_str().to_owned();
    match fault {
        Fault::CaseSensitiveScheme => {
            let is_exact = asked.header("authorization").is_some_and(|v| v.starts_with("Bearer "));
            if !is_exact {
                asked.head.headers.remove(AUTHORIZATION);
            }
        }
        Fault::DoubleSlashAccepted if path.starts_with("//") => {
            asked.head.uri = path[1..].parse().unwrap();
        }
        Fault::ForwardedBelieved => {
            let address = asked.header("x-forwarded-for").and_then(|text| text.parse().ok());
            if let Some(address) = address {
                let _: IpAddr = address;
                asked.head.extensions.insert(PeerAddr(address));
            }
        }
        Fault::HeadIsNotGet if asked.head.method == Method::HEAD => {
            asked.head.method = Method::from_bytes(b"LOCK").unwrap();
        }
        Fault::UnderPrefix => {
            asked.head.uri = path.strip_prefix(PREFIX).unwrap().parse().unwrap();
        }
        Fault::QueryToken => {
            if let Some((_, token)) = path.split_once("?access_token=") {
                let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
                asked.head.headers.insert(AUTHORIZATION, value);
            }
        }
        _ => {}
    }
}

/// What is asked in the place of this request, by faults that carry out again.
fn another(parts: &Parts, asked: &Asked) -> Option<Request> {
    let key = asked.key()?;
    let memory = parts.memory.lock().unwrap();
    let executes = match parts.fault {
        Fault::RetryExecuted => memory.done.contains_key(&key),
        Fault::DuplicatesExecuted => {
            memory.running.contains(&key) && !memory.done.contains_key(&key)
        }
        _ => false,
    };
    executes.then(|| asked.without_key())
}

#[allow(clippy::too_many_lines)] // one arm a fault
async fn after(parts: &Parts, asked: &Asked, mut answered: Answered, next: Next) -> Response {
    let status = answered.head.status.as_u16();
    let code = answered.code();
    let path = asked.head.uri.path().to_owned();
    let pass = || pass_on(parts, asked.head.clone(), asked.body.clone());
    let token = asked.token();
    let key = asked.key();
    remember(parts, asked, &answered);
    match (parts.fault, status, code.as_str()) {
        (Fault::AllowlistIgnored, 403, "ip_not_allowed") => return pass().await,
        (Fault::CapsIgnored, 403, "spend_cap_exceeded") => return pass().await,
        (Fault::LimitNotEnforced, 429, _) if path == "/otp/send" => return pass().await,
        (Fault::WildcardScope, 403, "insufficient_scope") if path.starts_with("/messages") => {
            return pass().await;
        }
        (Fault::UnknownRouteOpen, 403, _) if path.contains("no-such-path") => return pass().await,
        (Fault::RevokedForAWhile, 401, "invalid_token")
            if asked.head.headers.get_all(AUTHORIZATION).iter().count() == 1
                && parts.memory.lock().unwrap().passed.contains(&token) =>
        {
            return pass().await;
        }
        (Fault::ExpiredAccepted, 401, "invalid_token")
            if parts.memory.lock().unwrap().accounts.contains_key(&token)
                && !parts.memory.lock().unwrap().passed.contains(&token) =>
        {
            return pass().await;
        }
        (Fault::Overdrawn, 402, _) if balance(parts, &token) > 0 => return pass().await,
        (Fault::KeyReuseAccepted, 422, "idempotency_key_reused") => {
            return next.run(asked.without_key()).await;
        }
        (Fault::RequiredKeyNotRequired, 422, "idempotency_key_invalid") if key.is_none() => {
            return pass().await;
        }
        (Fault::DenialExecuted, 402, _) => drop(pass().await),
        (Fault::DenialConsumes, 429, _) => {
            let mut memory = parts.memory.lock().unwrap();
            let debt = memory.debts.entry(token).or_default();
            *debt = debt.saturating_add(1);
        }
        (Fault::DenialConsumes, 200, _) => {
            let mut memory = parts.memory.lock().unwrap();
            let debt = memory.debts.entry(token).or_default();
            if *debt > 0 {
                *debt = debt.saturating_sub(1);
                answered.head.status = StatusCode::TOO_MANY_REQUESTS;
                answered.set("retry-after", "1");
                answered.set_body("{\"message\":\"wait\",\"code\":\"rate_limited\"}");
            }
        }
        (Fault::DenialIsStored, 200, _) => {
            let memory = parts.memory.lock().unwrap();
            let kept = key.and_then(|key| memory.done.get(&key).cloned());
            if let Some((status, body)) = kept.filter(|(status, _)| status.as_u16() == 402) {
                (answered.head.status, answered.body) = (status, body);
                answered.head.headers.remove("content-length");
            }
        }
        (Fault::KeyOfAnotherAccount, 200, _) => {
            let memory = parts.memory.lock().unwrap();
            let text = asked.header("idempotency-key").unwrap_or("no key").to_owned();
            let of_another = memory.done.iter().find(|(known, _)| {
                known.ends_with(&format!(" {text}")) && !known.starts_with(&token)
            });
            if let Some((_, (status, body))) = of_another {
                (answered.head.status, answered.body) = (*status, body.clone());
                answered.set("idempotent-replayed", "true");
            }
        }
        (Fault::ScopeNotGranted, 200, _) if path == "/otp/verify" => {
            answered.head.status = StatusCode::FORBIDDEN;
            answered.set_body("{\"message\":\"no\",\"code\":\"insufficient_scope\"}");
        }
        (Fault::HangsOnReplay, _, _) if answered.is_replay() => {
            tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        }
        (Fault::ReplayCharged, _, _) if answered.is_replay() => charge(parts, asked),
        (Fault::ReplayUnmarked, _, _) => drop(answered.head.headers.remove("idempotent-replayed")),
        (Fault::ReplayChanged, _, _) if answered.is_replay() => {
            answered.set_body("{\"execution\":0}");
        }
        (Fault::MissingChallenge, 401, _) => drop(answered.head.headers.remove("www-authenticate")),
        (Fault::CacheableDenial, 403, _) => drop(answered.head.headers.remove("cache-control")),
        (Fault::MissingRetryAfter, 429, _) | (Fault::NoRetryAfterOnConflict, 409, _) => {
            answered.head.headers.remove("retry-after");
        }
        (Fault::RetryAfterTooEarly, 429, _) => answered.set("retry-after", "1"),
        (Fault::RetryAfterTooLate, 429, _) => answered.set("retry-after", "3600"),
        (Fault::RetryAfterZero, 429, _) => answered.set("retry-after", "0"),
        (Fault::HtmlError, 403, "insufficient_scope") => {
            answered.head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
            answered.set_body("<html><h1>Forbidden</h1></html>");
        }
        (Fault::WrongCode, 402, _) => {
            answered.set_body("{\"message\":\"Pay.\",\"code\":\"payment_required\"}");
        }
        (Fault::WrongStatus, 422, "idempotency_key_invalid") => {
            answered.head.status = StatusCode::BAD_REQUEST;
        }
        (Fault::RateLimitHeadersMissing, _, _) => {
            answered.head.headers.remove("x-ratelimit-remaining");
        }
        (Fault::WrongRemaining, 200, _) => {
            if let Ok(remaining) = answered.header("x-ratelimit-remaining").parse::<u64>() {
                answered.set("x-ratelimit-remaining", &remaining.saturating_add(1).to_string());
            }
        }
        (Fault::WrongReset, 200, _) => answered.set("x-ratelimit-reset", "60"),
        (Fault::Garbage, 402, _) => answered.set_body("{\"code\": [1,"),
        _ => {}
    }
    answered.into_response()
}

fn remember(parts: &Parts, asked: &Asked, answered: &Answered) {
    let mut memory = parts.memory.lock().unwrap();
    if answered.is_allowed() {
        memory.passed.insert(asked.token());
    }
    let kept = answered.is_allowed() || answered.head.status.as_u16() == 402;
    if let (Some(key), true) = (asked.key(), kept) {
        memory.done.entry(key).or_insert((answered.head.status, answered.body.clone()));
    }
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_millis().try_into().unwrap()
}

fn balance(parts: &Parts, token: &str) -> u64 {
    let account = parts.memory.lock().unwrap().accounts.get(token).cloned().unwrap();
    let account = AccountId::new(&account).unwrap();
    Admin::new(&*parts.store).account(&account, now_ms()).unwrap().wallet.balance.0
}

/// Charges once more, past limits and keys.
fn charge(parts: &Parts, asked: &Asked) {
    let mut config = parts.config.clone();
    config.limits.clear();
    for route in config.routes.values_mut() {
        route.idempotency = None;
    }
    let engine = Engine::new(config.compile().unwrap());
    let headers = [("authorization", asked.header("authorization").unwrap())];
    let path = asked.head.uri.path();
    let request = tollgate::Request {
        cost: host_price(path),
        ..tollgate::Request::new(asked.head.method.as_str().as_bytes(), path.as_bytes(), now_ms())
            .with_headers(&headers)
    };
    let decision = engine.decide(&*parts.store, &request);
    let Some(ticket) = decision.ticket() else { return };
    let finish = Finish::Settle { amount: None, response: None };
    engine.finish(&*parts.store, ticket, finish, now_ms()).unwrap();
}
