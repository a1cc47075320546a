//! SECURITY.md names the tests that hold its promises: each must be where it says.

// Helpers of tests may do what tests may; `clippy.toml` allows it in test functions alone.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const SECURITY: &str = include_str!("../SECURITY.md");

/// What stands between backquotes and names a file and something in it: `tests/bounds.rs::accounts_meet_their_bound`.
fn named(text: &str) -> Vec<(&str, &str)> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted
        .filter_map(|quoted| quoted.split_once("::"))
        .filter(|(file, _)| file.contains('/'))
        .collect()
}

/// Whether a source has this test: a function in Rust, a title or a name elsewhere.
fn has(file: &str, source: &str, name: &str) -> bool {
    if Path::new(file).extension().is_some_and(|extension| extension == "rs") {
        return source.contains(&format!("fn {name}("));
    }
    source.contains(&format!("\"{name}\""))
}

/// Those that are not where they should be.
fn missing(text: &str, read: impl Fn(&str) -> Option<String>) -> Vec<(&str, &str)> {
    let mut sources: BTreeMap<&str, String> = BTreeMap::new();
    let mut missing = named(text);
    missing.retain(|(file, name)| {
        let source = sources.entry(file).or_insert_with(|| read(file).unwrap_or_default());
        !has(file, source, name)
    });
    missing
}

/// The rows of the tables of promises, without the lines that make them tables.
fn promises(text: &str) -> Vec<&str> {
    let (_, promised) = text.split_once("\n## What is promised\n").unwrap();
    let (promised, _) = promised.split_once("\n## What is not promised\n").unwrap();
    let rows = promised.lines().filter(|line| line.starts_with("| "));
    rows.filter(|row| !row.starts_with("| Promise")).collect()
}

#[test]
fn every_test_that_is_named_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert_eq!(missing(SECURITY, |file| fs::read_to_string(root.join(file)).ok()), []);
}

#[test]
fn every_promise_names_a_test() {
    let rows = promises(SECURITY);
    assert!(rows.len() > 30, "{} promises", rows.len());
    let without: Vec<&&str> = rows.iter().filter(|row| named(row).is_empty()).collect();
    assert!(without.is_empty(), "{without:#?}");
}

#[test]
fn a_test_that_is_gone_is_found() {
    let text = "`a/b.rs::here`, `a/b.rs::gone`, `c/d.rs::here`, `e/f.json::a name`, `e/f.json::a`, `Amount::max`";
    let read = |file: &str| match file {
        "a/b.rs" => Some("#[test]\nfn here() {}\n// fn gone".to_string()),
        "e/f.json" => Some("{\"name\": \"a name\"}".to_string()),
        _ => None,
    };
    assert_eq!(missing(text, read), [("a/b.rs", "gone"), ("c/d.rs", "here"), ("e/f.json", "a")]);
}
