//! Whatever a server answers: no panic, an end, and no admission that no script gave.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects, reason = "small numbers")]

mod common;

use common::limits::any_limit;
use common::world::*;
use proptest::prelude::*;
use proptest::sample::select;
use tollgate::*;
use tollgate_redis::redis::{Value, parse_redis_value};
use tollgate_redis::{CallError, Nonce, OptionsError, Protocol, ProtocolOptions, Reply};

fn parts() -> impl Strategy<Value = Vec<u8>> {
    let letters = select(b"APCLEIFBSVWXDRKZM10gfs".to_vec()).prop_map(|letter| vec![letter]);
    let part = prop_oneof![
        3 => letters,
        1 => Just(Vec::new()),
        2 => prop::collection::vec(any::<u8>(), 0..40),
        1 => prop::collection::vec(any::<u8>(), 120..124),
    ];
    prop::collection::vec(part, 0..9).prop_map(|parts| {
        let framed = |part: Vec<u8>| {
            let mut framed = u32::try_from(part.len()).unwrap().to_be_bytes().to_vec();
            framed.extend(part);
            framed
        };
        parts.into_iter().flat_map(framed).collect()
    })
}

fn reply() -> impl Strategy<Value = Reply> {
    let bytes = prop_oneof![parts(), prop::collection::vec(any::<u8>(), 0..60)];
    let bulk = bytes.prop_map(Value::BulkString);
    let error = select(vec!["-NOSCRIPT x\r\n", "-OOM x\r\n", "-TGFORMAT x\r\n", "-\r\n"]);
    prop_oneof![
        6 => bulk.clone().prop_map(Ok),
        1 => Just(Ok(Value::Nil)),
        1 => Just(Ok(Value::Okay)),
        1 => any::<i64>().prop_map(|number| Ok(Value::Int(number))),
        1 => prop::collection::vec(bulk, 0..4).prop_map(|values| Ok(Value::Array(values))),
        1 => error.prop_map(|text| parse_redis_value(text.as_bytes()).map_err(CallError::from)),
        1 => Just(Err(CallError::lost("the test says so"))),
    ]
}

/// Runs a command against these answers, and then against silence.
fn run(cluster: bool, command: &Command<'_>, replies: &[Reply]) -> Result<Outcome, StoreError> {
    let mut options = ProtocolOptions::default();
    options.cluster = cluster;
    let protocol = Protocol::new(&options).unwrap();
    let mut exchange = protocol.exchange(command, NOW_MS, Nonce([7; 16]));
    let mut replies = replies.iter().cloned();
    let mut rounds = 0;
    while !exchange.calls().is_empty() {
        rounds += 1;
        assert!(rounds < 1_000, "no end");
        for call in exchange.calls() {
            assert!(call.key().starts_with(b"tg:") && call.to_bytes().starts_with(b"*"));
        }
        let silence = || Err(CallError::lost("the test is over"));
        let answers =
            exchange.calls().iter().map(|_| replies.next().unwrap_or_else(silence)).collect();
        exchange.resume(answers);
    }
    exchange.into_outcome()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_answer_comes_to_an_end(
        which in 0..12_usize,
        cluster in any::<bool>(),
        replies in prop::collection::vec(reply(), 0..20),
    ) {
        let engine = common::limits::engine();
        let (digest, other, id, named) = (token("t"), token("u"), acme(), acme_ref());
        let mut global = any_limit();
        global.partition = Partition::Global;
        let (limits, idempotency) = ([any_limit(), global], key(1));
        let plain = Admit::limits_only(&digest, &named, &limits);
        let admit = Admit { idempotency: &idempotency, charge: Some(Amount(1)), revision: Some(3), ..plain };
        let finish = Finish::Unknown;
        let (account, reservation) = (&id, ReservationId(1));
        let settings = AccountPatch::default();
        let administration = match which {
            0 => Administration::PutAccount { account, opening_balance: Amount(1), settings },
            1 => Administration::PutToken { digest: &digest, account, settings: TokenPatch::default() },
            2 => Administration::RotateToken { old: &digest, new: &other, grace_ms: 1 },
            3 => Administration::Expire,
            4 => Administration::Inspect { account },
            5 => Administration::ListTokens { account },
            6 => Administration::ListReservations { account },
            _ => Administration::Deposit { account, amount: Amount(1) },
        };
        let command = match which {
            8 => Command::Lookup(Lookup { digest: &digest, scopes: engine.policy().scopes(), plain: None }),
            9 => Command::Admit(admit),
            10 => Command::Admit(Admit { mode: Mode::Peek, detail: true, ..admit }),
            11 => Command::Settle(Settle { account: &named, reservation, finish: &finish }),
            _ => Command::Administer(&administration),
        };
        let outcome = run(cluster, &command, &replies);
        if replies.is_empty() {
            prop_assert!(matches!(outcome, Err(StoreError::Unavailable { .. })), "{:?}", outcome);
        }
    }
}

#[test]
fn an_answer_that_disagrees_with_its_own_cells_is_not_believed() {
    let mut limit = any_limit();
    limit.quota = Quota::new(1, 1_000);
    let (digest, named, limits) = (token("t"), acme_ref(), [limit]);
    let admit = Admit::limits_only(&digest, &named, &limits);
    // Admitted, it says; but the cell that it saw was used up.
    let mut cell = vec![b'g'];
    cell.extend(((NOW_MS + 1_000) * 1_000_000).to_be_bytes());
    let mut reply = Vec::new();
    for part in [&b"A"[..], b"0", b"", &cell] {
        reply.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
        reply.extend(part);
    }
    let outcome = run(false, &Command::Admit(admit), &[Ok(Value::BulkString(reply))]);
    assert_eq!(outcome.unwrap_err(), StoreError::Corrupt { what: "a limit" });
}

#[test]
fn an_answer_to_another_command_is_none() {
    let account = AccountId::new("acme").unwrap();
    let resolve = Administration::Resolve {
        account: &account,
        reservation: ReservationId(1),
        finish: Finish::Void { response: None },
    };
    let deposit = Administration::Deposit { account: &account, amount: Amount(1) };
    // A letter and nothing after it: done, and settled.
    let letter = |letter: u8| vec![Ok(Value::BulkString(vec![0, 0, 0, 1, letter, 0, 0, 0, 0]))];
    for (administration, own, other) in [(&resolve, b'S', b'D'), (&deposit, b'D', b'S')] {
        let command = Command::Administer(administration);
        assert!(run(false, &command, &letter(own)).is_ok(), "{command:?}");
        assert!(run(false, &command, &letter(other)).is_err(), "{command:?}");
    }
}

#[test]
fn times_out_of_range_ask_nobody() {
    let protocol = Protocol::new(&ProtocolOptions::default()).unwrap();
    let expire = Administration::Expire;
    let exchange = protocol.exchange(&Command::Administer(&expire), MAX_NOW_MS + 1, Nonce([0; 16]));
    assert!(exchange.calls().is_empty());
    let outcome = exchange.into_outcome().unwrap();
    assert!(matches!(outcome, Outcome::Refused(Refusal::ClockOutOfRange)));
}

#[test]
fn prefixes_that_would_change_slots_are_refused() {
    for prefix in ["", "a{b", "a}b", "a b", "é"] {
        let mut options = ProtocolOptions::default();
        options.prefix = prefix.into();
        assert_eq!(Protocol::new(&options).unwrap_err(), OptionsError::Prefix, "{prefix}");
    }
}
