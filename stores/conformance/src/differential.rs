//! The same random commands to a store and to the model: the answers must be equal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use tollgate::{
    AccountId, AccountPatch, AccountRef, Administration, Admission, Admit, Amount, Command,
    Credential, Denial, MAX_NOW_MS, Mode, Outcome, PlainAdmit, Refusal, ReservationId, ScopeTable,
    Store, StoreError, TokenDigest, TokenPatch,
};

use crate::answer::{Admitted, Answer, Known, Verdict};
use crate::model::ModelStore;
use crate::steps::{ACCOUNTS, Asked, Step, TOKENS, limits_at, quota_of, setting, steps};
use crate::subject::Subject;
use crate::world::{self, Ask, DAY_MS, Desk, NOW_MS, adds_up};

/// How far the clock runs back at most. A cell counts for a minute after it expired; where a token's quota
/// was changed meanwhile, its time was that of the old one, which the rest of the minute makes up for.
const BACK_MS: u64 = 55_000;
/// How many stories are played unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 256;
/// The longest story.
const STEPS: usize = 90;

/// A store, and what it told that later commands carry.
struct Side<'s> {
    desk: Desk<'s>,
    credentials: BTreeMap<TokenDigest, Credential>,
    /// Those after whose look-up another token of some account changed: a store may take them for old or
    /// not.
    unsure: BTreeSet<TokenDigest>,
    accounts: BTreeMap<AccountId, AccountRef>,
}

/// The store without its quicker ways: whatever is asked of it goes through `perform`.
struct ByPerform<'s>(&'s dyn Store);

impl Store for ByPerform<'_> {
    fn perform(&self, command: &Command<'_>, now_ms: u64) -> Result<Outcome, StoreError> {
        self.0.perform(command, now_ms)
    }
}

/// What both sides share.
struct Play {
    limits_apart: bool,
    now_ms: u64,
    latest_ms: u64,
    reservations: Vec<(AccountId, ReservationId)>,
}

