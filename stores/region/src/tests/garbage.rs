//! Regions whose words are anything.

use std::sync::atomic::AtomicU64;

use proptest::prelude::*;
use tollgate::{Algorithm, Quota};

use super::{Ask, layout, view, words};
use crate::code::{Kind, Owner, name, state};
use crate::word::Word;

fn word() -> impl Strategy<Value = u64> {
    let kind = prop_oneof![Just(Kind::Gcra), Just(Kind::FixedWindow), Just(Kind::SlidingWindow)];
    prop_oneof![
        any::<u64>(),
        0..4_u64,
        // Names of the keys that are asked for, marks, links, and owners that almost fit.
        (0..3_u64, kind, 0..3_u64).prop_map(|(key, kind, tag)| name::of(key << 32, kind) | tag),
        (0..3_u64).prop_map(state::mark),
        (0..9_usize, 0..3_u32).prop_map(|(index, tag)| state::link(index, tag)),
        (0..3_u32).prop_map(|tag| Owner::Linked { tag }.word()),
        (0..200_u32, 0..3_u32).prop_map(|(by, tag)| Owner::Held { by, tag }.word()),
    ]
}

fn ask() -> impl Strategy<Value = Ask> {
    let algorithm = prop_oneof![
        Just(Algorithm::Gcra),
        Just(Algorithm::FixedWindow),
        Just(Algorithm::SlidingWindow)
    ];
    (0..3_u64, algorithm, any::<u64>(), 0..5_u64, 0..tollgate::MAX_NOW_MS).prop_map(
        |(key, algorithm, window_ms, cost, now_ms)| Ask {
            key,
            algorithm,
            quota: Quota::new(10, window_ms),
            cost,
            now_ms,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_words_are_every_operation_ends(
        values in prop::collection::vec(word(), 200),
        asks in prop::collection::vec(ask(), 1..8),
        sparse in any::<bool>(),
    ) {
        let layout = layout(2);
        let words = words(&layout, |_, value| AtomicU64::new(value));
        // All that can be written, the end first: groups, blocks, hints; then places and hints of the header.
        let places = words.iter().rev().take(150).chain(words.iter().skip(16).take(50));
        for (number, (word, value)) in places.zip(&values).enumerate() {
            if !sparse || value % 3 == 0 || number % 7 == 0 {
                Word::store(word, *value);
            }
        }
        for ask in asks {
            for owner in [1, 7, u32::MAX] {
                let view = view(&words, &layout, owner);
                let _ = ask.take(&view);
                let _ = view.cell(&ask.key(&layout), ask.now_ms);
                let _ = view.sweep_all(ask.now_ms, &|number| number % 2 == 0);
                let _ = view.reclaim_dead(ask.now_ms, &|process| process % 2 == 0);
                let _ = view.leave(7);
            }
        }
    }

    #[test]
    fn any_bytes_are_no_region_or_do_no_harm(bytes in prop::collection::vec(any::<u64>(), 0..200)) {
        let words: Vec<AtomicU64> = bytes.into_iter().map(AtomicU64::new).collect();
        prop_assert!(crate::header::Header::read(&words, 63).is_err());
    }
}
