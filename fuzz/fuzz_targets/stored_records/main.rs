//! Maps of bytes as `tollgate-kv` finds them: entries that were cut, changed, moved, left out or made up, with a checksum
//! that is right or wrong, and then every command.
//!
//! What must hold: an error, or an outcome of the command's own kind; no panic; and no change of the map by a command that
//! failed. Where nothing was damaged, it is a whole store to the end.

#![no_main]

mod damage;
mod story;

use arbitrary::Arbitrary;
use damage::{Damage, Entries};
use libfuzzer_sys::fuzz_target;
use story::Asked;
use tollgate::{Administration, Command, Store, StoreError};
use tollgate_kv::{KvMap, KvOptions, KvStore, KvWrite, MemoryMap};

#[derive(Arbitrary, Debug)]
struct Input {
    damages: Vec<Damage>,
    small: bool,
    asked: Vec<Asked>,
}

thread_local! {
    static WHOLE: Entries = story::entries();
}

fuzz_target!(|input: Input| {
    let mut entries = WHOLE.with(Clone::clone);
    for damage in input.damages.iter().take(8) {
        damage.apply(&mut entries);
    }
    let whole = WHOLE.with(|whole| *whole == entries);
    let map = MemoryMap::default();
    let mut txn = map.write().unwrap();
    for (key, value) in &entries {
        txn.put(key, value).unwrap();
    }
    txn.commit().unwrap();
    let mut options = KvOptions::default();
    if input.small {
        (options.max_tokens, options.max_cells, options.max_claims) = (6, 4, 3);
        (options.max_reservations, options.max_per_account, options.max_accounts) = (5, 3, 2);
    }
    let store = match KvStore::open(map, &options) {
        Ok(store) => store,
        Err(error) => {
            assert!(!whole && !error.to_string().is_empty());
            return;
        }
    };
    let verified = store.verify();
    assert!(!whole || verified.is_ok(), "{verified:?}");
    check_error(verified.as_ref().err());
    let _ = (store.next_due_ms(), store.is_empty());
    for asked in input.asked.iter().take(24) {
        let before = store.map().entries();
        asked.perform(|command, now_ms| {
            let outcome = store.perform(command, now_ms);
            match &outcome {
                Ok(outcome) => {
                    assert!(story::fits(command, outcome), "{command:?} gave {outcome:?}")
                }
                Err(error) => {
                    check_error(Some(error));
                    let full = matches!(error, StoreError::Full { .. });
                    assert!(!whole || full, "{command:?} on a whole store: {error}");
                    // At a bound what is over is reclaimed first, and a sweep goes in steps: those stay.
                    let in_steps = input.small
                        || matches!(command, Command::Administer(Administration::Expire));
                    assert!(
                        in_steps || store.map().entries() == before,
                        "{command:?} changed something and failed"
                    );
                }
            }
        });
    }
    let verified = store.verify();
    assert!(!whole || verified.is_ok(), "in the end {verified:?}: {:?}", input.asked);
});

/// Damage is all that can be wrong here.
fn check_error(error: Option<&StoreError>) {
    let Some(error) = error else { return };
    let known = matches!(
        error,
        StoreError::Corrupt { .. } | StoreError::Full { .. } | StoreError::NewerFormat { .. }
    );
    assert!(known, "{error:?}");
}
