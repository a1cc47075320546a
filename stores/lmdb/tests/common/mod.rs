//! What tests of the store share: a store in a temporary directory, and commands in few words.
#![allow(dead_code)] // each test file uses a part

use std::path::Path;

use tollgate::{
    AccountId, AccountPatch, AccountRef, Admin, Admission, Admit, AdmitVerdict, Amount, ChargeRule,
    ClaimKey, Command, Engine, FailureMode, Fingerprint, Finish, Idempotency, IdempotencyRule,
    Limit, Lookup, OnExpiry, OnOrphan, Outcome, PolicyConfig, Request, ReservationId, Settle,
    Store, StoreError, StoredResponse, TokenDigest, TokenPatch,
};
use tollgate_lmdb::{LmdbOptions, LmdbStore, SyncPolicy};

/// When everything happens, in Unix milliseconds.
pub(crate) const NOW_MS: u64 = 1_700_000_000_000;
pub(crate) const LEASE_MS: u64 = 60_000;
pub(crate) const RETENTION_MS: u64 = 2_592_000_000;

/// A store that does not sync, with what `change` makes of its options.
pub(crate) fn open_with(path: &Path, change: impl FnOnce(&mut LmdbOptions)) -> LmdbStore {
    let mut options = LmdbOptions::default();
    options.sync = SyncPolicy::Never;
    change(&mut options);
    LmdbStore::open(path, &options).unwrap()
}

pub(crate) fn open(path: &Path) -> LmdbStore {
    open_with(path, |_| ())
}

pub(crate) fn id(name: &str) -> AccountId {
    AccountId::new(name).unwrap()
}

pub(crate) fn named(name: &str) -> AccountRef {
    AccountRef::Id(id(name))
}

/// 32 bytes that begin with a number.
pub(crate) fn bytes(number: u64) -> [u8; 32] {
    let mut bytes = [0x5a; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes
}

pub(crate) fn digest(number: u64) -> TokenDigest {
    TokenDigest::new(bytes(number))
}

pub(crate) fn put_account(store: &LmdbStore, name: &str, balance: u64) {
    let admin = Admin::new(store);
    admin.put_account(&id(name), Amount(balance), AccountPatch::default(), NOW_MS).unwrap();
}

pub(crate) fn put_token(store: &LmdbStore, number: u64, account: &str) {
    let patch = TokenPatch { scopes: Some(vec!["all".into()]), ..TokenPatch::default() };
    Admin::new(store).put_token(&digest(number), &id(account), patch, NOW_MS).unwrap();
}

/// One limit of `quota` a minute, for each token.
pub(crate) fn limits(quota: u64) -> Vec<Limit> {
    let policy = format!(
        r#"{{"tokens": {{"format": "opaque"}}, "scopes": {{"all": ["GET /things"]}},
            "limits": {{"token": {{"per": "token", "quota": {quota}, "window_ms": 60000}}}}}}"#
    );
    let engine = Engine::new(PolicyConfig::from_json(&policy).unwrap().compile().unwrap());
    let headers = [("authorization", "Bearer x")];
    let request = Request::new(b"GET", b"/things", NOW_MS).with_headers(&headers);
    match engine.evaluate(&request).command() {
        Some(Command::Lookup(Lookup { plain: Some(plain), .. })) => plain.limits.to_vec(),
        other => panic!("{other:?}"),
    }
}

/// What a request asks for.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) account: AccountRef,
    pub(crate) token: u64,
    pub(crate) limits: Vec<Limit>,
    pub(crate) key: Option<u64>,
    pub(crate) charge: u64,
    pub(crate) now_ms: u64,
}

impl Ask {
    pub(crate) fn of(account: &str) -> Self {
        Ask {
            account: named(account),
            token: 1,
            limits: Vec::new(),
            key: None,
            charge: 0,
            now_ms: NOW_MS,
        }
    }

    pub(crate) fn send(&self, store: &impl Store) -> Result<Admission, StoreError> {
        let rule = IdempotencyRule {
            required: false,
            retention_ms: RETENTION_MS,
            on_orphan: OnOrphan::Conflict,
            on_store_failure: FailureMode::Closed,
        };
        let idempotency = match self.key {
            None => Idempotency::Absent,
            Some(number) => {
                let (claim, fingerprint) = (ClaimKey(bytes(number)), Fingerprint(bytes(number)));
                Idempotency::Key { claim, fingerprint, rule }
            }
        };
        let charge_rule = ChargeRule {
            price: None,
            lease_ms: LEASE_MS,
            on_expiry: OnExpiry::Void,
            retention_ms: RETENTION_MS,
        };
        let token = digest(self.token);
        let admit = Admit {
            idempotency: &idempotency,
            charge: (self.charge > 0).then_some(Amount(self.charge)),
            charge_rule: &charge_rule,
            ..Admit::limits_only(&token, &self.account, &self.limits)
        };
        store.admit(&admit, self.now_ms)
    }

    /// The reservation of a request that must be admitted.
    pub(crate) fn reserve(&self, store: &impl Store) -> ReservationId {
        let admission = self.send(store).unwrap();
        reservation(&admission).unwrap_or_else(|| panic!("{admission:?}"))
    }
}

pub(crate) fn reservation(admission: &Admission) -> Option<ReservationId> {
    match admission.verdict {
        AdmitVerdict::Admitted { reservation } => reservation,
        _ => None,
    }
}

pub(crate) fn admitted(admission: &Admission) -> bool {
    matches!(admission.verdict, AdmitVerdict::Admitted { .. })
}

pub(crate) fn response(body_bytes: usize) -> StoredResponse {
    let body = Some(vec![b'x'; body_bytes].into());
    StoredResponse { status: 200, headers: Box::new([("a".into(), b"b"[..].into())]), body }
}

/// Settles for all that was reserved.
pub(crate) fn settle(
    store: &impl Store,
    account: &AccountRef,
    reservation: ReservationId,
) -> Result<Outcome, StoreError> {
    let finish = Finish::Settle { amount: None, response: Some(response(10).into()) };
    store.perform(&Command::Settle(Settle { account, reservation, finish: &finish }), NOW_MS)
}

/// (balance, held, posted)
pub(crate) fn money(store: &LmdbStore, name: &str) -> (u64, u64, u64) {
    let wallet = Admin::new(store).account(&id(name), NOW_MS).unwrap().wallet;
    (wallet.balance.0, wallet.held.0, wallet.posted.0)
}
