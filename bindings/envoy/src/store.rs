//! Where state is kept: opened once for all configurations that name the same place, and kept for as long as the process lives.
//!
//! Envoy makes a configuration anew whenever it is updated. What is counted and reserved must not begin anew with it, so stores are found by
//! where they are, and those in memory by the name of their filter.

use std::collections::HashMap;
use std::fs;
use std::path::{self, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tollgate::{
    AccountId, AccountRef, Admin, Administration, AsyncStore, Command, CompositeStore, LimitStore,
    MemoryOptions, MemoryStore, Outcome, Store, StoreError,
};
use tollgate_lmdb::{LmdbOptions, LmdbStore, SyncPolicy};
use tollgate_redis::{AsyncRedisStore, RedisOptions};
use tollgate_region::{Region, RegionOptions};

use crate::clock::now_ms;
use crate::settings::{LimitsSettings, LmdbSettings, RedisSettings, StoreSettings, Sync};
use crate::{log, threads};

/// A store, by how it is asked.
#[derive(Clone)]
pub(crate) enum Backend {
    /// Answers at once: asked on Envoy's own threads.
    Here(Arc<dyn Store>),
    /// Waits for a disk where it writes; what only reads is asked on Envoy's threads where limits are not in it.
    Disk { store: Arc<dyn Store>, reads_here: bool },
    /// Waits for a network.
    Network(Arc<AsyncRedisStore>),
}

/// A place where state is kept, open or to be opened.
pub(crate) struct Place {
    /// Of the filter that named it first.
    filter_name: String,
    settings: StoreSettings,
    limits: LimitsSettings,
    opened: OnceLock<Backend>,
    /// Held while it is opened; whether that is not to be tried any more.
    given_up: Mutex<bool>,
    names: RwLock<HashMap<u32, AccountId>>,
}

/// Names of accounts that are kept at hand; those of more are asked for each time.
const MAX_NAMES: usize = 1 << 16;

/// How often opening is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Counts of limits in this process's memory.
const LIMITS: RegionOptions = RegionOptions { cells: 1 << 20, windows: 1 << 17 };

impl Place {
    /// The store, if it is open.
    pub(crate) fn backend(&self) -> Option<&Backend> {
        self.opened.get()
    }

    /// The place that these settings name. It is opened, or that is tried until it succeeds; what is due in it is reclaimed every
    /// `expire_interval_ms` of the configuration that named it first.
    ///
    /// # Errors
    /// Settings that cannot be, or that contradict those of a place that is in use.
    pub(crate) fn named(
        filter_name: &str,
        settings: &StoreSettings,
        limits: LimitsSettings,
        expire_interval_ms: u64,
    ) -> Result<Arc<Place>, String> {
        check(settings, limits)?;
        let mut places = places().lock();
        let settings = in_one_spelling(settings);
        let key = key(filter_name, &settings);
        if let Some(place) = places.get(&key) {
            if place.settings == settings && place.limits == limits {
                return Ok(Arc::clone(place));
            }
            // Another filter may count on the settings that it gave.
            let corrected = place.filter_name == filter_name && place.give_up();
            if !corrected {
                return Err(format!(
                    "the store {key} is in use with other settings; they hold until Envoy is started anew"
                ));
            }
        }
        threads::start()?;
        let place = Arc::new(Place {
            filter_name: filter_name.to_owned(),
            settings,
            limits,
            opened: OnceLock::new(),
            given_up: Mutex::default(),
            names: RwLock::default(),
        });
        if let Err(error) = place.open() {
            log::error(&format!("the store {key} cannot be opened, which is tried again: {error}"));
        }
        threads::spawn(keep(Arc::clone(&place), key.clone(), expire_interval_ms));
        places.insert(key, Arc::clone(&place));
        Ok(place)
    }

    /// The store, if it is in memory.
    pub(crate) fn memory(&self) -> Option<Arc<dyn Store>> {
        match (&self.settings, self.backend()?) {
            (StoreSettings::Memory, Backend::Here(store)) => Some(Arc::clone(store)),
            _ => None,
        }
    }

    /// The name of an account, which a store tells without waiting.
    pub(crate) fn account_id(&self, account: &AccountRef) -> Option<AccountId> {
        let slot = match account {
            AccountRef::Id(id) => return Some(id.clone()),
            AccountRef::Slot(slot) => slot,
        };
        if let Some(id) = self.names.read().get(slot) {
            return Some(id.clone());
        }
        let (Backend::Here(store) | Backend::Disk { store, .. }) = self.backend()? else {
            return None;
        };
        let id = Admin::new(&**store).account_id(account, now_ms()).ok()?;
        // A number stands for one name as long as the store lives.
        let mut names = self.names.write();
        if names.len() < MAX_NAMES {
            names.insert(*slot, id.clone());
        }
        Some(id)
    }

    /// Tries to open it no more, if it is not open: other settings take its place. Requests of configurations that have it find no store.
    fn give_up(&self) -> bool {
        let mut given_up = self.given_up.lock();
        *given_up = self.opened.get().is_none();
        *given_up
    }

    fn open(&self) -> Result<(), String> {
        let given_up = self.given_up.lock();
        if *given_up {
            return Err("other settings took its place".to_owned());
        }
        let backend = match &self.settings {
            StoreSettings::Memory => {
                let memory = MemoryStore::new(MemoryOptions::default());
                Backend::Here(self.with_limits(Arc::new(memory))?)
            }
            StoreSettings::Lmdb(settings) => {
                let store = self.with_limits(Arc::new(open_lmdb(settings)?))?;
                match settings.sync {
                    Sync::EveryCommit => {
                        Backend::Disk { store, reads_here: self.limits == LimitsSettings::Process }
                    }
                    Sync::IntervalMs(_) | Sync::Never => Backend::Here(store),
                }
            }
            StoreSettings::Redis(settings) => {
                let store = AsyncRedisStore::new(&redis_options(settings)?);
                Backend::Network(Arc::new(store.map_err(|error| error.to_string())?))
            }
        };
        let _ = self.opened.set(backend);
        Ok(())
    }

    fn with_limits(&self, store: Arc<dyn Store>) -> Result<Arc<dyn Store>, String> {
        match self.limits {
            LimitsSettings::Store => Ok(store),
            LimitsSettings::Process => Ok(Arc::new(CompositeStore::new(limits()?, store))),
        }
    }
}

fn places() -> &'static Mutex<HashMap<String, Arc<Place>>> {
    static PLACES: OnceLock<Mutex<HashMap<String, Arc<Place>>>> = OnceLock::new();
    PLACES.get_or_init(Mutex::default)
}

