//! A host in this process: objects by name, each behind a lock, in maps in memory.
#![allow(dead_code)] // each test file uses a part

pub(crate) mod lossy;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tollgate::{Command, Outcome, Store, StoreError};
use tollgate_kv::MemoryMap;
use tollgate_objects::{Call, KvOptions, Lost, Object, ObjectsOptions, ObjectsStore, Reply};

pub(crate) type AnObject = Object<Arc<MemoryMap>>;

/// Objects, made when they are first sent something.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) options: KvOptions,
    objects: Mutex<BTreeMap<String, Arc<Mutex<AnObject>>>>,
}

impl World {
    pub(crate) fn bounded(options: KvOptions) -> Arc<Self> {
        Arc::new(World { options, objects: Mutex::default() })
    }

    pub(crate) fn object(&self, name: &str) -> Arc<Mutex<AnObject>> {
        assert!(name.len() <= 512 && name.bytes().all(|byte| byte.is_ascii_graphic()), "{name}");
        let mut objects = self.objects.lock().unwrap();
        let make = || {
            let map = Arc::new(MemoryMap::default());
            Arc::new(Mutex::new(Object::open(map, &self.options).unwrap()))
        };
        Arc::clone(objects.entry(name.to_owned()).or_insert_with(make))
    }

    /// All objects, by their names.
    pub(crate) fn objects(&self) -> BTreeMap<String, Arc<Mutex<AnObject>>> {
        self.objects.lock().unwrap().clone()
    }

    /// Has an object perform a call.
    pub(crate) fn send(&self, call: &Call, now_ms: u64) -> Reply {
        let object = self.object(&call.object);
        let object = object.lock().unwrap();
        object.perform(&call.message, now_ms).map_err(|error| Lost::new(&error.to_string()))
    }

    /// Opens every object anew over what is in its map.
    pub(crate) fn restart(&self) {
        for object in self.objects().values() {
            let mut object = object.lock().unwrap();
            let map = Arc::clone(object.map());
            *object = Object::open(map, &self.options).unwrap();
        }
    }

    /// Every record of every object is whole, and they agree.
    pub(crate) fn verify(&self) {
        for (name, object) in self.objects() {
            let found = object.lock().unwrap().verify();
            assert!(found.is_ok(), "{name}: {found:?}");
        }
    }
}

/// A caller of a world: a store like any other.
pub(crate) struct Caller {
    pub(crate) world: Arc<World>,
    pub(crate) store: ObjectsStore,
    /// What was sent, round by round.
    rounds: Mutex<Vec<Vec<Call>>>,
}

impl Caller {
    pub(crate) fn new(world: &Arc<World>) -> Self {
        Caller::with(world, &ObjectsOptions::default())
    }

    fn with(world: &Arc<World>, options: &ObjectsOptions) -> Self {
        let store = ObjectsStore::new(options);
        Caller { world: Arc::clone(world), store, rounds: Mutex::default() }
    }

    pub(crate) fn without_cache(world: &Arc<World>) -> Self {
        let mut options = ObjectsOptions::default();
        options.cached_tokens = 0;
        Caller::with(world, &options)
    }

    /// What was sent since this was asked last.
    pub(crate) fn sent(&self) -> Vec<Vec<Call>> {
        std::mem::take(&mut self.rounds.lock().unwrap())
    }
}

impl Store for Caller {
    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        let mut exchange = self.store.start(command, now_ms);
        while !exchange.calls().is_empty() {
            self.rounds.lock().unwrap().push(exchange.calls().to_vec());
            let send = |call| self.world.send(call, now_ms);
            exchange.resume(exchange.calls().iter().map(send).collect());
        }
        exchange.into_outcome()
    }
}
