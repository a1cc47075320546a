//! What is kept: over a restart, in a backup, and by callers that come at once.
#![cfg(test)]

mod common;

use std::sync::Barrier;
use std::thread;

use common::{Ask, admitted, digest, id, limits, money, named, open, open_with};
use common::{NOW_MS, put_account, put_token, settle};
use tempfile::TempDir;
use tollgate::{
    AccountRef, Admin, Administration, AdmitVerdict, Command, Outcome, ScopeTable, Store,
};
use tollgate_lmdb::{LmdbError, LmdbOptions, LmdbStore, SyncPolicy};

#[test]
fn everything_is_there_after_it_was_opened_again() {
    let directory = TempDir::new().unwrap();
    let reservation = {
        let store = open(directory.path());
        put_account(&store, "other", 1);
        put_account(&store, "acme", 100);
        put_token(&store, 1, "acme");
        let ask = Ask { key: Some(7), charge: 30, limits: limits(2), ..Ask::of("acme") };
        ask.reserve(&store)
    };
    let store = open(directory.path());
    assert_eq!(money(&store, "acme"), (100, 30, 0));
    // The limit has one left, the key is in flight, and the money is held.
    let ask = Ask { key: Some(7), charge: 30, limits: limits(2), ..Ask::of("acme") };
    let again = ask.send(&store).unwrap();
    assert!(matches!(again.verdict, AdmitVerdict::Denied(tollgate::Denial::InFlight)), "{again:?}");
    settle(&store, &AccountRef::Slot(1), reservation).unwrap();
    drop(store);

    let store = open(directory.path());
    assert_eq!(money(&store, "acme"), (70, 0, 30));
    let limited = ask.send(&store).unwrap();
    assert!(!admitted(&limited), "both units of the limit were taken before: {limited:?}");
    let replay = Ask { limits: Vec::new(), ..ask }.send(&store).unwrap();
    assert!(matches!(replay.verdict, AdmitVerdict::Replay(_)), "{replay:?}");
    store.verify().unwrap();
}

#[test]
fn an_account_is_the_same_by_name_and_by_number() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path());
    put_account(&store, "acme", 100);
    put_token(&store, 1, "acme");
    let policy = r#"{"tokens": {"format": "opaque"}, "scopes": {"all": ["GET /things"]},
        "limits": {"account": {"per": "account", "quota": 3, "window_ms": 60000}}}"#;
    let engine = tollgate::Engine::new(
        tollgate::PolicyConfig::from_json(policy).unwrap().compile().unwrap(),
    );
    let headers = [("authorization", "Bearer x")];
    let request = tollgate::Request::new(b"GET", b"/things", NOW_MS).with_headers(&headers);
    let limits = match engine.evaluate(&request).command() {
        Some(Command::Lookup(lookup)) => lookup.plain.unwrap().limits.to_vec(),
        other => panic!("{other:?}"),
    };
    let by_name = Ask { limits: limits.clone(), ..Ask::of("acme") };
    let by_number = Ask { account: AccountRef::Slot(0), ..by_name.clone() };
    let passed = [&by_name, &by_number, &by_name, &by_number]
        .map(|ask| admitted(&ask.send(&store).unwrap()));
    assert_eq!(passed, [true, true, true, false], "both count in one cell");
    let reservation = Ask { charge: 5, ..Ask::of("acme") }.reserve(&store);
    settle(&store, &named("acme"), reservation).unwrap();
    assert_eq!(money(&store, "acme"), (95, 0, 5));
    for account in [named("acme"), AccountRef::Slot(0)] {
        assert_eq!(Admin::new(&store).account_id(&account, NOW_MS).unwrap(), id("acme"));
    }
    for unknown in [named("nobody"), AccountRef::Slot(9)] {
        assert!(Admin::new(&store).account_id(&unknown, NOW_MS).is_err());
    }
}

