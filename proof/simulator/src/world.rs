//! One simulation: what there is, and what happens next.

use std::collections::VecDeque;

use fastrand::Rng;
use tollgate::{
    AccountRef, Administration, Command, Outcome, Period, Request, StoreError, TokenPatch,
};
use typed_arena::Arena;

use crate::backend::{Backend, Commit};
use crate::catalogue::{ACCOUNTS, Catalogue, POLICIES, START_MS, TOKENS_AT_START, pick};
use crate::ending::{Late, Run};
use crate::fault::Fault;
use crate::history::History;
use crate::model::admit::Asked;
use crate::model::money::next_ms;
use crate::model::{Bounds, Model};
use crate::planted::{Bug, Planted};
use crate::request::{Call, Sent};
use crate::totals::Totals;

/// How far the clock may run backwards: less than what a store remembers of limits that are whole again.
pub(crate) const BACK_MS: u64 = 50_000;
/// Beyond it the clock makes no more large steps.
const LAST_MS: u64 = START_MS + 500 * 86_400_000;
/// Requests at once, and executions at once.
const AT_ONCE: usize = 5;
const UNBOUNDED: usize = 1 << 16;

/// What is not as the model says.
pub(crate) type Checked<T = ()> = Result<T, String>;

/// Requests, which live longer than what is decided of them.
#[derive(Default)]
pub(crate) struct Arenas<'a> {
    pub(crate) sent: Arena<Sent>,
    pub(crate) requests: Arena<Request<'a>>,
}

pub(crate) struct World<'a> {
    pub(crate) rng: Rng,
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) arenas: &'a Arenas<'a>,
    backend: Backend,
    planted: Option<Planted>,
    pub(crate) model: Model,
    pub(crate) history: History,
    pub(crate) totals: Totals,
    pub(crate) now_ms: u64,
    /// The latest time that the store was told.
    pub(crate) latest_ms: u64,
    pub(crate) policy: usize,
    faults_percent: u8,
    /// How the store knows the accounts.
    pub(crate) refs: Vec<AccountRef>,
    pub(crate) calls: Vec<Call<'a>>,
    /// Executions that the upstream works on.
    pub(crate) running: Vec<Run>,
    /// Executions whose host told how they ended, or ended itself.
    pub(crate) ended: VecDeque<Run>,
    pub(crate) late: Vec<Late>,
    /// Requests that clients may send again.
    pub(crate) remembered: VecDeque<Asked>,
    pub(crate) touched: [bool; ACCOUNTS],
    faulty: bool,
    pub(crate) trace: Option<Vec<String>>,
}

/// Writes a line of what happens, where somebody reads it.
macro_rules! note {
    ($world:expr, $($format:tt)*) => {
        if $world.trace.is_some() {
            let line = format!($($format)*);
            $world.trace.get_or_insert_default().push(line);
        }
    };
}
pub(crate) use note;

/// Compares an answer with what was expected.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, given: T, expected: T) -> Checked {
    if given == expected {
        return Ok(());
    }
    Err(format!("{what}:\n  expected {expected:?}\n  but was  {given:?}"))
}

