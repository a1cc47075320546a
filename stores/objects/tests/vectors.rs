//! Every file in `tests/vectors` of the workspace, after each of which all records must agree.
#![cfg(test)]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{Caller, World};
use tollgate::{Command, Outcome, Store, StoreError};
use tollgate_scenario::Backend;

#[derive(Clone, Copy)]
struct VerifyingBackend;

struct Verifying(Caller);

impl Store for Verifying {
    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        self.0.perform(command, now_ms)
    }
}

impl Drop for Verifying {
    fn drop(&mut self) {
        self.0.world.verify();
    }
}

impl Backend for VerifyingBackend {
    fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(Verifying(Caller::new(&Arc::new(World::default())))))
    }

    fn reopen(&self, store: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
        Ok(store) // the conformance suite opens objects again
    }

    fn keeps_state(&self) -> bool {
        true
    }
}

#[test]
fn every_scenario_replies_as_expected_and_leaves_its_objects_in_order() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let report = tollgate_conformance::vectors(&directory, VerifyingBackend).unwrap();
    println!("{report}");
    assert!(report.scenarios.len() >= 600, "only {} scenarios", report.scenarios.len());
    assert!(report.passed(), "{report}");
}
