//! A store that knows every token and writes down what it was asked.

use std::cell::RefCell;
use std::sync::Arc;

use tollgate::{
    AccountId, AccountRef, AccountSettings, Admission, AdmitVerdict, Command, Credential,
    Idempotency, LookedUp, Outcome, Shadows, Store, StoreError, TokenDigest,
};

/// What a request was found to be, as the store is told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// The digest that was looked up.
    pub digest: Option<TokenDigest>,
    /// The source address that was found.
    pub source: Option<std::net::IpAddr>,
    /// What the idempotency key was taken for; `None`: nothing was admitted.
    pub idempotency: Option<Idempotency>,
}

thread_local! {
    static SEEN: RefCell<Seen> = RefCell::default();
}

/// Every token is known to it, has all scopes, and is of an account that is restricted to `networks`.
#[derive(Debug, Default)]
pub struct Probe {
    settings: Option<Arc<AccountSettings>>,
}

impl Probe {
    /// Of an account without networks.
    pub fn open() -> Self {
        Probe::default()
    }

    /// Of an account that allows all sources that are addresses: so the source is looked for.
    pub fn anywhere() -> Self {
        let networks = ["0.0.0.0/0", "::/0"].map(|text| text.parse().unwrap()).to_vec();
        Probe { settings: Some(Arc::new(AccountSettings { networks, ..Default::default() })) }
    }

    /// What was asked since the last time.
    pub fn take(&self) -> Seen {
        SEEN.take()
    }
}

impl Store for Probe {
    fn perform(&self, command: &Command<'_>, _: u64) -> Result<Outcome, StoreError> {
        match command {
            Command::Lookup(lookup) => {
                SEEN.with_borrow_mut(|seen| seen.digest = Some(*lookup.digest));
                let scopes = lookup.scopes;
                let credential = Credential {
                    account: AccountRef::Id(AccountId::new("acme").unwrap()),
                    scopes: scopes.set(scopes.names().iter().map(|name| &**name)),
                    revoked: false,
                    token: None,
                    settings: self.settings.clone(),
                    revision: 1,
                };
                let credential = Some(credential);
                Ok(Outcome::LookedUp(LookedUp { credential, admission: None }))
            }
            Command::Admit(admit) => {
                SEEN.with_borrow_mut(|seen| {
                    seen.source = admit.source;
                    seen.idempotency = Some(*admit.idempotency);
                });
                Ok(Outcome::Admission(Admission {
                    verdict: AdmitVerdict::Admitted { reservation: None },
                    tightest: None,
                    shadows: Shadows::default(),
                    detail: None,
                }))
            }
            _ => Err(StoreError::WrongOutcome),
        }
    }
}
