//! The names behind the numbers of a setup, and the requests that clients send.

use std::sync::Arc;

use tollgate::{
    AccountId, AccountSettings, Admit, ClaimKey, Command, CompiledPolicy, Credential, Engine,
    Fingerprint, Headers, Idempotency, LookedUp, Outcome, PolicyConfig, Request, RouteConfig,
    RouteIdempotency, SpendCap, Token, TokenDigest, TokenFormat, TokenText,
};

use crate::clock::{ms, span_ms};
use crate::rows::amount;
use crate::setup::{Call, Cap, Setup};

/// Digests, keys and fingerprints by number, as the engine makes them of requests.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) accounts: Vec<AccountId>,
    pub(crate) settings: Arc<AccountSettings>,
    pub(crate) tokens: Vec<(TokenDigest, Arc<Token>)>,
    pub(crate) keys: Vec<ClaimKey>,
    pub(crate) bodies: Vec<Fingerprint>,
}

impl Names {
    pub(crate) fn new(setup: &Setup, engine: &Engine) -> Names {
        let accounts: Vec<AccountId> = (0..setup.accounts.len())
            .map(|account| AccountId::new(&format!("account {account}")).unwrap())
            .collect();
        let settings = AccountSettings { spend_caps: caps(setup.caps), ..Default::default() };
        let tokens = setup.tokens.iter().enumerate().map(|(number, plan)| {
            let text = TokenText::parse(TokenFormat::Opaque, &token_text(number)).unwrap();
            let account = accounts[usize::from(plan.account)].clone();
            let token = Token::plain(account, vec!["pay".into()]);
            (engine.digest(&text), Arc::new(Token { spend_caps: caps(plan.caps), ..token }))
        });
        let tokens = tokens.collect();
        let (mut keys, mut bodies) = (Vec::new(), Vec::new());
        for call in setup.calls {
            let Some(key) = call.key else { continue };
            let (claim, fingerprint) = claimed(engine, call);
            put(&mut keys, key, claim);
            put(&mut bodies, call.body, fingerprint);
        }
        Names { accounts, settings: Arc::new(settings), tokens, keys, bodies }
    }

    pub(crate) fn token(&self, digest: &TokenDigest) -> Option<u8> {
        self.tokens.iter().position(|(known, _)| known == digest).map(|number| number as u8)
    }

    pub(crate) fn key(&self, key: &ClaimKey) -> u8 {
        self.keys.iter().position(|known| known == key).unwrap() as u8
    }

    pub(crate) fn body(&self, fingerprint: &Fingerprint) -> u8 {
        self.bodies.iter().position(|known| known == fingerprint).unwrap() as u8
    }
}

fn put<T: PartialEq + std::fmt::Debug>(all: &mut Vec<T>, number: u8, name: T) {
    match all.get(usize::from(number)) {
        Some(known) => assert_eq!(*known, name),
        None => {
            assert_eq!(all.len(), usize::from(number), "a setup numbers what it names in order");
            all.push(name);
        }
    }
}

fn caps(caps: &[Cap]) -> Vec<SpendCap> {
    let cap = |cap: &Cap| SpendCap { per: cap.per, amount: amount(cap.units), shadow: false };
    caps.iter().map(cap).collect()
}

fn token_text(number: usize) -> String {
    format!("token-{number}")
}

/// The policy of a setup, as an operator would write it.
pub(crate) fn policy(setup: &Setup) -> CompiledPolicy {
    let mut config = PolicyConfig::default();
    config.tokens.format = TokenFormat::Opaque;
    config.scopes.insert("pay".to_owned(), vec!["POST /pay".to_owned()]);
    config.idempotency.retention_ms = span_ms(setup.key_retention);
    config.idempotency.on_orphan = setup.on_orphan;
    config.reservations.lease_ms = span_ms(setup.lease);
    config.reservations.on_expiry = setup.on_expiry;
    config.reservations.retention_ms = span_ms(setup.record_retention);
    let idempotency = Some(RouteIdempotency::Switch(true));
    let route = RouteConfig { idempotency, ..RouteConfig::default() };
    config.routes.insert("POST /pay".to_owned(), route);
    config.compile().unwrap()
}

/// The headers of a call.
#[derive(Debug)]
pub(crate) struct CallHeaders {
    authorization: String,
    key: Option<String>,
}

impl CallHeaders {
    pub(crate) fn of(call: &Call) -> CallHeaders {
        CallHeaders {
            authorization: format!("Bearer {}", token_text(usize::from(call.token))),
            key: call.key.map(|key| format!("key-{key}")),
        }
    }
}

impl Headers for CallHeaders {
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        match (name, nth) {
            ("authorization", 0) => Some(self.authorization.as_bytes()),
            ("idempotency-key", 0) => self.key.as_deref().map(str::as_bytes),
            _ => None,
        }
    }
}

/// A call as a request at this tick.
pub(crate) fn request<'a>(call: &'a Call, headers: &'a CallHeaders, now: u8) -> Request<'a> {
    Request {
        cost: Some(amount(call.price)),
        body: tollgate::Body::Bytes(std::slice::from_ref(&call.body)),
        ..Request::new(b"POST", b"/pay", ms(now)).with_headers(headers)
    }
}

/// What the engine makes of a call's key and body.
fn claimed(engine: &Engine, call: &Call) -> (ClaimKey, Fingerprint) {
    let headers = CallHeaders::of(call);
    let request = request(call, &headers, 0);
    let mut evaluation = engine.evaluate(&request).look_up_first();
    let credential = Credential {
        account: tollgate::AccountRef::Slot(0),
        scopes: engine.policy().scopes().set(["pay"]),
        revoked: false,
        token: None,
        settings: None,
        revision: 0,
    };
    let looked_up = LookedUp { credential: Some(credential), admission: None };
    evaluation.resume(Ok(Outcome::LookedUp(looked_up)));
    match evaluation.command() {
        Some(Command::Admit(Admit {
            idempotency: Idempotency::Key { claim, fingerprint, .. },
            ..
        })) => (*claim, *fingerprint),
        other => panic!("the engine asks for something else: {other:?}"),
    }
}
