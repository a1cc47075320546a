//! What the suite's commands are about: accounts, tokens, keys and limits by number, and short ways to
//! ask a store.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use tollgate::{
    AccountId, AccountPatch, AccountRef, AccountView, Admin, Administration, Admit, Algorithm,
    Amount, ChargeRule, ClaimKey, Command, CompiledPolicy, Counts, Credential, Engine, FailureMode,
    Fingerprint, Finish, Idempotency, IdempotencyRule, Limit, LimitConfig, LookedUp, Lookup,
    MAX_NOW_MS, Mode, OnExpiry, OnOrphan, Outcome, Partition, PlainAdmit, PolicyConfig, Request,
    Reservation, ReservationId, ScopeTable, Settle, Store, StoreError, StoredResponse, TokenDigest,
    TokenFormat, TokenPatch,
};

use crate::answer::{Admitted, Answer, Known, Verdict};

/// When the suite's stories begin.
pub const NOW_MS: u64 = 1_700_000_000_000;
/// A day in milliseconds.
pub const DAY_MS: u64 = 86_400_000;

/// An account by number.
#[must_use]
pub fn account(number: u64) -> AccountId {
    account_named(&format!("account {number}"))
}

/// An account by name.
#[must_use]
pub fn account_named(name: &str) -> AccountId {
    AccountId::new(name).unwrap()
}

/// 32 bytes of a number, which look as random as those of a digest.
fn bytes(kind: u8, number: u64) -> [u8; 32] {
    let mut bytes = [kind; 32];
    let mut seed = number.wrapping_add(u64::from(kind) << 56);
    for chunk in bytes.chunks_exact_mut(8) {
        seed = splitmix(seed);
        chunk.copy_from_slice(&seed.to_be_bytes());
    }
    bytes
}

/// The next number of a small random generator (splitmix64).
#[must_use]
pub fn splitmix(seed: u64) -> u64 {
    let seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A token by number.
#[must_use]
pub fn token(number: u64) -> TokenDigest {
    TokenDigest::new(bytes(1, number))
}

/// A claim by number.
#[must_use]
pub fn claim(number: u64) -> ClaimKey {
    ClaimKey(bytes(2, number))
}

/// A request's fingerprint by number.
#[must_use]
pub fn fingerprint(number: u64) -> Fingerprint {
    Fingerprint(bytes(3, number))
}

/// An address by number: 192.0.2.1 and so on.
#[must_use]
pub fn address(number: u64) -> IpAddr {
    let [.., a, b, c] = number.to_be_bytes();
    IpAddr::from([10, a, b, c])
}

/// A policy whose scopes have these names, and this limit.
fn policy(scopes: &[&str], limit: Option<LimitConfig>) -> CompiledPolicy {
    let mut config = PolicyConfig::default();
    config.tokens.format = TokenFormat::Opaque;
    for scope in scopes {
        config.scopes.insert((*scope).to_owned(), vec!["POST /pay".to_owned()]);
    }
    config.limits.extend(limit.map(|limit| ("l".to_owned(), limit)));
    config.compile().unwrap()
}

/// The table of these scopes.
#[must_use]
pub fn scopes(names: &[&str]) -> ScopeTable {
    policy(names, None).scopes().clone()
}

/// The scopes of the suite's tokens and policies: `pay`, which every route takes, between two others.
#[must_use]
pub fn usual_scopes() -> &'static ScopeTable {
    static SCOPES: OnceLock<ScopeTable> = OnceLock::new();
    SCOPES.get_or_init(|| scopes(&["admin", "pay", "read"]))
}

/// A limit as the engine hands it to stores.
#[must_use]
pub fn limit(config: LimitConfig) -> Limit {
    // Limits come out of a policy and no other way: this asks an engine what it would ask a store.
    let engine = Engine::new(policy(&["pay"], Some(config)));
    let headers = [("authorization", "Bearer t")];
    let request = Request::new(b"POST", b"/pay", NOW_MS).with_headers(&headers);
    let mut evaluation = engine.evaluate(&request).look_up_first();
    let credential = Credential {
        account: AccountRef::Slot(0),
        scopes: engine.policy().scopes().set(["pay"]),
        revoked: false,
        token: None,
        settings: None,
        revision: 0,
    };
    evaluation
        .resume(Ok(Outcome::LookedUp(LookedUp { credential: Some(credential), admission: None })));
    match evaluation.command() {
        Some(Command::Admit(Admit { limits: [limit], .. })) => limit.clone(),
        other => panic!("the engine asks for something else: {other:?}"),
    }
}

