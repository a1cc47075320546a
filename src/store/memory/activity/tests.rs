#![allow(clippy::arithmetic_side_effects)] // small numbers

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::idempotency::Fingerprint;
use crate::ledger::{Amount, CountedIn, OnExpiry, ReservationState};

fn key(number: u64) -> ClaimKey {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    ClaimKey(bytes)
}

fn claim(fence: u64) -> Claim {
    Claim {
        fingerprint: Fingerprint([0; 32]),
        fence: ReservationId(fence),
        lease_until_ms: 0,
        expires_ms: 0,
        response: None,
    }
}

fn reservation(amount: u64) -> Reservation {
    Reservation {
        amount: Amount(amount),
        token: TokenDigest::new([0; 32]),
        account_counted: CountedIn::default(),
        token_counted: CountedIn::default(),
        lease_until_ms: 0,
        on_expiry: OnExpiry::Void,
        retention_ms: 0,
        claim: None,
        state: ReservationState::Held,
    }
}

#[test]
fn notes_of_what_is_gone_do_not_pile_up() {
    for stays_every in [100, 7, 1] {
        let mut activity = Activity::default();
        for round in 0..10_000_u64 {
            // As when the clock stands still, and then as it goes on.
            activity.put_claim(key(round), claim(1), 1_000_000 + round / 5_000 * round);
            if round % stays_every != 0 {
                assert!(activity.remove_claim(&key(round)));
            }
            assert!(activity.due.len() <= 2 * activity.claims() + 66);
        }
        let mut found = 0;
        while let Some(due) = activity.due(u64::MAX - 1) {
            let Due::Claim(key) = due else { panic!("{due:?}") };
            assert!(activity.remove_claim(&key));
            found += 1;
        }
        assert_eq!(found, 10_000_u64.div_ceil(stays_every));
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Put {
        due_in_ms: u64,
    },
    /// As what is held past its lease is put.
    PutForEver,
    Remove,
    /// Deals with what is due, putting off every so many.
    Pass {
        ms: u64,
        put_off_every: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop_oneof![Just(30), Just(60), Just(1_000), 0_u64..100]
            .prop_map(|due_in_ms| Step::Put { due_in_ms }),
        1 => Just(Step::PutForEver),
        2 => Just(Step::Remove),
        1 => (0_u64..80, 1_u64..4).prop_map(|(ms, put_off_every)| Step::Pass { ms, put_off_every }),
    ]
}

/// What falls due when: the obvious way.
#[derive(Default)]
struct Model {
    claims: BTreeMap<ClaimKey, (u64, u64)>,
    reservations: BTreeMap<ReservationId, (u64, u64)>,
}

impl Model {
    fn earliest_ms(&self) -> u64 {
        let all = self.claims.values().chain(self.reservations.values());
        all.map(|(_, due_ms)| *due_ms).min().unwrap_or(NEVER_MS)
    }

    fn due_ms(&self, due: &Due) -> Option<u64> {
        match due {
            Due::Claim(key) => self.claims.get(key).map(|(_, due_ms)| *due_ms),
            Due::Reservation(id) => self.reservations.get(id).map(|(_, due_ms)| *due_ms),
        }
    }
}

proptest! {
    /// Claims and reservations that end in any order, are put off and put anew.
    #[test]
    fn it_keeps_what_was_put_until_it_is_removed(
        steps in prop::collection::vec((any::<bool>(), 0_u64..12, step()), 0..300),
    ) {
        let mut activity = Activity::default();
        let mut model = Model::default();
        let mut now_ms = 1_000;
        for (number, (is_claim, name, step)) in (0_u64..).zip(steps) {
            let (key, id) = (key(name), ReservationId(name));
            match step {
                Step::Put { .. } | Step::PutForEver => {
                    let due_ms = match step {
                        Step::Put { due_in_ms } => now_ms + due_in_ms,
                        _ => NEVER_MS,
                    };
                    let (is_new, was_new) = if is_claim {
                        let was_new = model.claims.insert(key, (number, due_ms)).is_none();
                        (activity.put_claim(key, claim(number), due_ms), was_new)
                    } else {
                        let was_new = model.reservations.insert(id, (number, due_ms)).is_none();
                        (activity.put_reservation(id, reservation(number), due_ms), was_new)
                    };
                    prop_assert_eq!(is_new, was_new);
                }
                Step::Remove if is_claim => {
                    prop_assert_eq!(activity.remove_claim(&key), model.claims.remove(&key).is_some());
                }
                Step::Remove => {
                    let was_there = model.reservations.remove(&id).is_some();
                    prop_assert_eq!(activity.remove_reservation(id), was_there);
                }
                Step::Pass { ms, put_off_every } => {
                    now_ms += ms;
                    let mut dealt_with = 0;
                    while let Some(due) = activity.due(now_ms) {
                        prop_assert_eq!(activity.due(now_ms), Some(due), "asking changes nothing");
                        prop_assert_eq!(model.due_ms(&due), Some(model.earliest_ms()));
                        dealt_with += 1;
                        match due {
                            Due::Claim(key) => {
                                prop_assert!(activity.remove_claim(&key));
                                model.claims.remove(&key);
                            }
                            Due::Reservation(id) if dealt_with % put_off_every == 0 => {
                                let due_ms = now_ms + 1_000;
                                activity.put_reservation(id, reservation(number), due_ms);
                                model.reservations.insert(id, (number, due_ms));
                            }
                            Due::Reservation(id) => {
                                prop_assert!(activity.remove_reservation(id));
                                model.reservations.remove(&id);
                            }
                        }
                    }
                    prop_assert!(model.earliest_ms() > now_ms, "nothing due was left");
                }
            }
            if let Some(registered_ms) = activity.unregistered() {
                prop_assert!(registered_ms <= model.earliest_ms());
            }
            prop_assert!(activity.registered_ms <= model.earliest_ms());
            prop_assert_eq!(activity.claims(), model.claims.len());
            prop_assert_eq!(activity.reservations(), model.reservations.len());
            let known = model.claims.get(&key).map(|(number, _)| ReservationId(*number));
            prop_assert_eq!(activity.claim(&key).map(|claim| claim.fence), known);
            let known = model.reservations.get(&id).map(|(number, _)| Amount(*number));
            prop_assert_eq!(activity.reservation(id).map(|held| held.amount), known);
        }
        prop_assert_eq!(activity.iter_reservations().count(), model.reservations.len());
    }
}

#[test]
fn spend_is_counted_for_each_token() {
    let mut activity = Activity::default();
    let digest = |number: u8| TokenDigest::new([number; 32]);
    let spend = |amount| Spend::default().add(Amount(amount), 0).unwrap();
    for round in 1..4 {
        for number in 0..50 {
            activity.put_spend(digest(number), spend(round * u64::from(number)));
        }
    }
    for number in 0..50 {
        assert_eq!(activity.spend(&digest(number)), spend(3 * u64::from(number)));
    }
    assert_eq!(activity.spend(&digest(50)), Spend::default());
}
