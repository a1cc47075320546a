//! A thousand tokens of a hundred accounts under the preset, and requests with them.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use tollgate::{
    AccountId, AccountPatch, Admin, Amount, Body, Decision, Engine, Finish, MemoryStore, Request,
    RouteIdempotency, StoredResponse, TokenPatch, TokenText, preset,
};

/// When simulated time begins.
pub(crate) const START_MS: u64 = 1_700_000_000_000;
/// How long claims, reservations and leases last: at 4 ms a request, some 2,500 requests.
pub(crate) const KEEP_MS: u64 = 10_000;

const TOKENS: usize = 1_000;
const TOKENS_PER_ACCOUNT: usize = 10;
const BODY: &[u8] = br#"{"to":"+15550100","sender":"ACME","message":"Your parcel is on its way."}"#;

/// An engine and its store, as a server has them.
pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) store: MemoryStore,
    /// `Authorization` values.
    pub(crate) values: Vec<String>,
    response: Arc<StoredResponse>,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut policy = preset("sms-gateway").unwrap();
        for route in policy.routes.values_mut() {
            if let Some(RouteIdempotency::Switch(_)) = route.idempotency {
                route.lease_ms = Some(KEEP_MS);
            }
        }
        policy.idempotency.retention_ms = KEEP_MS;
        policy.reservations.retention_ms = KEEP_MS;
        let engine = Engine::new(policy.compile().unwrap());
        let store = MemoryStore::default();
        let scopes: Vec<Box<str>> = engine.policy().scopes().names().to_vec();
        let admin = Admin::new(&store);
        let put = |number: usize| {
            let account = account(number / TOKENS_PER_ACCOUNT);
            if number.is_multiple_of(TOKENS_PER_ACCOUNT) {
                let settings = AccountPatch::default();
                admin.put_account(&account, Amount(1 << 60), settings, START_MS).unwrap();
            }
            let token = token(number as u64);
            let settings = TokenPatch { scopes: Some(scopes.clone()), ..TokenPatch::default() };
            admin.put_token(&engine.digest(&token), &account, settings, START_MS).unwrap();
            bearer(&token)
        };
        let values = (0..TOKENS).map(put).collect();
        let response = StoredResponse {
            status: 201,
            headers: [("content-type".into(), b"application/json".as_slice().into())].into(),
            body: Some(br#"{"id":"msg_1","status":"queued"}"#.as_slice().into()),
        };
        World { engine, store, values, response: Arc::new(response) }
    }

    /// The `Authorization` value of the request with this number.
    pub(crate) fn value(&self, number: usize) -> &str {
        &self.values[number % TOKENS]
    }

    #[inline]
    pub(crate) fn get(&self, value: &str, target: &[u8], now_ms: u64) -> Decision {
        let headers: [(&[u8], &[u8]); 3] =
            [(b"host", b"api.example"), (b"authorization", value.as_bytes()), (b"accept", b"*/*")];
        let request = get_request(target, now_ms).with_headers(&headers);
        self.engine.decide(&self.store, &request)
    }

    #[inline]
    pub(crate) fn post(&self, value: &str, key: &str, now_ms: u64) -> Decision {
        let headers: [(&[u8], &[u8]); 4] = [
            (b"host", b"api.example"),
            (b"authorization", value.as_bytes()),
            (b"content-type", b"application/json"),
            (b"idempotency-key", key.as_bytes()),
        ];
        let request = Request {
            peer: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            body: Body::Bytes(black_box(BODY)),
            cost: Some(Amount(5)),
            ..Request::new(b"POST", black_box(b"/sms/send"), now_ms).with_headers(&headers)
        };
        self.engine.decide(&self.store, &request)
    }

    #[inline]
    pub(crate) fn settle(&self, decision: &Decision, now_ms: u64) {
        let finish = Finish::Settle { amount: None, response: Some(Arc::clone(&self.response)) };
        let ticket = decision.ticket().expect("an allowed POST has one");
        self.engine.finish(&self.store, ticket, finish, now_ms).expect("it is settled once");
    }
}

/// A GET without headers.
#[inline]
pub(crate) fn get_request(target: &[u8], now_ms: u64) -> Request<'_> {
    Request {
        peer: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ..Request::new(b"GET", black_box(target), now_ms)
    }
}

pub(crate) fn account(number: usize) -> AccountId {
    AccountId::new(&format!("account-{number:07}")).unwrap()
}

/// The token with this number; those of `World` are the first.
pub(crate) fn token(number: u64) -> TokenText {
    let mut entropy = [0x5a; 32];
    entropy[8..16].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    TokenText::generate(&entropy)
}

pub(crate) fn bearer(token: &TokenText) -> String {
    format!("Bearer {}", token.expose())
}

/// Simulated time: 4 ms a request.
pub(crate) fn at(number: usize) -> u64 {
    START_MS + 4 * number as u64
}