impl<'a> World<'a> {
    pub(crate) fn new(
        catalogue: &'a Catalogue,
        arenas: &'a Arenas<'a>,
        seed: u64,
        bug: Option<Bug>,
        traced: bool,
    ) -> Checked<World<'a>> {
        let mut rng = Rng::with_seed(seed);
        let mut bounds =
            Bounds { claims: UNBOUNDED, reservations: UNBOUNDED, per_account: UNBOUNDED };
        let mut totals = Totals { seeds: 1, ..Totals::default() };
        let backend = match rng.u8(0..64) {
            0..2 => {
                totals.durable = 1;
                Backend::durable()
            }
            2..8 => {
                totals.bounded = 1;
                bounds = Bounds {
                    claims: rng.usize(2..6),
                    reservations: rng.usize(4..12),
                    per_account: rng.usize(3..8),
                };
                Backend::memory(bounds)
            }
            _ => Backend::memory(bounds),
        };
        let opening = [rng.u64(0..60), rng.u64(20..200)];
        let policy = rng.usize(0..POLICIES);
        let faults_percent = pick(&mut rng, &[16, 25, 40]);
        let mut world = World {
            rng,
            catalogue,
            arenas,
            backend,
            planted: bug.map(Planted::new),
            model: Model::new(opening, bounds),
            history: History::new(opening),
            totals,
            now_ms: START_MS,
            latest_ms: START_MS,
            policy,
            faults_percent,
            refs: Vec::new(),
            calls: Vec::new(),
            running: Vec::new(),
            ended: VecDeque::new(),
            late: Vec::new(),
            remembered: VecDeque::new(),
            touched: [true; ACCOUNTS],
            faulty: false,
            trace: traced.then(Vec::new),
        };
        note!(
            world,
            "{} store, {bounds:?}, policy {policy}, faults in {faults_percent} % of commands, balances {opening:?}",
            if world.is_durable() { "durable" } else { "memory" }
        );
        world.set_up(opening)?;
        Ok(world)
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.backend.is_durable()
    }

    fn set_up(&mut self, opening: [u64; ACCOUNTS]) -> Checked {
        let catalogue = self.catalogue;
        for (account, balance) in catalogue.accounts.iter().zip(opening) {
            let put = Administration::PutAccount {
                account,
                opening_balance: tollgate::Amount(balance),
                settings: tollgate::AccountPatch::default(),
            };
            self.administer(&put)?;
        }
        for token in 0..TOKENS_AT_START {
            let may_write = self.model.tokens[token].may_write;
            self.issue(token, token % ACCOUNTS, may_write)?;
        }
        for token in 0..ACCOUNTS {
            let scopes = catalogue.policies[0].engine.policy().scopes();
            let lookup =
                tollgate::Lookup { digest: &catalogue.digests[token], scopes, plain: None };
            let outcome = self.store(&Command::Lookup(lookup), START_MS);
            let Ok(Outcome::LookedUp(tollgate::LookedUp { credential: Some(known), .. })) = outcome
            else {
                return Err(format!("a token that was put is not there: {outcome:?}"));
            };
            self.refs.push(known.account);
        }
        Ok(())
    }

    /// Puts a token with its scopes and nothing else.
    pub(crate) fn issue(&mut self, token: usize, account: usize, may_write: bool) -> Checked {
        let catalogue = self.catalogue;
        let scopes: &[&str] = if may_write { &["read", "write"] } else { &["read"] };
        let scopes = scopes.iter().map(|scope| (*scope).into()).collect();
        let put = Administration::PutToken {
            digest: &catalogue.digests[token],
            account: &catalogue.accounts[account],
            settings: TokenPatch { scopes: Some(scopes), ..TokenPatch::default() },
        };
        self.administer(&put)
    }

    /// An operation that must be done.
    pub(crate) fn administer(&mut self, administration: &Administration<'_>) -> Checked {
        let outcome = self.store(&Command::Administer(administration), self.now_ms);
        match outcome {
            Ok(Outcome::Done) => Ok(()),
            other => Err(format!("{administration:?} was answered with {other:?}")),
        }
    }

    /// Asks the store.
    pub(crate) fn store(
        &mut self,
        command: &Command<'_>,
        now_ms: u64,
    ) -> Result<Outcome, StoreError> {
        self.at(now_ms);
        match &mut self.planted {
            Some(planted) => planted.perform(&self.backend, command, now_ms),
            None => self.backend.perform(command, now_ms),
        }
    }

    /// Asks the store, whose disk fails. A commit that was refused has changed nothing.
    pub(crate) fn store_failing(
        &mut self,
        command: &Command<'_>,
        now_ms: u64,
        fault: Fault,
    ) -> Result<Outcome, StoreError> {
        self.at(now_ms);
        let commit =
            if fault == Fault::CommitConflict { Commit::Conflict } else { Commit::Refused };
        let (outcome, failed) = self.backend.perform_failing(command, now_ms, commit);
        if failed {
            self.hit(fault);
        }
        outcome
    }

    fn at(&mut self, now_ms: u64) {
        self.latest_ms = self.latest_ms.max(now_ms);
        self.history.time(now_ms);
        self.totals.compared += 1;
    }

    pub(crate) fn hit(&mut self, fault: Fault) {
        self.faulty = true;
        self.totals.faults[fault as usize] += 1;
        note!(self, "      fault: {fault:?}");
    }

    /// What goes wrong with the next command, if anything.
    pub(crate) fn roll(&mut self) -> Option<Fault> {
        const FAULTS: [Fault; 9] = [
            Fault::CommandLost,
            Fault::ReplyLost,
            Fault::Doubled,
            Fault::Delayed,
            Fault::Unavailable,
            Fault::CrashBefore,
            Fault::CrashAfter,
            Fault::CommitRefused,
            Fault::CommitConflict,
        ];
        if self.rng.u8(0..100) >= self.faults_percent {
            return None;
        }
        let kinds = if self.is_durable() { FAULTS.len() } else { FAULTS.len() - 2 };
        Some(FAULTS[self.rng.usize(0..kinds)])
    }

    /// One event, and what must hold after it.
    pub(crate) fn event(&mut self) -> Checked {
        self.faulty = false;
        self.now_ms += self.rng.u64(0..30);
        note!(self, "at {}", self.now_ms);
        match self.rng.u8(0..100) {
            0..36 if self.calls.len() < AT_ONCE => self.start()?,
            0..58 if !self.calls.is_empty() => self.step()?,
            58..76 if !self.running.is_empty() => self.settle()?,
            76..80 if !self.late.is_empty() => self.deliver()?,
            76..83 if !self.ended.is_empty() => self.tell_again()?,
            83..92 => self.operate()?,
            92..96 => self.move_clock(),
            96 => self.crash(),
            _ if self.calls.len() < AT_ONCE => self.start()?,
            _ => self.step()?,
        }
        self.totals.events += 1;
        self.totals.faulty_events += u64::from(self.faulty);
        for account in 0..ACCOUNTS {
            if std::mem::take(&mut self.touched[account]) {
                self.compare_wallet(account)?;
            }
        }
        Ok(())
    }

    fn move_clock(&mut self) {
        let rng = &mut self.rng;
        let now_ms = self.now_ms;
        let around = rng.u64(0..3);
        let next_ms = match rng.u8(0..16) {
            0..7 => now_ms + rng.u64(100..2_500),
            7..9 => now_ms + pick(rng, &[5_000, 30_000, 60_000, 300_000]),
            9..11 => next_ms(Period::Day, now_ms) - 1 + around,
            11 => next_ms(Period::Month, now_ms) - 1 + around,
            12..14 => now_ms - rng.u64(1..3_000),
            _ => now_ms - rng.u64(3_000..BACK_MS),
        };
        if next_ms > now_ms + 2_500 && next_ms > LAST_MS {
            return;
        }
        self.now_ms = next_ms.max(self.latest_ms - BACK_MS);
        note!(self, "  the clock moves to {}", self.now_ms);
        if self.now_ms < now_ms {
            self.hit(Fault::ClockBack);
        } else if self.now_ms > now_ms + 2_500 {
            self.hit(Fault::ClockAhead);
        }
    }

    /// The host ends with all that it had begun; where the store is durable, so may that.
    fn crash(&mut self) {
        self.calls.clear();
        for run in std::mem::take(&mut self.running) {
            self.set_aside(run);
        }
        if self.is_durable() && self.rng.bool() {
            self.hit(Fault::Restart);
            self.backend.restart();
            self.touched = [true; ACCOUNTS];
            self.late.clear();
        } else {
            self.hit(Fault::HostCrash);
        }
    }

    /// Remembers an execution for those who tell its end late, or again, or give money back.
    pub(crate) fn set_aside(&mut self, run: Run) {
        if self.ended.len() == 8 {
            self.ended.pop_front();
        }
        self.ended.push_back(run);
    }

    /// The wallet to the last unit.
    pub(crate) fn compare_wallet(&mut self, account: usize) -> Checked {
        let catalogue = self.catalogue;
        let inspect = Administration::Inspect { account: &catalogue.accounts[account] };
        let outcome = self.store(&Command::Administer(&inspect), self.now_ms);
        let Ok(Outcome::Account(view)) = outcome else {
            return Err(format!("an account could not be inspected: {outcome:?}"));
        };
        let (wallet, now_ms) = (view.wallet, self.now_ms);
        self.history.conserves(account, &wallet)?;
        let expected = &self.model.accounts[account];
        let periods = [Period::Day, Period::Month, Period::Lifetime];
        let given = (
            [
                wallet.balance.0,
                wallet.held.0,
                wallet.posted.0,
                wallet.deposited.0,
                wallet.refunded.0,
            ],
            wallet.open_reservations,
            wallet.sequence,
            periods.map(|per| wallet.spend.within(per, now_ms).0),
        );
        let expected = (
            [
                expected.balance(),
                expected.held(),
                expected.posted,
                expected.deposited,
                expected.refunded,
            ],
            expected.open(),
            expected.last_number,
            periods.map(|per| expected.spent.within(per, now_ms)),
        );
        if given == expected {
            return Ok(());
        }
        let what = "the wallet ([balance, held, posted, deposited, refunded], open, last number, \
                    spent in day, month and ever)";
        same(&format!("{what} of account {account}"), given, expected)
    }

    /// What a durable store finds in its own records.
    pub(crate) fn verify(&self) -> Checked {
        self.backend.verify().map_err(|error| format!("the store's own check found: {error}"))
    }
}
