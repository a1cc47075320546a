//! A host that carries the bytes itself, over a socket of its own; and what becomes of limits that span
//! accounts when any one reply is lost.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects, reason = "small numbers")]

mod common;

use std::cell::{Cell as Count, RefCell};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::limits::any_limit;
use common::world::*;
use common::{Server, fresh_prefix};
use tollgate::*;
use tollgate_redis::redis::{Value, parse_redis_value};
use tollgate_redis::{Call, CallError, Nonce, Protocol, ProtocolOptions, Reply};

/// Sends calls one after the other, and loses the reply to one of them, which it sends again.
struct Host {
    protocol: Protocol,
    prefix: String,
    port: u16,
    stream: RefCell<TcpStream>,
    nonces: Count<u64>,
    /// Replies until one is lost.
    until_loss: Count<i64>,
}

impl Host {
    fn new(server: &Server, prefix: &str) -> Host {
        let mut options = ProtocolOptions::default();
        options.prefix = prefix.into();
        // Every slot is this server's; limits that span accounts take the long way all the same.
        options.cluster = true;
        options.cached_tokens = 0;
        let protocol = Protocol::new(&options).unwrap();
        let stream = RefCell::new(connect(server.port));
        let (nonces, until_loss) = (Count::new(0), Count::new(i64::MAX));
        Host { protocol, prefix: prefix.into(), port: server.port, stream, nonces, until_loss }
    }

    fn perform(&self, command: &Command<'_>) -> Result<Outcome, StoreError> {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.nonces.get().to_be_bytes());
        self.nonces.set(self.nonces.get() + 1);
        let mut exchange = self.protocol.exchange(command, NOW_MS, Nonce(nonce));
        while !exchange.calls().is_empty() {
            let replies = exchange.calls().iter().map(|call| self.send(call)).collect();
            exchange.resume(replies);
        }
        exchange.into_outcome()
    }

    fn send(&self, call: &Call) -> Reply {
        let reply = self.try_send(call);
        self.until_loss.set(self.until_loss.get() - 1);
        if self.until_loss.get() != 0 {
            return reply;
        }
        *self.stream.borrow_mut() = connect(self.port);
        self.try_send(call)
    }

    fn try_send(&self, call: &Call) -> Reply {
        let mut stream = self.stream.borrow_mut();
        stream.write_all(&call.to_bytes()).unwrap();
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4_096]);
        loop {
            let read = stream.read(&mut buffer).unwrap();
            bytes.extend_from_slice(&buffer[..read]);
            match parse_redis_value(&bytes) {
                Ok(value) => return Ok(value),
                Err(_) if read > 0 => {}
                Err(error) => return Err(CallError::from(error)),
            }
        }
    }
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// A limit of everybody together.
fn global(name: &str, algorithm: Algorithm, counts: Counts) -> Limit {
    let mut limit = any_limit();
    limit.id = LimitId::of(name, algorithm);
    limit.name = name.into();
    limit.partition = Partition::Global;
    limit.algorithm = algorithm;
    limit.counts = counts;
    limit.quota = Quota::new(10, 86_400_000_000);
    limit
}

fn charge(host: &Host, number: u64, amount: u64, limits: &[Limit]) -> Admission {
    let (token, account, idempotency) = (token("t"), acme_ref(), key(number));
    let plain = Admit::limits_only(&token, &account, limits);
    let charge = Some(Amount(amount));
    let admit = Admit { idempotency: &idempotency, charge, charge_rule: &RULE, ..plain };
    match host.perform(&Command::Admit(admit)).unwrap() {
        Outcome::Admission(admission) => admission,
        other => panic!("{other:?}"),
    }
}

