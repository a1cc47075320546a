//! Limits and scopes, which only a compiled policy makes.
#![allow(dead_code, reason = "not every test has limits")]

use std::sync::{Arc, Mutex};

use tollgate::*;

/// A policy with one route and one limit.
pub(crate) fn engine() -> Engine {
    let policy = r#"{"tokens": {"format": "opaque"},
        "scopes": {"all": ["GET /a", "POST /b"], "some": ["GET /a"]},
        "limits": {"one": {"per": "token", "quota": 10, "window_ms": 1000}}}"#;
    Engine::new(PolicyConfig::from_json(policy).unwrap().compile().unwrap())
}

/// Takes down the limits of an admission.
#[derive(Default)]
struct Spy(Mutex<Vec<Limit>>);

impl Store for Spy {
    fn perform(&self, command: &Command<'_>, _: u64) -> Result<Outcome, StoreError> {
        let Command::Lookup(lookup) = command else {
            if let Command::Admit(admit) = command {
                self.0.lock().unwrap().extend_from_slice(admit.limits);
            }
            return Err(StoreError::WrongOutcome);
        };
        let account = AccountId::new("spy").unwrap();
        let token = Arc::new(Token::plain(account.clone(), vec!["all".into()]));
        let account = AccountRef::Id(account);
        let credential = transition::credential(token, account, Arc::default(), 0, lookup.scopes);
        Ok(Outcome::LookedUp(LookedUp { credential: Some(credential), admission: None }))
    }
}

/// A limit, to be changed at will.
pub(crate) fn any_limit() -> Limit {
    let spy = Spy::default();
    let headers = [("authorization", "Bearer t")];
    let request = Request::new(b"GET", b"/a", 1).with_headers(&headers);
    let _ = engine().decide(&spy, &request);
    let limits = spy.0.into_inner().unwrap();
    limits.first().unwrap().clone()
}
