//! The store in the module's memory.

use tollgate::{MemoryOptions, MemoryStore};
use wasm_bindgen::prelude::wasm_bindgen;

/// See `MemoryStore` of the package.
#[wasm_bindgen]
#[derive(Debug)]
pub struct RawMemoryStore {
    pub(crate) store: MemoryStore,
}

#[wasm_bindgen]
impl RawMemoryStore {
    /// An empty store. Bounds that are left out are the library's.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new(
        max_accounts: Option<usize>,
        max_tokens: Option<usize>,
        max_cells: Option<usize>,
        max_claims: Option<usize>,
        max_reservations: Option<usize>,
        max_per_account: Option<usize>,
    ) -> RawMemoryStore {
        let mut options = MemoryOptions::default();
        let bounds = [
            (&mut options.max_accounts, max_accounts),
            (&mut options.max_tokens, max_tokens),
            (&mut options.max_cells, max_cells),
            (&mut options.max_claims, max_claims),
            (&mut options.max_reservations, max_reservations),
            (&mut options.max_per_account, max_per_account),
        ];
        for (bound, given) in bounds {
            *bound = given.unwrap_or(*bound);
        }
        RawMemoryStore { store: MemoryStore::new(options) }
    }
}
