//! What is refused when there is no room, what makes room, and how long a sweep holds others up.
#![cfg(test)]

mod common;

use common::{
    Ask, LEASE_MS, NOW_MS, RETENTION_MS, admitted, digest, id, limits, money, named, open,
};
use common::{open_with, put_account, put_token, settle};
use tempfile::TempDir;
use tollgate::{
    AccountPatch, Admin, AdminError, AdmitVerdict, Amount, Denial, StoreError, TokenPatch,
};

const MINUTE_MS: u64 = 60_000;

fn full(what: &'static str) -> StoreError {
    StoreError::Full { what }
}

#[test]
fn a_flood_of_cells_is_refused_and_resets_none() {
    const MOST: u64 = 50;
    let directory = TempDir::new().unwrap();
    let store = open_with(directory.path(), |options| options.max_cells = MOST);
    put_account(&store, "acme", 0);
    let of = |token| Ask { limits: limits(1), token, ..Ask::of("acme") };
    for token in 0..MOST {
        assert!(admitted(&of(token).send(&store).unwrap()));
    }
    for token in MOST..MOST + 200 {
        assert_eq!(of(token).send(&store).unwrap_err(), full("limiter cells"));
    }
    for token in 0..MOST {
        let refused = of(token).send(&store).unwrap();
        assert!(!admitted(&refused), "the flood reset a limit that was used up");
    }
    // Once they have expired, they make room by themselves.
    for token in 0..3 * MOST {
        let later =
            Ask { now_ms: NOW_MS + (1 + token / MOST) * 3 * MINUTE_MS, ..of(1_000 + token) };
        assert!(admitted(&later.send(&store).unwrap()));
        assert!(store.statistics().unwrap().cells <= MOST);
    }
    store.verify().unwrap();
}

#[test]
fn cells_of_the_past_do_not_pile_up() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path());
    put_account(&store, "acme", 0);
    for token in 0..1_000 {
        let now_ms = NOW_MS + token * 1_000;
        let ask = Ask { limits: limits(1), token, now_ms, ..Ask::of("acme") };
        assert!(admitted(&ask.send(&store).unwrap()));
    }
    // A window of a minute, and a minute for clocks that run back.
    let cells = store.statistics().unwrap().cells;
    assert!((119..=122).contains(&cells), "{cells} cells");
    store.verify().unwrap();
}

#[test]
fn a_cell_counts_for_a_while_after_it_expired() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path());
    put_account(&store, "acme", 0);
    let ask = Ask { limits: limits(1), ..Ask::of("acme") };
    assert!(admitted(&ask.send(&store).unwrap()));
    // The sweep of a process whose clock is ahead.
    Admin::new(&store).expire(NOW_MS + MINUTE_MS + 30_000).unwrap();
    assert!(!admitted(&ask.send(&store).unwrap()));
    Admin::new(&store).expire(NOW_MS + MINUTE_MS + 60_001).unwrap();
    assert_eq!(store.statistics().unwrap().cells, 0);
}

#[test]
fn a_full_key_store_refuses_new_keys_and_forgets_none() {
    let directory = TempDir::new().unwrap();
    let store = open_with(directory.path(), |options| options.max_claims = 10);
    put_account(&store, "acme", 0);
    put_account(&store, "other", 0);
    let of = |account, key| Ask { key: Some(key), ..Ask::of(account) };
    let reservations: Vec<_> = (0..10).map(|key| of("acme", key).reserve(&store)).collect();
    settle(&store, &named("acme"), reservations[0]).unwrap();
    for account in ["acme", "other"] {
        assert_eq!(of(account, 77).send(&store).unwrap_err(), full("idempotency claims"));
    }
    let replay = of("acme", 0).send(&store).unwrap().verdict;
    assert!(matches!(replay, AdmitVerdict::Replay(_)), "{replay:?}");
    let running = of("acme", 1).send(&store).unwrap().verdict;
    assert!(matches!(running, AdmitVerdict::Denied(Denial::InFlight)), "{running:?}");
    // Claims of another account that are past their retention make room.
    let later = Ask { now_ms: NOW_MS + RETENTION_MS, ..of("other", 77) };
    later.reserve(&store);
    assert_eq!(store.statistics().unwrap().claims, 1);
    store.verify().unwrap();
}

