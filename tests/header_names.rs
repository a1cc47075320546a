//! `CompiledPolicy::header_names` is what a decision reads, no more and no less.
#![cfg(test)]

use std::collections::BTreeSet;
use std::sync::Mutex;

use serde_json::json;
use tollgate::{
    AccountId, AccountPatch, Admin, Amount, Engine, Headers, MemoryStore, Request, TokenPatch,
    TokenText, preset,
};

const NOW_MS: u64 = 1_700_000_000_000;

/// One value each, and a note of what was asked for.
struct Noted {
    token: String,
    asked: Mutex<BTreeSet<String>>,
}

impl Headers for Noted {
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        self.asked.lock().unwrap().insert(name.to_owned());
        match (name, nth) {
            ("authorization", 0) => Some(self.token.as_bytes()),
            ("idempotency-key", 0) => Some(b"k-1"),
            ("x-forwarded-for", 0) => Some(b"192.0.2.1"),
            ("forwarded", 0) => Some(b"for=192.0.2.1"),
            _ => None,
        }
    }
}

fn names_asked(patch: serde_json::Value) -> (BTreeSet<String>, BTreeSet<String>) {
    let policy = preset("sms-gateway").unwrap().merge_patch(&patch).unwrap();
    let engine = Engine::new(policy.compile().unwrap());
    let store = MemoryStore::default();
    let admin = Admin::new(&store);
    let account = AccountId::new("acme").unwrap();
    admin.put_account(&account, Amount(9), AccountPatch::default(), NOW_MS).unwrap();
    let token = TokenText::generate(&[7; 32]);
    let scopes = Some(vec!["sms:send".into()]);
    let settings = TokenPatch { scopes, ..TokenPatch::default() };
    admin.put_token(&engine.digest(&token), &account, settings, NOW_MS).unwrap();

    let token = format!("Bearer {}", token.expose());
    let headers = Noted { token, asked: Mutex::default() };
    let request = Request {
        headers: &headers,
        peer: Some("10.0.0.1".parse().unwrap()),
        cost: Some(Amount(1)),
        ..Request::new(b"POST", b"/sms/send", NOW_MS)
    };
    let decision = engine.decide(&store, &request);
    assert!(decision.ticket().is_some(), "{decision:?}");
    let said = engine.policy().header_names().iter().map(|name| (*name).to_owned()).collect();
    (headers.asked.into_inner().unwrap(), said)
}

#[test]
fn the_names_that_are_told_are_those_that_are_read() {
    let trusted = |header: &str| {
        json!({"source": {"trusted_proxies": ["10.0.0.0/8"], "forwarded_header": header},
               "limits": {"by_source": {"per": "source_ip", "quota": 9, "window_ms": 1_000}}})
    };
    for patch in [json!({}), trusted("x-forwarded-for"), trusted("forwarded")] {
        let (asked, said) = names_asked(patch.clone());
        assert_eq!(asked, said, "{patch}");
    }
}
