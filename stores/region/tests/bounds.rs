//! How much goes into a region, what makes room, and what is refused.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects, unsafe_code)]

mod common;

use common::{ALGORITHMS, KEY, NOW_MS, key, limit, memory, region};
use tempfile::TempDir;
use tollgate::{Algorithm, LimitStore, Quota, StoreError};
use tollgate_region::{Region, RegionError, RegionOptions};

const FULL: StoreError = StoreError::Full { what: "limiter cells" };

#[test]
fn the_first_live_key_is_refused_when_the_region_holds_what_it_is_made_for() {
    let limit = limit(Algorithm::Gcra, 1);
    let quota = Quota::new(5, 3_600_000);
    for cells in [1, 100, 1_000, 20_000] {
        let region = region(cells, 0);
        let taken = (0..).take_while(|number| {
            region.take(&key(&limit, *number), &limit, &quota, NOW_MS).is_ok()
        });
        let held = taken.count();
        println!("made for {cells}, first refused after {held}");
        assert!(held * 100 >= cells * 95, "made for {cells}, full with {held}");
    }
}

#[test]
fn a_flood_of_keys_resets_no_cell_that_lives() {
    for algorithm in ALGORITHMS {
        let (region, limit) = (region(500, 200), limit(algorithm, 1));
        let quota = Quota::new(2, 3_600_000);
        let mut kept = Vec::new();
        for number in 0..50 {
            assert!(region.take(&key(&limit, number), &limit, &quota, NOW_MS).is_ok());
            kept.push(number);
        }
        let mut refused = 0;
        for number in 1_000..20_000 {
            match region.take(&key(&limit, number), &limit, &quota, NOW_MS + number / 100) {
                Ok(check) => assert!(check.verdict.is_ok()),
                Err(error) => {
                    assert_eq!(error, FULL);
                    refused += 1;
                }
            }
        }
        assert!(refused > 18_000, "{algorithm:?}: only {refused} were refused");
        for number in kept {
            let take = |count| {
                let check = region.take(&key(&limit, number), &limit, &quota, NOW_MS).unwrap();
                assert_eq!(check.verdict.is_ok(), count, "{algorithm:?} {number}");
            };
            take(true);
            take(false);
        }
    }
}

#[test]
fn what_has_expired_makes_room_and_what_expired_just_now_only_at_need() {
    for algorithm in ALGORITHMS {
        let (region, limit) = (region(60, 60), limit(algorithm, 1));
        let quota = Quota::new(1, 1_000);
        let fill = |from: u64, now_ms: u64| {
            let put =
                |number: &u64| region.take(&key(&limit, *number), &limit, &quota, now_ms).is_ok();
            (from..from + 500).filter(put).count()
        };
        let first = fill(0, NOW_MS);
        assert!((60..=130).contains(&first), "{algorithm:?}: {first}");
        assert_eq!(fill(1_000, NOW_MS), 0, "nothing has expired");
        // A second later all have expired, and are replaced for want of other room.
        let second = fill(2_000, NOW_MS + 2_500);
        assert!(second >= 60, "{algorithm:?}: {second}");
        // Room is taken where a minute has passed, before where it has not.
        let old = key(&limit, 2_000);
        let later_ms = NOW_MS + 2_500 + 30_000;
        region.take(&old, &limit, &quota, later_ms).unwrap();
        assert!(fill(3_000, NOW_MS + 200_000) >= 60);
    }
}

#[test]
fn an_expired_cell_is_kept_for_a_minute_while_there_is_room() {
    let region = region(1_000, 1_000);
    for algorithm in ALGORITHMS {
        let limit = limit(algorithm, 1);
        let quota = Quota::new(1, 1_000);
        assert!(region.take(&key(&limit, 1), &limit, &quota, NOW_MS).unwrap().verdict.is_ok());
        for number in 100..400 {
            region.take(&key(&limit, number), &limit, &quota, NOW_MS + 50_000).unwrap();
        }
        region.expire(NOW_MS + 50_000).unwrap();
        // By a clock that is behind, the window is not over, and its one unit is taken.
        let behind = region.take(&key(&limit, 1), &limit, &quota, NOW_MS + 10).unwrap();
        assert!(behind.verdict.is_err(), "{algorithm:?}");
    }
}

#[test]
fn windows_are_refused_beyond_their_number_and_come_back() {
    let (region, sliding) = (region(1_000, 10), limit(Algorithm::SlidingWindow, 1));
    let quota = Quota::new(5, 1_000);
    let take = |number, now_ms| region.take(&key(&sliding, number), &sliding, &quota, now_ms);
    for round in 0..20 {
        let now_ms = NOW_MS + round * 200_000;
        for number in 0..10 {
            assert!(take(100 * round + number, now_ms).is_ok(), "{round}");
        }
        assert_eq!(take(100 * round + 50, now_ms), Err(FULL));
        // Those that are there go on.
        assert!(take(100 * round, now_ms).unwrap().verdict.is_ok());
        let gcra = limit(Algorithm::Gcra, 1);
        assert!(region.take(&key(&gcra, round), &gcra, &quota, now_ms).is_ok());
        if round % 2 == 0 {
            region.expire(now_ms + 100_000).unwrap();
        }
    }
}