/// The same settings, with a directory as it is called after links, without `.` and a `/` at its end: it can be opened once by a process.
fn in_one_spelling(settings: &StoreSettings) -> StoreSettings {
    let mut settings = settings.clone();
    if let StoreSettings::Lmdb(lmdb) = &mut settings {
        let given = PathBuf::from(&lmdb.directory);
        let absolute: PathBuf = path::absolute(&given).unwrap_or(given).components().collect();
        // What is not there yet will be made, and is no link.
        let real = absolute.ancestors().find_map(|there| {
            let rest = absolute.strip_prefix(there).ok()?;
            Some(fs::canonicalize(there).ok()?.join(rest).components().collect::<PathBuf>())
        });
        if let Some(Ok(directory)) = real.map(|real| real.into_os_string().into_string()) {
            lmdb.directory = directory;
        }
    }
    settings
}

/// What tells one place from another; without a password.
fn key(filter_name: &str, settings: &StoreSettings) -> String {
    match settings {
        StoreSettings::Memory => format!("memory of `{filter_name}`"),
        StoreSettings::Lmdb(settings) => format!("lmdb {}", settings.directory),
        StoreSettings::Redis(settings) => match (&settings.url, &settings.url_file) {
            (Some(url), _) => {
                let host = url.rsplit_once('@').map_or(url.as_str(), |(_, host)| host);
                format!("redis {}", host.rsplit_once("://").map_or(host, |(_, host)| host))
            }
            (None, file) => format!("redis of {}", file.as_deref().unwrap_or_default()),
        },
    }
}

/// Whether a store of these settings could be opened, as far as that can be said without opening it.
///
/// # Errors
/// What is wrong.
pub(crate) fn check(settings: &StoreSettings, limits: LimitsSettings) -> Result<(), String> {
    let StoreSettings::Redis(redis) = settings else { return Ok(()) };
    if limits == LimitsSettings::Process {
        return Err(
            "`limits`: Redis counts limits for all of its Envoys; leave `process` out".to_owned()
        );
    }
    // Nothing is connected before the first command.
    AsyncRedisStore::new(&redis_options(redis)?).map(drop).map_err(|error| error.to_string())
}

