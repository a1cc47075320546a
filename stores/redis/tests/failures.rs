//! What becomes of requests when the server is gone, slow, full, read-only or locked, and when a reply is
//! lost.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects, reason = "small numbers")]

mod common;

use std::time::{Duration, Instant};

use common::limits::any_limit;
use common::proxy::Proxy;
use common::world::*;
use common::{Server, options, store};
use tollgate::*;
use tollgate_redis::{OptionsError, RedisOptions, RedisStore, redis};

/// Ten units that do not refill while a test runs.
fn ten(partition: Partition) -> Limit {
    let mut limit = any_limit();
    limit.partition = partition;
    limit.quota = Quota::new(10, 86_400_000);
    limit.cost = 1;
    limit
}

fn remaining(admission: &Admission) -> u64 {
    admission.tightest.unwrap().left.remaining
}

#[test]
fn a_server_that_is_killed_is_unavailable_and_comes_back() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let store = store(&server.url());
    set_up(&store, 10);
    server.kill();
    let text = reason(plain(&store, &[]));
    assert!(text.contains("refused the connection"), "{text}");
    server.restart();
    assert_eq!(admitted(charge(&store, 1, 4, &[])), Some(ReservationId(1)));
    assert_eq!(inspect(&store).held, Amount(4));
}

#[test]
fn a_server_that_stands_still_is_unavailable_in_time() {
    let server = Server::start(&[]);
    let mut options = options(&server.url());
    options.response_timeout = Duration::from_millis(200);
    options.connect_timeout = Duration::from_millis(200);
    let store = RedisStore::new(&options).unwrap();
    set_up(&store, 10);
    admitted(charge(&store, 1, 1, &[]));
    server.signal("-STOP");
    let start = Instant::now();
    let result = charge(&store, 2, 4, &[]);
    let waited = start.elapsed();
    server.signal("-CONT");
    let text = reason(result);
    assert!(text.contains("did not answer in time"), "{text}");
    assert!(waited < Duration::from_secs(3), "{waited:?}");
    // Both tries were waiting at the server, and are one execution.
    let until = Instant::now() + Duration::from_secs(5);
    while inspect(&store).held == Amount(1) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!((inspect(&store).held, inspect(&store).sequence), (Amount(5), 2));
}

#[test]
fn a_full_server_refuses_and_changes_nothing() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]);
    let store = store(&server.url());
    set_up(&store, 10);
    let id = admitted(charge(&store, 1, 4, &[])).unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let text = reason(charge(&store, 2, 4, &[ten(Partition::Token)]));
    assert!(text.contains("maxmemory"), "{text}");
    assert!(reason(settle(&store, id, &answer("late"))).contains("maxmemory"));
    let deposit = Administration::Deposit { account: &acme(), amount: Amount(1) };
    let deposit = Command::Administer(&deposit);
    assert!(reason(store.perform(&deposit, NOW_MS)).contains("maxmemory"));
    assert_eq!((inspect(&store).held, inspect(&store).balance), (Amount(4), Amount(10)));
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    settle(&store, id, &answer("in the end")).unwrap();
    assert_eq!(inspect(&store).posted, Amount(4));
}

#[test]
fn a_replica_is_unavailable_for_writes() {
    let primary = Server::start(&[]);
    let replica = Server::start(&[]);
    let first = options(&primary.url());
    let prefix = first.protocol.prefix.clone();
    let store_of_primary = RedisStore::new(&first).unwrap();
    set_up(&store_of_primary, 10);
    replica.command(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]);
    let mut same = options(&replica.url());
    same.protocol.prefix = prefix;
    let store = RedisStore::new(&same).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    // Until it has the primary's data it knows of no account.
    while inspect_if_any(&store).is_none() {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(50));
    }
    let text = reason(charge(&store, 1, 1, &[]));
    assert!(text.contains("read-only replica"), "{text}");
    assert_eq!(inspect(&store_of_primary).sequence, 0);
}

