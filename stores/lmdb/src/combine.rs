//! Callers that come at once share one transaction, and one sync of the disk (flat combining).
//!
//! Who finds nobody at work leads: it begins a transaction, does its own work, then that of all who
//! queued meanwhile, commits, hands out the outcomes, and passes the lead to one who still waits. So
//! nobody leads for longer than one batch, and no thread of its own is needed.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tollgate::{Outcome, StoreError};

use crate::error::{Fault, unavailable};
use crate::view::Writing;

/// The most commands in one transaction.
const MOST: usize = 256;

pub(crate) type Work<'w> = &'w mut dyn FnMut(&mut Writing<'_>) -> Result<Outcome, Fault>;
/// Work that another thread may do.
pub(crate) type Job = Box<dyn Fn(&mut Writing<'_>) -> Result<Outcome, Fault> + Send + Sync>;

type Answer = Result<Outcome, StoreError>;

/// Begins and commits transactions.
pub(crate) trait Transactions {
    /// Runs `work` in a transaction of its own, and commits it unless that fails.
    fn transact(
        &self,
        work: &mut dyn FnMut(&mut Writing<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault>;
}

#[derive(Default)]
pub(crate) struct Combiner {
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    led: bool,
    waiting: VecDeque<Arc<Ticket>>,
}

struct Ticket {
    /// `None`: only its own thread can do it, when it leads.
    job: Option<Job>,
    turn: Mutex<Turn>,
    called: Condvar,
}

enum Turn {
    Waits,
    Leads,
    Done(Answer),
}

impl Ticket {
    fn call(&self, turn: Turn) {
        *self.turn.lock() = turn;
        self.called.notify_one();
    }

    /// `None`: it is this thread's turn to lead.
    fn wait(&self) -> Option<Result<Outcome, StoreError>> {
        let mut turn = self.turn.lock();
        loop {
            match std::mem::replace(&mut *turn, Turn::Waits) {
                Turn::Waits => self.called.wait(&mut turn),
                Turn::Leads => return None,
                Turn::Done(outcome) => return Some(outcome),
            }
        }
    }
}

impl Combiner {
    /// Does `work` in a transaction, alone or with others. `job` is the same work for another thread to
    /// do; `None`: it is for this one only.
    pub(crate) fn perform(
        &self,
        transactions: &dyn Transactions,
        work: Work<'_>,
        job: impl FnOnce() -> Option<Job>,
    ) -> Result<Outcome, StoreError> {
        if !self.try_lead() {
            let ticket =
                Ticket { job: job(), turn: Mutex::new(Turn::Waits), called: Condvar::new() };
            if let Some(ticket) = self.queue(ticket)
                && let Some(outcome) = ticket.wait()
            {
                return outcome;
            }
        }
        let batch = Batch { combiner: self, tickets: Vec::new() };
        batch.lead(transactions, work)
    }

    fn try_lead(&self) -> bool {
        !std::mem::replace(&mut self.line.lock().led, true)
    }

    /// `None`: nobody leads any more, so that this thread does now.
    fn queue(&self, ticket: Ticket) -> Option<Arc<Ticket>> {
        let mut line = self.line.lock();
        if !std::mem::replace(&mut line.led, true) {
            return None;
        }
        let ticket = Arc::new(ticket);
        line.waiting.push_back(Arc::clone(&ticket));
        Some(ticket)
    }

    fn next_job(&self) -> Option<Arc<Ticket>> {
        let mut line = self.line.lock();
        let place = line.waiting.iter().position(|ticket| ticket.job.is_some())?;
        line.waiting.remove(place)
    }

    /// How many wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.line.lock().waiting.len()
    }

    /// Passes the lead to who waits longest.
    fn pass_lead(&self) {
        let mut line = self.line.lock();
        match line.waiting.pop_front() {
            Some(ticket) => ticket.call(Turn::Leads),
            None => line.led = false,
        }
    }
}

/// What one leader has in hand. However it ends, nobody is left waiting, and the lead is passed on.
struct Batch<'c> {
    combiner: &'c Combiner,
    /// With the outcome once it is committed: what is only done may yet be rolled back.
    tickets: Vec<(Arc<Ticket>, Option<Answer>)>,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for (ticket, outcome) in self.tickets.drain(..) {
            // Without an outcome: the leader panicked, and the transaction was rolled back.
            let outcome = outcome.unwrap_or_else(|| {
                Err(unavailable("another command failed in the same transaction; try again"))
            });
            ticket.call(Turn::Done(outcome));
        }
        self.combiner.pass_lead();
    }
}

impl Batch<'_> {
    fn lead(
        mut self,
        transactions: &dyn Transactions,
        work: Work<'_>,
    ) -> Result<Outcome, StoreError> {
        let (mut own, mut outcomes) = (None, Vec::new());
        let together = transactions.transact(&mut |writing| {
            own = Some(Fault::keep_bounds(work(writing))?);
            while self.tickets.len() < MOST {
                let Some(ticket) = self.combiner.next_job() else { break };
                self.tickets.push((Arc::clone(&ticket), None));
                outcomes.push(Fault::keep_bounds(ticket.perform(writing))?);
            }
            Ok(())
        });
        let alone = self.tickets.is_empty();
        match (together, own) {
            (Ok(()), Some(own)) => {
                for ((_, committed), outcome) in self.tickets.iter_mut().zip(outcomes) {
                    *committed = Some(outcome);
                }
                own
            }
            (Err(fault), _) if alone => Err(fault.into()),
            // Somebody's command, or the commit, failed: nothing of it is in the file. Each gets a
            // transaction of its own, so that it fails by itself only.
            _ => self.one_by_one(transactions, work),
        }
    }

    fn one_by_one(
        &mut self,
        transactions: &dyn Transactions,
        work: Work<'_>,
    ) -> Result<Outcome, StoreError> {
        let own = by_itself(transactions, work);
        for (ticket, outcome) in &mut self.tickets {
            *outcome = Some(by_itself(transactions, &mut |writing| ticket.perform(writing)));
        }
        own
    }
}

impl Ticket {
    fn perform(&self, writing: &mut Writing<'_>) -> Result<Outcome, Fault> {
        match &self.job {
            Some(job) => job(writing),
            None => Err(Fault::Broken(StoreError::WrongOutcome)),
        }
    }
}

fn by_itself(transactions: &dyn Transactions, work: Work<'_>) -> Result<Outcome, StoreError> {
    let mut own = None;
    transactions.transact(&mut |writing| {
        own = Some(Fault::keep_bounds(work(writing))?);
        Ok(())
    })?;
    own.unwrap_or(Err(StoreError::WrongOutcome))
}
