//! The store of a server: asked by decisions without holding up other requests, and by operators on threads of their own.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use parking_lot::RwLock;
use tollgate::{
    AccountId, AccountRef, Admin, AdminError, Administration, AsyncStore, Command, CompositeStore,
    MemoryOptions, MemoryStore, Outcome, Store, StoreError,
};
use tollgate_lmdb::{LmdbOptions, LmdbStore};
use tollgate_redis::{AsyncRedisStore, RedisOptions, RedisStore};
use tollgate_tower::Blocking;

use crate::options::StoreLocation;

/// Names of accounts that are kept at hand; those of more are asked for each time.
const MAX_NAMES: usize = 1 << 16;

/// An open store.
pub(crate) struct ServedStore {
    decisions: Asked,
    /// The same store for operators.
    operators: Arc<dyn Store>,
    names: RwLock<HashMap<u32, AccountId>>,
}

/// How decisions ask.
enum Asked {
    Memory(Arc<dyn Store>),
    Disk(Blocking<Arc<dyn Store>>),
    Network(Box<AsyncRedisStore>),
}

impl ServedStore {
    /// Opens what is there; an LMDB store is created where there is none. Redis is not connected before it is asked.
    ///
    /// # Errors
    /// What is wrong, without secrets.
    pub(crate) fn open(location: &StoreLocation, limits_in_memory: bool) -> Result<Self, String> {
        let (decisions, operators) = match location {
            StoreLocation::Memory => {
                let store: Arc<dyn Store> = Arc::new(MemoryStore::new(MemoryOptions::default()));
                (Asked::Memory(Arc::clone(&store)), store)
            }
            StoreLocation::Lmdb(directory, sync) => {
                fs::create_dir_all(directory)
                    .map_err(|error| format!("{}: {error}", directory.display()))?;
                let mut options = LmdbOptions::default();
                options.sync = *sync;
                let store = LmdbStore::open(directory, &options);
                let store: Arc<dyn Store> = Arc::new(store.map_err(|error| error.to_string())?);
                let store = if limits_in_memory { with_limits(store) } else { store };
                (Asked::Disk(Blocking(Arc::clone(&store))), store)
            }
            StoreLocation::Redis(_) if limits_in_memory => {
                return Err(
                    "Redis counts limits for all servers that share it; leave out --limits memory"
                        .into(),
                );
            }
            StoreLocation::Redis(url) => {
                let options = RedisOptions::new(url);
                let store = AsyncRedisStore::new(&options).map_err(|error| error.to_string())?;
                let operators = RedisStore::new(&options).map_err(|error| error.to_string())?;
                (Asked::Network(Box::new(store)), Arc::new(operators) as Arc<dyn Store>)
            }
        };
        Ok(ServedStore { decisions, operators, names: RwLock::default() })
    }

    /// Whether a decision may be left by its caller while the store is still at work on it.
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self.decisions, Asked::Network(_))
    }

    /// Runs an operator's work on a thread on which it may wait.
    pub(crate) async fn administer<T: Send + 'static>(
        &self,
        work: impl FnOnce(Admin<'_, dyn Store>) -> Result<T, AdminError> + Send + 'static,
    ) -> Result<T, AdminError> {
        let store = Arc::clone(&self.operators);
        let done = tokio::task::spawn_blocking(move || work(Admin::new(&*store))).await;
        done.unwrap_or_else(|_| Err(StoreError::WrongOutcome.into()))
    }

    /// Asks anything on a thread that may wait.
    pub(crate) async fn perform_as_operator<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Store) -> T + Send + 'static,
    ) -> Option<T> {
        let store = Arc::clone(&self.operators);
        tokio::task::spawn_blocking(move || work(&*store)).await.ok()
    }

    /// Whether it answers at all. It is asked for an account that need not be there.
    pub(crate) async fn answers(&self, now_ms: u64) -> bool {
        let Ok(id) = AccountId::new("nobody") else { return false };
        let asked = self.administer(move |admin| admin.account(&id, now_ms)).await;
        !matches!(asked, Err(AdminError::Store(_)))
    }

    /// The name of an account that a decision named. `None` where the store does not tell.
    pub(crate) async fn account_id(&self, account: &AccountRef, now_ms: u64) -> Option<AccountId> {
        let slot = match account {
            AccountRef::Id(id) => return Some(id.clone()),
            AccountRef::Slot(slot) => *slot,
        };
        if let Some(id) = self.names.read().get(&slot) {
            return Some(id.clone());
        }
        let name = Administration::NameAccount { account };
        let outcome = self.perform_async(&Command::Administer(&name), now_ms).await;
        let Ok(Outcome::Name(id)) = outcome else { return None };
        // A number stands for one name as long as the store lives.
        let mut names = self.names.write();
        if names.len() < MAX_NAMES {
            names.insert(slot, id.clone());
        }
        Some(id)
    }
}

impl AsyncStore for ServedStore {
    async fn perform_async(
        &self,
        command: &Command<'_>,
        now_ms: u64,
    ) -> Result<Outcome, StoreError> {
        match &self.decisions {
            Asked::Memory(store) => store.perform(command, now_ms),
            Asked::Disk(store) => store.perform_async(command, now_ms).await,
            Asked::Network(store) => store.perform_async(command, now_ms).await,
        }
    }
}

fn with_limits(store: Arc<dyn Store>) -> Arc<dyn Store> {
    Arc::new(CompositeStore::new(MemoryStore::new(MemoryOptions::default()), store))
}
