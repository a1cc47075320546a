//! What needs the file behind the store: records that are damaged or of an older format, and what goes on
//! inside a batch.

mod batch;
mod bounds;
mod conformance;
mod damage;
mod upgrade;

use heed::types::Bytes;
use tempfile::TempDir;
use tollgate::{
    AccountId, AccountPatch, AccountRef, Admin, Admit, AdmitVerdict, Amount, ChargeRule,
};
use tollgate::{Idempotency, OnExpiry, ReservationId, Store, StoreError, TokenDigest, TokenPatch};

use crate::{LmdbOptions, LmdbStore, SyncPolicy};

pub(crate) const NOW_MS: u64 = 1_700_000_000_000;
pub(crate) const LEASE_MS: u64 = 60_000;

pub(crate) fn open(directory: &TempDir) -> LmdbStore {
    let options = LmdbOptions { sync: SyncPolicy::Never, ..LmdbOptions::default() };
    LmdbStore::open(directory.path(), &options).unwrap()
}

pub(crate) fn id(name: &str) -> AccountId {
    AccountId::new(name).unwrap()
}

pub(crate) fn put_account(store: &LmdbStore, name: &str, balance: u64) {
    let admin = Admin::new(store);
    admin.put_account(&id(name), Amount(balance), AccountPatch::default(), NOW_MS).unwrap();
}

pub(crate) fn put_token(store: &LmdbStore, number: u8, account: &str) {
    let digest = TokenDigest::new([number; 32]);
    Admin::new(store).put_token(&digest, &id(account), TokenPatch::default(), NOW_MS).unwrap();
}

/// Holds money of an account, with or without an idempotency key.
pub(crate) fn charge(
    store: &LmdbStore,
    number: u32,
    amount: u64,
    idempotency: &Idempotency,
) -> Result<ReservationId, StoreError> {
    let charge_rule = ChargeRule {
        price: None,
        lease_ms: LEASE_MS,
        on_expiry: OnExpiry::Void,
        retention_ms: 1_000,
    };
    let (token, account) = (TokenDigest::new([1; 32]), AccountRef::Slot(number));
    let admit = Admit {
        charge: Some(Amount(amount)),
        charge_rule: &charge_rule,
        idempotency,
        ..Admit::limits_only(&token, &account, &[])
    };
    match store.admit(&admit, NOW_MS)?.verdict {
        AdmitVerdict::Admitted { reservation: Some(reservation) } => Ok(reservation),
        verdict => panic!("{verdict:?}"),
    }
}

pub(crate) fn money(store: &LmdbStore, name: &str) -> (u64, u64, u64) {
    let wallet = Admin::new(store).account(&id(name), NOW_MS).unwrap().wallet;
    (wallet.balance.0, wallet.held.0, wallet.posted.0)
}

/// All that is in the file.
pub(crate) fn raw(store: &LmdbStore) -> Vec<(Vec<u8>, Vec<u8>)> {
    let reading = store.env.read_txn().unwrap();
    let all = store.shared.database.iter(&reading).unwrap();
    all.map(|entry| entry.map(|(key, bytes)| (key.to_vec(), bytes.to_vec())).unwrap()).collect()
}

/// Writes over a record, past all checks.
pub(crate) fn put_raw(store: &LmdbStore, key: &[u8], bytes: &[u8]) {
    let mut writing = store.env.write_txn().unwrap();
    let database = store.shared.database.remap_types::<Bytes, Bytes>();
    database.put(&mut writing, key, bytes).unwrap();
    writing.commit().unwrap();
}

#[test]
fn reading_does_not_wait_for_a_writer() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    put_account(&store, "acme", 100);
    let writing = store.env.write_txn().unwrap();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let tokens = Admin::new(&store).tokens(&id("acme"), NOW_MS).unwrap();
            (
                money(&store, "acme"),
                Admin::new(&store).accounts(None, usize::MAX, NOW_MS).unwrap(),
                tokens.len(),
            )
        });
        assert_eq!(reader.join().unwrap(), ((100, 0, 0), vec![id("acme")], 0));
    });
    drop(writing);
}
