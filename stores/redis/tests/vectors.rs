//! Every file of `tests/vectors`, on a server and on a cluster.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects, reason = "small numbers")]

mod common;

use std::path::Path;

use std::sync::{Arc, Mutex};

use common::{Cluster, RedisBackend, Server, options};
use tokio::runtime::{Builder, Runtime};
use tollgate::{AsyncStore, Command, Outcome, Store, StoreError};
use tollgate_conformance::vectors;
use tollgate_redis::{AsyncRedisStore, RedisOptions};
use tollgate_scenario::Backend;

/// Waits for a store that answers later.
struct Waiting {
    store: AsyncRedisStore,
    runtime: Runtime,
}

impl Store for Waiting {
    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        self.runtime.block_on(self.store.perform_async(command, now_ms))
    }
}

/// Makes stores that answer later.
struct Later {
    url: String,
    latest: Mutex<Option<RedisOptions>>,
}

impl Later {
    fn open(&self, options: RedisOptions) -> Arc<dyn Store> {
        let store = AsyncRedisStore::new(&options).unwrap();
        *self.latest.lock().unwrap() = Some(options);
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Arc::new(Waiting { store, runtime })
    }
}

impl Backend for &Later {
    fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(self.open(options(&self.url)))
    }

    fn reopen(&self, _: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
        let latest = self.latest.lock().unwrap().clone().unwrap();
        Ok(self.open(latest))
    }

    fn keeps_state(&self) -> bool {
        true
    }
}

fn replies_as_expected<B: Backend + Copy>(backend: B) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let report = vectors(&directory, backend).unwrap();
    assert!(report.scenarios.len() >= 600, "only {} scenarios", report.scenarios.len());
    assert!(report.passed(), "{report}");
}

#[test]
fn every_scenario_replies_as_expected_on_a_server() {
    let server = Server::start(&[]);
    replies_as_expected(&RedisBackend::new(server.url()));
}

#[test]
fn every_scenario_replies_as_expected_on_a_cluster() {
    let cluster = Cluster::start();
    replies_as_expected(&RedisBackend::new(cluster.url()));
}

#[test]
fn every_scenario_replies_as_expected_by_the_store_that_answers_later() {
    let server = Server::start(&[]);
    replies_as_expected(&Later { url: server.url(), latest: Mutex::new(None) });
}
