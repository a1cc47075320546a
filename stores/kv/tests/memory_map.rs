//! The map in memory against a plain one, and its isolation.
#![cfg(test)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use tollgate_kv::{KvError, KvMap, KvRead, KvWrite, MemoryMap};

type Plain = BTreeMap<Vec<u8>, Vec<u8>>;

fn check(txn: &dyn KvRead, plain: &Plain, probe: &[u8]) {
    assert_eq!(txn.get(probe).unwrap().as_deref(), plain.get(probe).map(Vec::as_slice));
    let first = txn.first_at_or_after(probe).unwrap();
    let first = first.map(|(key, value)| (key.into_owned(), value.into_owned()));
    let expected = plain.range(probe.to_vec()..).next();
    assert_eq!(first, expected.map(|(key, value)| (key.clone(), value.clone())));
    let mut rest = Vec::new();
    txn.scan(probe, &mut |key, value| {
        rest.push((key.to_vec(), value.to_vec()));
        rest.len() < 5
    })
    .unwrap();
    let expected = plain.range(probe.to_vec()..).take(5);
    assert_eq!(rest, expected.map(|(key, value)| (key.clone(), value.clone())).collect::<Vec<_>>());
}

fn short() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(vec![0, 1, 127, 128, 255]), 1..4)
}

proptest! {
    #[test]
    fn it_does_what_a_plain_map_does(
        transactions in prop::collection::vec(
            (prop::collection::vec((short(), prop::option::of(short())), 0..12), any::<bool>()),
            1..8,
        ),
        probes in prop::collection::vec(short(), 1..8),
        optimistic in any::<bool>(),
    ) {
        let map = if optimistic { MemoryMap::optimistic() } else { MemoryMap::default() };
        let mut plain = Plain::new();
        for (steps, commits) in transactions {
            let (mut txn, mut changed) = (map.write().unwrap(), plain.clone());
            let snapshot = map.read().unwrap();
            for (key, value) in steps {
                match value {
                    Some(value) => {
                        txn.put(&key, &value).unwrap();
                        changed.insert(key, value);
                    }
                    None => {
                        let there = changed.remove(&key).is_some();
                        prop_assert_eq!(txn.remove(&key).unwrap(), there);
                    }
                }
                for probe in &probes {
                    check(&txn, &changed, probe);
                }
            }
            for probe in &probes {
                check(&snapshot, &plain, probe);
            }
            if commits {
                txn.commit().unwrap();
                for probe in &probes {
                    check(&snapshot, &plain, probe);
                }
                plain = changed;
            }
        }
        let expected: Vec<_> = plain.into_iter().collect();
        prop_assert_eq!(map.entries(), expected);
    }
}

#[test]
fn who_commits_second_meets_a_conflict() {
    let map = MemoryMap::optimistic();
    let (mut first, mut second) = (map.write().unwrap(), map.write().unwrap());
    first.put(b"a", b"1").unwrap();
    second.put(b"b", b"2").unwrap();
    first.commit().unwrap();
    assert_eq!(second.commit(), Err(KvError::Conflict));
    assert_eq!(map.entries(), [(b"a".to_vec(), b"1".to_vec())]);
}
