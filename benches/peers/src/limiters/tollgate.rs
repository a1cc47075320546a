//! tollgate's limits alone: cells in this process's memory, and in a region that processes share.

use tempfile::TempDir;
use tollgate::{
    AccountId, AccountRef, CellKey, Limit, LimitConfig, LimitStore, MemoryOptions, MemoryStore,
    Partition, PolicyConfig,
};
use tollgate_region::{Region, RegionOptions};

use super::{Limiter, Terms};

/// The limit that a policy compiles to, with GCRA, as in the presets.
fn limit(terms: Terms) -> Limit {
    let mut policy = PolicyConfig::default();
    let quota = LimitConfig::new(Partition::Token, terms.units.into(), terms.window_s * 1_000);
    policy.limits.insert("token".into(), quota);
    let compiled = policy.compile().expect("a policy");
    compiled.limits(None).first().expect("it applies to everything").clone()
}

fn cell_key(limit: &Limit, number: u64) -> CellKey {
    let account = AccountRef::Id(AccountId::new("acme").expect("a valid id"));
    limit.cell_key(&tollgate::digest(&number.to_be_bytes(), None), &account, None)
}

fn take(store: &impl LimitStore, limit: &Limit, key: &CellKey, now_ms: u64) -> bool {
    let checked = store.take(key, limit, &limit.quota, now_ms);
    checked.expect("there is room").verdict.is_ok()
}

/// The cells of a memory store. A key is the digest of a token beside the number of the limit.
#[derive(Debug)]
pub struct MemoryCells {
    store: MemoryStore,
    limit: Limit,
}

impl MemoryCells {
    /// An empty store, with room for so many keys.
    #[must_use]
    pub fn new(terms: Terms, keys: usize) -> Self {
        let mut options = MemoryOptions::default();
        options.max_cells = keys.max(1_024) * 2;
        MemoryCells { store: MemoryStore::new(options), limit: limit(terms) }
    }
}

impl Limiter for MemoryCells {
    type Key = CellKey;

    fn key(&self, number: u64) -> CellKey {
        cell_key(&self.limit, number)
    }

    #[inline]
    fn take(&self, key: &CellKey, now_ms: u64) -> bool {
        take(&self.store, &self.limit, key, now_ms)
    }
}

/// The cells of a region, over a file in memory where there is one. The same keys.
#[derive(Debug)]
pub struct RegionCells {
    region: Region,
    limit: Limit,
    size_bytes: usize,
    _directory: TempDir,
}

impl RegionCells {
    /// An empty region, with room for so many keys.
    ///
    /// # Panics
    /// When there is no directory for the file.
    #[must_use]
    pub fn new(terms: Terms, keys: usize) -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let directory = directory.expect("a directory");
        let options = RegionOptions { cells: keys.max(1_024) * 2, windows: 0 };
        let path = directory.path().join("region");
        let region = Region::open(path, &options, &[7; 16]).expect("a region");
        let size_bytes = options.size_bytes().expect("it was made");
        RegionCells { region, limit: limit(terms), size_bytes, _directory: directory }
    }
}

impl Limiter for RegionCells {
    type Key = CellKey;

    fn key(&self, number: u64) -> CellKey {
        cell_key(&self.limit, number)
    }

    #[inline]
    fn take(&self, key: &CellKey, now_ms: u64) -> bool {
        take(&self.region, &self.limit, key, now_ms)
    }

    fn mapped_bytes(&self) -> usize {
        self.size_bytes
    }
}
