//! The suite can fail: stores with one fault each, and the test that finds it.
#![cfg(test)]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a fault is planted by it, or it would make the test fail"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use tollgate::*;
use tollgate_conformance::{
    Behaviour, Fault, FaultyStore, Kind, ModelBackend, ModelRecords, ModelStore, Plan, Subject,
    behaviours, durable_behaviours, shared_behaviours,
};
use tollgate_scenario::{Backend, MemoryBackend};

/// A store made of the model and one fault.
struct Planted<F> {
    model: ModelStore,
    fault: F,
}

impl<F> Store for Planted<F>
where
    F: Fn(&ModelStore, &Command<'_>, u64) -> Result<Outcome, StoreError> + Send + Sync,
{
    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        (self.fault)(&self.model, command, now_ms)
    }
}

/// Makes stores with a function.
struct Made(Box<dyn Fn() -> Arc<dyn Store>>);

impl Backend for Made {
    fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok((self.0)())
    }

    fn reopen(&self, store: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
        Ok(store)
    }

    fn keeps_state(&self) -> bool {
        true
    }
}

fn planted<F>(fault: F) -> Subject
where
    F: Fn(&ModelStore, &Command<'_>, u64) -> Result<Outcome, StoreError>
        + Copy
        + Send
        + Sync
        + 'static,
{
    let make = move || -> Arc<dyn Store> { Arc::new(Planted { model: ModelStore::new(), fault }) };
    Subject::new(Made(Box::new(make))).durable().shared(|store| Ok(Arc::clone(store)))
}

fn faulty(plan: fn() -> Plan) -> Subject {
    let make = move || -> Arc<dyn Store> { Arc::new(FaultyStore::new(ModelStore::new(), plan())) };
    Subject::new(Made(Box::new(make)))
}

/// What the model answers.
fn soundly(model: &ModelStore, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
    model.perform(command, now_ms)
}

/// A command whose limits were changed.
fn with_limits(
    model: &ModelStore,
    command: &Command<'_>,
    now_ms: u64,
    change: impl Fn(&mut Limit),
) -> Result<Outcome, StoreError> {
    let Command::Admit(admit) = command else { return soundly(model, command, now_ms) };
    let mut limits = admit.limits.to_vec();
    limits.iter_mut().for_each(change);
    model.perform(&Command::Admit(Admit { limits: &limits, ..*admit }), now_ms)
}

fn with_admit(
    model: &ModelStore,
    command: &Command<'_>,
    now_ms: u64,
    change: impl Fn(&mut Admit<'_>),
) -> Result<Outcome, StoreError> {
    let Command::Admit(admit) = command else { return soundly(model, command, now_ms) };
    let mut admit = *admit;
    change(&mut admit);
    model.perform(&Command::Admit(admit), now_ms)
}

fn lets_one_over_the_quota(
    model: &ModelStore,
    command: &Command<'_>,
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    with_limits(model, command, now_ms, |limit| {
        limit.quota.units += 1;
        limit.quota.burst += 1;
    })
}

fn counts_all_addresses_together(
    model: &ModelStore,
    command: &Command<'_>,
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    with_admit(model, command, now_ms, |admit| admit.source = None)
}

fn sees_no_change_of_credentials(
    model: &ModelStore,
    command: &Command<'_>,
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    with_admit(model, command, now_ms, |admit| admit.revision = None)
}

fn applies_what_is_only_looked_at(
    model: &ModelStore,
    command: &Command<'_>,
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    with_admit(model, command, now_ms, |admit| admit.mode = Mode::Apply)
}

fn takes_any_time(
    model: &ModelStore,
    command: &Command<'_>,
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    model.perform(command, now_ms.min(MAX_NOW_MS))
}

fn drops_cells_when_they_expire(
    model: &ModelStore,
    command: &Command<'_>,
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    if let Command::Administer(Administration::Expire) = command {
        // In a copy, so that only its cells are dropped.
        let mut ahead = model.records().clone();
        let later_ms = now_ms + tollgate_conformance::KEPT_MS;
        let outcome = model.perform(command, now_ms)?;
        ahead.drop_expired_cells(later_ms);
        model.records().take_cells(&ahead);
        return Ok(outcome);
    }
    model.perform(command, now_ms)
}

fn counts_no_expired_lease(
    model: &ModelStore,
    command: &Command<'_>,
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    match model.perform(command, now_ms)? {
        Outcome::Expired(ended) => Ok(Outcome::Expired(ended.min(1))),
        outcome => Ok(outcome),
    }
}

fn forgets_the_body(
    model: &ModelStore,
    command: &Command<'_>,
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    let Command::Settle(settle) = command else { return model.perform(command, now_ms) };
    let Finish::Settle { amount, response: Some(response) } = settle.finish else {
        return model.perform(command, now_ms);
    };
    let body = response.body.as_ref().map(|body| body[..body.len().min(65_535)].into());
    let response = Some(Arc::new(StoredResponse { body, ..(**response).clone() }));
    let finish = &Finish::Settle { amount: *amount, response };
    model.perform(&Command::Settle(Settle { finish, ..*settle }), now_ms)
}

fn takes_a_reference_twice(
    model: &ModelStore,
    command: &Command<'_>,
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    let Command::Administer(Administration::Refund { account, reservation, amount, .. }) = command
    else {
        return model.perform(command, now_ms);
    };
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let reference = &*NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
    let (reservation, amount) = (*reservation, *amount);
    let refund = Administration::Refund { account, reservation, amount, reference };
    model.perform(&Command::Administer(&refund), now_ms)
}

fn folds_names(
    model: &ModelStore,
    command: &Command<'_>,
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    let fold = |id: &AccountId| AccountId::new(id.as_str().trim()).unwrap_or_else(|_| id.clone());
    match command {
        Command::Administer(Administration::PutAccount { account, opening_balance, settings }) => {
            let (account, settings) = (&fold(account), settings.clone());
            let opening_balance = *opening_balance;
            let put = Administration::PutAccount { account, opening_balance, settings };
            model.perform(&Command::Administer(&put), now_ms)
        }
        Command::Administer(Administration::PutToken { digest, account, settings }) => {
            let (account, settings) = (&fold(account), settings.clone());
            let put = Administration::PutToken { digest, account, settings };
            model.perform(&Command::Administer(&put), now_ms)
        }
        _ => model.perform(command, now_ms),
    }
}

fn lists_backwards(
    model: &ModelStore,
    command: &Command<'_>,
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    match model.perform(command, now_ms)? {
        Outcome::Tokens(tokens) => Ok(Outcome::Tokens(tokens.into_iter().rev().collect())),
        outcome => Ok(outcome),
    }
}

fn gives_money_as_a_float(
    model: &ModelStore,
    command: &Command<'_>,
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    let Command::Admit(admit) = command else { return model.perform(command, now_ms) };
    let charge = admit.charge.map(|amount| Amount(amount.0 as f64 as u64));
    model.perform(&Command::Admit(Admit { charge, ..*admit }), now_ms)
}

/// A store without a lock over the whole command: it reads, and writes what it made of that later.
#[derive(Default)]
struct Racing {
    records: Mutex<ModelRecords>,
}

impl Store for Racing {
    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        let mut records = self.records.lock().unwrap().clone();
        std::thread::yield_now();
        let outcome = tollgate::transition::perform(records.at(now_ms), command, now_ms)?;
        if !matches!(command, Command::Lookup(_)) {
            *self.records.lock().unwrap() = records;
        }
        Ok(outcome)
    }
}

/// Answers look-ups out of a cache that nobody empties.
#[derive(Default)]
struct Caching {
    model: ModelStore,
    cache: Mutex<BTreeMap<TokenDigest, Credential>>,
}

impl Store for Caching {
    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        let Command::Lookup(lookup) = command else { return self.model.perform(command, now_ms) };
        if let Some(credential) = self.cache.lock().unwrap().get(lookup.digest) {
            let credential = Some(credential.clone());
            return Ok(Outcome::LookedUp(LookedUp { credential, admission: None }));
        }
        let found = self.model.look_up(lookup, now_ms)?;
        if let Some(credential) = &found.credential {
            self.cache.lock().unwrap().insert(*lookup.digest, credential.clone());
        }
        Ok(Outcome::LookedUp(found))
    }
}

