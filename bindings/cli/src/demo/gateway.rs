//! The gateway: engine, store, accounts, tokens, and a server on this machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tollgate::{
    AccountId, AccountIdError, AccountPatch, Admin, AdminError, Amount, Engine, LiveEngine,
    NetworkError, Period, PolicyErrors, SpendCap, Store, TokenPatch, TokenQuota, TokenText,
    parse_network, preset,
};
use tollgate_tower::{Blocking, TollgateLayer};

use super::DemoError;
use super::upstream::{self, Upstream};

/// Where the demo's time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    System,
    /// The time at the start, for ever.
    Standing,
}

/// Why accounts and tokens could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    /// The preset is not one.
    #[error("the preset 'sms-gateway' is missing; this is a bug")]
    NoPreset,
    /// The preset does not compile.
    #[error(transparent)]
    Policy(#[from] PolicyErrors),
    /// An account's name is not one.
    #[error(transparent)]
    Account(#[from] AccountIdError),
    /// A network is not one.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The store refused.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// No secrets to be had.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

/// The demo's tokens.
pub(super) struct Tokens {
    /// Every scope.
    pub full: TokenText,
    /// The same, and not used before its limit is shown.
    pub fresh: TokenText,
    /// Scope `reports` only.
    pub reports: TokenText,
    /// From 203.0.113.0/24 only.
    pub network: TokenText,
    /// At most 7 a day: one message, not two.
    pub capped: TokenText,
    /// Of an account that cannot pay one message.
    pub poor: TokenText,
    /// Three requests a minute.
    pub throttled: TokenText,
    /// Revoked.
    pub revoked: TokenText,
}

/// A running demo.
pub(super) struct Gateway {
    pub address: SocketAddr,
    pub tokens: Tokens,
    pub upstream: Arc<Upstream>,
    pub store: Arc<dyn Store>,
    /// The account of all tokens but `poor`.
    pub account: AccountId,
    now: Now,
    server: JoinHandle<()>,
}

pub(super) const BALANCE: u64 = 10_000;

type Now = Arc<dyn Fn() -> u64 + Send + Sync>;

impl Gateway {
    pub(super) async fn start(
        address: SocketAddr,
        clock: Clock,
        store: Arc<dyn Store>,
    ) -> Result<Gateway, DemoError> {
        let listen = |source| DemoError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;

        let policy = preset("sms-gateway").ok_or(SetupError::NoPreset)?;
        let engine = Engine::new(policy.compile().map_err(SetupError::from)?);
        let account = AccountId::new("acme").map_err(SetupError::from)?;
        let now = now(clock);
        let tokens = set_up(&engine, &*store, &account, now())?;
        let live = Arc::new(LiveEngine::new(engine));

        let upstream = Arc::new(Upstream::new(Arc::clone(&store), Arc::clone(&now)));
        let layer_now = Arc::clone(&now);
        let layer = TollgateLayer::builder(live, Arc::new(Blocking(Arc::clone(&store))))
            .clock(move || layer_now())
            .facts_with_body(upstream::facts)
            .max_request_body(64 << 10)
            .build();
        let app = upstream::router(Arc::clone(&upstream)).layer(layer);
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, service).await;
        });
        Ok(Gateway { address, tokens, upstream, store, account, now, server })
    }

    /// What is left in the account, once nothing runs.
    pub(super) fn balance(&self) -> Result<u64, AdminError> {
        let admin = Admin::new(&*self.store);
        Ok(admin.account(&self.account, (self.now)())?.wallet.balance.0)
    }

    pub(super) fn stop(self) {
        self.server.abort();
    }
}

fn now(clock: Clock) -> Now {
    let system = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    };
    match clock {
        Clock::System => Arc::new(system),
        Clock::Standing => {
            let start = system();
            Arc::new(move || start)
        }
    }
}

const SCOPES: [&str; 8] =
    ["sms:send", "otp", "voice", "lookup", "email:verify", "reports", "balance", "webhooks"];

fn set_up(
    engine: &Engine,
    store: &dyn Store,
    acme: &AccountId,
    now_ms: u64,
) -> Result<Tokens, SetupError> {
    let admin = Admin::new(store);
    let senders = AccountPatch { senders: Some(vec!["ACME".into()]), ..AccountPatch::default() };
    admin.put_account(acme, Amount(BALANCE), senders, now_ms)?;
    let poor = AccountId::new("poor")?;
    admin.put_account(&poor, Amount(2), AccountPatch::default(), now_ms)?;

    let issue = |account: &AccountId, patch: TokenPatch| -> Result<TokenText, SetupError> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(SetupError::Random)?;
        let token = TokenText::generate(&random);
        let scopes = patch.scopes.unwrap_or_else(|| SCOPES.map(Into::into).into());
        let patch = TokenPatch { scopes: Some(scopes), ..patch };
        admin.put_token(&engine.digest(&token), account, patch, now_ms)?;
        Ok(token)
    };
    let any = TokenPatch::default;
    let network = parse_network("203.0.113.0/24")?;
    let cap = SpendCap { per: Period::Day, amount: Amount(7), shadow: false };
    let quota = TokenQuota { limit: 3, window_ms: 60_000 };
    let revoked = issue(acme, any())?;
    admin.revoke_token(&engine.digest(&revoked), now_ms)?;
    Ok(Tokens {
        full: issue(acme, any())?,
        fresh: issue(acme, any())?,
        reports: issue(acme, TokenPatch { scopes: Some(vec!["reports".into()]), ..any() })?,
        network: issue(acme, TokenPatch { networks: Some(vec![network]), ..any() })?,
        capped: issue(acme, TokenPatch { spend_caps: Some(vec![cap]), ..any() })?,
        poor: issue(&poor, any())?,
        throttled: issue(acme, TokenPatch { quota: Some(Some(quota)), ..any() })?,
        revoked,
    })
}
