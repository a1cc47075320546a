//! What the small numbers of commands stand for in a store: accounts, tokens, keys and the limits of routes.

use std::sync::OnceLock;

use tollgate::{
    AccountId, AccountPatch, Admin, AdminError, Algorithm, Amount, ClaimKey, Command, Engine,
    Fingerprint, LimitConfig, Lookup, Partition, PlainAdmit, PolicyConfig, Request, ScopeSet,
    ScopeTable, Store, TokenDigest, TokenFormat, TokenPatch,
};

use crate::call::NOW_MS;
use crate::random::Random;
use crate::story::TOKENS;

/// Units of every limit, in a window that is longer than any history.
pub(crate) const QUOTA: u64 = 3;
const WINDOW_MS: u64 = 86_400_000;

/// What an account starts with.
pub(crate) const OPENING: u64 = 10;

/// A limit here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Limit {
    /// Per token, GCRA: the memory store keeps it with the token.
    Carried,
    /// Per token, GCRA, in a cell.
    Token,
    /// Per account, fixed window.
    Fixed,
    /// Per account, sliding window.
    Sliding,
}

impl Limit {
    fn name(self) -> &'static str {
        match self {
            Limit::Carried => "carried",
            Limit::Token => "token",
            Limit::Fixed => "fixed",
            Limit::Sliding => "sliding",
        }
    }

    fn config(self) -> LimitConfig {
        let (partition, algorithm) = match self {
            Limit::Carried | Limit::Token => (Partition::Token, Algorithm::Gcra),
            Limit::Fixed => (Partition::Account, Algorithm::FixedWindow),
            Limit::Sliding => (Partition::Account, Algorithm::SlidingWindow),
        };
        let with_it = (0..ROUTES).filter(|route| LIMITS[usize::from(*route)].contains(&self));
        LimitConfig {
            algorithm,
            routes: Some(with_it.map(|route| format!("GET /{route}")).collect()),
            ..LimitConfig::new(partition, QUOTA, WINDOW_MS)
        }
    }
}

/// How many routes there are. The first has no limit.
pub const ROUTES: u8 = 6;

/// The limits of each route.
const LIMITS: [&[Limit]; ROUTES as usize] = [
    &[],
    &[Limit::Carried],
    &[Limit::Fixed],
    &[Limit::Sliding],
    &[Limit::Token],
    &[Limit::Carried, Limit::Sliding],
];

pub(crate) fn limits_of(route: u8) -> &'static [Limit] {
    LIMITS[usize::from(route)]
}

/// The routes as a compiled policy has them.
struct Policy {
    engine: Engine,
    routes: Vec<(ScopeSet, Vec<tollgate::Limit>)>,
}

fn policy() -> &'static Policy {
    static POLICY: OnceLock<Policy> = OnceLock::new();
    POLICY.get_or_init(|| {
        let mut config = PolicyConfig::default();
        config.tokens.format = TokenFormat::Opaque;
        let routes = (0..ROUTES).map(|route| format!("GET /{route}")).collect();
        config.scopes.insert("all".to_owned(), routes);
        for limit in [Limit::Carried, Limit::Token, Limit::Fixed, Limit::Sliding] {
            config.limits.insert(limit.name().to_owned(), limit.config());
        }
        let engine = Engine::new(config.compile().unwrap());
        // Limits come out of a policy and no other way: this is what the engine asks a store.
        let route = |number: u8| {
            let target = format!("/{number}");
            let headers = [("authorization", "Bearer t")];
            let request = Request::new(b"GET", target.as_bytes(), NOW_MS).with_headers(&headers);
            match engine.evaluate(&request).command() {
                Some(Command::Lookup(Lookup { plain: Some(plain), .. })) => {
                    (plain.granted_by, plain.limits.to_vec())
                }
                other => panic!("the engine asks for something else: {other:?}"),
            }
        };
        let routes = (0..ROUTES).map(route).collect();
        Policy { engine, routes }
    })
}

/// The scopes in which look-ups are answered.
pub(crate) fn scopes() -> &'static ScopeTable {
    policy().engine.policy().scopes()
}

/// What a look-up on this route may admit at once.
pub(crate) fn plain(route: u8) -> PlainAdmit<'static> {
    let (granted_by, limits) = &policy().routes[usize::from(route)];
    PlainAdmit { granted_by: *granted_by, limits }
}

/// The names of one history: many share a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names(
    /// The history's number.
    pub u64,
);

impl Names {
    /// An account.
    #[must_use]
    pub fn account(self, account: u8) -> AccountId {
        AccountId::new(&format!("history {} account {account}", self.0)).unwrap()
    }

    /// A token of an account.
    #[must_use]
    pub fn token(self, account: u8, token: u8) -> TokenDigest {
        TokenDigest::new(self.bytes([1, account, token]))
    }

    /// The claim on a key.
    #[must_use]
    pub fn claim(self, account: u8, key: u8) -> ClaimKey {
        ClaimKey(self.bytes([2, account, key]))
    }

    /// A request's fingerprint.
    #[must_use]
    pub fn fingerprint(self, body: u8) -> Fingerprint {
        Fingerprint(self.bytes([3, 0, body]))
    }

    fn bytes(self, of: [u8; 3]) -> [u8; 32] {
        let [kind, account, number] = of.map(u64::from);
        let mut random = Random::new(self.0 ^ (kind << 60 | account << 56 | number << 48));
        let mut bytes = [0; 32];
        for chunk in bytes.chunks_exact_mut(8) {
            chunk.copy_from_slice(&random.next().to_be_bytes());
        }
        bytes
    }
}

/// Makes an account as every history begins with: some money, and all tokens but the last.
///
/// # Errors
/// Those of the store.
pub fn open_account(store: &dyn Store, names: Names, account: u8) -> Result<(), AdminError> {
    let id = names.account(account);
    let admin = Admin::new(store);
    admin.put_account(&id, Amount(OPENING), AccountPatch::default(), NOW_MS)?;
    for token in 0..TOKENS - 1 {
        let scopes = Some(vec!["all".into()]);
        let patch = TokenPatch { scopes, ..TokenPatch::default() };
        admin.put_token(&names.token(account, token), &id, patch, NOW_MS)?;
    }
    Ok(())
}
