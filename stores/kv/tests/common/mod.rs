//! What tests of the store share: commands in few words, and a map that fails by plan.
#![allow(dead_code)] // each test file uses a part

pub(crate) mod failing;
pub(crate) mod story;

use tollgate::{
    AccountId, AccountPatch, AccountRef, Admin, Admission, Admit, AdmitVerdict, Amount, ChargeRule,
    ClaimKey, Command, Engine, FailureMode, Fingerprint, Finish, Idempotency, IdempotencyRule,
    Limit, Lookup, OnExpiry, OnOrphan, Outcome, PolicyConfig, Request, ReservationId, Settle,
    Store, StoreError, StoredResponse, TokenDigest, TokenPatch,
};
use tollgate_kv::{KvMap, KvOptions, KvStore, KvWrite, MemoryMap};

/// When everything happens, in Unix milliseconds.
pub(crate) const NOW_MS: u64 = 1_700_000_000_000;
pub(crate) const LEASE_MS: u64 = 60_000;
pub(crate) const RETENTION_MS: u64 = 1_000;

/// All that is in a map.
pub(crate) type Entries = Vec<(Vec<u8>, Vec<u8>)>;

pub(crate) fn open<M: KvMap>(map: M) -> KvStore<M> {
    KvStore::open(map, &KvOptions::default()).unwrap()
}

pub(crate) fn bounded(change: impl FnOnce(&mut KvOptions)) -> KvOptions {
    let mut options = KvOptions::default();
    change(&mut options);
    options
}

/// A map with these entries.
pub(crate) fn filled(entries: &Entries) -> MemoryMap {
    let map = MemoryMap::default();
    for (key, value) in entries {
        put_raw(&map, key, value);
    }
    map
}

/// Writes over a record, past all checks.
pub(crate) fn put_raw(map: &MemoryMap, key: &[u8], value: &[u8]) {
    let mut txn = map.write().unwrap();
    txn.put(key, value).unwrap();
    txn.commit().unwrap();
}

pub(crate) fn id(name: &str) -> AccountId {
    AccountId::new(name).unwrap()
}

pub(crate) fn named(name: &str) -> AccountRef {
    AccountRef::Id(id(name))
}

pub(crate) fn digest(number: u8) -> TokenDigest {
    TokenDigest::new([number; 32])
}

pub(crate) fn put_account(store: &dyn Store, name: &str, balance: u64) {
    let admin = Admin::new(store);
    admin.put_account(&id(name), Amount(balance), AccountPatch::default(), NOW_MS).unwrap();
}

pub(crate) fn put_token(store: &dyn Store, number: u8, account: &str) {
    let admin = Admin::new(store);
    admin.put_token(&digest(number), &id(account), TokenPatch::default(), NOW_MS).unwrap();
}

pub(crate) fn with_key(number: u8) -> Idempotency {
    Idempotency::Key {
        claim: ClaimKey([number; 32]),
        fingerprint: Fingerprint([number; 32]),
        rule: IdempotencyRule {
            required: false,
            retention_ms: RETENTION_MS,
            on_orphan: OnOrphan::Conflict,
            on_store_failure: FailureMode::Closed,
        },
    }
}

/// The look-up of a request that has one limit of `quota` a minute, for each token.
pub(crate) fn with_look_up<T>(quota: u64, then: impl FnOnce(&Lookup<'_>) -> T) -> T {
    let policy = format!(
        r#"{{"tokens": {{"format": "opaque"}}, "scopes": {{"all": ["GET /things"]}},
            "limits": {{"token": {{"per": "token", "quota": {quota}, "window_ms": 60000}}}}}}"#
    );
    let engine = Engine::new(PolicyConfig::from_json(&policy).unwrap().compile().unwrap());
    let headers = [("authorization", "Bearer x")];
    let request = Request::new(b"GET", b"/things", NOW_MS).with_headers(&headers);
    match engine.evaluate(&request).command() {
        Some(Command::Lookup(look_up)) => then(&look_up),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn limits(quota: u64) -> Vec<Limit> {
    with_look_up(quota, |look_up| look_up.plain.unwrap().limits.to_vec())
}

/// Holds money of an account for token 1, with or without an idempotency key.
pub(crate) fn admit(
    store: &dyn Store,
    account: &AccountRef,
    limits: &[Limit],
    amount: u64,
    idempotency: &Idempotency,
    now_ms: u64,
) -> Result<Admission, StoreError> {
    let charge_rule = ChargeRule {
        price: None,
        lease_ms: LEASE_MS,
        on_expiry: OnExpiry::Void,
        retention_ms: RETENTION_MS,
    };
    let token = digest(1);
    let admit = Admit {
        charge: Some(Amount(amount)),
        charge_rule: &charge_rule,
        idempotency,
        ..Admit::limits_only(&token, account, limits)
    };
    store.admit(&admit, now_ms)
}

pub(crate) fn charge(
    store: &dyn Store,
    name: &str,
    amount: u64,
) -> Result<ReservationId, StoreError> {
    match admit(store, &named(name), &[], amount, &Idempotency::Absent, NOW_MS)?.verdict {
        AdmitVerdict::Admitted { reservation: Some(reservation) } => Ok(reservation),
        verdict => panic!("{verdict:?}"),
    }
}

pub(crate) fn response() -> StoredResponse {
    StoredResponse {
        status: 201,
        headers: Box::new([("content-type".into(), b"text/plain"[..].into())]),
        body: Some(b"hello"[..].into()),
    }
}

pub(crate) fn settle(
    store: &dyn Store,
    account: &AccountRef,
    reservation: ReservationId,
    amount: u64,
) -> Result<Outcome, StoreError> {
    let finish = Finish::Settle { amount: Some(Amount(amount)), response: Some(response().into()) };
    store.perform(&Command::Settle(Settle { account, reservation, finish: &finish }), NOW_MS)
}

/// (balance, held, posted)
pub(crate) fn money(store: &dyn Store, name: &str) -> (u64, u64, u64) {
    let wallet = Admin::new(store).account(&id(name), NOW_MS).unwrap().wallet;
    (wallet.balance.0, wallet.held.0, wallet.posted.0)
}
