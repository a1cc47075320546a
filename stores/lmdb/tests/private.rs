//! Who may read the files of a store.
#![cfg(test)]
#![cfg(unix)]

mod common;

use std::os::unix::fs::PermissionsExt;

use common::{open, put_account};
use tempfile::TempDir;

#[test]
fn files_are_their_owners_alone() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path());
    put_account(&store, "acme", 1);
    let files: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert!(files.len() >= 2, "data and locks");
    for file in files {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", file.path().display());
    }
}
