//! A million keys in a region: it is as large as it was made, and what lives in it stays.
#![cfg(test)]

mod common;

use common::{ALGORITHMS, KEY, NOW_MS, key, limit};
use tempfile::TempDir;
use tollgate::{LimitStore, Quota, StoreError};
use tollgate_region::{Region, RegionOptions};

const FLOOD: u64 = 1_000_000;
/// Of cells that need a block: at the bound each looks for expired blocks, which a build for tests does slowly.
const WINDOWS_FLOOD: u64 = 4_000;
const OPTIONS: RegionOptions = RegionOptions { cells: 10_000, windows: 5_000 };

#[test]
fn a_million_keys_fit_in_no_more_memory_and_reset_no_cell() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("region");
    let region = Region::open(&path, &OPTIONS, &KEY).unwrap();
    let bytes = || std::fs::metadata(&path).unwrap().len();
    let size = bytes();
    assert_eq!(size, u64::try_from(OPTIONS.size_bytes().unwrap()).unwrap());
    let quota = Quota::new(2, 3_600_000);
    let limits = ALGORITHMS.map(|algorithm| limit(algorithm, 1));
    let honest = 0..100;
    let take = |kind: usize, number: u64| {
        let limit = &limits[kind];
        region.take(&key(limit, number), limit, &quota, NOW_MS).map(|check| check.verdict.is_ok())
    };
    for number in honest.clone() {
        (0..3).for_each(|kind| assert_eq!(take(kind, number), Ok(true)));
    }
    let full = Err(StoreError::Full { what: "limiter cells" });
    let flood = |kind: usize, count: u64| -> u64 {
        let admitted = |number: &u64| {
            let answer = take(kind, *number);
            assert!(answer == Ok(true) || answer == full, "{answer:?}");
            answer.is_ok()
        };
        (1_000..1_000 + count).filter(admitted).map(|_| 1).sum()
    };
    // The windows that there is room for, and then cells until the groups are full.
    let windows = flood(1, WINDOWS_FLOOD) + flood(2, WINDOWS_FLOOD);
    assert_eq!(windows, 5_000 - 200);
    let cells = flood(0, FLOOD);
    assert!((5_000..20_000).contains(&cells), "{cells}");
    for number in honest {
        for kind in 0..3 {
            assert_eq!(take(kind, number), Ok(true), "one unit was left");
            assert_eq!(take(kind, number), Ok(false), "the flood reset a limit");
        }
    }
    assert_eq!(bytes(), size);
}
