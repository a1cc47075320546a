//! Whatever an object is sent, and whatever it answers: no panic, an end, and no admission that no object
//! gave.
#![allow(clippy::arithmetic_side_effects, reason = "small numbers")]

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use tollgate::*;
use tollgate_kv::{KvOptions, MemoryMap};

use crate::answer::Answer;
use crate::message::Message;
use crate::wire::tests::{answer, limits, message};
use crate::wire::{Envelope, decode, encode};
use crate::{Lost, Object, ObjectsStore, Reply};

const NOW_MS: u64 = 1_700_000_000_000;

fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        8 => answer().prop_map(|answer| Ok(encode(&answer).unwrap())),
        1 => vec(any::<u8>(), 0..60).prop_map(Ok),
        1 => Just(Err(Lost::new("the test says so"))),
    ]
}

/// Runs a command against these answers, and then against silence. Gives what was asked last too.
fn run(command: &Command<'_>, replies: Vec<Reply>) -> Result<Outcome, StoreError> {
    let store = ObjectsStore::default();
    let mut exchange = store.start(command, NOW_MS);
    let mut replies = replies.into_iter();
    let mut rounds = 0;
    while !exchange.calls().is_empty() {
        rounds += 1;
        assert!(rounds < 100, "no end");
        let mut objects: Vec<_> = exchange.calls().iter().map(|call| &call.object).collect();
        objects.sort_unstable();
        objects.dedup();
        assert_eq!(objects.len(), exchange.calls().len(), "two calls of one object at once");
        let silence = || Err(Lost::new("the test is over"));
        let answers =
            exchange.calls().iter().map(|_| replies.next().unwrap_or_else(silence)).collect();
        exchange.resume(answers);
    }
    exchange.into_outcome()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_message_is_performed_or_refused(
        messages in vec((message(), prop_oneof![NOW_MS..NOW_MS + 99, any::<u64>(), 0..=MAX_NOW_MS]), 1..24),
        own_ms in any::<u64>(),
    ) {
        let map = Arc::new(MemoryMap::default());
        let object = Object::open(Arc::clone(&map), &KvOptions::default()).unwrap();
        for (message, now_ms) in messages {
            let before = map.entries();
            let sound = message.is_sound();
            let bytes = encode(&Envelope { now_ms, message }).unwrap();
            let performed = object.perform(&bytes, own_ms);
            prop_assert_eq!(performed.is_ok(), sound);
            let answer: Answer = decode(&performed.unwrap()).unwrap();
            if let Answer::Failed(_) | Answer::Refused(Refusal::ClockOutOfRange) = answer {
                prop_assert_eq!(map.entries(), before);
            }
            let verified = object.verify();
            prop_assert!(verified.is_ok(), "{:?}", verified);
        }
        let _ = object.next_due_ms(own_ms).unwrap();
        let _ = object.expire(own_ms).unwrap();
    }

    #[test]
    fn any_answer_comes_to_an_end(
        which in 0..13_usize,
        limits in limits(),
        replies in vec(reply(), 0..20),
    ) {
        let (token, other) = (TokenDigest::new([1; 32]), TokenDigest::new([2; 32]));
        let id = AccountId::new("acme").unwrap();
        let account = &AccountRef::Id(id.clone());
        let (token, other, id) = (&token, &other, &id);
        let charge = Some(Amount(5));
        let finish = &Finish::Unknown;
        let reservation = ReservationId(1);
        let amount = Amount(1);
        let settings = TokenPatch::default();
        let administration = match which {
            0 | 1 => Administration::Expire,
            2 => Administration::ListAccounts { after: Some(id), at_most: usize::MAX },
            3 => Administration::PutToken { digest: token, account: id, settings },
            4 => Administration::RotateToken { old: token, new: other, grace_ms: 7 },
            5 => Administration::RevokeToken { digest: token },
            6 => Administration::PutAccount {
                account: id, opening_balance: amount, settings: AccountPatch::default()
            },
            7 => Administration::Refund { account, reservation, amount, reference: "r" },
            8 => Administration::ListReservations { account: id },
            _ => Administration::Deposit { account: id, amount },
        };
        let admit = Admit { charge, ..Admit::limits_only(token, account, &limits) };
        let command = match which {
            9 => Command::Settle(Settle { account, reservation, finish }),
            10.. => Command::Admit(admit),
            _ => Command::Administer(&administration),
        };
        let said: Vec<_> = replies.iter().flatten().map(|bytes| decode::<Answer>(bytes)).collect();
        let outcome = run(&command, replies);
        if let Ok(Outcome::Admission(_)) = outcome {
            let says = |answer: &Result<Answer, _>| matches!(answer, Ok(Answer::Admission(_)));
            prop_assert!(said.iter().any(says));
        }
        if let Ok(outcome) = outcome {
            let fits = match which {
                0 | 1 => matches!(outcome, Outcome::Expired(_)),
                2 => matches!(outcome, Outcome::Accounts(_)),
                3..=7 => matches!(outcome, Outcome::Done | Outcome::Refused(_)),
                8 => matches!(outcome, Outcome::Reservations(_) | Outcome::Refused(_)),
                9 => matches!(outcome, Outcome::Settled(_) | Outcome::Refused(_)),
                _ => matches!(outcome, Outcome::Admission(_)),
            };
            prop_assert!(fits, "{:?}", outcome);
        }
    }
}

#[test]
fn too_many_limits_are_no_message() {
    let object = Object::open(MemoryMap::default(), &KvOptions::default()).unwrap();
    let limit = crate::wire::tests::limit(Partition::Token);
    let plain = |count| {
        let limits = std::borrow::Cow::Owned(vec![limit.clone(); count]);
        let plain = Some(crate::message::Plain { granted_by: Vec::new(), limits });
        let account = AccountId::new("acme").unwrap();
        Message::LookUp { account, digest: TokenDigest::new([1; 32]), plain }
    };
    for (count, sound) in [(MAX_LIMITS_PER_ROUTE, true), (MAX_LIMITS_PER_ROUTE + 1, false)] {
        let bytes = encode(&Envelope { now_ms: NOW_MS, message: plain(count) }).unwrap();
        assert_eq!(object.perform(&bytes, NOW_MS).is_ok(), sound);
    }
}