#[test]
fn passwords_are_asked_for_and_never_shown() {
    let server = Server::start(&["--requirepass", "s3cret"]);
    let text = reason(plain(&store(&server.url()), &[]));
    assert!(text.contains("password"), "{text}");
    let wrong = format!("redis://:wr0ng@127.0.0.1:{}", server.port);
    let text = reason(plain(&store(&wrong), &[]));
    assert!(text.contains("does not accept") && !text.contains("wr0ng"), "{text}");
    let right = format!("redis://:s3cret@127.0.0.1:{}", server.port);
    let options = options(&right);
    let store = RedisStore::new(&options).unwrap();
    set_up(&store, 1);
    for shown in [format!("{options:?}"), format!("{store:?}")] {
        assert!(!shown.contains("s3cret") && !shown.contains("127.0.0.1"), "{shown}");
    }
    let bad = RedisOptions::new("http://u:s3cret@h");
    let error = RedisStore::new(&bad).unwrap_err();
    assert_eq!(error, OptionsError::Url);
    assert!(!format!("{error} {error:?}").contains("s3cret"));
}

#[test]
fn a_user_needs_the_commands_and_keys_of_the_store_only() {
    let server = Server::start(&[]);
    let mut rights = vec!["ACL", "SETUSER", "tollgate", "on", ">s3cret", "~tg*", "-@all"];
    // The list of the README.
    rights.extend([
        "+get",
        "+set",
        "+del",
        "+exists",
        "+hget",
        "+hset",
        "+hdel",
        "+hmget",
        "+hgetall",
        "+hexists",
        "+zadd",
        "+zrem",
        "+zrangebyscore",
        "+sadd",
        "+sismember",
        "+smembers",
        "+eval",
        "+evalsha",
        "+select",
    ]);
    server.command(&rights);
    let url = format!("redis://tollgate:s3cret@127.0.0.1:{}", server.port);
    let mut options = RedisOptions::new(&url);
    let store = RedisStore::new(&options).unwrap();
    set_up(&store, 10);
    let id = admitted(charge(&store, 1, 4, &[ten(Partition::Global)])).unwrap();
    settle(&store, id, &answer("done")).unwrap();
    let account = &acme_ref();
    let (reservation, amount, reference) = (id, Amount(1), "r");
    done(&store, &Administration::Refund { account, reservation, amount, reference });
    let outcome = store.perform(&Command::Administer(&Administration::Expire), NOW_MS).unwrap();
    assert!(matches!(outcome, Outcome::Expired(0)));
    assert_eq!((inspect(&store).posted, reservations(&store).len()), (Amount(4), 1));
    options.protocol.prefix = "other".into();
    let text = reason(plain(&RedisStore::new(&options).unwrap(), &[ten(Partition::Token)]));
    assert!(text.contains("may not run"), "{text}");
}

#[test]
fn scripts_that_the_server_forgot_are_sent_again() {
    let server = Server::start(&[]);
    let store = store(&server.url());
    set_up(&store, 100);
    for number in 1..5 {
        server.command(&["SCRIPT", "FLUSH"]);
        let id = admitted(charge(&store, number, 4, &[])).unwrap();
        server.command(&["SCRIPT", "FLUSH"]);
        settle(&store, id, &answer("done")).unwrap();
    }
    server.command(&["SCRIPT", "FLUSH"]);
    let outcome = store.perform(&Command::Administer(&Administration::Expire), NOW_MS).unwrap();
    assert!(matches!(outcome, Outcome::Expired(0)));
    assert_eq!((inspect(&store).posted, inspect(&store).sequence), (Amount(16), 4));
}

/// Runs `work` once for each reply that it waits for, of which that one is lost; then once more, without
/// a loss. `work` gives whether all is as if nothing had been lost.
fn lose_each_reply(work: impl Fn(&RedisStore)) {
    let server = Server::start(&[]);
    for lost in 0.. {
        let proxy = Proxy::start(server.port);
        let mut options = options(&proxy.url());
        options.protocol.cached_tokens = 0;
        options.connections = 1;
        options.response_timeout = Duration::from_secs(2);
        let store = RedisStore::new(&options).unwrap();
        set_up(&store, 100);
        proxy.cut_after(lost);
        work(&store);
        if !proxy.has_cut() {
            assert!(lost > 0, "nothing was lost");
            return;
        }
    }
}