#[test]
fn one_account_does_not_fill_the_store_for_all() {
    let directory = TempDir::new().unwrap();
    let store = open_with(directory.path(), |options| options.max_per_account = 5);
    put_account(&store, "greedy", 100);
    put_account(&store, "modest", 100);
    let charge = |account| Ask { charge: 1, ..Ask::of(account) };
    for _ in 0..5 {
        charge("greedy").reserve(&store);
    }
    assert_eq!(charge("greedy").send(&store).unwrap_err(), full("reservations"));
    assert_eq!(money(&store, "greedy"), (100, 5, 0), "nothing was held for what was refused");
    charge("modest").reserve(&store);
}

#[test]
fn accounts_and_tokens_have_bounds() {
    let directory = TempDir::new().unwrap();
    let store = open_with(directory.path(), |options| {
        options.max_accounts = 2;
        options.max_tokens = 3;
    });
    put_account(&store, "a", 0);
    put_account(&store, "b", 0);
    let admin = Admin::new(&store);
    let error = admin.put_account(&id("c"), Amount(0), AccountPatch::default(), NOW_MS);
    assert_eq!(error.unwrap_err(), AdminError::Store(full("accounts")));
    put_account(&store, "a", 0);
    for token in 1..=3 {
        put_token(&store, token, "a");
    }
    let put = |token| admin.put_token(&digest(token), &id("b"), TokenPatch::default(), NOW_MS);
    assert_eq!(put(0).unwrap_err(), AdminError::Store(full("tokens")));
    let rotated = admin.rotate_token(&digest(1), &digest(0), 0, NOW_MS);
    assert_eq!(rotated.unwrap_err(), AdminError::Store(full("tokens")));
    put_token(&store, 2, "a");
    // A dead one makes room.
    admin.revoke_token(&digest(2), NOW_MS).unwrap();
    put(0).unwrap();
    let tokens = admin.tokens(&id("a"), NOW_MS).unwrap();
    assert_eq!(
        tokens.iter().map(|(digest, _)| *digest).collect::<Vec<_>>(),
        [digest(1), digest(3)]
    );
    store.verify().unwrap();
}

#[test]
fn a_sweep_goes_in_steps_and_comes_to_an_end() {
    const ACCOUNTS: u64 = 7;
    const EACH: u64 = 500;
    let directory = TempDir::new().unwrap();
    let store = open(directory.path());
    for number in 0..ACCOUNTS {
        let name = format!("account-{number}");
        put_account(&store, &name, 1_000);
        for key in 0..EACH {
            Ask { key: Some(key), charge: 1, ..Ask::of(&name) }.reserve(&store);
        }
    }
    let commits = || store.statistics().unwrap().commits;
    let before = commits();
    // The leases of all of them, in steps of a thousand.
    assert_eq!(Admin::new(&store).expire(NOW_MS + LEASE_MS).unwrap(), ACCOUNTS * EACH);
    assert!(commits() - before >= ACCOUNTS * EACH / 1_000, "{} commits", commits() - before);
    for number in 0..ACCOUNTS {
        assert_eq!(money(&store, &format!("account-{number}")), (1_000, 0, 0));
    }
    store.verify().unwrap();
    // Nothing is left to do; then claims and the records of reservations go.
    assert_eq!(Admin::new(&store).expire(NOW_MS + LEASE_MS).unwrap(), 0);
    let end_ms = NOW_MS + LEASE_MS + RETENTION_MS;
    assert_eq!(Admin::new(&store).expire(end_ms).unwrap(), ACCOUNTS * EACH);
    let statistics = store.statistics().unwrap();
    assert_eq!((statistics.claims, statistics.reservations), (0, 0));
    store.verify().unwrap();
}

#[test]
fn a_request_that_meets_much_that_is_due_goes_in_steps_too() {
    const HELD: u64 = 5_000;
    let directory = TempDir::new().unwrap();
    let store = open(directory.path());
    put_account(&store, "acme", HELD);
    for _ in 0..HELD {
        Ask { charge: 1, ..Ask::of("acme") }.reserve(&store);
    }
    let commits = || store.statistics().unwrap().commits;
    let before = commits();
    // Nobody swept: the request itself finds that all of it is free again.
    Ask { charge: HELD, now_ms: NOW_MS + LEASE_MS, ..Ask::of("acme") }.reserve(&store);
    assert!(commits() - before >= HELD / 1_000, "{} commits", commits() - before);
    assert_eq!(money(&store, "acme"), (HELD, HELD, 0));
    store.verify().unwrap();
}