fn open_lmdb(settings: &LmdbSettings) -> Result<LmdbStore, String> {
    let mut options = LmdbOptions::default();
    options.sync = match settings.sync {
        Sync::EveryCommit => SyncPolicy::EveryCommit,
        Sync::IntervalMs(interval) => SyncPolicy::IntervalMs(interval),
        Sync::Never => SyncPolicy::Never,
    };
    if let Some(bytes) = settings.map_bytes {
        options.map_bytes = bytes;
    }
    let directory = &settings.directory;
    fs::create_dir_all(directory).map_err(|error| format!("{directory}: {error}"))?;
    LmdbStore::open(directory, &options).map_err(|error| error.to_string())
}

fn redis_options(settings: &RedisSettings) -> Result<RedisOptions, String> {
    let url = match (&settings.url, &settings.url_file) {
        (Some(url), None) => url.clone(),
        (None, Some(file)) => {
            let url = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
            url.trim().to_owned()
        }
        _ => return Err("`store.redis`: give either `url` or `url_file`".to_owned()),
    };
    let mut options = RedisOptions::new(&url);
    if let Some(timeout) = settings.connect_timeout_ms {
        options.connect_timeout = Duration::from_millis(timeout);
    }
    if let Some(timeout) = settings.response_timeout_ms {
        options.response_timeout = Duration::from_millis(timeout);
    }
    Ok(options)
}

/// Limits in memory that is never given back: the places that count in it are kept as long as the process lives.
#[allow(unsafe_code)]
fn limits() -> Result<Arc<dyn LimitStore>, String> {
    let size = LIMITS.size_bytes().map_err(|error| error.to_string())?;
    let memory: &'static mut [u64] = vec![0; size.div_ceil(8)].leak();
    let start = memory.as_mut_ptr().cast::<u8>();
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|error| error.to_string())?;
    // SAFETY: the memory is there for ever, aligned to 8 bytes, at least `size` long, and nobody else has it.
    let region = unsafe { Region::create(start, size, &LIMITS, &key) };
    Ok(Arc::new(region.map_err(|error| error.to_string())?))
}

/// Opens a place that is not open yet, then reclaims what is due in it.
async fn keep(place: Arc<Place>, key: String, expire_interval_ms: u64) {
    while place.backend().is_none() {
        tokio::time::sleep(TRY_AGAIN).await;
        if *place.given_up.lock() {
            return;
        }
        let opening = Arc::clone(&place);
        let opened = tokio::task::spawn_blocking(move || opening.open()).await;
        if matches!(opened, Ok(Ok(()))) {
            log::info(&format!("the store {key} is open"));
        }
    }
    if expire_interval_ms == 0 {
        return;
    }
    let expiring = log::Seldom::new();
    loop {
        tokio::time::sleep(Duration::from_millis(expire_interval_ms)).await;
        if let Some(backend) = place.backend() {
            let expired = expire(backend).await;
            if let Err(error) = expired {
                expiring.warn(now_ms(), || {
                    format!("the store {key} could not reclaim what is due: {error}")
                });
            }
        }
    }
}

async fn expire(backend: &Backend) -> Result<(), StoreError> {
    let asked = match backend {
        Backend::Network(redis) => {
            redis.perform_async(&Command::Administer(&Administration::Expire), now_ms()).await
        }
        Backend::Here(store) | Backend::Disk { store, .. } => {
            let store = Arc::clone(store);
            let work =
                move || store.perform(&Command::Administer(&Administration::Expire), now_ms());
            let waited = tokio::task::spawn_blocking(work).await;
            waited.unwrap_or(Err(StoreError::WrongOutcome))
        }
    };
    match asked? {
        Outcome::Refused(_) => Err(StoreError::WrongOutcome),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_one_place_however_it_is_spelled() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let spelled = |directory: PathBuf| {
            let directory = directory.to_str().unwrap().to_owned();
            let settings = LmdbSettings { directory, sync: Sync::Never, map_bytes: None };
            key("", &in_one_spelling(&StoreSettings::Lmdb(settings)))
        };
        let wanted = format!("lmdb {}/a/db", root.display());
        std::os::unix::fs::symlink(&root, root.join("link")).unwrap();
        let spellings = ["a/db", "a/db/", "a/./db", "a//db", "link/a/db"];
        for made in ["", "a", "a/db"] {
            fs::create_dir_all(root.join(made)).unwrap();
            for spelling in spellings {
                assert_eq!(spelled(root.join(spelling)), wanted, "{spelling}, {made} is there");
            }
        }
        // In the way is a file, which may be gone later.
        fs::write(root.join("file"), "").unwrap();
        assert_eq!(spelled(root.join("file/db")), format!("lmdb {}/file/db", root.display()));
    }
}
