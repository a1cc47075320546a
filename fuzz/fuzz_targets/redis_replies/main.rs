//! Whatever a Redis server answers: every command comes to an end, with an outcome of its own kind or an error, and
//! nothing is admitted that no script admitted.

#![no_main]

mod replies;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use replies::Answer;
use tollgate::{
    AccountId, AccountPatch, AccountRef, Administration, Admit, AdmitVerdict, Amount, Command,
    Engine, Finish, Idempotency, IdempotencyRule, Limit, Lookup, Mode, Outcome, ReservationId,
    Settle, StoreError, TokenDigest, TokenPatch,
};
use tollgate_redis::redis::Value;
use tollgate_redis::{CallError, Nonce, Protocol, ProtocolOptions, Reply};

const NOW_MS: u64 = 1_700_000_000_000;
/// A server that goes on answering could keep an operator's command going; inputs are shorter.
const MOST_ROUNDS: usize = 1_000;

#[derive(Arbitrary, Debug)]
struct Input {
    command: u8,
    cluster: bool,
    with_limits: u8,
    answers: Vec<Answer>,
}

fuzz_target!(|input: Input| {
    let mut options = ProtocolOptions::default();
    options.cluster = input.cluster;
    let protocol = Protocol::new(&options).unwrap();
    let replies: Vec<Reply> = input.answers.iter().take(64).map(Answer::reply).collect();
    with_command(input.command, input.with_limits, |command| {
        let ended = run(&protocol, command, &replies);
        check(command, &replies, &ended);
        // Once more, over what was kept of tokens.
        let again = run(&protocol, command, &replies);
        check(command, &replies, &again);
    });
});

fn run(
    protocol: &Protocol,
    command: &Command<'_>,
    replies: &[Reply],
) -> Result<Outcome, StoreError> {
    let mut exchange = protocol.exchange(command, NOW_MS, Nonce([7; 16]));
    let mut replies = replies.iter().cloned();
    let mut rounds = 0;
    while !exchange.calls().is_empty() {
        rounds += 1;
        assert!(rounds < MOST_ROUNDS, "no end");
        let calls = exchange.calls();
        let bytes: usize = calls.iter().map(|call| call.to_bytes().len()).sum();
        assert!(calls.len() <= 4096 && bytes <= 4 << 20, "{} calls of {bytes} bytes", calls.len());
        assert!(calls.iter().all(|call| call.key().starts_with(b"tg:")));
        let silence = || Err(CallError::lost("the input is over"));
        let answers = calls.iter().map(|_| replies.next().unwrap_or_else(silence)).collect();
        exchange.resume(answers);
    }
    exchange.into_outcome()
}