/// `quota` units per `window_ms` for each token, counted by `algorithm`.
#[must_use]
pub fn per_token(algorithm: Algorithm, quota: u64, window_ms: u64) -> Limit {
    limit_of(Partition::Token, algorithm, quota, window_ms)
}

/// `quota` units per `window_ms` for each partition, counted by `algorithm`.
#[must_use]
pub fn limit_of(partition: Partition, algorithm: Algorithm, quota: u64, window_ms: u64) -> Limit {
    limit(LimitConfig { algorithm, ..LimitConfig::new(partition, quota, window_ms) })
}

/// The limit with a change.
#[must_use]
pub fn with(mut limit: Limit, change: impl FnOnce(&mut Limit)) -> Limit {
    change(&mut limit);
    limit
}

/// The limit under another name: it counts in other cells.
#[must_use]
pub fn named(name: &str, limit: Limit) -> Limit {
    with(limit, |limit| {
        limit.id = tollgate::LimitId::of(name, limit.algorithm);
        limit.name = name.into();
    })
}

/// The limit, counting only requests that go through.
#[must_use]
pub fn executions(limit: Limit) -> Limit {
    with(limit, |limit| limit.counts = Counts::Executions)
}

/// All algorithms.
pub const ALGORITHMS: [Algorithm; 3] =
    [Algorithm::Gcra, Algorithm::FixedWindow, Algorithm::SlidingWindow];

/// A response of this status and body, with two headers.
#[must_use]
pub fn response(status: u16, body: &[u8]) -> Arc<StoredResponse> {
    let headers: [(Box<str>, Box<[u8]>); 2] = [
        ("content-type".into(), b"text/plain".as_slice().into()),
        ("x-odd".into(), b"\x00\xff \"".as_slice().into()),
    ];
    Arc::new(StoredResponse { status, headers: Box::new(headers), body: Some(body.into()) })
}

/// What is asked of an admission.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// The token.
    pub token: TokenDigest,
    /// Whether anything is to be changed.
    pub mode: Mode,
    /// The source address.
    pub source: Option<IpAddr>,
    /// The limits of the route, those that count requests first.
    pub limits: Vec<Limit>,
    /// The idempotency key.
    pub idempotency: Idempotency,
    /// The sender that must be approved.
    pub sender: Option<String>,
    /// Whether the host refused the request.
    pub invalid: bool,
    /// The price.
    pub charge: Option<Amount>,
    /// Lease, expiry and retention of what is reserved.
    pub rule: ChargeRule,
    /// Whether the answer carries every check.
    pub detail: bool,
    /// Whether the account is named by its id, and not by the store's own reference.
    pub by_name: bool,
}

/// A key's rule: kept for a day, in conflict while nobody says how it ended.
pub const RULE: IdempotencyRule = IdempotencyRule {
    required: false,
    retention_ms: DAY_MS,
    on_orphan: OnOrphan::Conflict,
    on_store_failure: FailureMode::Closed,
};

impl Ask {
    /// A request that nothing holds back: leases of a minute, records kept for an hour.
    #[must_use]
    pub fn new(token: TokenDigest) -> Self {
        Ask {
            token,
            mode: Mode::Apply,
            source: None,
            limits: Vec::new(),
            idempotency: Idempotency::Absent,
            sender: None,
            invalid: false,
            charge: None,
            rule: ChargeRule {
                price: None,
                lease_ms: 60_000,
                on_expiry: OnExpiry::Void,
                retention_ms: 3_600_000,
            },
            detail: false,
            by_name: false,
        }
    }

    /// With a key, for the request whose fingerprint is number 0.
    #[must_use]
    pub fn key(self, number: u64) -> Self {
        self.key_with(number, 0, RULE)
    }

    /// With a key for another request or under another rule.
    #[must_use]
    pub fn key_with(self, number: u64, body: u64, rule: IdempotencyRule) -> Self {
        let (claim, fingerprint) = (claim(number), fingerprint(body));
        Ask { idempotency: Idempotency::Key { claim, fingerprint, rule }, ..self }
    }

