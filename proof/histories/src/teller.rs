//! Performs steps on a store, and takes down when each command was given and answered.

use std::collections::BTreeMap;

use tollgate::{
    AccountPatch, AccountRef, Administration, Admission, Admit, AdmitVerdict, Amount, ChargeRule,
    Command, Denial, FailureMode, Finish, Idempotency, IdempotencyRule, LookedUp, Lookup, OnExpiry,
    OnOrphan, Outcome, PlainAdmit, ReservationId, Settle, Store, StoreError, StoredResponse,
};

use crate::call::{Answer, Call, Credential, Ending, Key, LATE_MS, NOW_MS, Op, Verdict};
use crate::names::{Names, plain, scopes};
use crate::random::Random;
use crate::story::{Step, What};

const LEASE_MS: u64 = 60_000;
const RETENTION_MS: u64 = 3_600_000;
const KEY_RETENTION_MS: u64 = 86_400_000;

/// One thread's caller of a store.
pub struct Teller<'s> {
    store: &'s dyn Store,
    names: Names,
    thread: u8,
    stamp: &'s (dyn Fn() -> u64 + Sync),
    /// When set, some commands are on their way for a while before they reach the store, and some answers before
    /// they are back, as they are for a client behind a network.
    dawdling: Option<Random>,
    /// Whether the present command dawdles on its way there, and back.
    way: [bool; 2],
    /// What was looked up last, by account and token.
    credentials: BTreeMap<(u8, u8), tollgate::Credential>,
    calls: Vec<Call>,
}

/// What a request asks for.
struct Asking {
    token: u8,
    route: u8,
    key: Option<Key>,
    charge: Option<u64>,
    ending: Ending,
    late: bool,
}

impl Asking {
    /// Limits, and nothing else.
    fn of(token: u8, route: u8) -> Self {
        Asking { token, route, key: None, charge: None, ending: Ending::Void, late: false }
    }
}

impl std::fmt::Debug for Teller<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Teller").field("thread", &self.thread).finish_non_exhaustive()
    }
}

impl<'s> Teller<'s> {
    /// For a thread; `stamp` gives numbers that never fall.
    pub fn new(
        store: &'s dyn Store,
        names: Names,
        thread: u8,
        stamp: &'s (dyn Fn() -> u64 + Sync),
    ) -> Self {
        let (credentials, calls) = (BTreeMap::new(), Vec::new());
        Teller { store, names, thread, stamp, dawdling: None, way: [false; 2], credentials, calls }
    }

    /// With commands that take their time to the store and back, so that more of them are under way at once,
    /// however few processors there are.
    #[must_use]
    pub fn dawdling(self) -> Self {
        let seed = self.names.0 ^ (u64::from(self.thread) << 56);
        Teller { dawdling: Some(Random::new(seed)), ..self }
    }

    /// What was done.
    #[must_use]
    pub fn into_calls(self) -> Vec<Call> {
        self.calls
    }

    /// Does a step.
    pub fn step(&mut self, step: &Step) {
        let account = step.account;
        match &step.what {
            What::Command(Op::Get { token, route }) => {
                self.call(account, Op::Get { token: *token, route: *route });
                // A look-up need not admit: then the admission follows, as it does for an engine.
                self.admit_or_look_up_again(account, &Asking::of(*token, *route));
            }
            What::Command(op) => self.call(account, op.clone()),
            &What::Request { token, route, key, charge, ending, late, again } => {
                if !again || !self.credentials.contains_key(&(account, token)) {
                    self.call(account, Op::LookUp { token });
                }
                let asking = Asking { token, route, key, charge, ending, late };
                self.admit_or_look_up_again(account, &asking);
            }
        }
    }

    /// Asks for the admission of a token that is in force as far as its credential says, and once more when it is
    /// told that the credential has changed.
    fn admit_or_look_up_again(&mut self, account: u8, asking: &Asking) {
        if self.admitted(account, asking) == Some(false) {
            self.call(account, Op::LookUp { token: asking.token });
            self.admitted(account, asking);
        }
    }

    /// `None`: there was nothing to ask; `false`: the credential has changed.
    fn admitted(&mut self, account: u8, asking: &Asking) -> Option<bool> {
        let &Asking { token, route, key, charge, ending, late } = asking;
        let told = credential(self.credentials.get(&(account, token))?);
        // Denied without another command, as an engine does.
        if told.revoked || told.expired || told.networks {
            return None;
        }
        let revision = told.revision;
        self.call(account, Op::Admit { token, revision, route, key, charge, ending, late });
        let last = self.calls.last().map(|call| &call.answer);
        Some(last != Some(&Answer::Admission(Verdict::CredentialChanged)))
    }

