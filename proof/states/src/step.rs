//! Steps: what each action does to the records, through `tollgate` itself, and whether that is what the
//! rules say.

use std::borrow::Cow;

use tollgate::transition::{expire_account, perform};
use tollgate::{
    AccountRef, Administration, Command, Decision, Finish, Outcome, Request, ReservationId, Settle,
    Settled, Status,
};

use crate::clock::ms;
use crate::event::Event;
use crate::flaw::Flawed;
use crate::names::request;
use crate::protocol::Protocol;
use crate::records::View;
use crate::rows::{REFERENCES, RowState, Rows, amount};
use crate::rule::Rule;
use crate::rules::{By, Fate, Hearing, Refund, Verdict};
use crate::word::{Stored, Word};
use crate::world::{Account, Grant, Stage, World};

/// What an action leads to.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) world: World,
    pub(crate) event: Option<Event>,
    broken: Option<Rule>,
}

impl Step {
    pub(crate) fn new(world: World) -> Step {
        Step { world, event: None, broken: None }
    }

    fn check(&mut self, holds: bool, rule: Rule) {
        if !holds {
            self.broken = self.broken.or(Some(rule));
        }
    }
}

impl Protocol {
    /// Performs a command on the records.
    fn perform(&self, accounts: &mut [Account], now: u8, command: &Command<'_>) -> Outcome {
        let mut view = View { names: &self.names, accounts };
        let Ok(outcome) = match self.flaw {
            None => perform(&mut view, command, ms(now)),
            Some(flaw) => Flawed::new(view, flaw, now).perform(command),
        };
        outcome
    }

    /// What a sweep does to one account, and what each command on its money or keys does first.
    pub(crate) fn sweep(&self, accounts: &mut [Account], account: u8, now: u8) {
        let mut view = View { names: &self.names, accounts };
        let account = AccountRef::Slot(u32::from(account));
        let Ok(_) = match self.flaw {
            None => expire_account(&mut view, &account, ms(now)),
            Some(flaw) => expire_account(&mut Flawed::new(view, flaw, now), &account, ms(now)),
        };
    }

    /// The engine's decision on a call.
    fn decide(&self, accounts: &mut [Account], now: u8, call: u8) -> Decision {
        let call = usize::from(call);
        let request: Request<'_> = request(&self.setup.calls[call], &self.headers[call], now);
        let mut evaluation = self.engine.evaluate(&request);
        while let Some(command) = evaluation.command() {
            let outcome = self.perform(accounts, now, &command);
            evaluation.resume(Ok(outcome));
        }
        evaluation.into_decision()
    }

    /// A word on an execution.
    pub(crate) fn hear(
        &self,
        accounts: &mut [Account],
        now: u8,
        (account, number): (u8, u8),
        finish: &Finish,
        by: By,
    ) -> Option<Settled> {
        let reservation = ReservationId(u64::from(number));
        let outcome = match by {
            By::Host => {
                let account = AccountRef::Slot(u32::from(account));
                let settle = Settle { account: &account, reservation, finish };
                self.perform(accounts, now, &Command::Settle(settle))
            }
            By::Operator => {
                let account = &self.names.accounts[usize::from(account)];
                let finish = finish.clone();
                let resolve = Administration::Resolve { account, reservation, finish };
                self.perform(accounts, now, &Command::Administer(&resolve))
            }
        };
        match outcome {
            Outcome::Settled(settled) => Some(settled),
            Outcome::Refused(_) => None,
            other => panic!("no answer to a settlement: {other:?}"),
        }
    }

