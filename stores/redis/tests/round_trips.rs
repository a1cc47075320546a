//! How often something is sent and waited for, and what the cache of credentials may and may not do.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects, reason = "small numbers")]

mod common;

use std::time::Duration;

use common::limits::{any_limit, engine};
use common::world::*;
use common::{Cluster, Server, options};
use tollgate::*;
use tollgate_redis::{OptionsError, RedisOptions, RedisStore};

fn text(name: &str) -> String {
    format!("Bearer {name}")
}

fn ask(engine: &Engine, store: &RedisStore, token: &str, peer: &str) -> Status {
    let bearer = text(token);
    let headers = [("authorization", bearer.as_str())];
    let peer = Some(peer.parse().unwrap());
    let request = Request { peer, ..Request::new(b"GET", b"/a", NOW_MS).with_headers(&headers) };
    engine.decide(store, &request).status()
}

/// What `work` costs.
fn cost(store: &RedisStore, work: impl FnOnce()) -> u64 {
    let before = store.round_trips();
    work();
    store.round_trips() - before
}

fn second(options: &RedisOptions) -> RedisStore {
    RedisStore::new(options).unwrap()
}

#[test]
fn the_first_use_of_a_token_takes_two_and_every_other_one() {
    let server = Server::start(&[]);
    let options = options(&server.url());
    let operator = second(&options);
    set_up(&operator, 100);
    put_token(&operator, "u", TokenPatch::default());
    let (engine, store) = (engine(), second(&options));
    // The server learns the scripts.
    admitted(charge(&operator, 9, 1, &[]));
    assert_eq!(ask(&engine, &store, "u", "192.0.2.1"), Status::Allowed);
    let first =
        cost(&store, || assert_eq!(ask(&engine, &store, "t", "192.0.2.1"), Status::Allowed));
    let again =
        cost(&store, || assert_eq!(ask(&engine, &store, "t", "192.0.2.1"), Status::Allowed));
    assert_eq!((first, again), (2, 1));
    assert_eq!(cost(&store, || drop(charge(&store, 1, 1, &[any_limit()]).unwrap())), 1);
    admitted(charge(&store, 2, 1, &[]));
    settle(&store, ReservationId(2), &answer("x")).unwrap();
    let settled = cost(&store, || drop(settle(&store, ReservationId(3), &answer("x")).unwrap()));
    assert_eq!(settled, 1);
    let unknown = cost(&store, || {
        assert_eq!(ask(&engine, &store, "nobody", "192.0.2.1"), Status::InvalidToken);
    });
    assert_eq!(unknown, 1);
}

#[test]
fn what_others_change_is_in_force_although_the_token_is_cached() {
    let server = Server::start(&[]);
    let options = options(&server.url());
    let operator = second(&options);
    set_up(&operator, 100);
    let (engine, store) = (engine(), second(&options));
    let is = |status| assert_eq!(ask(&engine, &store, "t", "192.0.2.1"), status);
    is(Status::Allowed);
    let networks = |text: &[&str]| {
        let networks = Some(text.iter().map(|text| text.parse().unwrap()).collect());
        let settings = AccountPatch { networks, ..AccountPatch::default() };
        let opening_balance = Amount::ZERO;
        done(
            &operator,
            &Administration::PutAccount { account: &acme(), opening_balance, settings },
        );
    };
    networks(&["203.0.113.0/24"]);
    is(Status::IpNotAllowed);
    networks(&[]);
    is(Status::Allowed);
    let scopes = |names: &[&str]| {
        let scopes = Some(names.iter().map(|name| (*name).into()).collect());
        let settings = TokenPatch { scopes, ..TokenPatch::default() };
        let (digest, account) = (&token("t"), &acme());
        done(&operator, &Administration::PutToken { digest, account, settings });
    };
    scopes(&[]);
    is(Status::InsufficientScope);
    scopes(&["some"]);
    is(Status::Allowed);
    let expires = |at| {
        let patch = TokenPatch { expires_ms: Some(at), ..TokenPatch::default() };
        put_token(&operator, "t", patch);
    };
    expires(Some(NOW_MS));
    is(Status::InvalidToken);
    expires(None);
    is(Status::Allowed);
    done(&operator, &Administration::RevokeToken { digest: &token("t") });
    is(Status::InvalidToken);
}