/// What is left of each limit.
fn left(host: &Host, limits: &[Limit]) -> Vec<u64> {
    let (token, account) = (token("t"), acme_ref());
    let admit =
        Admit { mode: Mode::Peek, detail: true, ..Admit::limits_only(&token, &account, limits) };
    match host.perform(&Command::Admit(admit)).unwrap() {
        Outcome::Admission(Admission { detail: Some(detail), .. }) => {
            detail.limits.iter().map(|(report, _)| report.left.remaining).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// An account with seven units of money and a token.
fn prepare(host: &Host) {
    let opening_balance = Amount(7);
    for administration in [
        Administration::PutAccount {
            account: &acme(),
            opening_balance,
            settings: AccountPatch::default(),
        },
        Administration::PutToken {
            digest: &token("t"),
            account: &acme(),
            settings: TokenPatch::default(),
        },
    ] {
        let outcome = host.perform(&Command::Administer(&administration)).unwrap();
        assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
    }
}

#[test]
fn what_spans_accounts_is_counted_once_whichever_reply_is_lost() {
    let server = Server::start(&[]);
    for algorithm in [Algorithm::Gcra, Algorithm::FixedWindow, Algorithm::SlidingWindow] {
        let limits = [
            global("requests", algorithm, Counts::Requests),
            global("executions", algorithm, Counts::Executions),
            any_limit(),
        ];
        for lost in 1.. {
            let prefix = fresh_prefix();
            let host = Host::new(&server, &prefix);
            prepare(&host);
            host.until_loss.set(lost);
            let first = charge(&host, 1, 5, &limits).verdict;
            assert!(matches!(first, AdmitVerdict::Admitted { .. }), "{lost}: {first:?}");
            // Too little money: the execution is given back, the request is not.
            let second = charge(&host, 2, 5, &limits).verdict;
            let denied = matches!(second, AdmitVerdict::Denied(Denial::InsufficientBalance { .. }));
            assert!(denied, "{lost}: {second:?}");
            let over = host.until_loss.get() > 0;
            assert_eq!(left(&host, &limits)[..2], [8, 9], "{lost}");
            if over {
                assert!(lost > 10);
                break;
            }
        }
    }
}

#[test]
fn a_replay_that_is_asked_for_again_is_not_answered_with_anothers_response() {
    let server = Server::start(&[]);
    let host = Host::new(&server, &fresh_prefix());
    prepare(&host);
    let limits = [any_limit()];
    let settle = |number: u64, body: &str| {
        let (account, finish) = (acme_ref(), answer(body));
        let reservation = ReservationId(number);
        let settle = Settle { account: &account, reservation, finish: &finish };
        let outcome = host.perform(&Command::Settle(settle)).unwrap();
        assert!(matches!(outcome, Outcome::Settled(_)), "{outcome:?}");
    };
    charge(&host, 1, 1, &limits);
    settle(1, "first");
    let (token, account, idempotency) = (token("t"), acme_ref(), key(1));
    let plain = Admit::limits_only(&token, &account, &limits);
    let admit = Admit { idempotency: &idempotency, ..plain };
    let mut exchange = host.protocol.exchange(&Command::Admit(admit), NOW_MS, Nonce([7; 16]));
    // The server knows the script from the requests before: one call is all there is.
    let replies = exchange.calls().iter().map(|call| host.send(call)).collect();
    let call = exchange.calls()[0].clone();
    exchange.resume(replies);
    let replay = exchange.into_outcome().unwrap();
    assert!(format!("{replay:?}").contains("Replay"), "{replay:?}");
    // Its reply was lost. Before it is asked for again the key comes free, and is another request's.
    let claims = format!("{}:{{acme}}:c", host.prefix);
    server.command(&["DEL", &claims]);
    let Idempotency::Key { claim, rule, .. } = idempotency else { panic!() };
    let other = Idempotency::Key { claim, fingerprint: Fingerprint([9; 32]), rule };
    let other = Admit { idempotency: &other, ..plain };
    let outcome = host.perform(&Command::Admit(other)).unwrap();
    assert!(format!("{outcome:?}").contains("Admitted"), "{outcome:?}");
    assert!(host.send(&call).is_ok_and(|reply| matches!(reply, Value::ServerError(_))));
    settle(2, "second");
    assert!(host.send(&call).is_ok_and(|reply| matches!(reply, Value::ServerError(_))));
}
