//! Stores that fail, or answer something else.

mod small_api;

use std::sync::atomic::{AtomicUsize, Ordering};

use small_api::*;
use tollgate::*;

/// Fails the `nth` command, before or after the store behind it performed it.
struct Failing<'s> {
    store: &'s MemoryStore,
    commands: AtomicUsize,
    nth: usize,
    after: bool,
}

impl Store for Failing<'_> {
    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        let fails = self.commands.fetch_add(1, Ordering::Relaxed) == self.nth;
        if !fails || self.after {
            // It answers one thing at a time: look-ups never admit.
            let outcome = match *command {
                Command::Lookup(lookup) => {
                    let lookup = Command::Lookup(Lookup { plain: None, ..lookup });
                    self.store.perform(&lookup, now_ms)?
                }
                _ => self.store.perform(command, now_ms)?,
            };
            if !fails {
                return Ok(outcome);
            }
        }
        Err(StoreError::Unavailable { reason: "no answer within 5 ms".into() })
    }
}

#[test]
fn a_failing_store_denies_unless_the_policy_leaves_every_needed_check_open() {
    let cases = [(false, false), (false, true), (true, false), (true, true)];
    for ((limit_open, key_open), after) in
        cases.into_iter().flat_map(|case| [(case, false), (case, true)])
    {
        let mode = |open| if open { "open" } else { "closed" };
        let engine = engine(&format!(
            "[limits.l]\nper = \"token\"\nquota = 9\nwindow_ms = 1000\non_store_failure = \"{}\"\n\
             [routes.\"POST /pay\"]\nidempotency = {{ on_store_failure = \"{}\" }}",
            mode(limit_open),
            mode(key_open),
        ));
        for (ask, open) in [
            (FREE, limit_open),
            (PAY, limit_open),
            (Ask { key: Some("k"), ..PAY }, limit_open && key_open),
            (Ask { cost: Some(0), ..PAY }, limit_open),
            // Money is never given away.
            (Ask { cost: Some(1), ..PAY }, false),
            (Ask { key: Some("k"), cost: Some(1), ..PAY }, false),
        ] {
            for nth in [0, 1] {
                let store = store(&engine, |_| {});
                let failing = Failing { store: &store, commands: AtomicUsize::new(0), nth, after };
                let decision = ask.decide(&engine, &failing);
                // Without a credential nothing passes, whatever the policy says.
                if nth == 1 && open {
                    assert_eq!(decision.status(), Status::Allowed);
                    assert_eq!((decision.ticket(), decision.store_error()), (None, None));
                    continue;
                }
                assert_eq!(decision.status(), Status::StoreUnavailable);
                assert!(matches!(decision.store_error(), Some(StoreError::Unavailable { .. })));
                let answer = engine.answer(&decision);
                assert_eq!(answer.status, 503);
                let body = String::from_utf8(answer.body).unwrap();
                assert!(body.contains("\"store_unavailable\"") && !body.contains("5 ms"), "{body}");
            }
        }
    }
}

#[test]
fn denials_before_the_store_failed_stand() {
    let engine = engine("[limits.l]\nper = \"token\"\nquota = 9\nwindow_ms = 1000");
    let store = store(&engine, |_| {});
    let patch = AccountPatch {
        networks: Some(vec!["192.0.2.0/24".parse().unwrap()]),
        ..Default::default()
    };
    Admin::new(&store).put_account(&account("acme"), Amount(0), patch, 1).unwrap();
    let failing = Failing { store: &store, commands: AtomicUsize::new(0), nth: 1, after: false };
    assert_eq!(FREE.decide(&engine, &failing).status(), Status::IpNotAllowed);
}

/// Answers with what was not asked.
struct Confused;

impl Store for Confused {
    fn perform(&self, _: &Command<'_>, _: u64) -> Result<Outcome, StoreError> {
        Ok(Outcome::Expired(3))
    }
}

#[test]
fn an_answer_to_another_question_is_a_failure() {
    let engine = engine("");
    let decision = FREE.decide(&engine, &Confused);
    assert_eq!(decision.store_error(), Some(&StoreError::WrongOutcome));
    assert_eq!(decision.status(), Status::StoreUnavailable);
    let admin = Admin::new(&Confused);
    let wrong = AdminError::Store(StoreError::WrongOutcome);
    assert_eq!(admin.deposit(&account("acme"), Amount(1), 1), Err(wrong.clone()));
    assert_eq!(admin.account(&account("acme"), 1), Err(wrong));
}