/// Plays random stories on the subject's store and on the model.
///
/// # Panics
/// When an answer differs; the message has the smallest story that shows it.
pub fn random_stories(subject: &Subject) {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    let config = Config {
        cases: cases.unwrap_or(CASES),
        failure_persistence: None,
        max_shrink_iters: 4_096,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let played =
        runner.run(&steps(STEPS), |steps| replay(subject, &steps).map_err(TestCaseError::fail));
    match played {
        Ok(()) => {}
        Err(TestError::Fail(reason, steps)) => {
            let mut story = String::new();
            for step in &steps {
                let _ = write!(story, "\n    Step::{step:?},");
            }
            panic!("{}\nafter `setting()`, with these steps:{story}", reason.message());
        }
        Err(TestError::Abort(reason)) => panic!("no story could be played: {reason}"),
    }
}

/// Plays one story after [`setting`] on a fresh store and on the model.
///
/// # Errors
/// What differs, and at which step.
pub fn replay(subject: &Subject, steps: &[Step]) -> Result<(), String> {
    let (store, model) = (subject.fresh(), ModelStore::new());
    // Every other command goes the other way where there are two: typed, or through `perform`.
    let performing = ByPerform(&*store);
    let mut ours = Side::new(&*store);
    let mut theirs = Side::new(&model);
    let mut play = Play::new(subject.keeps_limits_apart());
    let all = setting().into_iter().chain(steps.iter().cloned()).chain(closing());
    for (number, step) in all.enumerate() {
        if play.moves_clock(&step) {
            continue;
        }
        if play.limits_apart && matches!(step, Step::Admit(_)) {
            // A limit that refuses leaves what is due in the account for the next command.
            let sweeps = [ours.perform(&Step::Expire, &play), theirs.perform(&Step::Expire, &play)];
            if sweeps[0] != sweeps[1] {
                return Err(format!("at {} before step {number}: {sweeps:?}", play.now_ms));
            }
        }
        ours.desk = Desk::new(if number % 2 == 0 { &*store } else { &performing });
        let expected = theirs.perform(&step, &play);
        let found = ours.perform(&step, &play);
        let tolerated = subject.keeps_limits_apart() && seen_later(&expected, &found);
        if found != expected && !tolerated {
            return Err(format!(
                "at {} step {number} differs: {step:?}\n  the store: {found:?}\n  the model: {expected:?}",
                play.now_ms
            ));
        }
        if let Answer::Account(view) = &found {
            adds_up(view);
        }
        play.note(&step, &expected);
    }
    Ok(())
}

/// What the model answers to a story after [`setting`].
#[must_use]
pub fn answers(steps: &[Step]) -> Vec<Answer> {
    let model = ModelStore::new();
    let mut side = Side::new(&model);
    let mut play = Play::new(false);
    let mut answers = Vec::new();
    for step in setting().into_iter().chain(steps.iter().cloned()) {
        if play.moves_clock(&step) {
            continue;
        }
        let answer = side.perform(&step, &play);
        play.note(&step, &answer);
        answers.push(answer);
    }
    answers
}

/// What is looked at when a story is over.
fn closing() -> Vec<Step> {
    let mut steps = Vec::new();
    let look = |steps: &mut Vec<Step>| {
        steps.push(Step::ListAccounts { after: None, at_most: usize::MAX });
        for account in 0..ACCOUNTS {
            steps.push(Step::Inspect { account });
            steps.push(Step::ListTokens { account });
            steps.push(Step::ListReservations { account });
        }
    };
    look(&mut steps);
    for token in 0..TOKENS {
        steps.push(Step::LookUp { token, other_scopes: false, plain: None });
    }
    // All leases end, and then everything else does.
    for wait_ms in [300_000_i64, 700_000_000] {
        steps.push(Step::Clock(wait_ms));
        steps.push(Step::Expire);
        look(&mut steps);
    }
    steps
}

/// Limits that are kept apart refuse before anything else is asked.
fn seen_later(expected: &Answer, found: &Answer) -> bool {
    let (Answer::Admission(expected), Answer::Admission(found)) = (expected, found) else {
        return false;
    };
    expected.verdict == Verdict::CredentialChanged
        && matches!(found.verdict, Verdict::Denied(Denial::RateLimited { .. }))
}

impl Play {
    fn new(limits_apart: bool) -> Self {
        Play { limits_apart, now_ms: NOW_MS, latest_ms: NOW_MS, reservations: Vec::new() }
    }

    fn moves_clock(&mut self, step: &Step) -> bool {
        let now_ms = match *step {
            Step::Clock(by_ms) if by_ms < 0 && self.limits_apart => self.now_ms,
            Step::Clock(by_ms) => self.now_ms.saturating_add_signed(by_ms),
            Step::ClockToDay { days, off_ms } => {
                let next = self.now_ms.div_ceil(DAY_MS).saturating_add(days);
                next.saturating_mul(DAY_MS).saturating_add_signed(off_ms)
            }
            _ => return false,
        };
        let earliest_ms = match self.limits_apart {
            true => self.latest_ms,
            false => self.latest_ms.saturating_sub(BACK_MS),
        };
        self.now_ms = now_ms.clamp(earliest_ms, MAX_NOW_MS);
        self.latest_ms = self.latest_ms.max(self.now_ms);
        true
    }

    fn note(&mut self, step: &Step, answer: &Answer) {
        let (Step::Admit(asked), Answer::Admission(admitted)) = (step, answer) else { return };
        if let Verdict::Admitted(Some(id)) = admitted.verdict {
            self.reservations.push((account_of_token(asked), id));
        }
    }

    fn reservation(&self, which: usize) -> (AccountId, ReservationId) {
        // Counted from the latest, so that most are still open.
        let place = self.reservations.len().checked_sub(which.saturating_add(1));
        let found = place.and_then(|place| self.reservations.get(place)).cloned();
        found.unwrap_or_else(|| (world::account(0), ReservationId(77)))
    }
}

fn account_of_token(asked: &Asked) -> AccountId {
    world::account(asked.token % ACCOUNTS)
}

fn other_scopes() -> &'static ScopeTable {
    static SCOPES: std::sync::OnceLock<ScopeTable> = std::sync::OnceLock::new();
    SCOPES.get_or_init(|| world::scopes(&["aardvark", "pay"]))
}

impl<'s> Side<'s> {
    fn new(store: &'s dyn Store) -> Self {
        let (credentials, accounts) = (BTreeMap::new(), BTreeMap::new());
        Side { desk: Desk::new(store), credentials, unsure: BTreeSet::new(), accounts }
    }

