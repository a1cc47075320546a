//! Clients that leave, and processes that end: whoever is gone, what was done is charged once, and nothing else is.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use tollgate_envoy_tests::{Gateway, Options, Writes};
use tollgate_gateway_tests::{Client, POLICY, TOKEN, Upstream};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";

fn options(writes: Writes, upstream: u16) -> Options {
    let mut options = Gateway::options(writes, upstream, &json!({}));
    options.disk_may_wait = true;
    options
}

#[test]
fn before_all_of_the_request_is_there() {
    for writes in Writes::BOTH {
        let upstream = Upstream::answering(OK);
        let gateway = Gateway::with(options(writes, upstream.port()), upstream);
        let half = |headers: &str| {
            let mut client = Client::connect(gateway.envoy.port());
            client.write(format!("POST /pay HTTP/1.1\r\nHost: x\r\nX-Id: half\r\nAuthorization: Bearer {TOKEN}\r\n{headers}Content-Length: 100\r\n\r\nhalf").as_bytes());
            client
        };
        // With a key the body is awaited before anything is reserved.
        let client = half("Idempotency-Key: k\r\n");
        std::thread::sleep(Duration::from_millis(100));
        gateway.accounts.expect(0, 0);
        client.close();
        assert_eq!(gateway.logged("half"), "0|-|-|-|-|-|-|-|-", "{writes:?}");
        let first = gateway.pay("k");
        assert_eq!((first.status, first.header("idempotent-replayed")), (200, None));
        gateway.accounts.expect(0, 5);
        // Without one it is streamed: the upstream might act on what it has.
        let client = half("");
        gateway.accounts.expect(5, 5);
        std::thread::sleep(Duration::from_millis(100));
        client.close();
        gateway.ended("unknown", 1);
        gateway.accounts.expect(5, 5);
    }
}

#[test]
fn while_the_module_asks() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::with(options(Writes::Threads, upstream.port()), upstream);
    for round in 0..3 {
        gateway.envoy.disk_waits(true);
        let client = gateway.begin_to_pay("k");
        std::thread::sleep(Duration::from_millis(150));
        client.close();
        std::thread::sleep(Duration::from_millis(50));
        gateway.envoy.disk_waits(false);
        // It is admitted, and then voided by who finds nobody waiting.
        std::thread::sleep(Duration::from_millis(200));
        gateway.accounts.expect(0, 0);
        assert_eq!(gateway.upstream.calls(), 0, "{round}");
    }
    let first = gateway.pay("k");
    assert_eq!((first.status, first.header("idempotent-replayed")), (200, None));
    gateway.accounts.expect(0, 5);
}

#[test]
fn while_the_settlement_is_awaited() {
    let (upstream, arrival, go) = Upstream::waiting([OK]);
    let gateway = Gateway::with(options(Writes::Threads, upstream.port()), upstream);
    let client = gateway.begin_to_pay("k");
    arrival.recv().unwrap();
    gateway.envoy.disk_waits(true);
    go.send(()).unwrap();
    std::thread::sleep(Duration::from_millis(150));
    client.close();
    std::thread::sleep(Duration::from_millis(50));
    gateway.envoy.disk_waits(false);
    gateway.accounts.expect(0, 5);
    let again = gateway.pay("k");
    assert_eq!((again.status, again.text().as_str()), (200, "done"));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(gateway.upstream.calls(), 1);
}

#[test]
fn before_the_answer() {
    for writes in Writes::BOTH {
        let (upstream, arrival, go) = Upstream::waiting([OK]);
        let gateway = Gateway::with(options(writes, upstream.port()), upstream);
        let client = gateway.begin_to_pay("k");
        arrival.recv().unwrap();
        client.close();
        gateway.ended("unknown", 1);
        go.send(()).unwrap();
        gateway.accounts.expect(5, 0);
        assert_eq!(gateway.pay("k").code(), "idempotency_in_flight", "{writes:?}");
    }
}

