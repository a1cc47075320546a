//! A durable server that is killed again and again under load: nothing that was acknowledged is lost, no
//! key runs twice, and no money appears or vanishes.
//!
//! `TOLLGATE_KILLS=50` for the long run.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::world::*;
use common::{Server, options};
use tollgate::*;
use tollgate_redis::RedisStore;

/// What was acknowledged.
#[derive(Default)]
struct Acknowledged {
    /// Key → reservation.
    admitted: BTreeMap<u64, ReservationId>,
    posted: BTreeMap<ReservationId, u64>,
    deposited: u64,
    /// Deposits of whose end nobody knows.
    perhaps_deposited: u64,
}

const THREADS: u64 = 4;
const OPENING: u64 = 1_000_000;

fn work(store: &RedisStore, next: &AtomicU64, over: &AtomicBool, seen: &Mutex<Acknowledged>) {
    while !over.load(Ordering::Relaxed) {
        let number = next.fetch_add(1, Ordering::Relaxed);
        // A client that tries again with its key, as clients do.
        let mut id = None;
        for _ in 0..3 {
            match charge(store, number, 1 + number % 5, &[]).map(|one| one.verdict) {
                Ok(AdmitVerdict::Admitted { reservation }) => {
                    let reservation = reservation.unwrap();
                    let before = seen.lock().unwrap().admitted.insert(number, reservation);
                    assert_eq!(before, None, "key {number} ran twice");
                    id = Some(reservation);
                }
                Ok(AdmitVerdict::Denied(Denial::InFlight)) => break,
                Ok(other) => panic!("{other:?}"),
                Err(StoreError::Unavailable { .. }) => continue,
                Err(error) => panic!("{error:?}"),
            }
        }
        if let Some(id) = id
            && !number.is_multiple_of(3)
        {
            match settle(store, id, &answer("done")) {
                Ok(Outcome::Settled(Settled { posted: Some(Amount(posted)) })) => {
                    seen.lock().unwrap().posted.insert(id, posted);
                }
                Ok(other) => panic!("{other:?}"),
                Err(StoreError::Unavailable { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        if number.is_multiple_of(7) {
            let deposit = Administration::Deposit { account: &acme(), amount: Amount(1) };
            let outcome = store.perform(&Command::Administer(&deposit), NOW_MS);
            let mut seen = seen.lock().unwrap();
            match outcome {
                Ok(_) => seen.deposited += 1,
                Err(_) => seen.perhaps_deposited += 1,
            }
        }
    }
}

fn check(store: &RedisStore, seen: &Acknowledged) {
    let wallet = inspect(store);
    conserved(&wallet);
    let kept: BTreeMap<ReservationId, Reservation> = reservations(store).into_iter().collect();
    let mut keys = BTreeMap::new();
    let (mut held, mut posted) = (0, 0);
    for (id, reservation) in &kept {
        let claim = reservation.claim.unwrap();
        assert_eq!(keys.insert(claim.0, *id), None, "a key ran twice");
        posted += reservation.state.posted().0;
        if reservation.state == ReservationState::Held {
            held += reservation.amount.0;
        }
    }
    assert_eq!((wallet.held.0, wallet.posted.0), (held, posted));
    for (number, id) in &seen.admitted {
        assert_eq!(kept[id].amount.0, 1 + number % 5, "an admission was lost");
    }
    for (id, amount) in &seen.posted {
        assert_eq!(kept[id].state.posted().0, *amount, "a settlement was lost");
    }
    let deposits = wallet.deposited.0 - OPENING;
    let most = seen.deposited + seen.perhaps_deposited;
    assert!((seen.deposited..=most).contains(&deposits), "{deposits} of {}", seen.deposited);
}

#[test]
fn a_durable_server_that_is_killed_loses_nothing() {
    let kills = std::env::var("TOLLGATE_KILLS").ok().map_or(4, |text| text.parse().unwrap());
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut options = options(&server.url());
    options.response_timeout = Duration::from_millis(500);
    options.connect_timeout = Duration::from_millis(500);
    let store = Arc::new(RedisStore::new(&options).unwrap());
    set_up(&*store, OPENING);
    let (next, seen) = (Arc::new(AtomicU64::new(1)), Arc::new(Mutex::new(Acknowledged::default())));
    for kill in 0..kills {
        let over = Arc::new(AtomicBool::new(false));
        let worker = |_| {
            let (store, next) = (Arc::clone(&store), Arc::clone(&next));
            let (over, seen) = (Arc::clone(&over), Arc::clone(&seen));
            std::thread::spawn(move || work(&store, &next, &over, &seen))
        };
        let workers: Vec<_> = (0..THREADS).map(worker).collect();
        std::thread::sleep(Duration::from_millis(120 + 37 * kill % 200));
        server.kill();
        server.restart();
        std::thread::sleep(Duration::from_millis(30));
        over.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.join().unwrap();
        }
        check(&store, &seen.lock().unwrap());
    }
    let seen = seen.lock().unwrap();
    for number in seen.admitted.keys() {
        let verdict = charge(&*store, *number, 1 + number % 5, &[]).unwrap().verdict;
        let again = matches!(verdict, AdmitVerdict::Admitted { .. });
        assert!(!again, "key {number} was free again");
    }
    println!(
        "{kills} kills, {} keys, {} admissions, {} settlements, {} deposits acknowledged",
        next.load(Ordering::Relaxed) - 1,
        seen.admitted.len(),
        seen.posted.len(),
        seen.deposited
    );
    assert!(seen.posted.len() > 20);
}