#[test]
fn the_revision_changes_with_settings_and_tokens() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path());
    put_account(&store, "acme", 100);
    put_token(&store, 1, "acme");
    let engine = tollgate::Engine::new(
        tollgate::PolicyConfig::from_json(r#"{"scopes": {"all": ["GET /things"]}}"#)
            .unwrap()
            .compile()
            .unwrap(),
    );
    let scopes: &ScopeTable = engine.policy().scopes();
    let revision = || {
        let lookup = tollgate::Lookup { digest: &digest(1), scopes, plain: None };
        store.look_up(&lookup, NOW_MS).unwrap().credential.unwrap().revision
    };
    let first = revision();
    assert_eq!(revision(), first);
    let token = digest(1);
    let account = AccountRef::Slot(0);
    let charge_rule = tollgate::ChargeRule {
        price: None,
        lease_ms: 1,
        on_expiry: tollgate::OnExpiry::Void,
        retention_ms: 1,
    };
    let admit = tollgate::Admit {
        revision: Some(first),
        charge: Some(tollgate::Amount(1)),
        charge_rule: &charge_rule,
        ..tollgate::Admit::limits_only(&token, &account, &[])
    };
    assert!(admitted(&store.admit(&admit, NOW_MS).unwrap()), "money leaves the revision alone");
    put_token(&store, 2, "acme");
    assert_ne!(revision(), first);
    let changed = store.admit(&admit, NOW_MS).unwrap();
    assert!(matches!(changed.verdict, AdmitVerdict::CredentialChanged), "{changed:?}");
    let second = revision();
    Admin::new(&store).revoke_token(&digest(2), NOW_MS).unwrap();
    put_account(&store, "acme", 0);
    assert_ne!(revision(), second);
    assert_ne!(revision(), first);
}

#[test]
fn callers_that_come_at_once_share_commits() {
    const THREADS: u64 = 16;
    const EACH: u64 = 50;
    let directory = TempDir::new().unwrap();
    let store = open_with(directory.path(), |options| options.sync = SyncPolicy::EveryCommit);
    for account in 0..THREADS {
        put_account(&store, &format!("account-{account}"), 1_000);
    }
    let before = store.statistics().unwrap().commits;
    let barrier = Barrier::new(usize::try_from(THREADS).unwrap());
    thread::scope(|scope| {
        for account in 0..THREADS {
            let (store, barrier) = (&store, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for number in 0..EACH {
                    let name = format!("account-{account}");
                    let ask = Ask { charge: 1, key: Some(number), ..Ask::of(&name) };
                    let reservation = ask.reserve(store);
                    let number = u32::try_from(account).unwrap();
                    settle(store, &AccountRef::Slot(number), reservation).unwrap();
                }
            });
        }
    });
    let commits = store.statistics().unwrap().commits - before;
    assert!(commits < THREADS * EACH, "{commits} commits for {} commands", 2 * THREADS * EACH);
    for account in 0..THREADS {
        assert_eq!(money(&store, &format!("account-{account}")), (950, 0, 50));
    }
    store.verify().unwrap();
}

/// All kinds of commands at once, so that each is also performed by another thread than its own.
#[test]
fn administration_at_once_is_done_as_it_was_asked() {
    let directory = TempDir::new().unwrap();
    let store = open_with(directory.path(), |options| options.sync = SyncPolicy::EveryCommit);
    thread::scope(|scope| {
        for part in 0..24_u64 {
            let store = &store;
            scope.spawn(move || {
                let admin = Admin::new(store);
                let name = format!("account-{part}");
                put_account(store, &name, 100);
                put_token(store, part * 10, &name);
                admin.deposit(&id(&name), tollgate::Amount(part), NOW_MS).unwrap();
                admin.rotate_token(&digest(part * 10), &digest(part * 10 + 1), 5, NOW_MS).unwrap();
                admin.revoke_token(&digest(part * 10 + 1), NOW_MS).unwrap();
                let first = Ask { charge: 40, ..Ask::of(&name) }.reserve(store);
                let second = Ask { charge: 30, ..Ask::of(&name) }.reserve(store);
                settle(store, &named(&name), first).unwrap();
                let void = tollgate::Finish::Void { response: None };
                admin.resolve(&id(&name), second, void, NOW_MS).unwrap();
                admin.refund(&named(&name), first, tollgate::Amount(7), "r-1", NOW_MS).unwrap();
                admin.refund(&named(&name), first, tollgate::Amount(7), "r-1", NOW_MS).unwrap();
            });
        }
    });
    for part in 0..24_u64 {
        let name = format!("account-{part}");
        assert_eq!(money(&store, &name), (100 + part - 40 + 7, 0, 40));
        let tokens = Admin::new(&store).tokens(&id(&name), NOW_MS).unwrap();
        let numbers: Vec<_> =
            tokens.iter().map(|(digest, token)| (*digest, token.revoked)).collect();
        assert_eq!(numbers, [(digest(part * 10), false), (digest(part * 10 + 1), true)]);
        assert_eq!(tokens[1].1.ancestor, Some(digest(part * 10)));
        assert_eq!(tokens[0].1.expires_ms, Some(NOW_MS + 5));
    }
    let mut names = Admin::new(&store).accounts(None, usize::MAX, NOW_MS).unwrap();
    names.sort_unstable();
    assert_eq!(names.len(), 24);
    assert_eq!(names[0], id("account-0"));
    store.verify().unwrap();
}

