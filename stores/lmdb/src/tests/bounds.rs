use tempfile::TempDir;
use tollgate::transition::{Changes, Due, NEVER_MS, Records};
use tollgate::{
    AccountPatch, AccountRef, Admin, AdminError, Amount, Cell, CellKey, GcraCell, Idempotency,
    LimitId, StoreError,
};

use super::{LEASE_MS, NOW_MS, charge, id, open, put_account};
use crate::combine::Transactions;
use crate::error::Fault;
use crate::record::Totals;
use crate::view::View;
use crate::{LmdbOptions, LmdbStore, SyncPolicy, key};

fn cell(number: u8, expires_ms: u64) -> (CellKey, Cell, u64) {
    let key = CellKey { limit: LimitId(1), partition: [number; 32] };
    (key, Cell::Gcra(GcraCell { tat_ns: expires_ms.saturating_mul(1_000_000) }), expires_ms)
}

fn put_cells(store: &LmdbStore, cells: &[(CellKey, Cell, u64)], now_ms: u64) -> Result<(), Fault> {
    store.transact(&mut |writing| {
        let changes = Changes { cells, ..Changes::default() };
        View::write(writing, &store.shared, now_ms).commit(changes)
    })
}

/// What makes room may be one of the cells that are written: then it is a new one too.
#[test]
fn cells_that_make_room_for_themselves_are_counted() {
    let directory = TempDir::new().unwrap();
    let options = LmdbOptions { sync: SyncPolicy::Never, max_cells: 2, ..LmdbOptions::default() };
    let store = LmdbStore::open(directory.path(), &options).unwrap();
    put_cells(&store, &[cell(1, NOW_MS + 10), cell(2, NOW_MS + 10_000)], NOW_MS).unwrap();
    // The first has expired.
    let both = [cell(3, NOW_MS + 9_000), cell(1, NOW_MS + 9_000)];
    let refused = put_cells(&store, &both, NOW_MS + 20);
    assert!(matches!(refused, Err(Fault::Bound("limiter cells"))), "{refused:?}");
    put_cells(&store, &both[..1], NOW_MS + 20).unwrap();
    assert_eq!(store.statistics().unwrap().cells, 2);
    store.verify().unwrap();
}

#[test]
fn a_clock_that_was_far_ahead_leaves_the_store_in_order() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    put_account(&store, "acme", 100);
    let far_ms = tollgate::MAX_NOW_MS;
    for now_ms in [NOW_MS, far_ms, NOW_MS + 1] {
        charge(&store, 0, 10, &Idempotency::Absent).unwrap();
        put_cells(&store, &[cell(now_ms.to_le_bytes()[0], now_ms + 10)], now_ms).unwrap();
        Admin::new(&store).expire(now_ms).unwrap();
        store.verify().unwrap();
    }
    // That of the far future stays until then; those of the present come and go.
    Admin::new(&store).expire(NOW_MS + LEASE_MS + 200_000).unwrap();
    assert_eq!(store.statistics().unwrap().cells, 1);
    Admin::new(&store).expire(far_ms).unwrap();
    store.verify().unwrap();
}

#[test]
fn numbers_of_accounts_are_not_used_twice() {
    let directory = TempDir::new().unwrap();
    let options =
        LmdbOptions { sync: SyncPolicy::Never, max_accounts: u64::MAX, ..LmdbOptions::default() };
    let store = LmdbStore::open(directory.path(), &options).unwrap();
    let almost = Totals { accounts: u32::MAX - 1, ..Totals::default() };
    store
        .transact(&mut |writing| {
            writing.totals = almost;
            Ok(())
        })
        .unwrap();
    let put = |name: &str| {
        Admin::new(&store).put_account(&id(name), Amount(5), AccountPatch::default(), NOW_MS)
    };
    put("last").unwrap();
    let full = AdminError::Store(StoreError::Full { what: "accounts" });
    assert_eq!(put("one-more").unwrap_err(), full);
    charge(&store, u32::MAX - 1, 5, &Idempotency::Absent).unwrap();
    assert_eq!(Admin::new(&store).expire(NOW_MS + LEASE_MS).unwrap(), 1);
}

/// Entries are moved on only when they come up: what is put off, found there, and then falls due earlier
/// than that is still the first.
#[test]
fn what_falls_due_earlier_again_is_found_first() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    put_account(&store, "acme", 100);
    let early = charge(&store, 0, 10, &Idempotency::Absent).unwrap();
    let other = charge(&store, 0, 10, &Idempotency::Absent).unwrap();
    let account = &AccountRef::Slot(0);
    let put = |due_ms: u64| {
        store
            .transact(&mut |writing| {
                let mut view = View::write(writing, &store.shared, NOW_MS);
                let reservation = view.reservation(account, early)?.unwrap();
                let reservation = Some((early, reservation, due_ms));
                view.commit(Changes { account: Some(account), reservation, ..Changes::default() })
            })
            .unwrap();
    };
    let first = |now_ms: u64| {
        let mut found = None;
        store
            .transact(&mut |writing| {
                found = View::write(writing, &store.shared, now_ms).due(account, now_ms)?;
                Ok(())
            })
            .unwrap();
        found
    };
    let due_ms = NOW_MS + LEASE_MS;
    for away_ms in [due_ms + 5_000, NEVER_MS] {
        put(away_ms);
        assert_eq!(first(due_ms), Some(Due::Reservation(other)), "it was moved on");
        store.verify().unwrap();
        put(due_ms - 1_000);
        assert_eq!(first(due_ms - 1_001), None);
        assert_eq!(first(due_ms - 1_000), Some(Due::Reservation(early)));
        store.verify().unwrap();
        let reading = store.env.read_txn().unwrap();
        let registered = key::account_due(due_ms - 1_000, 0);
        assert!(store.shared.database.get(&reading, &registered).unwrap().is_some());
    }
}
