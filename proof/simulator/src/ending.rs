//! The upstream answers, and the host tells the store: once, twice, late, differently, or never.

use std::fmt;
use std::sync::Arc;

use tollgate::{
    Administration, Amount, Command, Finish, Outcome, ReservationId, Settle, Settled, StoreError,
};

use crate::catalogue::RESPONSES;
use crate::fault::Fault;
use crate::model::ending::{End, Ended};
use crate::world::{BACK_MS, Checked, World, note, same};

/// An execution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) account: usize,
    pub(crate) number: u64,
    pub(crate) reserved: u64,
    /// What its host told, or tried to tell.
    pub(crate) told: Option<End>,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Run { account, number, reserved, told } = self;
        write!(f, "number {number} of account {account}, which reserved {reserved}")?;
        match told {
            Some(end) => write!(f, ", with {end:?}"),
            None => Ok(()),
        }
    }
}

/// A settlement that is on its way for long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Late {
    run: Run,
    end: End,
    sent_ms: u64,
}

/// Who says how an execution ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum By {
    Host,
    Operator,
}

impl World<'_> {
    /// The upstream runs a request that was let through.
    pub(crate) fn run(&mut self, run: Run) {
        note!(self, "      runs: {run}");
        if self.rng.u8(0..16) == 0 {
            self.hit(Fault::NeverSettled);
            self.set_aside(run);
        } else {
            self.running.push(run);
        }
    }

    pub(crate) fn end(&mut self, reserved: u64) -> End {
        let rng = &mut self.rng;
        let response =
            |rng: &mut fastrand::Rng, of: u8| (rng.u8(0..8) < of).then(|| rng.u8(0..RESPONSES));
        match rng.u8(0..20) {
            0..13 => {
                let most = if rng.u8(0..10) == 0 { reserved + 2 } else { reserved };
                let amount = rng.bool().then(|| rng.u64(0..=most));
                End::Settle { amount, response: response(rng, 6) }
            }
            13..18 => End::Void { response: response(rng, 2) },
            _ => End::Unknown,
        }
    }

    /// The host tells how an execution ended.
    pub(crate) fn settle(&mut self) -> Checked {
        let place = self.rng.usize(0..self.running.len());
        let mut run = self.running.swap_remove(place);
        let end = self.end(run.reserved);
        run.told = Some(end);
        note!(self, "  ends: {run}");
        self.set_aside(run);
        let now_ms = self.now_ms;
        match self.roll() {
            None => self.tell(run, end, By::Host, now_ms, None),
            Some(fault @ (Fault::CommitRefused | Fault::CommitConflict)) => {
                self.tell(run, end, By::Host, now_ms, Some(fault))
            }
            Some(fault) => {
                self.hit(fault);
                match fault {
                    Fault::ReplyLost | Fault::CrashAfter => {
                        self.tell(run, end, By::Host, now_ms, None)
                    }
                    Fault::Doubled => {
                        self.tell(run, end, By::Host, now_ms, None)?;
                        self.tell(run, end, By::Host, now_ms, None)
                    }
                    Fault::Delayed => {
                        self.late.push(Late { run, end, sent_ms: now_ms });
                        Ok(())
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    /// A settlement arrives that was long on its way.
    pub(crate) fn deliver(&mut self) -> Checked {
        let place = self.rng.usize(0..self.late.len());
        let Late { run, end, sent_ms } = self.late.swap_remove(place);
        note!(self, "  arrives late, sent at {sent_ms}: {run}");
        if sent_ms + BACK_MS < self.latest_ms {
            self.hit(Fault::CommandLost);
            return Ok(());
        }
        self.hit(Fault::Delayed);
        self.tell(run, end, By::Host, sent_ms, None)
    }

    /// A host tells once more, the same or something else, perhaps after it was given up.
    pub(crate) fn tell_again(&mut self) -> Checked {
        let place = self.rng.usize(0..self.ended.len());
        let run = self.ended[place];
        let other = self.end(run.reserved);
        let end = run.told.filter(|_| self.rng.bool()).unwrap_or(other);
        note!(self, "  is told again, {end:?}: {run}");
        self.hit(Fault::ToldAgain);
        let now_ms = self.now_ms;
        self.tell(run, end, By::Host, now_ms, None)
    }

    /// One execution of those that are known.
    pub(crate) fn any_run(&mut self) -> Option<Run> {
        let all = self.running.len() + self.ended.len();
        if all == 0 {
            return None;
        }
        let place = self.rng.usize(0..all);
        self.running.get(place).or_else(|| self.ended.get(place - self.running.len())).copied()
    }

    fn finish(&self, end: End) -> Finish {
        let stored = |response: Option<u8>| {
            response.map(|number| Arc::clone(&self.catalogue.responses[usize::from(number)]))
        };
        match end {
            End::Settle { amount, response } => {
                Finish::Settle { amount: amount.map(Amount), response: stored(response) }
            }
            End::Void { response } => Finish::Void { response: stored(response) },
            End::Unknown => Finish::Unknown,
        }
    }

    pub(crate) fn tell(
        &mut self,
        run: Run,
        end: End,
        by: By,
        now_ms: u64,
        fault: Option<Fault>,
    ) -> Checked {
        let Run { account, number, .. } = run;
        self.touched[account] = true;
        let catalogue = self.catalogue;
        let finish = self.finish(end);
        let reference = self.refs[account].clone();
        let reservation = ReservationId(number);
        let word = Administration::Resolve {
            account: &catalogue.accounts[account],
            reservation,
            finish: finish.clone(),
        };
        let settle = Settle { account: &reference, reservation, finish: &finish };
        let command = match by {
            By::Host => Command::Settle(settle),
            By::Operator => Command::Administer(&word),
        };
        let refused_before = self.totals.faults[Fault::CommitRefused as usize];
        let outcome = match fault {
            Some(fault) => self.store_failing(&command, now_ms, fault),
            None => self.store(&command, now_ms),
        };
        if refused_before != self.totals.faults[Fault::CommitRefused as usize] {
            let failed = matches!(outcome, Err(StoreError::Unavailable { .. }));
            return same("whether a lost commit is told", failed, true);
        }
        let given: Ended = match outcome {
            Ok(Outcome::Settled(Settled { posted })) => Ok(posted.map(|amount| amount.0)),
            Ok(Outcome::Refused(refusal)) => Err(refusal),
            other => return Err(format!("an ending was answered with {other:?}")),
        };
        let expected = match by {
            By::Host => self.model.finish(account, number, end, now_ms),
            By::Operator => self.model.resolve(account, number, end, now_ms),
        };
        note!(self, "      told: {given:?}");
        same("the ending", given, expected)?;
        match given {
            Ok(Some(posted)) => {
                self.totals.settled += 1;
                if end == (End::Void { response: None }) {
                    self.history.freed(account, number);
                }
                self.history.posted(account, number, posted)
            }
            Ok(None) => Ok(()),
            Err(refusal) => {
                self.totals.refused(refusal);
                Ok(())
            }
        }
    }
}
