//! Every file of `tests/vectors` through C, in both forms, on every kind of store; and every reply beside the library's own.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects, reason = "small numbers")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate::{CompositeStore, Store, StoreError};
use tollgate_c_driver::{Form, Stores, Through};
use tollgate_conformance::{vectors, vectors_beside};
use tollgate_lmdb::{LmdbBackend, LmdbOptions, LmdbStore, SyncPolicy};
use tollgate_redis::{RedisOptions, RedisScratch};
use tollgate_region::{Region, RegionOptions};
use tollgate_scenario::{Backend, MemoryBackend, Runner};

use common::Server;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../tests/vectors")
}

fn replies_as_expected(through: Through) {
    let report = vectors(&directory(), through).unwrap();
    println!("{through:?}: {report}");
    assert!(report.passed(), "{report}");
    assert!(report.scenarios.len() >= 600, "only {} scenarios", report.scenarios.len());
}

/// Runs every scenario through C as it is, and then beside the library, with every reply and every explanation the same.
fn replies_as_the_library<B: Backend>(through: Through, library: impl Fn() -> B) {
    replies_as_expected(through);
    let compared = vectors_beside(&directory(), || through, library).unwrap();
    println!("{through:?}: {compared} replies compared");
    assert!(compared > 3_500, "{compared}");
}

/// Limits in a region, the rest on disk.
#[derive(Default)]
struct RegionAndLmdb(Mutex<Option<TempDir>>);

impl Backend for RegionAndLmdb {
    fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
        let directory = TempDir::new().unwrap();
        let options = RegionOptions { cells: 2_000, windows: 1_000 };
        let region =
            Region::open(directory.path().join("limits"), &options, b"a key for tests.").unwrap();
        let mut options = LmdbOptions::default();
        options.sync = SyncPolicy::Never;
        let lmdb = LmdbStore::open(directory.path(), &options).unwrap();
        *self.0.lock().unwrap() = Some(directory);
        Ok(Arc::new(CompositeStore::new(region, lmdb)))
    }

    fn reopen(&self, _: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
        self.fresh()
    }

    fn keeps_state(&self) -> bool {
        false
    }
}

/// Stores on a server, the library's own way.
struct OnServer {
    options: RedisOptions,
    latest: Mutex<Option<RedisScratch>>,
}

impl Backend for OnServer {
    fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
        let scratch = RedisScratch::new(&self.options).unwrap();
        let store = scratch.open().unwrap();
        *self.latest.lock().unwrap() = Some(scratch);
        Ok(Arc::new(store))
    }

    fn reopen(&self, _: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
        self.fresh()
    }

    fn keeps_state(&self) -> bool {
        false
    }
}

#[test]
fn in_memory_in_one_call() {
    replies_as_the_library(Through(Form::OneCall, Stores::Memory), || MemoryBackend);
}

#[test]
fn in_memory_in_steps() {
    replies_as_the_library(Through(Form::Steps, Stores::Memory), || MemoryBackend);
}

#[test]
fn in_a_map_of_the_hosts_in_one_call() {
    replies_as_the_library(Through(Form::OneCall, Stores::HostMap), || MemoryBackend);
}

#[test]
fn in_a_map_of_the_hosts_in_steps() {
    replies_as_expected(Through(Form::Steps, Stores::HostMap));
}

#[test]
fn on_disk_in_one_call() {
    replies_as_the_library(Through(Form::OneCall, Stores::Lmdb), LmdbBackend::default);
}

#[test]
fn on_disk_in_steps() {
    replies_as_the_library(Through(Form::Steps, Stores::Lmdb), LmdbBackend::default);
}

#[test]
fn on_a_region_and_disk_in_one_call() {
    let through = Through(Form::OneCall, Stores::RegionAndLmdb);
    replies_as_the_library(through, RegionAndLmdb::default);
}

#[test]
fn on_a_region_and_disk_in_steps() {
    replies_as_the_library(Through(Form::Steps, Stores::RegionAndLmdb), RegionAndLmdb::default);
}

#[test]
fn on_redis_over_the_drivers_own_sockets() {
    let server = Server::start();
    let stores = Stores::Redis { port: server.port, as_cluster: false };
    let library = || {
        let mut options = RedisOptions::new(&server.url());
        options.response_timeout = Duration::from_secs(10);
        OnServer { options, latest: Mutex::default() }
    };
    replies_as_the_library(Through(Form::Steps, stores), library);
}

#[test]
fn on_redis_in_one_call() {
    let server = Server::start();
    let stores = Stores::Redis { port: server.port, as_cluster: false };
    replies_as_expected(Through(Form::OneCall, stores));
}

/// Limits that span accounts take round trips of their own then.
#[test]
fn on_redis_as_a_cluster_over_the_drivers_own_sockets() {
    let server = Server::start();
    let stores = Stores::Redis { port: server.port, as_cluster: true };
    replies_as_expected(Through(Form::Steps, stores));
}

/// What a C program can do after it was started again: see what was kept, and resolve by number.
#[test]
fn after_a_restart_requests_are_resolved_by_their_numbers() {
    for stores in [Stores::Lmdb, Stores::RegionAndLmdb] {
        let mut runner = Runner::new(Through(Form::OneCall, stores));
        let mut run = |step: Value| runner.try_step(step);
        let patch = json!({"tokens": {"format": "opaque"}});
        run(json!({"op": "policy", "preset": "sms-gateway", "patch": patch})).unwrap();
        run(json!({"op": "account", "id": "acme", "balance": 100})).unwrap();
        run(json!({"op": "token", "token": "t", "account": "acme", "scopes": ["sms:send"]}))
            .unwrap();
        for id in ["a", "b"] {
            let reply = run(json!({
                "op": "request", "id": id, "now_ms": 10, "method": "POST", "target": "/sms/send",
                "headers": [["authorization", "Bearer t"]], "peer": "192.0.2.1", "cost": 5,
            }));
            assert_eq!(reply.unwrap()["reserved"], 5);
        }
        run(json!({"op": "restart"})).unwrap();
        let finish = json!({"op": "finish", "id": "a", "now_ms": 20, "outcome": "settle"});
        assert!(run(finish).unwrap_err().is_not_carried(), "a decision is gone with its process");
        let settled = run(json!({"op": "resolve", "id": "a", "outcome": "settle"})).unwrap();
        assert_eq!(settled["settled"], 5);
        run(json!({"op": "refund", "id": "a", "amount": 2, "ref": "r"})).unwrap();
        run(json!({"op": "resolve", "id": "b", "outcome": "void"})).unwrap();
        let money = run(json!({"op": "inspect", "account": "acme"})).unwrap();
        assert_eq!(
            money,
            json!({"balance": 97, "held": 0, "available": 97, "posted": 5, "reservations": 0})
        );
    }
}
