//! Every file of `tests/vectors`, on a server and on a cluster.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects, reason = "small numbers")]

mod common;

use std::fs;
use std::path::Path;

use common::{Cluster, RedisBackend, Server};
use tollgate_scenario::{Runner, VectorFile};

fn replies_as_expected(backend: &RedisBackend) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let (mut scenarios, mut failed) = (0, Vec::new());
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let file = VectorFile::parse(&fs::read_to_string(&path).unwrap()).unwrap();
        for scenario in &file.run(|| Runner::new(backend)).scenarios {
            scenarios += 1;
            if !scenario.passed() {
                failed.push(format!("{}: {scenario}", path.display()));
            }
        }
    }
    assert!(scenarios >= 600, "only {scenarios} scenarios were found");
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
    println!("{scenarios} scenarios");
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
