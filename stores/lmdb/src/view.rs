//! Transactions of LMDB, as the map that [`tollgate_kv`] keeps records in.

use std::borrow::Cow;
use std::ops::Bound;

use heed::types::Bytes;
use heed::{AnyTls, RoTxn, RwTxn, WithTls};
use tollgate::StoreError;
use tollgate_kv::{KvEntry, KvError, KvOptions, KvRead, KvWrite};

use crate::error::{MAP, map_error};
use crate::options::LmdbOptions;

/// The one database of the file.
pub(crate) type Database = heed::Database<'static, Bytes, Bytes>;

/// A write transaction, in which commands are performed.
pub(crate) type Writing<'e> = tollgate_kv::view::Writing<'e>;

/// What is the same for every transaction of a store.
pub(crate) struct Shared {
    pub(crate) database: Database,
    pub(crate) options: LmdbOptions,
    pub(crate) bounds: KvOptions,
    /// Bytes of the map in use beyond which nothing new is taken.
    pub(crate) bytes_for_growth: usize,
}

/// Gives views of the records, within the bounds of the store.
pub(crate) struct View;

impl View {
    pub(crate) fn write<'v, 'e>(
        writing: &'v mut Writing<'e>,
        shared: &'v Shared,
        now_ms: u64,
    ) -> tollgate_kv::view::View<'v, 'e> {
        tollgate_kv::view::View::write(writing, &shared.bounds, now_ms)
    }

    pub(crate) fn read<'v>(
        snapshot: &'v Snapshot<'_>,
        now_ms: u64,
    ) -> tollgate_kv::view::View<'v, 'v> {
        tollgate_kv::view::View::read(snapshot, &snapshot.shared.bounds, now_ms)
    }
}

/// A transaction that reads.
pub(crate) struct Snapshot<'s> {
    pub(crate) txn: RoTxn<'s, WithTls>,
    pub(crate) shared: &'s Shared,
}

impl KvRead for Snapshot<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, KvError> {
        get(&self.txn, self.shared, key)
    }

    fn first_at_or_after(&self, key: &[u8]) -> Result<Option<KvEntry<'_>>, KvError> {
        first_at_or_after(&self.txn, self.shared, key)
    }

    fn scan(&self, key: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), KvError> {
        scan(&self.txn, self.shared, key, visit)
    }
}

/// A transaction that changes.
pub(crate) struct Change<'s> {
    pub(crate) txn: RwTxn<'s>,
    pub(crate) shared: &'s Shared,
}

impl KvRead for Change<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, KvError> {
        get(&self.txn, self.shared, key)
    }

    fn first_at_or_after(&self, key: &[u8]) -> Result<Option<KvEntry<'_>>, KvError> {
        first_at_or_after(&self.txn, self.shared, key)
    }

    fn scan(&self, key: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), KvError> {
        scan(&self.txn, self.shared, key, visit)
    }
}

impl KvWrite for Change<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        self.shared.database.put(&mut self.txn, key, value).map_err(map_error)
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool, KvError> {
        self.shared.database.delete(&mut self.txn, key).map_err(map_error)
    }

    /// The last part of the map is for what settles, expires or removes: all of that needs pages too.
    fn check_room(&self) -> Result<(), KvError> {
        let used = self.shared.database.stat(&self.txn).map_err(map_error)?;
        let pages = used.branch_pages.saturating_add(used.leaf_pages);
        let pages = pages.saturating_add(used.overflow_pages);
        let page_bytes = usize::try_from(used.page_size).unwrap_or(usize::MAX);
        let full = pages.saturating_mul(page_bytes) >= self.shared.bytes_for_growth;
        if full { Err(StoreError::Full { what: MAP }.into()) } else { Ok(()) }
    }

    fn commit(self) -> Result<(), KvError> {
        self.txn.commit().map_err(map_error)
    }
}

fn get<'t>(
    txn: &'t RoTxn<'_, AnyTls>,
    shared: &Shared,
    key: &[u8],
) -> Result<Option<Cow<'t, [u8]>>, KvError> {
    let found = shared.database.get(txn, key).map_err(map_error)?;
    Ok(found.map(Cow::Borrowed))
}

fn first_at_or_after<'t>(
    txn: &'t RoTxn<'_, AnyTls>,
    shared: &Shared,
    key: &[u8],
) -> Result<Option<KvEntry<'t>>, KvError> {
    let first = shared.database.get_greater_than_or_equal_to(txn, key).map_err(map_error)?;
    Ok(first.map(|(key, value)| (Cow::Borrowed(key), Cow::Borrowed(value))))
}

/// With one cursor for all entries.
fn scan(
    txn: &RoTxn<'_, AnyTls>,
    shared: &Shared,
    key: &[u8],
    visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> Result<(), KvError> {
    let range = (Bound::Included(key), Bound::Unbounded);
    for entry in shared.database.range(txn, &range).map_err(map_error)? {
        let (key, value) = entry.map_err(map_error)?;
        if !visit(key, value) {
            break;
        }
    }
    Ok(())
}
