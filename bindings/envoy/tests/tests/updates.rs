//! Policies and configurations that change while requests are under way: nothing is lost, and nothing begins anew.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_envoy_tests::{Gateway, Writes};
use tollgate_gateway_tests::{POLICY, RedisServer, Upstream, send_as_account};

const DONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";

/// An upstream that counts how often each key was carried out.
fn counting() -> (Upstream, Arc<Mutex<HashMap<String, usize>>>) {
    let done: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let counts = Arc::clone(&done);
    let upstream = Upstream::start(move |request, mut stream| {
        let key = request.header("idempotency-key").unwrap_or_default().to_owned();
        *counts.lock().unwrap().entry(key).or_insert(0) += 1;
        let _ = stream.write_all(DONE.as_bytes());
    });
    (upstream, done)
}

/// One whose filter can be updated.
fn updated(writes: Writes, upstream: Upstream, filter: &Value, policy: &str) -> (Gateway, Value) {
    let mut options = Gateway::options(writes, upstream.port(), filter);
    options.updated = true;
    options.files[0].1 = policy.to_owned();
    let filter = options.filter.clone();
    (Gateway::with(options, upstream), filter)
}

fn with(filter: &Value, name: &str, value: Value) -> Value {
    let mut filter = filter.clone();
    filter[name] = value;
    filter
}

#[test]
fn updates_of_the_filter_lose_nothing() {
    for writes in Writes::BOTH {
        let (upstream, done) = counting();
        let (mut gateway, filter) = updated(writes, upstream, &json!({}), POLICY);
        let port = gateway.envoy.port();
        let (stop, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (stop, next) = (Arc::clone(&stop), Arc::clone(&next));
                std::thread::spawn(move || {
                    let mut answers = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let key = format!("k{}", next.fetch_add(1, Ordering::Relaxed));
                        for _ in 0..2 {
                            let headers = [("Idempotency-Key", key.as_str())];
                            let answer = send_as_account(port, "POST", "/pay", &headers, b"hi");
                            assert!(answer.whole);
                            answers.push((key.clone(), answer.status, answer.text()));
                        }
                    }
                    answers
                })
            })
            .collect();
        for round in 0..5 {
            std::thread::sleep(Duration::from_millis(200));
            assert!(gateway.envoy.update(with(&filter, "max_response_body", json!(1000 + round))));
        }
        std::thread::sleep(Duration::from_millis(200));
        stop.store(true, Ordering::Relaxed);
        let answers: Vec<_> =
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert!(answers.len() > 100, "{writes:?}: {}", answers.len());
        for answer in &answers {
            assert_eq!((answer.1, answer.2.as_str()), (200, "done"), "{writes:?}");
        }
        let keys: HashSet<_> = answers.iter().map(|(key, ..)| key).collect();
        let done = done.lock().unwrap();
        assert!(done.values().all(|times| *times == 1), "a key was carried out twice");
        assert_eq!(done.len(), keys.len());
        gateway.accounts.expect(0, 5 * u64::try_from(keys.len()).unwrap());
    }
}

#[test]
fn what_is_counted_outlives_updates() {
    for limits in ["store", "process"] {
        let policy = POLICY.replace("\"quota\": 1000000", "\"quota\": 60");
        let policy = policy.replace("60000", "3600000000");
        let (mut gateway, filter) =
            updated(Writes::Inline, Upstream::answering(DONE), &json!({"limits": limits}), &policy);
        let mut allowed = 0;
        for round in 0..5 {
            for _ in 0..20 {
                allowed += usize::from(gateway.ask("GET", "/read", &[], b"").status == 200);
            }
            assert!(gateway.envoy.update(with(&filter, "max_response_body", json!(round))));
        }
        assert_eq!(allowed, 60, "{limits}");
    }
}