/// An entry that was put off is not due: neither for a sweep, nor for what only looks.
#[test]
fn what_was_put_off_is_not_due() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path());
    put_account(&store, "acme", 100);
    let settled = Ask { charge: 10, ..Ask::of("acme") }.reserve(&store);
    settle(&store, &named("acme"), settled).unwrap();
    Ask { charge: 20, now_ms: NOW_MS + 1, ..Ask::of("acme") }.reserve(&store);
    let peek = |now_ms: u64| {
        let token = digest(1);
        let account = named("acme");
        let charge_rule = tollgate::ChargeRule {
            price: None,
            lease_ms: 1,
            on_expiry: tollgate::OnExpiry::Void,
            retention_ms: 1,
        };
        let admit = tollgate::Admit {
            mode: tollgate::Mode::Peek,
            charge: Some(Amount(90)),
            charge_rule: &charge_rule,
            ..tollgate::Admit::limits_only(&token, &account, &[])
        };
        admitted(&tollgate::Store::admit(&store, &admit, now_ms).unwrap())
    };
    assert!(!peek(NOW_MS + LEASE_MS), "20 are held, so 70 are left");
    assert_eq!(Admin::new(&store).expire(NOW_MS + LEASE_MS).unwrap(), 0);
    let state = |store: &_| Admin::new(store).reservations(&id("acme"), NOW_MS).unwrap();
    assert_eq!(state(&store).len(), 2);
    assert!(peek(NOW_MS + LEASE_MS + 1) == peek(NOW_MS + LEASE_MS + 2));
    assert_eq!(Admin::new(&store).expire(NOW_MS + LEASE_MS + 1).unwrap(), 1);
    assert_eq!(money(&store, "acme"), (90, 0, 10));
    // The settled one goes with its retention, and the other a lease later.
    Admin::new(&store).expire(NOW_MS + RETENTION_MS).unwrap();
    assert_eq!(state(&store).len(), 1);
    Admin::new(&store).expire(NOW_MS + RETENTION_MS + LEASE_MS + 1).unwrap();
    assert_eq!(state(&store).len(), 0);
    store.verify().unwrap();
}

#[test]
fn a_full_map_refuses_what_is_new_and_takes_what_ends() {
    let directory = TempDir::new().unwrap();
    let store = open_with(directory.path(), |options| options.map_bytes = 1 << 20);
    put_account(&store, "acme", 1_000_000);
    let ask = |key| Ask { key: Some(key), charge: 1, ..Ask::of("acme") };
    let mut reserved = Vec::new();
    let error = loop {
        let admission = ask(reserved.len() as u64).send(&store);
        match admission {
            Ok(admission) => reserved.push(common::reservation(&admission).unwrap()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full { what } if what.contains("map_bytes")), "{error}");
    assert!(reserved.len() > 500, "{}", reserved.len());
    let held = reserved.len() as u64;
    for key in 0..200 {
        assert!(ask(1_000_000 + key).send(&store).is_err());
    }
    assert_eq!(
        money(&store, "acme"),
        (1_000_000, held, 0),
        "nothing was lost, nothing is held twice"
    );
    // What ends goes through, and so does money that is paid in.
    for reservation in &reserved[..100] {
        settle(&store, &named("acme"), *reservation).unwrap();
    }
    Admin::new(&store).deposit(&id("acme"), Amount(5), NOW_MS).unwrap();
    assert_eq!(money(&store, "acme"), (1_000_005 - 100, held - 100, 100));
    let ended = Admin::new(&store).expire(NOW_MS + LEASE_MS).unwrap();
    assert_eq!(ended, held - 100);
    store.verify().unwrap();
    // Its records go, and there is room again.
    Admin::new(&store).expire(NOW_MS + LEASE_MS + RETENTION_MS).unwrap();
    ask(7).reserve(&store);
    store.verify().unwrap();
}