#[test]
fn amid_the_answer() {
    for writes in Writes::BOTH {
        for (status, posted) in [("200 OK", 5), ("404 Not Found", 0)] {
            for framing in ["Content-Length: 6", "Transfer-Encoding: chunked"] {
                let (upstream, arrival, go) = Upstream::waiting(vec![
                    format!(
                        "HTTP/1.1 {status}\r\nETag: \"e\"\r\nContent-Type: text/plain\r\n{framing}\r\n\r\n"
                    ),
                    if framing.ends_with("chunked") { "3\r\nhal\r\n" } else { "hal" }.to_owned(),
                    if framing.ends_with("chunked") { "3\r\nves\r\n0\r\n\r\n" } else { "ves" }
                        .to_owned(),
                ]);
                let gateway = Gateway::with(options(writes, upstream.port()), upstream);
                let mut client = gateway.begin_to_pay("k");
                arrival.recv().unwrap();
                go.send(()).unwrap();
                go.send(()).unwrap();
                // As far as the head.
                let head = client.read("HEAD").unwrap();
                client.close();
                gateway.ended(if posted > 0 { "settled" } else { "voided" }, 1);
                go.send(()).unwrap();
                gateway.accounts.expect(0, posted);
                let again = gateway.pay("k");
                assert_eq!(
                    (again.status, again.body.len()),
                    (head.status, 0),
                    "{writes:?} {framing}"
                );
                assert_eq!(again.header("idempotent-replayed"), Some("true"));
                assert_eq!(again.header("content-type"), Some("text/plain"));
                // Nothing that describes bytes which are not there.
                assert_eq!(again.header("etag"), None);
                assert_eq!(gateway.upstream.calls(), 1);
            }
        }
    }
}

/// An upstream that counts how often each key was carried out.
fn counting() -> (Upstream, Arc<Mutex<HashMap<String, usize>>>) {
    let done: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let counts = Arc::clone(&done);
    let upstream = Upstream::start(move |request, mut stream| {
        let key = request.header("idempotency-key").unwrap_or_default().to_owned();
        *counts.lock().unwrap().entry(key).or_insert(0) += 1;
        std::thread::sleep(Duration::from_millis(2));
        let _ = stream.write_all(OK.as_bytes());
    });
    (upstream, done)
}

/// Pays once; the status, or 0 where the answer did not come to its end, or nobody listened.
fn send_once(port: u16, key: &str) -> u16 {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        std::thread::sleep(Duration::from_millis(5));
        return 0;
    };
    let head = "POST /pay HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n";
    let _ =
        write!(stream, "{head}Authorization: Bearer {TOKEN}\r\nIdempotency-Key: {key}\r\n\r\nhi");
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    match status {
        Some(200) if !text.ends_with("\r\n\r\ndone") => 0,
        status => status.unwrap_or(0),
    }
}

/// Pays under fresh keys, each sent twice, from several threads, until told to stop; the keys and statuses.
fn load(
    port: &Arc<AtomicU16>,
    stop: &Arc<AtomicBool>,
) -> Vec<std::thread::JoinHandle<Vec<(String, u16)>>> {
    let next = Arc::new(AtomicUsize::new(0));
    let pays = || {
        let (port, stop, next) = (Arc::clone(port), Arc::clone(stop), Arc::clone(&next));
        move || {
            let mut answers = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let key = format!("k{}", next.fetch_add(1, Ordering::Relaxed));
                for _ in 0..2 {
                    let status = send_once(port.load(Ordering::Relaxed), &key);
                    answers.push((key.clone(), status));
                }
            }
            answers
        }
    };
    (0..8).map(|_| std::thread::spawn(pays())).collect()
}

