#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)] // tests of small numbers

use std::collections::BTreeMap;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::store::memory::slot::Rest;
use crate::store::memory::sync::Mutex;
use crate::token::TokenDigest;

fn contents(digest: [u8; 32], account: u32) -> Contents {
    Contents {
        digest: TokenDigest::new(digest),
        account,
        revoked: false,
        rest: Rest::ScopeList(0),
        scopes: 0,
        scope_table: 0,
        tat_ns: u64::from(account),
    }
}

/// Spread as SHA-256 would.
fn uniform(number: u64) -> [u8; 32] {
    crate::sha256::sha256([&number.to_be_bytes()])
}

fn add(table: &Table, writer: &mut Writer, contents: &Contents) -> Result<(), NoRoom> {
    table.make_room(writer, &contents.key())?;
    table.insert(writer, contents)
}

fn all(table: &Table, writer: &Writer) -> BTreeMap<TokenDigest, u32> {
    let mut found = BTreeMap::new();
    table.for_each(writer, |contents| {
        assert_eq!(found.insert(contents.digest, contents.account), None, "it is there twice");
    });
    found
}

fn account(table: &Table, digest: [u8; 32]) -> Option<u32> {
    table.find(&Key::of(&TokenDigest::new(digest))).map(|slot| slot.account())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_is_a_map(steps in prop::collection::vec((0_u64..1_000, 0_u32..40), 0..600)) {
        let (table, mut writer) = (Table::new(10_000), Writer::default());
        let mut model = BTreeMap::new();
        for (number, step) in steps {
            let digest = uniform(number);
            prop_assert_eq!(account(&table, digest), model.get(&TokenDigest::new(digest)).copied());
            if step == 0 {
                let keep = |digest: &TokenDigest| !digest.as_bytes()[1].is_multiple_of(5);
                let mut dropped = 0;
                table.retain(&mut writer, |contents| keep(&contents.digest), |_| dropped += 1);
                let before = model.len();
                model.retain(|digest, _| keep(digest));
                prop_assert_eq!(dropped, before - model.len());
            } else if account(&table, digest).is_none() {
                add(&table, &mut writer, &contents(digest, step)).unwrap();
                model.insert(TokenDigest::new(digest), step);
            }
            prop_assert_eq!(writer.len(), model.len());
        }
        prop_assert_eq!(all(&table, &writer), model);
    }
}

#[test]
fn segments_are_filled_before_more_are_made() {
    let (table, mut writer) = (Table::new(100_000), Writer::default());
    for number in 0..30_000 {
        add(&table, &mut writer, &contents(uniform(number), 1)).unwrap();
        let most = number as usize / (FULL / 4) + 2;
        assert!(writer.segments <= most, "{} segments for {number} tokens", writer.segments);
    }
    assert!((0..30_000).all(|number| account(&table, uniform(number)) == Some(1)));
    assert_eq!(account(&table, uniform(30_000)), None);
}

#[test]
fn digests_that_are_alike_share_what_room_there_is() {
    // Their words have the same sum: every bit of the hash is the same.
    let alike = |number: u64| {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_le_bytes());
        digest[8..16].copy_from_slice(&number.wrapping_neg().to_le_bytes());
        digest
    };
    let (table, mut writer) = (Table::new(100_000), Writer::default());
    let taken =
        (0..).take_while(|number| add(&table, &mut writer, &contents(alike(*number), 2)).is_ok());
    let taken = taken.count() as u64;
    assert!(taken >= FULL as u64, "{taken}");
    assert!((0..taken).all(|number| account(&table, alike(number)) == Some(2)));
    assert!(writer.segments < 300, "{}", writer.segments);
    // The others are not harmed.
    for number in 0..1_000 {
        add(&table, &mut writer, &contents(uniform(number), 3)).unwrap();
    }
    assert!((0..1_000).all(|number| account(&table, uniform(number)) == Some(3)));
}

#[test]
fn what_is_there_is_found_while_others_are_added_and_dropped() {
    const STAY: u64 = 200;
    let table = Table::new(100_000);
    let writer = Mutex::new(Writer::default());
    for number in 0..STAY {
        add(&table, &mut writer.lock(), &contents(uniform(number), 7)).unwrap();
    }
    let done = AtomicU32::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=8 {
                let range = round * 1_000..(round + 1) * 1_000;
                for number in range.clone() {
                    let mut writer = writer.lock();
                    add(&table, &mut writer, &contents(uniform(number), 8)).unwrap();
                    assert_eq!(account(&table, uniform(number)), Some(8));
                }
                table.retain(&mut writer.lock(), |contents| contents.account == 7, |_| {});
                assert_eq!(writer.lock().len() as u64, STAY);
            }
            done.store(1, Ordering::Release);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut counted = 0_u64;
                while done.load(Ordering::Acquire) == 0 || counted < STAY {
                    let number = counted % STAY;
                    let key = Key::of(&TokenDigest::new(uniform(number)));
                    let mut slot = table.find(&key).expect("it never went away");
                    slot.set_tat_ns(slot.tat_ns() + 1);
                    drop(slot);
                    assert_eq!(account(&table, uniform(1 << 40)), None);
                    counted += 1;
                }
                done.fetch_add(u32::try_from(counted).unwrap() << 1, Ordering::Relaxed);
            });
        }
    });
    let mut sum = 0;
    table.for_each(&writer.lock(), |contents| sum += contents.tat_ns - 7);
    assert_eq!(sum, u64::from(done.into_inner() >> 1), "no count is lost when its token is moved");
}

#[test]
fn places_follow_each_other() {
    let mut pages = BTreeMap::<usize, Vec<usize>>::new();
    for number in 0..5 * PAGE {
        let (page, position, size) = place_of(number);
        assert!(position < size);
        pages.entry(page).or_default().push(position);
    }
    for (page, (number, positions)) in pages.iter().enumerate() {
        assert_eq!(page, *number);
        let size = positions.len();
        assert_eq!(*positions, (0..size).collect::<Vec<_>>());
        let expected = if page < SMALL_PAGES { 1 << page.saturating_sub(1) } else { PAGE };
        assert_eq!(size, expected);
    }
}

#[test]
fn one_thread_at_a_time_has_a_slot() {
    let slot = Slot::default();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    let mut locked = slot.lock();
                    let before = locked.tat_ns();
                    locked.set_tat_ns(before.wrapping_add(1));
                }
            });
        }
    });
    assert_eq!(slot.lock().tat_ns(), 40_000);
}