/// A model that can be taken back by one command.
#[derive(Default)]
struct Undoing {
    model: ModelStore,
    before: Mutex<ModelRecords>,
}

impl Store for Undoing {
    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        let before = self.model.records().clone();
        let reads = matches!(
            command,
            Command::Lookup(_)
                | Command::Administer(
                    Administration::Inspect { .. } | Administration::NameAccount { .. }
                )
        );
        if !reads {
            *self.before.lock().unwrap() = before;
        }
        self.model.perform(command, now_ms)
    }
}

static UNDOING: Mutex<Option<Arc<Undoing>>> = Mutex::new(None);

/// Loses the last command with a restart.
struct LosesTheLast;

impl Backend for LosesTheLast {
    fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
        let store = Arc::new(Undoing::default());
        *UNDOING.lock().unwrap() = Some(Arc::clone(&store));
        Ok(store)
    }

    fn reopen(&self, store: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
        if let Some(undoing) = &*UNDOING.lock().unwrap() {
            *undoing.model.records() = undoing.before.lock().unwrap().clone();
        }
        Ok(store)
    }

    fn keeps_state(&self) -> bool {
        true
    }
}

fn racing() -> Subject {
    Subject::new(Made(Box::new(|| Arc::new(Racing::default()))))
}

fn caching() -> Subject {
    Subject::new(Made(Box::new(|| Arc::new(Caching::default()))))
        .shared(|store| Ok(Arc::clone(store)))
}