    /// The store's own reference where it gave one.
    fn reference(&self, id: &AccountId, by_name: bool) -> AccountRef {
        let known = self.accounts.get(id).filter(|_| !by_name);
        known.cloned().unwrap_or_else(|| AccountRef::Id(id.clone()))
    }

    fn administer(&self, administration: &Administration<'_>, now_ms: u64) -> Answer {
        self.desk.administer(administration, now_ms)
    }

    fn perform(&mut self, step: &Step, play: &Play) -> Answer {
        let now_ms = play.now_ms;
        match step {
            Step::Clock(_) | Step::ClockToDay { .. } => Answer::Done,
            Step::Admit(asked) => self.admit(asked, play),
            Step::LookUp { token, other_scopes: other, plain } => {
                let scopes = if *other { other_scopes() } else { world::usual_scopes() };
                self.look_up(&world::token(*token), scopes, plain.as_deref(), now_ms)
            }
            Step::Settle { which, end, by_name } => {
                let (account, id) = play.reservation(*which);
                let account = self.reference(&account, *by_name);
                self.desk.settle(&account, id, &end.finish(), now_ms)
            }
            Step::Refund { which, amount, reference, by_name } => {
                let (account, reservation) = play.reservation(*which);
                let account = &self.reference(&account, *by_name);
                let (amount, reference) = (Amount(*amount), &*format!("reference {reference}"));
                let refund = Administration::Refund { account, reservation, amount, reference };
                self.administer(&refund, now_ms)
            }
            step => {
                let answer = self.change(step, play);
                let changed = match step {
                    Step::PutToken { token, .. } | Step::Revoke { token } => vec![*token],
                    Step::Rotate { old, new, .. } => vec![*old, *new],
                    _ => return answer,
                };
                if answer == Answer::Done {
                    let changed: Vec<TokenDigest> = changed.into_iter().map(world::token).collect();
                    let others = self.credentials.keys().filter(|digest| !changed.contains(digest));
                    self.unsure.extend(others);
                }
                answer
            }
        }
    }

    fn change(&self, step: &Step, play: &Play) -> Answer {
        let now_ms = play.now_ms;
        match step {
            Step::PutAccount { account, balance, networks, caps, senders } => {
                let settings = AccountPatch {
                    networks: networks.clone(),
                    spend_caps: caps.clone(),
                    senders: senders
                        .as_ref()
                        .map(|names| names.iter().map(|name| name.as_str().into()).collect()),
                };
                let (account, opening_balance) = (&world::account(*account), Amount(*balance));
                let put = Administration::PutAccount { account, opening_balance, settings };
                self.administer(&put, now_ms)
            }
            Step::PutToken { token, account, scopes, networks, quota, caps, expires_in_ms } => {
                let settings = TokenPatch {
                    scopes: scopes
                        .as_ref()
                        .map(|names| names.iter().map(|name| name.as_str().into()).collect()),
                    networks: networks.clone(),
                    quota: quota.map(|quota| quota.map(quota_of)),
                    spend_caps: caps.clone(),
                    expires_ms: expires_in_ms
                        .map(|expires| expires.map(|in_ms| now_ms.saturating_add(in_ms))),
                };
                let (digest, account) = (&world::token(*token), &world::account(*account));
                self.administer(&Administration::PutToken { digest, account, settings }, now_ms)
            }
            Step::Revoke { token } => self
                .administer(&Administration::RevokeToken { digest: &world::token(*token) }, now_ms),
            Step::Rotate { old, new, grace_ms } => {
                let (old, new) = (&world::token(*old), &world::token(*new));
                let rotate = Administration::RotateToken { old, new, grace_ms: *grace_ms };
                self.administer(&rotate, now_ms)
            }
            Step::Resolve { which, end } => {
                let (account, reservation) = &play.reservation(*which);
                let (reservation, finish) = (*reservation, end.finish());
                self.administer(&Administration::Resolve { account, reservation, finish }, now_ms)
            }
            step => self.look(step, now_ms),
        }
    }