    /// With a price.
    #[must_use]
    pub fn charge(self, amount: u64) -> Self {
        Ask { charge: Some(Amount(amount)), ..self }
    }

    /// With these limits.
    #[must_use]
    pub fn limits(self, limits: &[Limit]) -> Self {
        Ask { limits: limits.to_vec(), ..self }
    }

    /// With another expiry rule.
    #[must_use]
    pub fn on_expiry(mut self, on_expiry: OnExpiry) -> Self {
        self.rule.on_expiry = on_expiry;
        self
    }

    /// Whether any of its limits counts by account.
    #[must_use]
    pub fn counts_by_account(&self) -> bool {
        let by = |limit: &Limit| {
            matches!(limit.partition, Partition::Account | Partition::AccountSourceIp)
        };
        self.limits.iter().any(by)
    }

    /// In another mode.
    #[must_use]
    pub fn mode(self, mode: Mode) -> Self {
        Ask { mode, ..self }
    }
}

/// Short ways to ask a store.
#[derive(Clone, Copy)]
pub struct Desk<'s> {
    /// The store.
    pub store: &'s dyn Store,
}

impl<'s> Desk<'s> {
    /// For this store.
    pub fn new(store: &'s dyn Store) -> Self {
        Desk { store }
    }

    /// Typed administration.
    #[must_use]
    pub fn admin(&self) -> Admin<'s, dyn Store + 's> {
        Admin::new(self.store)
    }

    /// An administration's outcome.
    #[must_use]
    pub fn administer(&self, administration: &Administration<'_>, now_ms: u64) -> Answer {
        Answer::of(self.store.perform(&Command::Administer(administration), now_ms))
    }

    /// Account and token of number `number`, which belong together; the token may `pay`.
    pub fn open(&self, number: u64, balance: u64) {
        let id = account(number);
        self.admin().put_account(&id, Amount(balance), AccountPatch::default(), NOW_MS).unwrap();
        self.put_token(number, &id, TokenPatch::default());
    }

    /// A token that may `pay`.
    pub fn put_token(&self, number: u64, account: &AccountId, patch: TokenPatch) {
        let scopes = patch.scopes.or_else(|| Some(vec!["pay".into()]));
        let patch = TokenPatch { scopes, ..patch };
        self.admin().put_token(&token(number), account, patch, NOW_MS).unwrap();
    }

    /// What a look-up gives.
    pub fn try_look_up(
        &self,
        digest: &TokenDigest,
        plain: Option<PlainAdmit<'_>>,
        now_ms: u64,
    ) -> Result<LookedUp, StoreError> {
        self.store.look_up(&Lookup { digest, scopes: usual_scopes(), plain }, now_ms)
    }

    /// A token's credential.
    #[must_use]
    pub fn look_up(&self, digest: &TokenDigest, now_ms: u64) -> Option<Credential> {
        self.try_look_up(digest, None, now_ms).unwrap().credential
    }

    /// The same as data.
    #[must_use]
    pub fn known(&self, digest: &TokenDigest, now_ms: u64) -> Option<Known> {
        let credential = self.look_up(digest, now_ms)?;
        Some(Known::of(self.store, &credential, usual_scopes(), now_ms))
    }

    /// An admission under a credential, which may be an old one.
    #[must_use]
    pub fn admit(&self, ask: &Ask, credential: &Credential, now_ms: u64) -> Answer {
        let named = match ask.by_name {
            true => crate::answer::name_of(self.store, &credential.account, now_ms),
            false => None,
        };
        let account = named.map_or_else(|| credential.account.clone(), AccountRef::Id);
        let admit = Admit {
            mode: ask.mode,
            token: &ask.token,
            token_record: credential.token.as_deref(),
            account: &account,
            revision: Some(credential.revision),
            source: ask.source,
            limits: &ask.limits,
            refused_elsewhere: None,
            idempotency: &ask.idempotency,
            sender: ask.sender.as_deref(),
            invalid: ask.invalid,
            charge: ask.charge,
            charge_rule: &ask.rule,
            detail: ask.detail,
        };
        if now_ms > MAX_NOW_MS {
            return Answer::of(self.store.perform(&Command::Admit(admit), now_ms));
        }
        Answer::of(self.store.admit(&admit, now_ms).map(Outcome::Admission))
    }

