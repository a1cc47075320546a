//! The model itself, which keeps its maps through a restart and whose records can be damaged.
#![cfg(test)]

use std::sync::Arc;
use std::sync::Mutex;

use tollgate::{Command, Outcome, Store, StoreError};
use tollgate_conformance::{Damage, ModelBackend, ModelStore};
use tollgate_scenario::Backend;

/// A model, and the damage that is yet to be done to it.
#[derive(Default)]
struct Damaged {
    model: ModelStore,
}

static DAMAGED: Mutex<Vec<(usize, Damage)>> = Mutex::new(Vec::new());

impl Store for Damaged {
    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        // A suite knows its stores by what they are behind: by their address.
        let own = std::ptr::from_ref(self) as usize;
        DAMAGED.lock().unwrap().retain(|(store, damage)| {
            if *store == own {
                self.model.records().damage(damage.clone());
            }
            *store != own
        });
        self.model.perform(command, now_ms)
    }
}

#[derive(Clone, Copy)]
struct Corruptible;

impl Backend for Corruptible {
    fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(Damaged::default()))
    }

    fn reopen(&self, store: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
        ModelBackend.reopen(store)
    }

    fn keeps_state(&self) -> bool {
        true
    }
}

fn corrupt(store: &Arc<dyn Store>, damage: &Damage) -> bool {
    let own = Arc::as_ptr(store).cast::<()>() as usize;
    DAMAGED.lock().unwrap().push((own, damage.clone()));
    true
}

tollgate_conformance::store_suite!(
    backend = Corruptible,
    durable,
    shared = |store| Ok(Arc::clone(store)),
    corruptible = corrupt,
);