#[test]
fn an_update_with_an_error_changes_nothing() {
    let (mut gateway, filter) =
        updated(Writes::Inline, Upstream::answering(DONE), &json!({}), POLICY);
    assert!(!gateway.envoy.update(with(&filter, "polcy", json!(1))));
    assert!(gateway.envoy.log().contains("unknown field `polcy`"));
    // A store that is in use stays as it was opened.
    let other = json!({"lmdb": {"directory": "DIR/db", "sync": "every_commit"}});
    assert!(!gateway.envoy.update(with(&filter, "store", other)));
    assert_eq!(gateway.pay("k").text(), "done");
    gateway.accounts.expect(0, 5);
    let cost = json!({"value": 9});
    assert!(gateway.envoy.update(with(&filter, "cost", cost)));
    let end = Instant::now() + Duration::from_secs(10);
    // The old listener may still take connections for a moment.
    loop {
        let before = gateway.accounts.money("acme").posted;
        assert_eq!(gateway.ask("POST", "/pay", &[], b"").status, 200);
        match gateway.accounts.money("acme").posted - before {
            9 => break,
            5 => assert!(Instant::now() < end, "the update is not in force"),
            other => panic!("{other} for a call"),
        }
    }
}

#[test]
fn a_policy_is_replaced_and_requests_end_under_their_own() {
    for writes in Writes::BOTH {
        let (arrived, arrival) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        let (arrived, gone) = (Mutex::new(arrived), Mutex::new(gone));
        let upstream = Upstream::start(move |_, mut stream| {
            let _ = arrived.lock().unwrap().send(());
            let _ = gone.lock().unwrap().recv_timeout(Duration::from_secs(20));
            let _ = stream.write_all(DONE.as_bytes());
        });
        let gateway = Gateway::start(writes, upstream, &json!({}));
        let mut client = gateway.begin_to_pay("k");
        arrival.recv().unwrap();
        gateway.envoy.replace_policy(&POLICY.replace("\"price\": 5", "\"price\": 7"));
        go.send(()).unwrap();
        assert_eq!(client.read("POST").unwrap().text(), "done", "{writes:?}");
        gateway.accounts.expect(0, 5);
        go.send(()).unwrap();
        assert_eq!(gateway.pay("other").text(), "done");
        gateway.accounts.expect(0, 12);
        // One with an error changes nothing, and its line is told.
        let wrong = "{\n  \"tokens\": {\"format\": \"opaque\"},\n  \"scopes\": {\"all\": [\"POST pay\"]}\n}";
        gateway.envoy.rewrite("policy.json", wrong);
        let end = Instant::now() + Duration::from_secs(10);
        let said = loop {
            let log = gateway.envoy.log();
            if let Some((_, said)) = log.split_once("policy.json not loaded: ") {
                break said.to_owned();
            }
            assert!(Instant::now() < end, "{log}");
            std::thread::sleep(Duration::from_millis(5));
        };
        assert!(said.contains("POST pay"), "{said}");
        go.send(()).unwrap();
        assert_eq!(gateway.pay("third").text(), "done");
        gateway.accounts.expect(0, 19);
        gateway.envoy.replace_policy(POLICY);
        go.send(()).unwrap();
        assert_eq!(gateway.pay("fourth").text(), "done");
        gateway.accounts.expect(0, 24);
    }
}

#[test]
fn several_gateways_share_a_redis() {
    let server = RedisServer::start();
    let _store = server.accounts();
    let upstream = Upstream::answering(DONE);
    let policy = POLICY.replace("\"quota\": 1000000", "\"quota\": 100");
    let gateways: Vec<_> = (0..2)
        .map(|_| {
            let store = json!({"store": {"redis": {"url": server.url()}}});
            let mut options = Gateway::options(Writes::Inline, upstream.port(), &store);
            options.files[0].1 = policy.replace("60000", "3600000000");
            tollgate_envoy_tests::Envoy::start(options)
        })
        .collect();
    let ports: Vec<_> = gateways.iter().map(tollgate_envoy_tests::Envoy::port).collect();
    let threads: Vec<_> = (0..20)
        .map(|thread| {
            let port = ports[thread % 2];
            std::thread::spawn(move || {
                let read = |_| send_as_account(port, "GET", "/read", &[], b"").status;
                (0..9).map(read).filter(|status| *status == 200).count()
            })
        })
        .collect();
    let allowed: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!((allowed, upstream.calls()), (100, 100));
}