    fn call(&mut self, account: u8, op: Op) {
        self.way = match &mut self.dawdling {
            None => [false; 2],
            Some(random) => [random.chance(30), random.chance(15)],
        };
        let (invoked, answer, returned) = match op {
            Op::Get { token, route } => self.look_up(account, token, Some(plain(route))),
            Op::LookUp { token } => self.look_up(account, token, None),
            Op::Admit { token, .. } => self.admit(account, token, &op),
            Op::Settle { reservation, amount, response, late } => {
                let amount = amount.map(Amount);
                let response = response.map(|status| {
                    StoredResponse { status, headers: Box::default(), body: None }.into()
                });
                self.finish(account, reservation, &Finish::Settle { amount, response }, late)
            }
            Op::Void { reservation, late } => {
                self.finish(account, reservation, &Finish::Void { response: None }, late)
            }
            _ => self.administer(account, &op),
        };
        self.calls.push(Call { thread: self.thread, account, invoked, returned, op, answer });
    }

    /// Stamps before and after `ask`.
    fn timed<T>(&self, ask: impl FnOnce() -> T) -> (u64, T, u64) {
        let [there, back] = self.way;
        let invoked = (self.stamp)();
        if there {
            std::thread::yield_now();
        }
        let answer = ask();
        if back {
            std::thread::yield_now();
        }
        (invoked, answer, (self.stamp)())
    }

    fn look_up(
        &mut self,
        account: u8,
        token: u8,
        plain: Option<PlainAdmit<'_>>,
    ) -> (u64, Answer, u64) {
        let digest = self.names.token(account, token);
        let lookup = Lookup { digest: &digest, scopes: scopes(), plain };
        let (invoked, found, returned) = self.timed(|| self.store.look_up(&lookup, NOW_MS));
        let answer = match found {
            Ok(LookedUp { credential: found, admission }) => {
                let answer = Answer::LookedUp {
                    credential: found.as_ref().map(credential),
                    admission: admission.as_ref().map(verdict),
                };
                match found {
                    // One that came with an admission is for nothing else.
                    Some(found) if admission.is_none() => {
                        self.credentials.insert((account, token), found);
                    }
                    _ => drop(self.credentials.remove(&(account, token))),
                }
                answer
            }
            Err(error) => failed(&error),
        };
        (invoked, answer, returned)
    }

    fn admit(&self, account: u8, token: u8, op: &Op) -> (u64, Answer, u64) {
        let &Op::Admit { route, key, charge, ending, late, .. } = op else {
            unreachable!("it is an admission")
        };
        let found = &self.credentials[&(account, token)];
        let digest = self.names.token(account, token);
        let idempotency = key.map_or(Idempotency::Absent, |key| Idempotency::Key {
            claim: self.names.claim(account, key.number),
            fingerprint: self.names.fingerprint(key.body),
            rule: RULE,
        });
        let charge_rule = ChargeRule {
            price: None,
            lease_ms: LEASE_MS,
            on_expiry: match ending {
                Ending::Void => OnExpiry::Void,
                Ending::Settle => OnExpiry::Settle,
                Ending::Hold => OnExpiry::Hold,
            },
            retention_ms: RETENTION_MS,
        };
        let admit = Admit {
            token_record: found.token.as_deref(),
            revision: Some(found.revision),
            idempotency: &idempotency,
            charge: charge.map(Amount),
            charge_rule: &charge_rule,
            ..Admit::limits_only(&digest, &found.account, plain(route).limits)
        };
        let (invoked, admission, returned) = self.timed(|| self.store.admit(&admit, time(late)));
        let answer = match admission {
            Ok(admission) => Answer::Admission(verdict(&admission)),
            Err(error) => failed(&error),
        };
        (invoked, answer, returned)
    }

    fn finish(&self, account: u8, id: u64, finish: &Finish, late: bool) -> (u64, Answer, u64) {
        let account = AccountRef::Id(self.names.account(account));
        let settle = Settle { account: &account, reservation: ReservationId(id), finish };
        self.perform(&Command::Settle(settle), late)
    }