    /// The accounts once all that is due in one of them was dealt with.
    fn swept<'w>(&self, world: &'w World, account: u8) -> Cow<'w, World> {
        if !world.accounts[usize::from(account)].rows.has_due(ms(world.now)) {
            return Cow::Borrowed(world);
        }
        let mut swept = world.clone();
        self.sweep(&mut swept.accounts, account, world.now);
        Cow::Owned(swept)
    }

    /// A call arrives. `None`: it is admitted more often than the setup has it.
    pub(crate) fn arrive(&self, world: &World, number: u8) -> Option<Step> {
        let call = &self.setup.calls[usize::from(number)];
        let account = self.setup.tokens[usize::from(call.token)].account;
        let at = usize::from(account);
        let swept = self.swept(world, account);
        let rules = self.rules(&swept, account);
        let verdict = rules.verdict(call);

        let mut step = Step::new(world.clone());
        let decision = self.decide(&mut step.world.accounts, world.now, number);
        let Some(ticket) = decision.ticket() else {
            let given = match decision.status() {
                Status::Replayed => Verdict::Replayed(Stored::of(decision.replay()?)),
                Status::IdempotencyInFlight => Verdict::InFlight,
                Status::IdempotencyKeyReused => Verdict::Mismatched,
                Status::SpendCapExceeded => Verdict::Capped,
                Status::InsufficientBalance => Verdict::Poor,
                other => panic!("no answer to a call of a setup: {other:?}"),
            };
            let replays = matches!(given, Verdict::Replayed(_));
            step.check(!replays || given == verdict, Rule::Replays);
            step.check(given == verdict, Rule::Answers);
            step.check(step.world.accounts[at].rows == swept.accounts[at].rows, Rule::Refusals);
            step.event = Some(match given {
                Verdict::Replayed(_) => Event::Replayed,
                Verdict::Mismatched => Event::Mismatched,
                Verdict::InFlight => Event::InFlight,
                Verdict::Capped => Event::Capped,
                _ => Event::Poor,
            });
            return Some(step);
        };

        let grants = &mut step.world.accounts[at].grants;
        if grants.iter().filter(|grant| grant.call == number).count() >= usize::from(call.times) {
            return None;
        }
        grants.push(Grant {
            call: number,
            at: world.now,
            stage: Stage::Admitted,
            end: None,
            late: false,
            refunds: [0; REFERENCES.len()],
        });
        let next = grants.len() as u64;
        step.check(ticket.reservation.0 == next, Rule::Fences);
        let anew = matches!(verdict, Verdict::Admitted | Verdict::Rerun);
        let key_is_free = anew || matches!(verdict, Verdict::Capped | Verdict::Poor);
        step.check(key_is_free, Rule::AdmittedAnew);
        step.check(anew, Rule::Answers);
        let rerun = verdict == Verdict::Rerun;
        step.event = Some(if rerun { Event::Rerun } else { Event::Admitted });
        Some(step)
    }

    /// A word arrives.
    pub(crate) fn say(&self, world: &World, of: (u8, u8), word: Word, by: By) -> Step {
        let (account, number) = of;
        let at = usize::from(account);
        let swept = self.swept(world, account);
        let rules = self.rules(&swept, account);
        let grant = world.accounts[at].grant(number);
        let price = rules.call(grant).price;
        let hearing = rules.hearing(number, word, by);

        let mut step = Step::new(world.clone());
        let finish = word.finish(number, price, self.setup.part);
        let settled = self.hear(&mut step.world.accounts, world.now, of, &finish, by);
        let posted = settled.map(|settled| settled.posted);
        let unchanged = step.world.accounts[at].rows == swept.accounts[at].rows;
        let known = |units: u8| Some(Some(amount(units)));
        match hearing {
            Hearing::Ends | Hearing::Releases => {
                let late = hearing == Hearing::Releases;
                let grant = step.world.accounts[at].grant_mut(number);
                if posted.is_some() {
                    (grant.end, grant.late) = (Some(word), late);
                }
                let grant = grant.clone();
                let given = match self.rules(&step.world, account).fate(&grant) {
                    Fate::Posted(units) => known(units),
                    _ => known(0),
                };
                step.check(posted == given, Rule::Answers);
            }
            Hearing::Noted => {
                step.check(unchanged, Rule::Refusals);
                step.check(posted == Some(None), Rule::Answers);
            }
            Hearing::Stale => step.check(unchanged && posted.is_none(), Rule::StaleFence),
            Hearing::Late | Hearing::Refused => {
                step.check(unchanged, Rule::Refusals);
                step.check(posted.is_none(), Rule::Answers);
            }
            Hearing::Ended { same } => {
                step.check(unchanged, Rule::Twice);
                let given = match rules.fate(grant) {
                    Fate::Posted(units) => known(units),
                    _ => known(0),
                };
                step.check(posted == given || (!same && posted.is_none()), Rule::Answers);
            }
        }
        let in_time = world.now < grant.at + self.setup.lease;
        step.event = match (hearing, by) {
            (Hearing::Ends, By::Host) if in_time => Some(Event::Settled),
            (Hearing::Ends, By::Host) => Some(Event::SettledLate),
            (Hearing::Ends, By::Operator) => Some(Event::Resolved),
            (Hearing::Releases, _) => Some(Event::Released),
            (Hearing::Stale, _) => Some(Event::StaleRefused),
            (Hearing::Late, _) => Some(Event::LateRefused),
            (Hearing::Ended { same: true }, _) => Some(Event::Again),
            (Hearing::Ended { same: false }, _) => Some(Event::Differing),
            (Hearing::Noted | Hearing::Refused, _) => None,
        };
        step
    }

    /// A refund is asked for.
    pub(crate) fn refund(&self, world: &World, of: (u8, u8), reference: u8, units: u8) -> Step {
        let (account, number) = of;
        let at = usize::from(account);
        let swept = self.swept(world, account);
        let expected = self.rules(&swept, account).refund(number, reference, units);

        let mut step = Step::new(world.clone());
        let refund = Administration::Refund {
            account: &AccountRef::Slot(u32::from(account)),
            reservation: ReservationId(u64::from(number)),
            amount: amount(units),
            reference: REFERENCES[usize::from(reference)],
        };
        let command = Command::Administer(&refund);
        let outcome = self.perform(&mut step.world.accounts, world.now, &command);
        let made = matches!(outcome, Outcome::Done);
        let unchanged = step.world.accounts[at].rows == swept.accounts[at].rows;
        let refunds = &mut step.world.accounts[at].grant_mut(number).refunds;
        if made && refunds[usize::from(reference)] == 0 {
            refunds[usize::from(reference)] = units;
        }
        step.check(made || unchanged, Rule::Refusals);
        step.check(expected != Refund::MadeBefore || unchanged, Rule::Twice);
        step.check(made == (expected != Refund::Refused), Rule::Answers);
        step.event = match expected {
            Refund::Made => Some(Event::Refunded),
            Refund::MadeBefore => None,
            Refund::Refused => Some(Event::RefundRefused),
        };
        step
    }

    /// A unit is paid in.
    pub(crate) fn deposit(&self, world: &World, account: u8) -> Step {
        let mut step = Step::new(world.clone());
        let id = &self.names.accounts[usize::from(account)];
        let deposit = Administration::Deposit { account: id, amount: amount(1) };
        let command = Command::Administer(&deposit);
        let outcome = self.perform(&mut step.world.accounts, world.now, &command);
        step.check(matches!(outcome, Outcome::Done), Rule::Answers);
        step.world.accounts[usize::from(account)].deposited += 1;
        step
    }

    /// A sweep of all accounts.
    pub(crate) fn sweep_all(&self, world: &World) -> Step {
        let mut step = Step::new(world.clone());
        for account in 0..self.setup.accounts.len() {
            self.sweep(&mut step.world.accounts, account as u8, world.now);
        }
        step.event = (step.world != *world).then_some(Event::Swept);
        step
    }

    /// A host goes on, or dies: no matter of the records.
    pub(crate) fn host(&self, world: &World, (account, number): (u8, u8), stage: Stage) -> Step {
        let mut step = Step::new(world.clone());
        step.world.accounts[usize::from(account)].grant_mut(number).stage = stage;
        step
    }

    /// The state that a step leads to, with the first rule that was broken on the way.
    pub(crate) fn arrived(&self, before: &World, mut step: Step) -> World {
        let mut changed = 0;
        for (old, new) in before.accounts.iter().zip(&step.world.accounts) {
            changed += usize::from(old.rows != new.rows);
            let ended_once =
                ends_once(&old.rows, &new.rows, before.now, self.setup.record_retention);
            if !ended_once {
                step.broken = Some(Rule::EndsOnce);
            }
        }
        step.check(changed <= 1 || step.event == Some(Event::Swept), Rule::OneAccount);
        step.world.broken = step.world.broken.or(step.broken);
        step.world
    }
}

/// Whether every reservation keeps its end, once it has one, until what it is kept for is over.
fn ends_once(old: &Rows, new: &Rows, now: u8, record_retention: u8) -> bool {
    old.reservations.iter().all(|row| match new.reservation(row.number) {
        Some(next) if row.state == RowState::Held => {
            next.state == RowState::Held || next.due == now + record_retention
        }
        Some(next) => next.state.ended_as(&row.state),
        None => row.due <= now && (row.state != RowState::Held || row.amount == 0),
    })
}
