//! The store in the module's memory.

use serde::Deserialize;
use tollgate::{MemoryOptions, MemoryStore};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::error::Fault;

/// See `MemoryStore` of the package.
#[wasm_bindgen]
#[derive(Debug)]
pub struct RawMemoryStore {
    pub(crate) store: MemoryStore,
}

/// Bounds that are left out are the library's.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Bounds {
    max_accounts: Option<usize>,
    max_tokens: Option<usize>,
    max_cells: Option<usize>,
    max_claims: Option<usize>,
    max_reservations: Option<usize>,
    max_per_account: Option<usize>,
}

fn open(options: &str) -> Result<RawMemoryStore, Fault> {
    let given: Bounds = serde_json::from_str(options)
        .map_err(|error| Fault::invalid(format!("options of the store: {error}")))?;
    let mut options = MemoryOptions::default();
    let bounds = [
        (&mut options.max_accounts, given.max_accounts),
        (&mut options.max_tokens, given.max_tokens),
        (&mut options.max_cells, given.max_cells),
        (&mut options.max_claims, given.max_claims),
        (&mut options.max_reservations, given.max_reservations),
        (&mut options.max_per_account, given.max_per_account),
    ];
    for (bound, given) in bounds {
        *bound = given.unwrap_or(*bound);
    }
    Ok(RawMemoryStore { store: MemoryStore::new(options) })
}

#[wasm_bindgen]
impl RawMemoryStore {
    /// An empty store with these bounds, as JSON.
    ///
    /// # Errors
    /// What is no number, or no bound.
    #[wasm_bindgen(constructor)]
    pub fn new(options: &str) -> Result<RawMemoryStore, JsValue> {
        Ok(open(options)?)
    }
}