    fn administer(&self, account: u8, op: &Op) -> (u64, Answer, u64) {
        let id = self.names.account(account);
        let named = AccountRef::Id(id.clone());
        let token = |token: u8| self.names.token(account, token);
        let (old, new, text);
        let (administration, late) = match *op {
            Op::Deposit { amount } => {
                (Administration::Deposit { account: &id, amount: Amount(amount) }, false)
            }
            Op::Refund { reservation, amount, reference, late } => {
                text = reference.to_string();
                let (reservation, amount) = (ReservationId(reservation), Amount(amount));
                let reference = text.as_str();
                (Administration::Refund { account: &named, reservation, amount, reference }, late)
            }
            Op::Revoke { token: number } => {
                old = token(number);
                (Administration::RevokeToken { digest: &old }, false)
            }
            Op::Rotate { old: from, new: to } => {
                (old, new) = (token(from), token(to));
                (Administration::RotateToken { old: &old, new: &new, grace_ms: 0 }, false)
            }
            Op::PutAccount { networks } => {
                let network = "203.0.113.0/24".parse().unwrap();
                let networks = Some(if networks { vec![network] } else { Vec::new() });
                let settings = AccountPatch { networks, ..AccountPatch::default() };
                let opening_balance = Amount::ZERO;
                (Administration::PutAccount { account: &id, opening_balance, settings }, false)
            }
            Op::Expire { late } => (Administration::Expire, late),
            Op::Inspect => (Administration::Inspect { account: &id }, false),
            Op::Get { .. }
            | Op::LookUp { .. }
            | Op::Admit { .. }
            | Op::Settle { .. }
            | Op::Void { .. } => unreachable!("these are no administration"),
        };
        self.perform(&Command::Administer(&administration), late)
    }

    fn perform(&self, command: &Command<'_>, late: bool) -> (u64, Answer, u64) {
        let (invoked, outcome, returned) = self.timed(|| self.store.perform(command, time(late)));
        (invoked, answer(outcome), returned)
    }
}

/// A key's rule: kept for a day, in conflict while nobody says how it ended.
const RULE: IdempotencyRule = IdempotencyRule {
    required: false,
    retention_ms: KEY_RETENTION_MS,
    on_orphan: OnOrphan::Conflict,
    on_store_failure: FailureMode::Closed,
};

fn time(late: bool) -> u64 {
    if late { LATE_MS } else { NOW_MS }
}

fn failed(error: &StoreError) -> Answer {
    Answer::Failed(error.to_string())
}

fn credential(found: &tollgate::Credential) -> Credential {
    let expires_ms = found.token.as_ref().and_then(|token| token.expires_ms);
    let networks = found.settings.as_ref().is_some_and(|settings| !settings.networks.is_empty());
    Credential {
        revision: found.revision,
        revoked: found.revoked,
        expired: !found.revoked && expires_ms.is_some_and(|expires_ms| expires_ms <= NOW_MS),
        networks,
    }
}

fn verdict(admission: &Admission) -> Verdict {
    let left = admission.tightest.map(|report| report.left.remaining);
    match &admission.verdict {
        AdmitVerdict::Admitted { reservation } => {
            Verdict::Admitted { reservation: reservation.map(|id| id.0), left }
        }
        AdmitVerdict::Replay(response) => Verdict::Replay { status: response.status, left },
        AdmitVerdict::CredentialChanged => Verdict::CredentialChanged,
        AdmitVerdict::Denied(denial) => match denial {
            Denial::RateLimited { .. } => Verdict::RateLimited,
            Denial::InFlight => Verdict::InFlight { left },
            Denial::KeyReused => Verdict::KeyReused { left },
            Denial::InsufficientBalance { available } => {
                Verdict::InsufficientBalance { available: available.0, left }
            }
            other => Verdict::Other(format!("{other:?}")),
        },
    }
}

fn answer(outcome: Result<Outcome, StoreError>) -> Answer {
    match outcome {
        Ok(Outcome::Done) => Answer::Done,
        Ok(Outcome::Settled(settled)) => Answer::Settled(settled.posted.map(|amount| amount.0)),
        Ok(Outcome::Expired(ended)) => Answer::Expired(ended),
        Ok(Outcome::Refused(refusal)) => Answer::Refused(refusal),
        Ok(Outcome::Account(view)) => Answer::Money {
            balance: view.wallet.balance.0,
            held: view.wallet.held.0,
            posted: view.wallet.posted.0,
            deposited: view.wallet.deposited.0,
            refunded: view.wallet.refunded.0,
        },
        Ok(other) => Answer::Failed(format!("an answer to something else: {other:?}")),
        Err(error) => failed(&error),
    }
}
