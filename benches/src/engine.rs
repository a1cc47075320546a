//! tollgate, as a host calls it.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use tollgate::{
    AccountId, AccountPatch, Admin, Amount, Body, Engine, Finish, MemoryStore, Request,
    RouteIdempotency, StoredResponse, TokenPatch, Verdict, preset,
};

use crate::{BODY, Get, KEEP_MS, Post, START_MS, TOKENS_PER_ACCOUNT, token};

/// The engine with the `sms-gateway` preset over the memory store. The preset is changed in one thing:
/// what a POST leaves behind is kept for 10 s, as long as the composed stack keeps its claims.
///
/// A GET is one `decide`. A POST is the whole cycle: `decide` (claim and hold), then `finish` with a
/// response that is kept for replays; each also removes what fell due in the account. The answer's
/// text is left out: a host asks for it when it writes the response.
#[derive(Debug)]
pub struct Tollgate {
    engine: Engine,
    store: MemoryStore,
    response: Arc<StoredResponse>,
}

impl Tollgate {
    /// Knows the first `tokens` tokens.
    #[must_use]
    pub fn new(tokens: usize) -> Self {
        let mut policy = preset("sms-gateway").expect("a preset");
        for route in policy.routes.values_mut() {
            if let Some(RouteIdempotency::Switch(_)) = route.idempotency {
                route.lease_ms = Some(KEEP_MS);
            }
        }
        policy.idempotency.retention_ms = KEEP_MS;
        policy.reservations.retention_ms = KEEP_MS;
        let engine = Engine::new(policy.compile().expect("the preset compiles"));
        let store = MemoryStore::default();
        let admin = Admin::new(&store);
        let scopes: Vec<Box<str>> = engine.policy().scopes().names().to_vec();
        for index in 0..tokens {
            let account = AccountId::new(&format!("account-{:07}", index / TOKENS_PER_ACCOUNT));
            let account = account.expect("a valid id");
            if index % TOKENS_PER_ACCOUNT == 0 {
                let settings = AccountPatch::default();
                admin.put_account(&account, Amount(1 << 60), settings, START_MS).expect("room");
            }
            let settings = TokenPatch { scopes: Some(scopes.clone()), ..TokenPatch::default() };
            let digest = engine.digest(&token(index));
            admin.put_token(&digest, &account, settings, START_MS).expect("room");
        }
        let response = StoredResponse {
            status: 201,
            headers: [("content-type".into(), b"application/json".as_slice().into())].into(),
            body: Some(br#"{"id":"msg_1","status":"queued"}"#.as_slice().into()),
        };
        Tollgate { engine, store, response: Arc::new(response) }
    }
}

impl Get for Tollgate {
    #[inline]
    fn get(&self, authorization: &[u8], now_ms: u64) -> bool {
        let headers: [(&[u8], &[u8]); 3] =
            [(b"host", b"api.example"), (b"authorization", authorization), (b"accept", b"*/*")];
        let request = Request {
            peer: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            ..Request::new(b"GET", black_box(b"/messages"), now_ms).with_headers(&headers)
        };
        self.engine.decide(&self.store, &request).verdict() == Verdict::Allow
    }
}

impl Post for Tollgate {
    #[inline]
    fn post(&self, authorization: &[u8], key: &[u8; 24], now_ms: u64) -> bool {
        let headers: [(&[u8], &[u8]); 4] = [
            (b"host", b"api.example"),
            (b"authorization", authorization),
            (b"content-type", b"application/json"),
            (b"idempotency-key", key),
        ];
        let request = Request {
            peer: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            body: Body::Bytes(black_box(BODY)),
            cost: Some(Amount(5)),
            ..Request::new(b"POST", black_box(b"/sms/send"), now_ms).with_headers(&headers)
        };
        let decision = self.engine.decide(&self.store, &request);
        let Some(ticket) = decision.ticket() else { return false };
        let finish = Finish::Settle { amount: None, response: Some(Arc::clone(&self.response)) };
        self.engine.finish(&self.store, ticket, finish, now_ms + 1).is_ok()
    }
}
