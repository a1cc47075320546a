//! Structs of other versions, numbers that are none, handles that are done with, and many threads.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tollgate_c_driver::hostile;

fn structs() -> Vec<String> {
    (0..).map_while(hostile::struct_name).collect()
}

/// The structs of the header that begin with their size.
fn declared() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../include/tollgate.h");
    let text = fs::read_to_string(path).unwrap();
    let mut names = BTreeSet::new();
    let mut latest = String::new();
    for line in text.lines() {
        if let Some(name) =
            line.strip_prefix("typedef struct ").and_then(|it| it.strip_suffix(" {"))
        {
            latest = name.to_owned();
        }
        if line.trim() == "size_t struct_size;" {
            names.insert(latest.clone());
        }
    }
    names
}

#[test]
fn every_struct_with_a_size_is_tried_in_every_length() {
    let all = structs();
    assert!(declared().len() > 5);
    assert_eq!(all.iter().cloned().collect::<BTreeSet<_>>(), declared());
    let wrong: Vec<String> = (0..all.len())
        .filter_map(|index| {
            let directory = TempDir::new().unwrap();
            hostile::struct_sizes(index, directory.path()).err()
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn misuse_is_answered_with_a_result() {
    let names: Vec<String> = (0..).map_while(hostile::misuse_name).collect();
    assert!(names.len() > 5);
    let wrong: Vec<String> = names
        .into_iter()
        .enumerate()
        .filter_map(|(index, name)| {
            let directory = TempDir::new().unwrap();
            hostile::misuse(index, directory.path()).err().map(|text| format!("{name}: {text}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn handles_that_may_be_shared_are_shared() {
    let directory = TempDir::new().unwrap();
    hostile::threads(directory.path()).unwrap();
}
