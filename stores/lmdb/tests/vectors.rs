//! Every file in `tests/vectors` of the workspace, on LMDB.
#![cfg(test)]

use std::fs;
use std::path::Path;

use tollgate_lmdb::LmdbBackend;
use tollgate_scenario::{Runner, VectorFile};

#[test]
fn every_scenario_replies_as_expected() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let (mut scenarios, mut failed) = (0, Vec::new());
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let file = VectorFile::parse(&fs::read_to_string(&path).unwrap()).unwrap();
        for scenario in &file.run(|| Runner::new(LmdbBackend::default())).scenarios {
            scenarios += 1;
            if !scenario.passed() {
                failed.push(format!("{}: {scenario}", path.display()));
            }
        }
    }
    println!("{scenarios} scenarios");
    assert!(scenarios > 600, "{scenarios} scenarios");
    assert!(failed.is_empty(), "{} scenarios failed:\n{}", failed.len(), failed.join("\n"));
}
