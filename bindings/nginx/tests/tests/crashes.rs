//! Reloads and killed workers under load: nothing is lost, and nothing is done twice.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use tollgate_gateway_tests::{Client, TOKEN, Upstream, signal};
use tollgate_nginx_tests::{Gateway, Writes};

/// An upstream that counts how often each key was carried out.
fn counting() -> (Upstream, Arc<Mutex<HashMap<String, usize>>>) {
    let done: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let counts = Arc::clone(&done);
    let upstream = Upstream::start(move |request, mut stream| {
        let key = request.header("idempotency-key").unwrap_or_default().to_owned();
        *counts.lock().unwrap().entry(key).or_insert(0) += 1;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    });
    (upstream, done)
}

/// Pays under fresh keys, each sent twice, from several threads, until told to stop; the statuses.
fn load(
    gateway: &Arc<Gateway>,
    stop: &Arc<AtomicBool>,
) -> Vec<std::thread::JoinHandle<Vec<(String, u16)>>> {
    let next = Arc::new(AtomicUsize::new(0));
    (0..8)
        .map(|_| {
            let (gateway, stop, next) = (Arc::clone(gateway), Arc::clone(stop), Arc::clone(&next));
            std::thread::spawn(move || {
                let mut answers = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let key = format!("k{}", next.fetch_add(1, Ordering::Relaxed));
                    for _ in 0..2 {
                        let mut client = Client::connect(gateway.nginx.port());
                        client.write(format!("POST /pay HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\nIdempotency-Key: {key}\r\nContent-Length: 2\r\n\r\nhi").as_bytes());
                        // A killed worker resets the connection.
                        let status = client.read("POST").map_or(0, |answer| answer.status);
                        answers.push((key.clone(), status));
                    }
                }
                answers
            })
        })
        .collect()
}

fn survives(writes: Writes, connections: bool, disturb: impl Fn(&Gateway)) {
    let (upstream, done) = counting();
    let gateway = Arc::new(Gateway::start(writes, upstream, "", ""));
    let stop = Arc::new(AtomicBool::new(false));
    let threads = load(&gateway, &stop);
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(300));
        disturb(&gateway);
    }
    std::thread::sleep(Duration::from_millis(300));
    stop.store(true, Ordering::Relaxed);
    let answers: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let good = answers.iter().filter(|(_, status)| *status == 200).count();
    assert!(good > 50, "{writes:?}: {good} of {}", answers.len());
    let lost = answers.iter().filter(|(_, status)| *status == 0).count();
    assert!(!connections || lost == 0, "{writes:?}: {lost} of {} got no answer", answers.len());
    let done = done.lock().unwrap();
    assert!(done.values().all(|times| *times == 1), "a key was carried out twice");
    // What the client saw as done was done, and is charged once.
    let seen: std::collections::HashSet<_> =
        answers.iter().filter(|(_, status)| *status == 200).map(|(key, _)| key).collect();
    assert!(seen.iter().all(|key| done.contains_key(*key)));
    std::thread::sleep(Duration::from_millis(200));
    let money = gateway.accounts.money("acme");
    assert_eq!(money.balance + money.posted, 1_000_000, "{money:?}");
    let seen = u64::try_from(seen.len()).unwrap();
    let carried_out = u64::try_from(done.len()).unwrap();
    assert!(
        money.posted >= 5 * seen && money.posted <= 5 * carried_out,
        "{money:?} {seen} {carried_out}"
    );
    // Still whole: a key that was seen as done is replayed.
    let (key, _) = answers.iter().find(|(_, status)| *status == 200).unwrap();
    let again = gateway.ask("POST", "/pay", &[("Idempotency-Key", key)], b"hi");
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
}

#[test]
fn reloads_lose_nothing() {
    for writes in Writes::BOTH {
        survives(writes, true, |gateway| gateway.nginx.reload());
    }
}

#[test]
fn killed_workers_lose_nothing() {
    for writes in Writes::BOTH {
        survives(writes, false, |gateway| {
            if let Some(pid) = gateway.nginx.workers().first() {
                signal(*pid, Signal::KILL);
            }
        });
    }
}

#[test]
fn a_quota_survives_reloads_and_killed_workers() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let mut options = Gateway::options(Writes::Inline, upstream.port(), "", "");
    options.files[0].1 =
        options.files[0].1.replace("1000000", "300").replace("60000", "3600000000");
    let gateway = Gateway::with(options, upstream);
    let mut allowed = 0;
    for round in 0..8 {
        for _ in 0..50 {
            allowed += usize::from(gateway.ask("GET", "/read", &[], b"").status == 200);
        }
        match gateway.nginx.workers().first() {
            Some(pid) if round % 2 == 0 => signal(*pid, Signal::KILL),
            _ => gateway.nginx.reload(),
        }
        std::thread::sleep(Duration::from_millis(150));
    }
    assert_eq!(allowed, 300);
}
