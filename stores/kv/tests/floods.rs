//! Floods: the map holds as many entries as the options say, whatever is sent, and what lives stays. `TOLLGATE_FLOOD`
//! sets how many keys are made up; a build for tests is slow, so that they are few by default.
#![cfg(test)]

mod common;

use std::sync::Arc;

use common::{NOW_MS, admit, bounded, id, limits, named, put_account};
use tollgate::{
    Admin, Admit, AdmitVerdict, Amount, ClaimKey, Denial, FailureMode, Fingerprint, Idempotency,
    IdempotencyRule, Limit, OnOrphan, Store, StoreError, TokenDigest,
};
use tollgate_kv::{KvStore, MemoryMap};

const MOST_CELLS: u64 = 500;
const MOST_CLAIMS: u64 = 400;
const MOST_PER_ACCOUNT: u64 = 200;
const ACCOUNTS: u64 = 2;

/// The most entries of a map: what is there at first, a record and its due time for each account, cell, claim and
/// reservation.
const MOST_ENTRIES: u64 = 16 + 2 * (ACCOUNTS + MOST_CELLS + 2 * MOST_CLAIMS);

fn flood() -> u64 {
    let set = std::env::var("TOLLGATE_FLOOD").ok();
    set.map_or(100_000, |number| number.parse().unwrap())
}

/// A store with two accounts, `greedy` and `modest`, over a map that can be looked into.
fn store() -> (Arc<MemoryMap>, KvStore<Arc<MemoryMap>>) {
    let map = Arc::new(MemoryMap::default());
    let options = bounded(|options| {
        options.max_cells = MOST_CELLS;
        options.max_claims = MOST_CLAIMS;
        options.max_reservations = MOST_CLAIMS;
        options.max_per_account = MOST_PER_ACCOUNT;
    });
    let store = KvStore::open(Arc::clone(&map), &options).unwrap();
    put_account(&store, "greedy", 1_000_000);
    put_account(&store, "modest", 1_000_000);
    (map, store)
}

fn entries(map: &MemoryMap) -> u64 {
    u64::try_from(map.entries().len()).unwrap()
}

/// Takes one unit for a token of this number.
fn take(store: &impl Store, limits: &[Limit], number: u64) -> Result<bool, StoreError> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    let (token, account) = (TokenDigest::new(bytes), named("modest"));
    let admission = store.admit(&Admit::limits_only(&token, &account, limits), NOW_MS)?;
    Ok(matches!(admission.verdict, AdmitVerdict::Admitted { .. }))
}

#[test]
fn a_flood_of_cells_leaves_as_many_entries_as_the_bound() {
    let (map, store) = store();
    let limits = limits(2);
    for honest in 0..10 {
        assert_eq!(take(&store, &limits, honest), Ok(true));
    }
    let full = Err(StoreError::Full { what: "limiter cells" });
    let taken = (10..flood())
        .filter(|number| {
            let taken = take(&store, &limits, *number);
            assert!(taken == Ok(true) || taken == full, "{taken:?}");
            taken.is_ok()
        })
        .count();
    assert_eq!(u64::try_from(taken).unwrap(), MOST_CELLS - 10);
    assert!(entries(&map) <= MOST_ENTRIES, "{} entries", entries(&map));
    for honest in 0..10 {
        assert_eq!(take(&store, &limits, honest), Ok(true), "one unit was left");
        assert_eq!(take(&store, &limits, honest), Ok(false), "the flood reset a limit");
    }
    store.verify().unwrap();
}

fn key(number: u64) -> Idempotency {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    let rule = IdempotencyRule {
        required: false,
        retention_ms: 60_000,
        on_orphan: OnOrphan::Conflict,
        on_store_failure: FailureMode::Closed,
    };
    Idempotency::Key { claim: ClaimKey(bytes), fingerprint: Fingerprint(bytes), rule }
}

#[test]
fn a_flood_of_keys_fills_one_accounts_share_and_serves_the_other() {
    let (map, store) = store();
    let ask = |account: &str, number: u64| {
        admit(&store, &named(account), &[], 1, &key(number), NOW_MS)
            .map(|admitted| admitted.verdict)
    };
    let mut taken = 0;
    for number in 0..flood() {
        match ask("greedy", number) {
            Ok(AdmitVerdict::Admitted { .. }) => taken += 1,
            refused => assert!(matches!(refused, Err(StoreError::Full { .. })), "{refused:?}"),
        }
        // As many as its own share.
        if number % (flood() / MOST_PER_ACCOUNT) == 0 && number < flood() / 2 {
            let served = ask("modest", number);
            assert!(matches!(served, Ok(AdmitVerdict::Admitted { .. })), "{served:?}");
        }
    }
    assert_eq!(taken, MOST_PER_ACCOUNT);
    assert!(entries(&map) <= MOST_ENTRIES, "{} entries", entries(&map));
    for number in 0..taken {
        let running = ask("greedy", number);
        assert!(matches!(running, Ok(AdmitVerdict::Denied(Denial::InFlight))), "{running:?}");
    }
    // What was refused holds no money.
    let wallet = Admin::new(&store).account(&id("greedy"), NOW_MS).unwrap().wallet;
    assert_eq!(wallet.held, Amount(taken));
    store.verify().unwrap();
}

/// The number of entries above is near enough that a store without bounds is over it.
#[test]
#[should_panic(expected = "over the bound")]
fn a_store_whose_bound_is_not_kept_is_found() {
    let map = Arc::new(MemoryMap::default());
    let store = KvStore::open(Arc::clone(&map), &bounded(|_| ())).unwrap();
    put_account(&store, "modest", 0);
    let limits = limits(2);
    for number in 0..2_000 {
        assert_eq!(take(&store, &limits, number), Ok(true));
    }
    assert!(entries(&map) <= MOST_ENTRIES, "over the bound");
}
