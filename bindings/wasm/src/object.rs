//! The object's half of a store in objects: over a map that JavaScript keeps.

use core::ops::Bound;
use std::borrow::Cow;
use std::collections::BTreeMap;

use send_wrapper::SendWrapper;
use tollgate::StoreError;
use tollgate_kv::{KvEntry, KvError, KvMap, KvOpenError, KvOptions, KvRead, KvWrite};
use tollgate_objects::Object;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

use crate::error::Fault;

#[wasm_bindgen]
extern "C" {
    /// The package's side of a host's map.
    pub type RawMap;

    #[wasm_bindgen(method, catch)]
    fn get(this: &RawMap, key: &[u8]) -> Result<Option<Vec<u8>>, JsValue>;

    /// The length of the key as 4 bytes, the key, the value.
    #[wasm_bindgen(method, catch, js_name = firstAtOrAfter)]
    fn first_at_or_after(this: &RawMap, key: &[u8]) -> Result<Option<Vec<u8>>, JsValue>;

    /// Entries one after the other: the lengths of key and value as 4 bytes each (`u32::MAX` for the value: it is removed), key, value.
    #[wasm_bindgen(method, catch)]
    fn commit(this: &RawMap, changes: &[u8]) -> Result<(), JsValue>;
}

/// The map of one object. WebAssembly has one thread here, and the wrapper holds it to that.
struct HostMap(SendWrapper<RawMap>);

/// A key and its value.
type Entry = (Vec<u8>, Vec<u8>);

/// What the host threw, as far as it says.
fn failed(thrown: &JsValue) -> KvError {
    let message = thrown.dyn_ref::<js_sys::Error>().map(|error| String::from(error.message()));
    let reason = message.unwrap_or_else(|| "the map threw something that is no Error".into());
    KvError::Store(StoreError::Unavailable { reason: reason.into() })
}

fn garbled() -> KvError {
    KvError::Store(StoreError::Unavailable { reason: "the map gave an entry cut short".into() })
}

impl HostMap {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.0.get(key).map_err(|thrown| failed(&thrown))
    }

    fn first(&self, key: &[u8]) -> Result<Option<Entry>, KvError> {
        let entry = self.0.first_at_or_after(key).map_err(|thrown| failed(&thrown))?;
        let Some(entry) = entry else { return Ok(None) };
        let (len, rest) = entry.split_first_chunk().ok_or_else(garbled)?;
        let len = usize::try_from(u32::from_le_bytes(*len)).map_err(|_| garbled())?;
        let (key, value) = rest.split_at_checked(len).ok_or_else(garbled)?;
        Ok(Some((key.to_vec(), value.to_vec())))
    }
}

/// A transaction: the host's map, and changes that it does not know yet.
struct Txn<'m> {
    map: &'m HostMap,
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl KvRead for Txn<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, KvError> {
        match self.changes.get(key) {
            Some(changed) => Ok(changed.as_deref().map(Cow::Borrowed)),
            None => Ok(self.map.get(key)?.map(Cow::Owned)),
        }
    }

    fn first_at_or_after(&self, key: &[u8]) -> Result<Option<KvEntry<'_>>, KvError> {
        let mut from = key.to_vec();
        loop {
            let kept = self.map.first(&from)?;
            let bounds = (Bound::Included(from.as_slice()), Bound::Unbounded);
            let changed = self.changes.range::<[u8], _>(bounds).next();
            let (key, value) = match (changed, kept) {
                (Some((key, value)), kept) if kept.as_ref().is_none_or(|(kept, _)| key <= kept) => {
                    (key, value)
                }
                (_, kept) => {
                    return Ok(kept.map(|(key, value)| (Cow::Owned(key), Cow::Owned(value))));
                }
            };
            if let Some(value) = value {
                return Ok(Some((Cow::Borrowed(key), Cow::Borrowed(value))));
            }
            from.clone_from(key);
            from.push(0); // the next key there can be
        }
    }
}

impl KvWrite for Txn<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        self.changes.insert(key.to_vec(), Some(value.to_vec()));
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool, KvError> {
        let was_there = self.get(key)?.is_some();
        self.changes.insert(key.to_vec(), None);
        Ok(was_there)
    }

    fn commit(self) -> Result<(), KvError> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        for (key, value) in &self.changes {
            let value_len = value.as_ref().map_or(Ok(u32::MAX), |value| u32::try_from(value.len()));
            bytes.extend(u32::try_from(key.len()).map_err(|_| garbled())?.to_le_bytes());
            bytes.extend(value_len.map_err(|_| garbled())?.to_le_bytes());
            bytes.extend(key);
            bytes.extend(value.as_deref().unwrap_or_default());
        }
        self.map.0.commit(&bytes).map_err(|thrown| failed(&thrown))
    }
}

impl KvMap for HostMap {
    type Read<'m> = Txn<'m>;
    type Write<'m> = Txn<'m>;

    fn read(&self) -> Result<Txn<'_>, KvError> {
        Ok(Txn { map: self, changes: BTreeMap::new() })
    }

    fn write(&self) -> Result<Txn<'_>, KvError> {
        self.read()
    }
}

/// See `StoreObject` of the package.
#[wasm_bindgen]
#[derive(Debug)]
pub struct RawStoreObject {
    object: Object<HostMap>,
}

fn open(map: RawMap) -> Result<RawStoreObject, Fault> {
    let opened = Object::open(HostMap(SendWrapper::new(map)), &KvOptions::default());
    match opened {
        Ok(object) => Ok(RawStoreObject { object }),
        Err(KvOpenError::Store(error)) => Err(error.into()),
        Err(error) => Err(Fault::invalid(error.to_string())),
    }
}

#[wasm_bindgen]
impl RawStoreObject {
    /// Opens the object that is in a map.
    ///
    /// # Errors
    /// Why it cannot be opened; the same holds for all that follow.
    #[wasm_bindgen(constructor)]
    pub fn new(map: RawMap) -> Result<RawStoreObject, JsValue> {
        Ok(open(map)?)
    }

    /// Performs a message.
    #[allow(clippy::missing_errors_doc)]
    pub fn perform(&self, message: &[u8], now_ms: u64) -> Result<Vec<u8>, JsValue> {
        Ok(self.object.perform(message, now_ms).map_err(Fault::from)?)
    }

    /// Ends what is due; gives how many leases and claims ended.
    #[allow(clippy::missing_errors_doc)]
    pub fn expire(&self, now_ms: u64) -> Result<u64, JsValue> {
        Ok(self.object.expire(now_ms).map_err(Fault::from)?)
    }

    /// When something falls due next.
    #[wasm_bindgen(js_name = nextDueMs)]
    #[allow(clippy::missing_errors_doc)]
    pub fn next_due_ms(&self, now_ms: u64) -> Result<Option<u64>, JsValue> {
        Ok(self.object.next_due_ms(now_ms).map_err(Fault::from)?)
    }

    /// Whether it holds nothing, so that its map may be cleared.
    #[wasm_bindgen(js_name = isEmpty)]
    #[allow(clippy::missing_errors_doc)]
    pub fn is_empty(&self) -> Result<bool, JsValue> {
        Ok(self.object.is_empty().map_err(Fault::from)?)
    }

    /// Reads and checks every record; gives how many there are.
    #[allow(clippy::missing_errors_doc)]
    pub fn verify(&self) -> Result<u64, JsValue> {
        Ok(self.object.verify().map_err(Fault::from)?)
    }
}