/// Each fault, and tests that find it.
type Row = (&'static str, fn() -> Subject, &'static [&'static str]);

const TABLE: &[Row] = &[
    (
        "forgets everything with a restart",
        || Subject::new(MemoryBackend).durable(),
        &["everything_outlives_a_restart", "what_falls_due_after_a_restart"],
    ),
    (
        "loses the last command with a restart",
        || Subject::new(LosesTheLast).durable(),
        &["the_last_command_outlives_a_restart"],
    ),
    (
        "performs administration twice",
        || faulty(|| Plan::every(Kind::Administer, Fault::Twice)),
        &["deposits_add_up_and_never_overflow"],
    ),
    (
        "performs admissions twice",
        || faulty(|| Plan::every(Kind::Admit, Fault::Twice)),
        &[
            "money_is_held_then_posted_or_freed",
            "a_limit_lets_its_quota_through",
            "a_key_is_claimed_once",
        ],
    ),
    (
        "loses the answers of settlements",
        || faulty(|| Plan::every(Kind::Settle, Fault::After)),
        &["settling_twice_is_settling_once"],
    ),
    (
        "fails one command in fifty",
        || faulty(|| Plan::seeded(7, 50, &[Fault::Before])),
        &["random_stories_end_as_in_the_model"],
    ),
    (
        "answers with another command's outcome",
        || faulty(|| Plan::every(Kind::Settle, Fault::WrongOutcome)),
        &["a_lease_ends_by_its_rule"],
    ),
    (
        "lets one over the quota",
        || planted(lets_one_over_the_quota),
        &[
            "a_limit_lets_its_quota_through",
            "a_quota_is_exact",
            "random_stories_end_as_in_the_model",
        ],
    ),
    (
        "counts all addresses together",
        || planted(counts_all_addresses_together),
        &["partitions_are_counted_apart"],
    ),
    (
        "sees no change of credentials",
        || planted(sees_no_change_of_credentials),
        &[
            "every_change_is_seen_by_the_next_admission",
            "a_revocation_is_seen_through_the_other_handle",
        ],
    ),
    (
        "answers look-ups out of an old cache",
        caching,
        &["revocation_is_at_once_and_for_good", "a_revocation_is_seen_through_the_other_handle"],
    ),
    (
        "applies what is only looked at",
        || planted(applies_what_is_only_looked_at),
        &["peeking_and_observing_change_nothing"],
    ),
    ("takes any time", || planted(takes_any_time), &["a_time_beyond_the_range_is_refused"]),
    (
        "drops cells in the moment they expire",
        || planted(drops_cells_when_they_expire),
        &["a_clock_set_back_gives_nothing_twice"],
    ),
    ("miscounts what ended", || planted(counts_no_expired_lease), &["expire_counts_what_ended"]),
    ("cuts long bodies off", || planted(forgets_the_body), &["a_response_of_a_mebibyte"]),
    (
        "takes a refund's reference twice",
        || planted(takes_a_reference_twice),
        &["refunds_are_once_per_reference", "refunding_at_once_gives_back_once"],
    ),
    ("trims names", || planted(folds_names), &["names_are_taken_as_they_are"]),
    ("lists in another order", || planted(lists_backwards), &["tokens_are_listed_by_account"]),
    ("keeps money as a float", || planted(gives_money_as_a_float), &["amounts_of_64_bits"]),
    (
        "reads and writes without a lock between",
        racing,
        &["a_quota_is_exact", "duplicates_run_once", "a_wallet_is_emptied_exactly"],
    ),
];

fn all() -> BTreeMap<&'static str, fn(&Subject)> {
    let all: Vec<Behaviour> = [behaviours(), durable_behaviours(), shared_behaviours()].concat();
    all.into_iter().collect()
}

fn fails(behaviour: fn(&Subject), subject: &Subject) -> bool {
    catch_unwind(AssertUnwindSafe(|| behaviour(subject))).is_err()
}

#[test]
fn every_planted_fault_is_found_by_the_tests_that_should() {
    // Dozens of failures are wanted here: they are told in the table, and not each with its own message.
    std::panic::set_hook(Box::new(|_| ()));
    let all = all();
    let mut missed = Vec::new();
    let mut tried = BTreeSet::new();
    for (fault, subject, finders) in TABLE {
        for name in *finders {
            let behaviour = all[name];
            if !fails(behaviour, &subject()) {
                missed.push(format!("a store that {fault} passes {name}"));
            }
            let sound = Subject::new(ModelBackend).durable().shared(|store| Ok(Arc::clone(store)));
            if tried.insert(name) && fails(behaviour, &sound) {
                missed.push(format!("a sound store does not pass {name}"));
            }
        }
    }
    let _ = std::panic::take_hook();
    assert!(missed.is_empty(), "{missed:#?}");
}
