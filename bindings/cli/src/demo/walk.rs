//! The whole contract, called over HTTP.

use super::client::{Call, Client, ClientError, Reply, send};
use super::gateway::{BALANCE, Gateway};
use super::report::Documented::{self, Absent, Body, Code, Header, Present, Seconds, Status};
use super::report::Row;
use super::upstream::SMS_PRICE;

const SMS: &str = r#"{"to":"+15550100","message":"hello","sender":"ACME"}"#;
const OTP: &str = r#"{"to":"+15550100","message":"123456"}"#;

/// Makes rows by calling the gateway.
struct Walk<'g> {
    gateway: &'g Gateway,
    rows: Vec<Row>,
}

impl Walk<'_> {
    async fn call(&mut self, name: &'static str, call: Call, documented: &[Documented]) {
        self.note(name, &call, &send(self.gateway.address, &call).await, documented);
    }

    fn note(
        &mut self,
        name: &'static str,
        call: &Call,
        reply: &Result<Reply, ClientError>,
        documented: &[Documented],
    ) {
        self.rows.push(Row::reply(name, call, reply, documented));
    }

    fn figure(&mut self, name: &'static str, what: &str, expected: u64, got: u64) {
        self.rows.push(Row::figure(name, what, &expected.to_string(), got.to_string()));
    }

    /// What was sent and paid so far.
    fn paid(&mut self, name: &'static str, sends: u64) {
        let charged = sends.saturating_mul(SMS_PRICE);
        let balance = match self.gateway.balance() {
            Ok(balance) => balance.to_string(),
            Err(error) => error.to_string(),
        };
        let expected = BALANCE.saturating_sub(charged).to_string();
        self.figure(name, "messages sent", sends, self.gateway.upstream.sends());
        self.rows.push(Row::figure(name, "balance left", &expected, balance));
    }
}

/// Every row. Figures count on the order.
pub(super) async fn walk(gateway: &Gateway) -> Vec<Row> {
    let mut walk = Walk { gateway, rows: Vec::new() };
    tokens(&mut walk).await;
    refusals(&mut walk).await;
    idempotency(&mut walk).await;
    limits(&mut walk).await;
    walk.rows
}

async fn tokens(walk: &mut Walk<'_>) {
    let tokens = &walk.gateway.tokens;
    let sms = || Call::post("/sms/send", &tokens.full, SMS);
    let allowed = [
        Status(201),
        Header("x-ratelimit-limit", "120"),
        Header("x-ratelimit-remaining", "119"),
        Present("x-ratelimit-reset"),
        Absent("idempotent-replayed"),
    ];
    walk.call("allowed", sms(), &allowed).await;
    walk.paid("charged once", 1);
    let missing = [Status(401), Code("missing_token"), Present("www-authenticate")];
    walk.call("no token", sms().authorization(None), &missing).await;
    let invalid = [Status(401), Code("invalid_token"), Present("www-authenticate")];
    let typo = "Bearer tg_live_000000000000000000000000000000000000";
    walk.call("invalid token", sms().authorization(Some(typo)), &invalid).await;
    walk.call("revoked token", Call::post("/sms/send", &tokens.revoked, SMS), &invalid).await;
}

async fn refusals(walk: &mut Walk<'_>) {
    let tokens = &walk.gateway.tokens;
    let sms = |token, body| Call::post("/sms/send", token, body);
    let reports = Call::get("/messages", &tokens.reports);
    walk.call("within scope", reports, &[Status(200), Header("x-ratelimit-limit", "120")]).await;
    let denied = |status, code| [Status(status), Code(code), Present("x-ratelimit-remaining")];
    walk.call("outside scope", sms(&tokens.reports, SMS), &denied(403, "insufficient_scope")).await;
    walk.call("other network", sms(&tokens.network, SMS), &denied(403, "ip_not_allowed")).await;
    walk.call("within spend cap", sms(&tokens.capped, SMS), &[Status(201)]).await;
    walk.call("over spend cap", sms(&tokens.capped, SMS), &denied(403, "spend_cap_exceeded")).await;
    let plain = r#"{"to":"+15550100","message":"hello"}"#;
    walk.call("empty wallet", sms(&tokens.poor, plain), &denied(402, "insufficient_balance")).await;
    let sender = r#"{"to":"+15550100","message":"hello","sender":"BANK"}"#;
    walk.call("unknown sender", sms(&tokens.full, sender), &denied(422, "sender_not_approved"))
        .await;
    let no_to = r#"{"message":"hello"}"#;
    walk.call("not valid", sms(&tokens.full, no_to), &denied(422, "validation_failed")).await;
    walk.paid("refusals are free", 2);
}