#[test]
fn an_admission_whose_reply_is_lost_is_applied_once() {
    lose_each_reply(|store| {
        let limits = [ten(Partition::Token), ten(Partition::Global)];
        let first = charge(store, 1, 4, &limits).unwrap();
        assert_eq!(remaining(&first), 9);
        assert_eq!(admitted(Ok(first)), Some(ReservationId(1)));
        let wallet = inspect(store);
        assert_eq!((wallet.held, wallet.sequence, wallet.open_reservations), (Amount(4), 1, 1));
        assert_eq!(remaining(&plain(store, &limits).unwrap()), 8);
    });
}

#[test]
fn a_replay_whose_reply_is_lost_counts_once() {
    lose_each_reply(|store| {
        let limits = [ten(Partition::Token)];
        let id = admitted(charge(store, 1, 4, &limits)).unwrap();
        settle(store, id, &answer("kept")).unwrap();
        let again = charge(store, 1, 4, &limits).unwrap();
        assert_eq!(remaining(&again), 8);
        let AdmitVerdict::Replay(response) = again.verdict else { panic!("{again:?}") };
        assert_eq!(response.body.as_deref(), Some(&b"kept"[..]));
        assert_eq!((inspect(store).posted, inspect(store).sequence), (Amount(4), 1));
    });
}

#[test]
fn money_that_moves_while_replies_are_lost_moves_once() {
    lose_each_reply(|store| {
        let id = admitted(charge(store, 1, 40, &[])).unwrap();
        let finish = Finish::Settle { amount: Some(Amount(30)), response: None };
        let outcome = settle(store, id, &finish).unwrap();
        assert!(
            matches!(outcome, Outcome::Settled(Settled { posted: Some(Amount(30)) })),
            "{outcome:?}"
        );
        done(store, &Administration::Deposit { account: &acme(), amount: Amount(7) });
        let (account, reservation) = (&acme_ref(), id);
        let (amount, reference) = (Amount(5), "r");
        done(store, &Administration::Refund { account, reservation, amount, reference });
        let wallet = inspect(store);
        assert_eq!((wallet.deposited, wallet.refunded), (Amount(107), Amount(5)));
        assert_eq!((wallet.balance, wallet.held), (Amount(82), Amount::ZERO));
        conserved(&wallet);
    });
}

#[test]
fn a_settlement_that_leaves_no_record_is_answered_again() {
    lose_each_reply(|store| {
        let (token, account) = (token("t"), acme_ref());
        let rule = ChargeRule { retention_ms: 0, ..RULE };
        let plain = Admit::limits_only(&token, &account, &[]);
        let admit = Admit { charge: Some(Amount(3)), charge_rule: &rule, ..plain };
        let id = admitted(store.admit(&admit, NOW_MS)).unwrap();
        let finish = Finish::Settle { amount: None, response: None };
        let outcome = settle(store, id, &finish).unwrap();
        let posted = Settled { posted: Some(Amount(3)) };
        assert!(matches!(outcome, Outcome::Settled(settled) if settled == posted), "{outcome:?}");
        assert_eq!(inspect(store).posted, Amount(3));
    });
}

#[test]
fn administration_whose_replies_are_lost_is_done_once() {
    lose_each_reply(|store| {
        let (old, new) = (&token("t"), &token("n"));
        done(store, &Administration::RotateToken { old, new, grace_ms: 1_000 });
        put_token(store, "x", TokenPatch::default());
        done(store, &Administration::RevokeToken { digest: &token("x") });
        let list = Administration::ListTokens { account: &acme() };
        let Outcome::Tokens(tokens) = store.perform(&Command::Administer(&list), NOW_MS).unwrap()
        else {
            panic!()
        };
        assert_eq!(tokens.len(), 3);
        let engine = common::limits::engine();
        for (name, live) in [("t", true), ("n", true), ("x", false)] {
            let digest = &token(name);
            let scopes = engine.policy().scopes();
            let found = store.look_up(&Lookup { digest, scopes, plain: None }, NOW_MS).unwrap();
            assert_eq!(!found.credential.unwrap().revoked, live, "{name}");
        }
    });
}

#[test]
fn without_a_memory_nothing_is_sent_twice() {
    let server = Server::start(&[]);
    let proxy = Proxy::start(server.port);
    let mut options = options(&proxy.url());
    options.protocol.remember = Duration::ZERO;
    let store = RedisStore::new(&options).unwrap();
    set_up(&store, 10);
    admitted(charge(&store, 1, 4, &[]));
    proxy.cut_after(0);
    let text = reason(charge(&store, 2, 4, &[]));
    assert!(text.contains("broke"), "{text}");
    assert_eq!(inspect(&store).sequence, 2);
}