/// Processes that end under load, each followed by another one on the same store.
fn survives(writes: Writes, how: Signal) {
    let (upstream, done) = counting();
    let mut gateway = Gateway::start(writes, upstream, &json!({}));
    let port = Arc::new(AtomicU16::new(gateway.envoy.port()));
    let stop = Arc::new(AtomicBool::new(false));
    let threads = load(&port, &stop);
    // Under load: until so many more are done.
    let done_more = || {
        let wanted = done.lock().unwrap().len() + 30;
        let end = Instant::now() + Duration::from_secs(30);
        while done.lock().unwrap().len() < wanted {
            assert!(Instant::now() < end, "{writes:?} {how:?}: nothing is carried out");
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    for _ in 0..3 {
        done_more();
        let well = gateway.envoy.stop(how);
        assert_eq!(well, how == Signal::TERM, "{writes:?} {how:?}: {}", gateway.envoy.log());
        gateway.envoy.restart();
        port.store(gateway.envoy.port(), Ordering::Relaxed);
    }
    done_more();
    stop.store(true, Ordering::Relaxed);
    let answers: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let seen: HashSet<_> =
        answers.iter().filter(|(_, status)| *status == 200).map(|(key, _)| key).collect();
    assert!(seen.len() > 50, "{writes:?}: {} of {}", seen.len(), answers.len());
    let done = done.lock().unwrap().clone();
    assert!(done.values().all(|times| *times == 1), "a key was carried out twice");
    assert!(seen.iter().all(|key| done.contains_key(*key)), "{writes:?}");
    std::thread::sleep(Duration::from_millis(200));
    // What the client saw as done is charged once; what nobody knows is held, and no more.
    let money = gateway.accounts.money("acme");
    assert_eq!(money.balance + money.posted, 1_000_000, "{money:?}");
    let (seen_done, carried_out) = (5 * seen.len() as u64, 5 * done.len() as u64);
    assert!(
        money.posted >= seen_done && money.posted <= carried_out,
        "{money:?} {seen_done} {carried_out}"
    );
    assert!(money.posted + money.held >= carried_out, "{money:?} {carried_out}");
    let lost = answers.iter().filter(|(_, status)| *status == 0).count() as u64;
    assert!(money.held <= 5 * lost, "{money:?} {lost}");
    // Still whole: what was seen as done is replayed, and nothing else is carried out again.
    let port = gateway.envoy.port();
    let keys: HashSet<_> = answers.iter().map(|(key, _)| key.as_str()).collect();
    for key in keys {
        let headers = [("Authorization", "Bearer t-acme"), ("Idempotency-Key", key)];
        let again = tollgate_gateway_tests::send(port, "POST", "/pay", &headers, b"hi");
        match again.header("idempotent-replayed") {
            Some(_) => assert_eq!((again.status, again.text().as_str()), (200, "done")),
            None if done.contains_key(key) => {
                assert_eq!(again.code(), "idempotency_in_flight", "{key}")
            }
            None => assert!(matches!(again.status, 200 | 409), "{key}: {}", again.status),
        }
    }
}

#[test]
fn processes_that_are_told_to_stop_under_load() {
    for writes in Writes::BOTH {
        survives(writes, Signal::TERM);
    }
}

#[test]
fn processes_that_are_killed_under_load() {
    for writes in Writes::BOTH {
        survives(writes, Signal::KILL);
    }
}

#[test]
fn what_a_killed_process_leaves_is_held_until_its_lease_ends() {
    for writes in Writes::BOTH {
        for how in [Signal::TERM, Signal::KILL] {
            let (upstream, arrival, _go) = Upstream::waiting([OK]);
            let mut options = options(writes, upstream.port());
            options.filter["expire_interval_ms"] = json!(50);
            options.files[0].1 =
                POLICY.replacen('{', "{\"reservations\": {\"lease_ms\": 3000},", 1);
            let mut gateway = Gateway::with(options, upstream);
            let client = gateway.begin_to_pay("k");
            arrival.recv().unwrap();
            gateway.accounts.expect(5, 0);
            gateway.envoy.stop(how);
            drop(client);
            gateway.envoy.restart();
            gateway.accounts.expect(5, 0);
            assert_eq!(gateway.pay("k").code(), "idempotency_in_flight", "{writes:?} {how:?}");
            // The money is free again then; the key is not: nobody knows whether it was done.
            gateway.accounts.expect(0, 0);
            let again = gateway.pay("k");
            assert_eq!((again.status, again.code().as_str()), (409, "idempotency_in_flight"));
            assert_eq!(gateway.upstream.calls(), 1);
        }
    }
}