async fn idempotency(walk: &mut Walk<'_>) {
    let gateway = walk.gateway;
    let sms = |body: &str| Call::post("/sms/send", &gateway.tokens.full, body).key("order-1");
    let first = send(gateway.address, &sms(SMS)).await;
    let body = first.as_ref().map(|reply| reply.body.to_vec()).unwrap_or_default();
    walk.note("with a key", &sms(SMS), &first, &[Status(201), Absent("idempotent-replayed")]);
    let replay = [Status(201), Header("idempotent-replayed", "true"), Body(body)];
    walk.call("same key again", sms(SMS), &replay).await;
    walk.call("once more", sms(SMS), &replay).await;
    walk.paid("sent and charged once", 3);
    let other = r#"{"to":"+15550199","message":"hello"}"#;
    let reused = [Status(422), Code("idempotency_key_reused")];
    walk.call("key of another request", sms(other), &reused).await;
    let invalid = [Status(422), Code("idempotency_key_invalid")];
    walk.call("key with a space", sms(SMS).key("order 1"), &invalid).await;

    // The first is held in the upstream until its duplicate was answered.
    let held = r#"{"to":"+15550100","message":"hold"}"#;
    let call = Call::post("/sms/send", &gateway.tokens.full, held).key("order-2");
    let (address, copy) = (gateway.address, call.clone());
    let running = tokio::spawn(async move { send(address, &copy).await });
    let upstream = &gateway.upstream;
    let began = tokio::time::timeout(super::client::PATIENCE, upstream.held.acquire()).await;
    if let Ok(Ok(permit)) = began {
        permit.forget();
    }
    let in_flight = [Status(409), Code("idempotency_in_flight"), Seconds("retry-after")];
    walk.call("duplicate of a running one", call.clone(), &in_flight).await;
    upstream.release.add_permits(1);
    if let Ok(first) = running.await {
        let body = first.as_ref().map(|reply| reply.body.to_vec()).unwrap_or_default();
        walk.note("the running one", &call, &first, &[Status(201), Absent("idempotent-replayed")]);
        let replay = [Status(201), Header("idempotent-replayed", "true"), Body(body)];
        walk.call("its duplicate later", call, &replay).await;
    }
    walk.paid("sent and charged once", 4);
}

async fn limits(walk: &mut Walk<'_>) {
    let tokens = &walk.gateway.tokens;
    let balance = Call::get("/balance", &tokens.fresh);
    let limited = [
        Status(429),
        Code("rate_limited"),
        Seconds("retry-after"),
        Header("x-ratelimit-remaining", "0"),
    ];
    let allowed = fill(walk, &balance, 120).await;
    walk.figure("a minute's requests", "allowed of 120", 120, allowed);
    walk.call("one more", balance, &limited).await;
    let throttled = Call::get("/messages", &tokens.throttled);
    let allowed = fill(walk, &throttled, 3).await;
    walk.figure("a token's own quota", "allowed of 3", 3, allowed);
    walk.call("one more", throttled, &limited).await;
    let otp = Call::post("/otp/send", &tokens.full, OTP);
    let allowed = fill(walk, &otp, 10).await;
    walk.figure("codes from one address", "allowed of 10", 10, allowed);
    let by_address = [Status(429), Code("rate_limited"), Seconds("retry-after")];
    walk.call("one more", otp, &by_address).await;
    // Whatever the token and the account: limits come before money.
    walk.call("by another token", Call::post("/otp/send", &tokens.poor, OTP), &by_address).await;
}

/// Sends the same call on one connection, and counts how many were allowed.
async fn fill(walk: &Walk<'_>, call: &Call, times: u64) -> u64 {
    let mut allowed = 0_u64;
    let Ok(mut client) = Client::connect(walk.gateway.address).await else { return allowed };
    for _ in 0..times {
        match client.send(call).await {
            Ok(reply) if reply.status < 300 => allowed = allowed.saturating_add(1),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    allowed
}
