//! tollgate with a policy that has no limits.

use std::net::{IpAddr, Ipv4Addr};

use tollgate::{
    AccountId, AccountPatch, Admin, Amount, Engine, MemoryStore, PolicyConfig, Request, TokenPatch,
    Verdict,
};

use super::{Authorizer, Grants};
use crate::START_MS;

/// A whole decision, as there is none without a token: the bearer token is found among the headers, read,
/// digested and looked up, which the peers are spared.
#[derive(Debug)]
pub struct Scopes {
    engine: Engine,
    store: MemoryStore,
    authorization: String,
}

impl Scopes {
    /// A caller with these scopes.
    ///
    /// # Panics
    /// When the policy does not compile.
    #[must_use]
    pub fn new(grants: &Grants, scopes: &[&str]) -> Self {
        let mut policy = PolicyConfig::default();
        for (scope, routes) in grants {
            policy.scopes.insert(scope.clone(), routes.iter().cloned().collect());
        }
        let engine = Engine::new(policy.compile().expect("a policy"));
        let store = MemoryStore::default();
        let admin = Admin::new(&store);
        let account = AccountId::new("acme").expect("a valid id");
        let (opening, settings) = (Amount(0), AccountPatch::default());
        admin.put_account(&account, opening, settings, START_MS).expect("room");
        let token = tollgate_bench::token(0);
        let scopes = scopes.iter().map(|scope| Box::from(*scope)).collect();
        let settings = TokenPatch { scopes: Some(scopes), ..TokenPatch::default() };
        admin.put_token(&engine.digest(&token), &account, settings, START_MS).expect("room");
        Scopes { engine, store, authorization: format!("Bearer {}", token.expose()) }
    }
}

impl Authorizer for Scopes {
    #[inline]
    fn allows(&mut self, method: &str, path: &str) -> bool {
        let headers = [("host", "api.example"), ("authorization", self.authorization.as_str())];
        let request = Request {
            peer: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            ..Request::new(method.as_bytes(), path.as_bytes(), START_MS).with_headers(&headers)
        };
        self.engine.decide(&self.store, &request).verdict() == Verdict::Allow
    }
}