#[test]
fn a_change_whose_publication_was_lost_is_in_force_and_is_published_by_the_next_request() {
    let server = Server::start(&[]);
    let options = options(&server.url());
    let (operator, engine) = (second(&options), engine());
    set_up(&operator, 100);
    let copy = format!("{}:t:{{{}}}", options.protocol.prefix, token("t"));
    let mut connection = server.connection();
    let get = || -> Vec<u8> {
        let mut connection = server.connection();
        tollgate_redis::redis::cmd("GET").arg(&copy).query(&mut connection).unwrap()
    };
    let before = get();
    done(&operator, &Administration::RevokeToken { digest: &token("t") });
    let after = get();
    assert_ne!(before, after);
    // As if the operator's process had died between change and publication.
    let () =
        tollgate_redis::redis::cmd("SET").arg(&copy).arg(&before).query(&mut connection).unwrap();
    assert_eq!(ask(&engine, &second(&options), "t", "192.0.2.1"), Status::InvalidToken);
    assert_eq!(get(), after);
    // A token of which only the name was put down is published too.
    put_token(&operator, "n", TokenPatch::default());
    let copy = format!("{}:t:{{{}}}", options.protocol.prefix, token("n"));
    let mut claimed = vec![0; 8];
    claimed.extend(br#"{"account":"acme"}"#);
    let () =
        tollgate_redis::redis::cmd("SET").arg(&copy).arg(&claimed).query(&mut connection).unwrap();
    assert_eq!(ask(&engine, &second(&options), "n", "192.0.2.1"), Status::Allowed);
}

#[test]
fn a_copy_of_what_the_account_lost_is_replaced() {
    let server = Server::start(&[]);
    let mut options = options(&server.url());
    options.protocol.cached_tokens = 0;
    let engine = engine();
    set_up(&second(&options), 100);
    let copy = format!("{}:t:{{{}}}", options.protocol.prefix, token("t"));
    let mut connection = server.connection();
    let mut ahead: Vec<u8> =
        tollgate_redis::redis::cmd("GET").arg(&copy).query(&mut connection).unwrap();
    // A change that was published, and is lost since: its slot was another server's.
    ahead[4] = 9;
    let () =
        tollgate_redis::redis::cmd("SET").arg(&copy).arg(&ahead).query(&mut connection).unwrap();
    assert_eq!(ask(&engine, &second(&options), "t", "192.0.2.1"), Status::Allowed);
}

#[test]
fn a_revocation_that_the_server_lost_does_not_keep_the_token_out_of_the_cache() {
    let server = Server::start(&[]);
    let options = options(&server.url());
    let (engine, store) = (engine(), second(&options));
    set_up(&store, 100);
    let keys = ["{acme}:a".into(), "{acme}:t".into(), format!("t:{{{}}}", token("t"))];
    let keys = keys.map(|name: String| format!("{}:{name}", options.protocol.prefix));
    for key in &keys {
        server.command(&["COPY", key, &format!("{key}-before")]);
    }
    done(&store, &Administration::RevokeToken { digest: &token("t") });
    assert_eq!(ask(&engine, &store, "t", "192.0.2.1"), Status::InvalidToken);
    for key in &keys {
        server.command(&["COPY", &format!("{key}-before"), key, "REPLACE"]);
    }
    let allowed = || assert_eq!(ask(&engine, &store, "t", "192.0.2.1"), Status::Allowed);
    allowed();
    assert_eq!(cost(&store, allowed), 1);
}

#[test]
fn a_token_that_the_account_lost_is_unknown() {
    let server = Server::start(&[]);
    let options = options(&server.url());
    let (engine, store) = (engine(), second(&options));
    set_up(&store, 100);
    assert_eq!(ask(&engine, &store, "t", "192.0.2.1"), Status::Allowed);
    let tokens = format!("{}:{{acme}}:t", options.protocol.prefix);
    // Its server lost the latest writes; the copy was another server's.
    server.command(&["DEL", &tokens]);
    for handle in [&store, &second(&options), &second(&options)] {
        assert_eq!(ask(&engine, handle, "t", "192.0.2.1"), Status::InvalidToken);
    }
    put_token(&second(&options), "t", TokenPatch::default());
    for handle in [&store, &second(&options)] {
        assert_eq!(ask(&engine, handle, "t", "192.0.2.1"), Status::Allowed);
    }
}

#[test]
fn an_account_of_a_later_format_is_left_alone() {
    let server = Server::start(&[]);
    let options = options(&server.url());
    let store = second(&options);
    set_up(&store, 100);
    let account = format!("{}:{{acme}}:a", options.protocol.prefix);
    server.command(&["HSET", &account, "f", "2"]);
    let later = StoreError::NewerFormat { found: 2, known: 1 };
    assert_eq!(charge(&store, 1, 1, &[]).unwrap_err(), later);
    let (token, account) = (token("t"), acme_ref());
    let plain = Admit::limits_only(&token, &account, &[]);
    let admit = Admit { revision: Some(1), ..plain };
    assert_eq!(store.admit(&admit, NOW_MS).unwrap_err(), later);
    assert_eq!(settle(&store, ReservationId(1), &Finish::Unknown).unwrap_err(), later);
    let deposit = Administration::Deposit { account: &acme(), amount: Amount(1) };
    for administration in [deposit, Administration::Inspect { account: &acme() }] {
        let command = Command::Administer(&administration);
        assert_eq!(store.perform(&command, NOW_MS).unwrap_err(), later);
    }
}

#[test]
fn only_limits_and_remembered_answers_go_by_age() {
    let server = Server::start(&[]);
    let options = options(&server.url());
    let store = second(&options);
    set_up(&store, 100);
    let mut limit = any_limit();
    limit.algorithm = Algorithm::FixedWindow;
    limit.quota = Quota::new(10, 1_000);
    let mut global = limit.clone();
    global.partition = Partition::Global;
    admitted(charge(&store, 1, 1, &[limit, global]));
    let prefix = &options.protocol.prefix;
    let mut connection = server.connection();
    let keys: Vec<String> =
        tollgate_redis::redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
    let (mut cells, mut answers, mut others) = (0, 0, 0);
    for key in keys {
        let left_ms: i64 =
            tollgate_redis::redis::cmd("PTTL").arg(&key).query(&mut connection).unwrap();
        let rest = key.strip_prefix(prefix.as_str()).unwrap();
        if rest.starts_with(":{acme}:l:") || rest.starts_with(":c:") {
            cells += 1;
            // Twice what the window has left, and an hour.
            assert!((3_590_000..=3_602_000).contains(&left_ms), "{key}: {left_ms}");
        } else if rest.starts_with(":{acme}:n:") {
            answers += 1;
            assert!((1..=60_000).contains(&left_ms), "{key}: {left_ms}");
        } else {
            others += 1;
            assert_eq!(left_ms, -1, "{key}");
        }
    }
    assert!(cells == 2 && answers >= 1 && others >= 7, "{cells} {answers} {others}");
}

/// The longest that an answer is remembered now.
fn remembered_ms(node: &Server) -> i64 {
    let mut connection = node.connection();
    let keys: Vec<String> =
        tollgate_redis::redis::cmd("KEYS").arg("*:n:*").query(&mut connection).unwrap();
    let left = |key: String| -> i64 {
        tollgate_redis::redis::cmd("PTTL").arg(key).query(&mut connection).unwrap()
    };
    keys.into_iter().map(left).max().unwrap_or(0)
}

#[test]
fn an_answer_is_remembered_for_longer_than_all_tries_take() {
    let (server, cluster) = (Server::start(&[]), Cluster::start());
    let open = |url: &str, remember, timeout| {
        let mut options = RedisOptions::new(url);
        options.protocol.remember = remember;
        (options.connect_timeout, options.response_timeout) = (timeout, timeout);
        RedisStore::new(&options)
    };
    let (second, default) = (Duration::from_secs(1), Duration::from_secs(10));
    set_up(&open(&server.url(), default, second).unwrap(), 1);
    assert!((5_000..=10_000).contains(&remembered_ms(&server)));
    // Sent twice, each time with connecting and waiting for the answer.
    set_up(&open(&server.url(), Duration::from_nanos(1), 5 * second).unwrap(), 1);
    assert!((35_000..=40_000).contains(&remembered_ms(&server)));
    // A cluster's client sends each of them four times.
    set_up(&open(&cluster.url(), default, second).unwrap(), 1);
    let longest = cluster.nodes.iter().map(remembered_ms).max().unwrap();
    assert!((28_000..=34_000).contains(&longest), "{longest}");
    assert!(matches!(open(&cluster.url(), Duration::ZERO, second), Err(OptionsError::Zero { .. })));
}

#[test]
fn a_token_is_of_one_account_although_two_ask_for_it() {
    let server = Server::start(&[]);
    let options = options(&server.url());
    let operator = second(&options);
    for name in ["a", "b"] {
        let settings = AccountPatch::default();
        let account = &AccountId::new(name).unwrap();
        let opening_balance = Amount::ZERO;
        done(&operator, &Administration::PutAccount { account, opening_balance, settings });
    }
    for round in 0..20 {
        let digest = token(&format!("contended-{round}"));
        let put = |name: &'static str| {
            let options = options.clone();
            std::thread::spawn(move || {
                let (account, settings) = (AccountId::new(name).unwrap(), TokenPatch::default());
                let put = Administration::PutToken { digest: &digest, account: &account, settings };
                second(&options).perform(&Command::Administer(&put), NOW_MS).unwrap()
            })
        };
        let both = [put("a"), put("b")].map(|thread| thread.join().unwrap());
        let refused =
            |outcome: &Outcome| matches!(outcome, Outcome::Refused(Refusal::ForeignToken));
        assert_eq!(both.iter().filter(|outcome| refused(outcome)).count(), 1, "{both:?}");
    }
}