#[test]
fn a_region_without_windows_refuses_them() {
    let (region, fixed) = (region(100, 0), limit(Algorithm::FixedWindow, 1));
    let quota = Quota::new(5, 1_000);
    assert_eq!(region.take(&key(&fixed, 1), &fixed, &quota, NOW_MS), Err(FULL));
    assert!(region.peek(&key(&fixed, 1), &fixed, &quota, NOW_MS).is_ok());
}

#[test]
fn what_would_refill_past_2536_is_refused() {
    let (region, gcra) = (region(100, 0), limit(Algorithm::Gcra, 1));
    let quota = Quota::new(2, 1 << 44);
    let check = region.take(&key(&gcra, 1), &gcra, &quota, tollgate::MAX_NOW_MS).unwrap();
    assert!(check.verdict.is_err() && check.before == check.after);
}

fn try_attach(words: &mut [u64], len: usize) -> Result<Region, RegionError> {
    // SAFETY: the words are there until the end of the process, see `memory`.
    unsafe { Region::attach(words.as_mut_ptr().cast(), len) }
}

#[test]
fn memory_without_a_complete_region_of_this_version_is_refused() {
    let options = RegionOptions { cells: 100, windows: 10 };
    let len = options.size_bytes().unwrap();
    let words = memory(len);
    assert!(matches!(try_attach(words, len), Err(RegionError::NoRegion)));
    assert!(matches!(try_attach(&mut words[..4], 32), Err(RegionError::NoRegion)));
    let start: *mut u8 = words.as_mut_ptr().cast();
    // SAFETY: as above; nobody else has the memory.
    let create = |len, options| unsafe { Region::create(start, len, &options, &KEY) };
    assert!(matches!(create(len - 1_024, options), Err(RegionError::WrongSize { .. })));
    let too_many = RegionOptions { cells: usize::MAX, windows: 0 };
    assert!(matches!(create(len, too_many), Err(RegionError::TooMany)));
    // SAFETY: as above; it is refused before it is touched.
    let odd = unsafe { Region::attach(start.wrapping_add(4), len) };
    assert!(matches!(odd, Err(RegionError::Misaligned)));

    drop(create(len, options).unwrap());
    assert_eq!(try_attach(words, len).unwrap().options(), options);
    assert!(matches!(try_attach(words, len - 8), Err(RegionError::WrongSize { .. })));
    let damage = |at: usize, change: u64, words: &mut [u64]| {
        words[at] ^= change;
        let error = try_attach(words, len).unwrap_err();
        words[at] ^= change;
        error
    };
    assert!(matches!(damage(0, 1 << 20, words), RegionError::NoRegion));
    assert!(matches!(damage(0, 1 << 56, words), RegionError::Unfinished));
    assert!(matches!(damage(1, 2, words), RegionError::OtherLayout { found: 3, known: 1 }));
    assert!(matches!(damage(2, 1 << 10, words), RegionError::WrongSize { .. }));
    assert!(matches!(damage(3, 1 << 12, words), RegionError::WrongSize { .. }));
    assert!(matches!(damage(4, 1 << 60, words), RegionError::TooMany));
    // A creator that died: created anew.
    words[0] ^= 1 << 56;
    drop(create(len, options).unwrap());
    assert!(try_attach(words, len).is_ok());
}

#[test]
fn a_file_keeps_its_counts_and_refuses_other_options() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("region");
    let options = RegionOptions { cells: 100, windows: 10 };
    let open = |options: &RegionOptions, key: [u8; 16]| Region::open(&path, options, &key);
    let quota = Quota::new(3, 3_600_000);
    for round in 0..5 {
        // The key of the hash is the one with which it was created.
        let region = open(&options, [round; 16]).unwrap();
        for algorithm in ALGORITHMS {
            let limit = limit(algorithm, 1);
            let check = region.take(&key(&limit, 1), &limit, &quota, NOW_MS).unwrap();
            assert_eq!(check.verdict.is_ok(), round < 3, "{algorithm:?} in round {round}");
        }
        assert!(!format!("{region:?}").contains("key"));
    }
    let other = RegionOptions { cells: 100_000, windows: 10 };
    assert!(matches!(open(&other, KEY), Err(RegionError::WrongSize { .. })));
    std::fs::write(&path, b"").unwrap();
    assert!(matches!(open(&options, KEY), Err(RegionError::NoRegion)));
    std::fs::write(&path, vec![7; 10_000]).unwrap();
    assert!(matches!(open(&options, KEY), Err(RegionError::NoRegion)));
    std::fs::remove_file(&path).unwrap();
    assert!(open(&options, KEY).is_ok());
    let nowhere = directory.path().join("none/region");
    assert!(matches!(Region::open(nowhere, &options, &KEY), Err(RegionError::File(_))));
}