/// Outcomes are those that the command's documentation names.
fn check(command: &Command<'_>, replies: &[Reply], ended: &Result<Outcome, StoreError>) {
    let outcome = match ended {
        Ok(outcome) => outcome,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let refused = matches!(outcome, Outcome::Refused(_));
    let fits = match command {
        Command::Lookup(_) => {
            matches!(outcome, Outcome::LookedUp(found) if found.admission.is_none())
        }
        Command::Admit(_) => refused || matches!(outcome, Outcome::Admission(_)),
        Command::Settle(_) => refused || matches!(outcome, Outcome::Settled(_)),
        Command::Administer(administration) => match administration {
            Administration::Resolve { .. } => refused || matches!(outcome, Outcome::Settled(_)),
            Administration::Inspect { .. } => refused || matches!(outcome, Outcome::Account(_)),
            Administration::ListAccounts { at_most, .. } => {
                matches!(outcome, Outcome::Accounts(found) if found.len() <= *at_most)
            }
            Administration::ListTokens { .. } => refused || matches!(outcome, Outcome::Tokens(_)),
            Administration::ListReservations { .. } => {
                refused || matches!(outcome, Outcome::Reservations(_))
            }
            Administration::NameAccount { .. } => refused || matches!(outcome, Outcome::Name(_)),
            Administration::Expire => matches!(outcome, Outcome::Expired(_)),
            _ => refused || matches!(outcome, Outcome::Done),
        },
        _ => true,
    };
    assert!(fits, "{command:?} gave {outcome:?}");
    if let (Command::Admit(admit), Outcome::Admission(admission)) = (command, outcome) {
        let admitted = matches!(admission.verdict, AdmitVerdict::Admitted { .. });
        let said = |reply: &Reply| matches!(reply, Ok(Value::BulkString(bytes)) if bytes.starts_with(b"\0\0\0\x01A"));
        assert!(
            !admitted || admit.mode != Mode::Apply || replies.iter().any(said),
            "admitted by nobody"
        );
    }
}

fn limits(which: u8) -> Vec<Limit> {
    thread_local! {
        static ENGINE: Engine = Engine::new(tollgate::CompiledPolicy::from_toml(include_str!("policy.toml")).unwrap());
    }
    ENGINE.with(|engine| {
        let all = engine.policy().limits(None).iter().enumerate();
        all.filter(|(place, _)| which >> place & 1 == 1).map(|(_, limit)| limit.clone()).collect()
    })
}

fn with_command(which: u8, with_limits: u8, work: impl FnOnce(&Command<'_>)) {
    let (digest, other) = (replies::token(), TokenDigest::new([9; 32]));
    let id = AccountId::new("acme").unwrap();
    let (named, account) = (AccountRef::Id(id.clone()), &id);
    let limits = limits(with_limits);
    let record = replies::token_record();
    let rule = IdempotencyRule {
        required: true,
        retention_ms: 60_000,
        on_orphan: tollgate::OnOrphan::Rerun,
        on_store_failure: tollgate::FailureMode::Closed,
    };
    let idempotency = Idempotency::Key {
        claim: tollgate::ClaimKey([3; 32]),
        fingerprint: tollgate::Fingerprint([4; 32]),
        rule,
    };
    let policy = tollgate::preset("sms-gateway").unwrap().compile().unwrap();
    let plain = Admit {
        source: Some([192, 0, 2, 7].into()),
        ..Admit::limits_only(&digest, &named, &limits)
    };
    let admit = Admit {
        token_record: Some(&record),
        idempotency: &idempotency,
        charge: Some(Amount(3)),
        revision: Some(3),
        sender: Some("acme"),
        ..plain
    };
    let finish = match which / 32 {
        0 | 1 => Finish::Unknown,
        2 | 3 => Finish::Void { response: None },
        _ => Finish::Settle { amount: Some(Amount(2)), response: Some(replies::response()) },
    };
    let reservation = ReservationId(1);
    let settings = AccountPatch { senders: Some(vec!["acme".into()]), ..Default::default() };
    let scopes = TokenPatch { scopes: Some(vec!["otp".into()]), ..Default::default() };
    let administration = match which % 32 {
        0 => Administration::PutAccount { account, opening_balance: Amount(1), settings },
        1 => Administration::PutToken { digest: &digest, account, settings: scopes },
        2 => Administration::RotateToken { old: &digest, new: &other, grace_ms: 1 },
        3 => Administration::RevokeToken { digest: &digest },
        4 => Administration::Expire,
        5 => Administration::Inspect { account },
        6 => Administration::ListTokens { account },
        7 => Administration::ListReservations { account },
        8 => Administration::ListAccounts { after: None, at_most: 2 },
        9 => Administration::NameAccount { account: &named },
        10 => Administration::Refund {
            account: &named,
            reservation,
            amount: Amount(1),
            reference: "r",
        },
        11 => Administration::Resolve { account, reservation, finish: finish.clone() },
        _ => Administration::Deposit { account, amount: Amount(1) },
    };
    work(&match which % 32 {
        13 | 14 => {
            Command::Lookup(Lookup { digest: &digest, scopes: policy.scopes(), plain: None })
        }
        15..=18 => Command::Admit(plain),
        19..=22 => Command::Admit(admit),
        23 => Command::Admit(Admit { mode: Mode::Peek, ..admit }),
        24 => Command::Admit(Admit { detail: true, ..admit }),
        25 => Command::Admit(Admit { mode: Mode::Observe, ..plain }),
        26..=28 => Command::Settle(Settle { account: &named, reservation, finish: &finish }),
        _ => Command::Administer(&administration),
    });
}
