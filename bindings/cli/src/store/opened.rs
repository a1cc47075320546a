//! A store that an operator works on.

use tollgate::{Admin, Store};
use tollgate_lmdb::{LmdbOptions, LmdbStore, Statistics};
use tollgate_redis::{RedisOptions, RedisStore};

use super::{Location, unknown_location};
use crate::exit::Failure;

/// An open store.
pub(crate) enum Opened {
    Lmdb(LmdbStore),
    Redis(RedisStore),
}

impl Opened {
    /// Opens what is there. An LMDB store is created where there is none.
    pub(super) fn open(location: &Location) -> Result<Self, Failure> {
        match location {
            Location::Memory => Err(Failure::at(
                "--store",
                "a store in memory is gone when this command ends; give lmdb:DIRECTORY or redis://",
            )),
            Location::Unknown => Err(unknown_location()),
            Location::Lmdb(path) => LmdbStore::open(path, &LmdbOptions::default())
                .map(Opened::Lmdb)
                .map_err(|error| Failure::at("--store", error)),
            Location::Redis(url) => RedisStore::new(&RedisOptions::new(url))
                .map(Opened::Redis)
                .map_err(|error| Failure::at("--store", error)),
        }
    }

    pub(crate) fn admin(&self) -> Admin<'_, dyn Store> {
        match self {
            Opened::Lmdb(store) => Admin::new(store),
            Opened::Redis(store) => Admin::new(store),
        }
    }

    /// The store as LMDB's, for what only that can do.
    pub(crate) fn lmdb(&self) -> Result<&LmdbStore, Failure> {
        match self {
            Opened::Lmdb(store) => Ok(store),
            Opened::Redis(_) => Err(Failure::at(
                "--store",
                "this is for LMDB; a Redis server has its own ways (BGSAVE, INFO, replicas)",
            )),
        }
    }

    /// How full it is, name by name.
    pub(crate) fn statistics(&self) -> Result<Vec<(&'static str, u64)>, Failure> {
        let found = self.lmdb()?.statistics();
        let Statistics {
            format,
            accounts,
            tokens,
            cells,
            claims,
            reservations,
            file_bytes,
            map_bytes,
            page_bytes,
            used_pages,
            free_pages,
            readers,
            max_readers,
            ..
        } = found.map_err(|error| Failure::at("--store", error))?;
        Ok(vec![
            ("format", format.into()),
            ("accounts", accounts),
            ("tokens", tokens),
            ("limiter_cells", cells),
            ("idempotency_claims", claims),
            ("reservations", reservations),
            ("file_bytes", file_bytes),
            ("map_bytes", map_bytes),
            ("page_bytes", page_bytes),
            ("used_pages", used_pages),
            ("free_pages", free_pages),
            ("readers", readers.into()),
            ("max_readers", max_readers.into()),
        ])
    }
}
