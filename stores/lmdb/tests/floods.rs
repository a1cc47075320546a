//! Floods: the file is no larger than `map_bytes`, whatever is sent, and what lives in it stays. `TOLLGATE_FLOOD` sets how
//! many keys are made up; a commit takes its time, so that they are few by default.
#![cfg(test)]

mod common;

use std::path::Path;

use common::{
    Ask, NOW_MS, admitted, limits, money, named, open_with, put_account, reservation, settle,
};
use tempfile::TempDir;
use tollgate::{AdmitVerdict, StoreError};

const MAP_BYTES: u64 = 4 << 20;

fn flood() -> u64 {
    let set = std::env::var("TOLLGATE_FLOOD").ok();
    set.map_or(20_000, |number| number.parse().unwrap())
}

/// The bytes of all files of a store.
fn bytes(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn a_flood_of_cells_and_keys_fills_the_map_and_no_more() {
    let directory = TempDir::new().unwrap();
    let map_bytes = usize::try_from(MAP_BYTES).unwrap();
    let store = open_with(directory.path(), |options| options.map_bytes = map_bytes);
    put_account(&store, "acme", 1_000_000);
    put_account(&store, "modest", 1_000_000);
    let limited = |token| Ask { limits: limits(2), token, ..Ask::of("modest") };
    let honest: Vec<Ask> = (0..10).map(|number| limited(1_000_000_000 + number)).collect();
    for ask in &honest {
        assert!(admitted(&ask.send(&store).unwrap()));
    }
    let early = Ask { key: Some(1_000_000_000), charge: 3, ..Ask::of("modest") }.reserve(&store);

    let one = limits(2);
    let mut full = 0_u64;
    for number in 0..flood() {
        let ask = Ask {
            limits: one.clone(),
            token: number,
            key: Some(number),
            charge: 1,
            ..Ask::of("acme")
        };
        match ask.send(&store) {
            Ok(admission) => assert!(reservation(&admission).is_some(), "{admission:?}"),
            Err(error) => {
                assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
                full += 1;
            }
        }
    }
    assert!(full > flood() / 10, "the map was never full: {full} refused");
    let lock_bytes = 1 << 20;
    assert!(bytes(directory.path()) <= MAP_BYTES + lock_bytes, "{}", bytes(directory.path()));
    assert!(store.statistics().unwrap().file_bytes <= MAP_BYTES);

    // What was under way ends as it would have: money is not stuck in a full map.
    settle(&store, &named("modest"), early).unwrap();
    assert_eq!(money(&store, "modest"), (1_000_000 - 3, 0, 3));
    let replay = Ask { key: Some(1_000_000_000), charge: 3, ..Ask::of("modest") };
    assert!(matches!(replay.send(&store).unwrap().verdict, AdmitVerdict::Replay(_)));
    // Cells that were there count on.
    for ask in &honest {
        assert!(admitted(&ask.send(&store).unwrap()));
        assert!(!admitted(&ask.send(&store).unwrap()), "the flood reset a limit");
    }
    // Leases end, records are forgotten, and there is room again.
    let later =
        Ask { now_ms: NOW_MS + 2 * common::RETENTION_MS, key: Some(7), ..Ask::of("modest") };
    later.reserve(&store);
    store.verify().unwrap();
}