#[test]
fn a_record_that_is_damaged_is_said_to_be() {
    let server = Server::start(&[]);
    let options = options(&server.url());
    let store = RedisStore::new(&options).unwrap();
    set_up(&store, 10);
    let key = format!("{}:t:{{{}}}", options.protocol.prefix, token("t"));
    server.command(&["SET", &key, "garbage"]);
    let engine = common::limits::engine();
    let lookup = Lookup { digest: &token("t"), scopes: engine.policy().scopes(), plain: None };
    let fresh = RedisStore::new(&options).unwrap();
    let error = fresh.look_up(&lookup, NOW_MS).unwrap_err();
    assert_eq!(error, StoreError::Corrupt { what: "a token" });
    server.command(&["DEL", &key]);
    server.command(&["LPUSH", &key, "another type"]);
    assert!(reason(fresh.look_up(&lookup, NOW_MS)).contains("WRONGTYPE"));
}

#[test]
fn a_damaged_limit_or_reservation_stops_a_script_before_it_writes() {
    let server = Server::start(&[]);
    let options = options(&server.url());
    let store = RedisStore::new(&options).unwrap();
    set_up(&store, 10);
    let limits = [ten(Partition::Token)];
    let id = admitted(charge(&store, 1, 4, &limits)).unwrap();
    settle(&store, id, &answer("sent")).unwrap();
    let before = inspect(&store);

    let redis::Value::Array(keys) = server.command(&["KEYS", "*:l:*"]) else { panic!() };
    let [redis::Value::BulkString(key)] = &keys[..] else { panic!("{keys:?}") };
    let key = std::str::from_utf8(key).unwrap();
    for damaged in ["g", "garbage", "x23456789"] {
        server.command(&["SET", key, damaged]);
        assert!(plain(&store, &limits).is_err(), "{damaged}");
        assert!(charge(&store, 2, 3, &limits).is_err(), "{damaged}");
        assert_eq!(inspect(&store), before, "{damaged}");
    }
    server.command(&["DEL", key]);

    let reservations = format!("{}:{{acme}}:r", options.protocol.prefix);
    let redis::Value::Array(names) = server.command(&["HKEYS", &reservations]) else { panic!() };
    let [redis::Value::BulkString(name)] = &names[..] else { panic!("{names:?}") };
    let damage = |bytes: &[u8]| {
        let mut command = redis::cmd("HSET");
        command.arg(&reservations).arg(name).arg(bytes);
        command.exec(&mut server.connection()).unwrap();
    };
    for damaged in [&b"garbage"[..], b"p", b""] {
        damage(damaged);
        let refund = Admin::new(&store).refund(&acme_ref(), id, Amount(1), "r", NOW_MS);
        assert!(matches!(refund, Err(AdminError::Store(_))), "{refund:?}");
        assert_eq!(inspect(&store), before);
    }
}

#[test]
fn tls_is_spoken_and_certificates_are_checked() {
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let own = rcgen::generate_simple_self_signed(names).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) =
        (directory.path().join("certificate.pem"), directory.path().join("key.pem"));
    std::fs::write(&certificate, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let tls_port = common::free_port();
    let server = Server::start(&[
        "--tls-port",
        &tls_port.to_string(),
        "--tls-cert-file",
        certificate.to_str().unwrap(),
        "--tls-key-file",
        key.to_str().unwrap(),
        "--tls-ca-cert-file",
        certificate.to_str().unwrap(),
        "--tls-auth-clients",
        "no",
    ]);
    let mut options = options(&format!("rediss://127.0.0.1:{tls_port}"));
    options.root_certificates = Some(own.cert.pem().into_bytes());
    let store = RedisStore::new(&options).unwrap();
    set_up(&store, 10);
    assert_eq!(admitted(charge(&store, 1, 4, &[])), Some(ReservationId(1)));
    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    options.root_certificates = Some(other.cert.pem().into_bytes());
    let text = reason(plain(&RedisStore::new(&options).unwrap(), &[]));
    assert!(!text.is_empty());
    drop(server);
}
