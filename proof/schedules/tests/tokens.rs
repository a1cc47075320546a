//! Tokens are put in, changed and taken the place of while others are looked up, also where their table grows.
#![cfg(tollgate_shuttle)]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use shuttle::thread;
use tollgate::{
    AccountId, AccountPatch, Admin, Admit, AdmitVerdict, Amount, CompiledPolicy, Credential,
    Lookup, MemoryStore, PolicyConfig, ScopeTable, Store, TokenDigest, TokenPatch,
};
use tollgate_schedules::{explore, small_store};

const NOW_MS: u64 = 1_700_000_000_000;

/// Tokens that meet in one part of the store, and beyond that in neighbouring places.
fn digest(number: u8) -> TokenDigest {
    let mut bytes = [7; 32];
    bytes[9] = number % 4;
    bytes[31] = number;
    TokenDigest::new(bytes)
}

fn scopes() -> &'static ScopeTable {
    static POLICY: OnceLock<CompiledPolicy> = OnceLock::new();
    POLICY.get_or_init(|| PolicyConfig::default().compile().unwrap()).scopes()
}

fn account() -> AccountId {
    AccountId::new("acme").unwrap()
}

fn put(store: &MemoryStore, number: u8) {
    let patch = TokenPatch { scopes: Some(vec!["all".into()]), ..TokenPatch::default() };
    Admin::new(store).put_token(&digest(number), &account(), patch, NOW_MS).unwrap();
}

fn opened() -> MemoryStore {
    let store = small_store();
    let admin = Admin::new(&store);
    admin.put_account(&account(), Amount(10), AccountPatch::default(), NOW_MS).unwrap();
    store
}

fn look_up(store: &MemoryStore, number: u8) -> Option<Credential> {
    let lookup = Lookup { digest: &digest(number), scopes: scopes(), plain: None };
    store.look_up(&lookup, NOW_MS).unwrap().credential
}

fn is_known(store: &MemoryStore, number: u8) -> bool {
    look_up(store, number).is_some()
}

#[test]
fn a_token_is_found_from_the_moment_it_is_put_and_ever_after() {
    explore(150, || {
        let store = opened();
        put(&store, 0);
        // The last token whose command has returned; they are put in this order.
        let put_so_far = AtomicU64::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 1..=14 {
                    put(&store, number);
                    put_so_far.store(number.into(), Ordering::SeqCst);
                }
            });
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..4 {
                        let last = u8::try_from(put_so_far.load(Ordering::SeqCst)).unwrap();
                        for number in [0, last / 2, last] {
                            assert!(is_known(&store, number), "token {number} of {last}");
                        }
                        assert!(!is_known(&store, 15), "nobody put this one");
                    }
                });
            }
        });
        let tokens = Admin::new(&store).tokens(&account(), NOW_MS).unwrap();
        assert_eq!(tokens.len(), 15);
    });
}

#[test]
fn tokens_that_are_put_at_once_are_all_there() {
    explore(150, || {
        let store = opened();
        thread::scope(|scope| {
            for part in 0..3_u8 {
                let store = &store;
                scope.spawn(move || (0..4).for_each(|number| put(store, part * 4 + number)));
            }
        });
        assert!((0..12).all(|number| is_known(&store, number)));
    });
}

#[test]
fn an_account_that_two_create_is_created_once() {
    explore(200, || {
        let store = small_store();
        thread::scope(|scope| {
            for amount in [3, 5] {
                let store = &store;
                scope.spawn(move || {
                    let admin = Admin::new(store);
                    admin
                        .put_account(&account(), Amount(amount), AccountPatch::default(), NOW_MS)
                        .unwrap();
                    let money = admin.account(&account(), NOW_MS).unwrap().wallet.balance;
                    assert!([Amount(3), Amount(5)].contains(&money));
                });
            }
        });
        let admin = Admin::new(&store);
        assert_eq!(admin.accounts(None, 10, NOW_MS).unwrap(), [account()]);
    });
}

/// Runs `other` beside the revocation of a token; it is told whether that has returned. Who waits for a token
/// asks for its lock again and again, so that there is no end to all schedules.
fn many_schedules_beside_a_revocation(
    other: impl Fn(&MemoryStore, &Credential, bool) + Copy + Send + Sync + 'static,
) {
    explore(1_000, move || {
        let store = Arc::new(opened());
        put(&store, 0);
        let found = look_up(&store, 0).unwrap();
        let revoked = Arc::new(AtomicU64::new(0));
        let revocation = {
            let (store, revoked) = (Arc::clone(&store), Arc::clone(&revoked));
            thread::spawn(move || {
                Admin::new(&*store).revoke_token(&digest(0), NOW_MS).unwrap();
                revoked.store(1, Ordering::SeqCst);
            })
        };
        other(&store, &found, revoked.load(Ordering::SeqCst) == 1);
        revocation.join().unwrap();
    });
}

#[test]
fn a_look_up_after_a_revocation_sees_it() {
    many_schedules_beside_a_revocation(|store, _, was_revoked| {
        assert!(look_up(store, 0).unwrap().revoked || !was_revoked);
    });
}

#[test]
fn nothing_is_admitted_after_a_revocation_has_returned() {
    many_schedules_beside_a_revocation(|store, found, was_revoked| {
        let (token, revision) = (digest(0), Some(found.revision));
        let admit = Admit { revision, ..Admit::limits_only(&token, &found.account, &[]) };
        let verdict = store.admit(&admit, NOW_MS).unwrap().verdict;
        assert!(matches!(verdict, AdmitVerdict::CredentialChanged) || !was_revoked);
    });
}