    /// Looks the token up and admits, as an engine does.
    #[must_use]
    pub fn ask(&self, ask: &Ask, now_ms: u64) -> Answer {
        let found = match self.try_look_up(&ask.token, None, now_ms) {
            Ok(found) => found,
            Err(StoreError::Full { .. }) => return Answer::Full,
            Err(error) => return Answer::Failed(error),
        };
        let Some(credential) = found.credential else { return Answer::LookedUp(None) };
        self.admit(ask, &credential, now_ms)
    }

    /// The verdict on a request of a token that is there.
    #[must_use]
    pub fn verdict(&self, ask: &Ask, now_ms: u64) -> Verdict {
        self.admitted(ask, now_ms).verdict
    }

    /// The whole admission of a request of a token that is there.
    #[must_use]
    pub fn admitted(&self, ask: &Ask, now_ms: u64) -> Admitted {
        match self.ask(ask, now_ms) {
            Answer::Admission(admitted) => *admitted,
            other => panic!("not an admission: {other:?}"),
        }
    }

    /// Admits a request that leaves something to settle, and gives its number.
    #[must_use]
    pub fn reserve(&self, ask: &Ask, now_ms: u64) -> ReservationId {
        match self.verdict(ask, now_ms) {
            Verdict::Admitted(Some(reservation)) => reservation,
            other => panic!("it should be admitted with a reservation: {other:?}"),
        }
    }

    /// Finishes a request.
    #[must_use]
    pub fn settle(
        &self,
        account: &AccountRef,
        reservation: ReservationId,
        finish: &Finish,
        now_ms: u64,
    ) -> Answer {
        Answer::of(
            self.store.perform(&Command::Settle(Settle { account, reservation, finish }), now_ms),
        )
    }

    /// Finishes a request of the account of number `number`.
    #[must_use]
    pub fn finish(&self, number: u64, id: ReservationId, finish: &Finish, now_ms: u64) -> Answer {
        self.settle(&AccountRef::Id(account(number)), id, finish, now_ms)
    }

    /// An account as an operator sees it, after its money was found to add up.
    #[must_use]
    pub fn account(&self, number: u64) -> AccountView {
        self.account_of(&account(number))
    }

    /// The same for any account.
    #[must_use]
    pub fn account_of(&self, id: &AccountId) -> AccountView {
        let view = self.admin().account(id, NOW_MS).unwrap();
        adds_up(&view);
        view
    }

    /// Balance, held and posted.
    #[must_use]
    pub fn money(&self, number: u64) -> (u64, u64, u64) {
        let wallet = self.account(number).wallet;
        (wallet.balance.0, wallet.held.0, wallet.posted.0)
    }

    /// An account's reservations.
    #[must_use]
    pub fn reservations(&self, number: u64) -> Vec<(ReservationId, Reservation)> {
        self.admin().reservations(&account(number), NOW_MS).unwrap()
    }
}

/// Deposits and refunds are balance and what was posted; nothing more is held than is there.
pub fn adds_up(view: &AccountView) {
    let wallet = &view.wallet;
    let whole = |amount: Amount| u128::from(amount.0);
    assert_eq!(
        whole(wallet.deposited).saturating_add(whole(wallet.refunded)),
        whole(wallet.balance).saturating_add(whole(wallet.posted)),
        "money was made or lost: {wallet:?}"
    );
    assert!(wallet.held <= wallet.balance, "more is held than is there: {wallet:?}");
}

/// The whole reserved amount is posted.
pub const SETTLE: Finish = Finish::Settle { amount: None, response: None };
/// Nothing is posted, and the key is free again.
pub const VOID: Finish = Finish::Void { response: None };

/// A settlement for `amount`, without a response.
#[must_use]
pub fn settle_for(amount: u64) -> Finish {
    Finish::Settle { amount: Some(Amount(amount)), response: None }
}

/// A settlement with a response.
#[must_use]
pub fn settle_with(response: Arc<StoredResponse>) -> Finish {
    Finish::Settle { amount: None, response: Some(response) }
}