    fn look(&self, step: &Step, now_ms: u64) -> Answer {
        match *step {
            Step::Deposit { account, amount } => {
                let (account, amount) = (&world::account(account), Amount(amount));
                self.administer(&Administration::Deposit { account, amount }, now_ms)
            }
            Step::Expire => self.administer(&Administration::Expire, now_ms),
            Step::Inspect { account } => self
                .administer(&Administration::Inspect { account: &world::account(account) }, now_ms),
            Step::ListAccounts { after, at_most } => {
                let after = after.map(world::account);
                let after = after.as_ref();
                self.administer(&Administration::ListAccounts { after, at_most }, now_ms)
            }
            Step::ListTokens { account } => {
                let account = &world::account(account);
                self.administer(&Administration::ListTokens { account }, now_ms)
            }
            Step::ListReservations { account } => {
                let account = &world::account(account);
                self.administer(&Administration::ListReservations { account }, now_ms)
            }
            _ => Answer::Refused(Refusal::NotAResolution),
        }
    }

    fn admit(&mut self, asked: &Asked, play: &Play) -> Answer {
        let now_ms = play.now_ms;
        let digest = world::token(asked.token);
        let kept = self.credentials.contains_key(&digest) && !self.unsure.contains(&digest);
        if !(asked.stale && kept) {
            let looked_up = self.look_up(&digest, world::usual_scopes(), None, now_ms);
            let Answer::LookedUp(Some(_)) = looked_up else { return looked_up };
        }
        let Some(credential) = self.credentials.get(&digest) else { return Answer::LookedUp(None) };
        let ask = asked.ask();
        // Who counts apart from accounts cannot know that two words mean the same one.
        let by_name = ask.by_name && !(play.limits_apart && ask.counts_by_account());
        // An engine asks for detail only where it peeks; a composite gives it only there.
        let detail = ask.detail && !(play.limits_apart && ask.mode == Mode::Apply);
        self.desk.admit(&Ask { by_name, detail, ..ask }, credential, now_ms)
    }

    fn look_up(
        &mut self,
        digest: &TokenDigest,
        scopes: &ScopeTable,
        plain: Option<&[usize]>,
        now_ms: u64,
    ) -> Answer {
        let limits = plain.map(limits_at).unwrap_or_default();
        let plain = plain.map(|_| PlainAdmit { granted_by: scopes.set(["pay"]), limits: &limits });
        let lookup = tollgate::Lookup { digest, scopes, plain };
        let found = match self.desk.store.look_up(&lookup, now_ms) {
            Ok(found) => found,
            Err(error) => return Answer::of(Err(error)),
        };
        let Some(credential) = found.credential else { return Answer::LookedUp(None) };
        let known = Known::of(self.desk.store, &credential, scopes, now_ms);
        if let Some(id) = &known.account {
            self.accounts.insert(id.clone(), credential.account.clone());
        }
        let suits = plain.filter(|plain| plain.suits(&credential));
        let admission = match (found.admission, suits) {
            (Some(admission), Some(_)) => Ok(admission),
            (None, Some(plain)) => self.admit_plain(digest, &credential, plain, now_ms),
            (Some(_), None) => {
                return Answer::Other("it admitted a token that is not plain".into());
            }
            (None, None) => {
                self.credentials.insert(*digest, credential);
                self.unsure.remove(digest);
                return Answer::LookedUp(Some(Box::new(known)));
            }
        };
        match admission {
            Ok(admission) => Answer::Admission(Box::new(Admitted::of(&admission))),
            Err(error) => Answer::of(Err(error)),
        }
    }

    /// What an engine asks when the look-up left the admission out.
    fn admit_plain(
        &self,
        digest: &TokenDigest,
        credential: &Credential,
        plain: PlainAdmit<'_>,
        now_ms: u64,
    ) -> Result<Admission, StoreError> {
        let admit = Admit::limits_only(digest, &credential.account, plain.limits);
        let admit = Admit { revision: Some(credential.revision), ..admit };
        match self.desk.store.perform(&Command::Admit(admit), now_ms)? {
            Outcome::Admission(admission) => Ok(admission),
            _ => Err(StoreError::WrongOutcome),
        }
    }
}

/// The model as a backend, to run the suite on itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct ModelBackend;

impl tollgate_scenario::Backend for ModelBackend {
    fn fresh(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(ModelStore::new()))
    }

    fn reopen(&self, store: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreError> {
        // Its maps live as long as somebody holds them.
        Ok(store)
    }

    fn keeps_state(&self) -> bool {
        true
    }
}
