//! What changes between a look-up and its admission is seen.

mod small_api;

use std::sync::atomic::{AtomicUsize, Ordering};

use small_api::*;
use tollgate::*;

/// Performs something once, right after the first look-up was answered.
struct Meanwhile<'s, F> {
    store: &'s MemoryStore,
    look_ups: AtomicUsize,
    times: usize,
    then: F,
}

impl<F: Fn(&MemoryStore, usize) + Send + Sync> Store for Meanwhile<'_, F> {
    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        let Command::Lookup(lookup) = *command else { return self.store.perform(command, now_ms) };
        let alone = Command::Lookup(Lookup { plain: None, ..lookup });
        let outcome = self.store.perform(&alone, now_ms)?;
        let nth = self.look_ups.fetch_add(1, Ordering::Relaxed);
        if nth < self.times {
            (self.then)(self.store, nth);
        }
        Ok(outcome)
    }
}

fn decide_meanwhile(
    ask: Ask<'_>,
    times: usize,
    then: impl Fn(&MemoryStore, usize) + Send + Sync,
) -> (Decision, usize, MemoryStore) {
    let engine =
        engine(&format!("[limits.l]\nper = \"token\"\nquota = 9\nwindow_ms = 1000\n{KEYED}"));
    let store = store(&engine, |_| {});
    let meanwhile = Meanwhile { store: &store, look_ups: AtomicUsize::new(0), times, then };
    let decision = ask.decide(&engine, &meanwhile);
    let look_ups = meanwhile.look_ups.load(Ordering::Relaxed);
    (decision, look_ups, store)
}

fn digest_of(name: &str) -> TokenDigest {
    digest(name.as_bytes(), None)
}

#[test]
fn a_token_revoked_after_its_look_up_is_denied() {
    for ask in [FREE, PAY, Ask { key: Some("k"), ..PAY }] {
        let (decision, look_ups, store) = decide_meanwhile(ask, 1, |store, _| {
            Admin::new(store).revoke_token(&digest_of("acme"), NOW_MS).unwrap();
        });
        assert_eq!((decision.status(), look_ups), (Status::InvalidToken, 2));
        let view = Admin::new(&store).account(&account("acme"), NOW_MS).unwrap();
        assert_eq!((view.wallet.held, view.wallet.sequence), (Amount(0), 0), "nothing was held");
    }
}

#[test]
fn networks_and_scopes_set_after_the_look_up_hold() {
    let (decision, ..) = decide_meanwhile(PAY, 1, |store, _| {
        let networks = Some(vec!["192.0.2.0/24".parse().unwrap()]);
        let patch = AccountPatch { networks, ..Default::default() };
        Admin::new(store).put_account(&account("acme"), Amount(0), patch, NOW_MS).unwrap();
    });
    assert_eq!(decision.status(), Status::IpNotAllowed);
    let (decision, ..) = decide_meanwhile(PAY, 1, |store, _| {
        let patch = TokenPatch { scopes: Some(Vec::new()), ..Default::default() };
        let admin = Admin::new(store);
        admin.put_token(&digest_of("acme"), &account("acme"), patch, NOW_MS).unwrap();
    });
    assert_eq!(decision.status(), Status::InsufficientScope);
}

#[test]
fn what_changes_in_another_account_makes_nobody_look_again() {
    let (decision, look_ups, _) = decide_meanwhile(PAY, 1, |store, _| {
        Admin::new(store).revoke_token(&digest_of("globex"), NOW_MS).unwrap();
    });
    assert_eq!((decision.status(), look_ups), (Status::Allowed, 1));
}

#[test]
fn an_account_that_changes_for_ever_ends_in_a_denial() {
    let change = |store: &MemoryStore, nth: usize| {
        let senders = Some(vec![format!("s{nth}").into()]);
        let patch = AccountPatch { senders, ..Default::default() };
        Admin::new(store).put_account(&account("acme"), Amount(0), patch, NOW_MS).unwrap();
    };
    let (decision, look_ups, _) = decide_meanwhile(PAY, 3, change);
    assert_eq!((decision.status(), look_ups), (Status::Allowed, 4));
    let (decision, look_ups, _) = decide_meanwhile(PAY, usize::MAX, change);
    assert_eq!((decision.status(), look_ups), (Status::StoreUnavailable, 9));
    assert!(decision.account().is_some() || decision.ticket().is_none());
}