#[test]
fn two_operators_lose_no_change_of_each_other() {
    let server = Server::start(&[]);
    let options = options(&server.url());
    set_up(&second(&options), 0);
    let operator = |number: u64| {
        let options = options.clone();
        std::thread::spawn(move || {
            let store = second(&options);
            for round in 0..15_u64 {
                put_token(&store, &format!("{number}-{round}"), TokenPatch::default());
                let deposit = Administration::Deposit { account: &acme(), amount: Amount(1) };
                done(&store, &deposit);
            }
        })
    };
    for thread in (0..4).map(operator).collect::<Vec<_>>() {
        thread.join().unwrap();
    }
    let store = second(&options);
    let list = Administration::ListTokens { account: &acme() };
    let Outcome::Tokens(tokens) = store.perform(&Command::Administer(&list), NOW_MS).unwrap()
    else {
        panic!()
    };
    assert_eq!((tokens.len(), inspect(&store).balance), (61, Amount(60)));
    let engine = engine();
    for round in 0..15 {
        let name = format!("3-{round}");
        assert_eq!(ask(&engine, &store, &name, "192.0.2.1"), Status::Allowed);
    }
}

#[test]
fn operators_who_set_different_things_of_one_account_keep_each_others() {
    let server = Server::start(&[]);
    let options = options(&server.url());
    set_up(&second(&options), 0);
    let put = |number: u8| {
        let options = options.clone();
        std::thread::spawn(move || {
            let store = second(&options);
            for round in 1..=40_u8 {
                let mut settings = AccountPatch::default();
                match number {
                    0 => settings.senders = Some(vec![round.to_string().into()]),
                    1 => settings.networks = Some(vec![network(round)]),
                    _ => settings.spend_caps = Some(vec![cap(round)]),
                }
                let (account, opening_balance) = (&acme(), Amount::ZERO);
                let put = Administration::PutAccount { account, opening_balance, settings };
                done(&store, &put);
            }
        })
    };
    for thread in (0..3).map(put).collect::<Vec<_>>() {
        thread.join().unwrap();
    }
    let inspect = Administration::Inspect { account: &acme() };
    let outcome = second(&options).perform(&Command::Administer(&inspect), NOW_MS).unwrap();
    let Outcome::Account(view) = outcome else { panic!() };
    let latest = AccountSettings {
        networks: vec![network(40)],
        spend_caps: vec![cap(40)],
        senders: vec!["40".into()],
    };
    assert_eq!(*view.settings, latest);
}

fn network(round: u8) -> IpNet {
    format!("10.0.{round}.0/24").parse().unwrap()
}

fn cap(round: u8) -> SpendCap {
    SpendCap { per: Period::Day, amount: Amount(u64::from(round)), shadow: false }
}

#[test]
fn limits_that_span_the_slots_of_a_cluster_cost_two_more_each() {
    let cluster = Cluster::start();
    let options = options(&cluster.url());
    let store = second(&options);
    set_up(&store, 100);
    let mut limit = any_limit();
    limit.partition = Partition::Global;
    let limits = [any_limit(), limit];
    for _ in 0..2 {
        plain(&store, &limits).unwrap();
    }
    assert_eq!(cost(&store, || drop(plain(&store, &limits).unwrap())), 3);
    assert_eq!(cost(&store, || drop(plain(&store, &limits[..1]).unwrap())), 1);
}