#[test]
fn a_backup_is_a_store() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path());
    put_account(&store, "acme", 100);
    for number in 0..100 {
        Ask { charge: 1, key: Some(number), ..Ask::of("acme") }.reserve(&store);
    }
    for compact in [false, true] {
        let to = directory.path().join(format!("copy-{compact}"));
        store.backup(&to, compact).unwrap();
        let again = store.backup(&to, compact).unwrap_err();
        assert!(matches!(again, LmdbError::BackupExists { .. }), "{again}");
        let copy = open(&to);
        assert_eq!(money(&copy, "acme"), (100, 100, 0));
        assert!(copy.verify().unwrap() > 300);
        // The two are apart.
        put_account(&copy, "new", 1);
        assert_eq!(Admin::new(&store).accounts(None, usize::MAX, NOW_MS).unwrap(), [id("acme")]);
        let statistics = copy.statistics().unwrap();
        assert_eq!(
            (statistics.accounts, statistics.claims, statistics.reservations),
            (2, 100, 100)
        );
    }
    let sizes = [false, true].map(|compact| {
        let file = directory.path().join(format!("copy-{compact}/data.mdb"));
        std::fs::metadata(file).unwrap().len()
    });
    assert!(sizes[1] <= sizes[0], "{sizes:?}");
}

#[test]
fn every_sync_policy_keeps_what_was_committed() {
    for sync in [SyncPolicy::EveryCommit, SyncPolicy::IntervalMs(1), SyncPolicy::Never] {
        let directory = TempDir::new().unwrap();
        let store = open_with(directory.path(), |options| options.sync = sync);
        put_account(&store, "acme", 100);
        thread::sleep(std::time::Duration::from_millis(5));
        Ask { charge: 5, ..Ask::of("acme") }.reserve(&store);
        drop(store);
        let store = open_with(directory.path(), |options| options.sync = sync);
        assert_eq!(money(&store, "acme"), (100, 5, 0));
    }
}

#[test]
fn a_time_out_of_range_is_refused() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path());
    let expire = Command::Administer(&Administration::Expire);
    let outcome = store.perform(&expire, tollgate::MAX_NOW_MS + 1).unwrap();
    assert!(matches!(outcome, Outcome::Refused(tollgate::Refusal::ClockOutOfRange)));
}

#[test]
fn of_backups_into_one_place_at_once_one_is_made_whole() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path());
    for number in 0..200 {
        put_account(&store, &format!("account-{number}"), 1);
    }
    for round in 0..20 {
        let to = directory.path().join(format!("copy-{round}"));
        let made = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|part| {
                    scope.spawn({
                        let (store, to) = (&store, &to);
                        move || store.backup(to, part % 2 == 0)
                    })
                })
                .collect();
            threads.into_iter().map(|one| one.join().unwrap()).filter(Result::is_ok).count()
        });
        assert_eq!(made, 1, "in round {round}");
        let files = std::fs::read_dir(&to).unwrap().count();
        assert_eq!(files, 1, "a file was left over");
        LmdbStore::open(&to, &LmdbOptions::default()).unwrap().verify().unwrap();
    }
    // Nobody touches what another one writes.
    let to = directory.path().join("another");
    std::fs::create_dir(&to).unwrap();
    let theirs = to.join("data.mdb.0.partial");
    std::fs::write(&theirs, "theirs").unwrap();
    store.backup(&to, true).unwrap();
    assert_eq!(std::fs::read(&theirs).unwrap(), b"theirs");
}
