//! Whether histories are in order, account by account: an account's commands and another's do not see each other,
//! so a history is linearizable when that of each account is (Herlihy and Wing's locality).

use std::fmt;

use crate::account::{Account, LookUps};
use crate::call::{Call, Op};
use crate::check::{Done, Stuck, linearize};
use crate::record::History;
use crate::story::ACCOUNTS;
use crate::timeline::timeline;

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Histories that are linearizable.
    pub histories: u64,
    /// Their commands.
    pub calls: u64,
    /// Histories in which threads used an account at the same time.
    pub overlapping: u64,
}

impl Report {
    /// Counts another one.
    pub fn add(&mut self, history: &History) {
        self.histories += 1;
        self.calls += history.calls.len() as u64;
        self.overlapping += u64::from(history.overlaps());
    }
}

/// A history that no order of its commands explains.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Its number.
    pub number: u64,
    /// The account.
    pub account: u8,
    /// The account's calls.
    pub calls: Vec<Call>,
    /// How far an order comes.
    pub stuck: Stuck,
}

/// Looks at a history.
///
/// # Errors
/// The first account whose calls are in no order.
pub fn judge(history: &History, look_ups: LookUps) -> Result<(), Box<Violation>> {
    for account in 0..ACCOUNTS {
        // A sweep is for all accounts.
        let concerned =
            |call: &&Call| call.account == account || matches!(call.op, Op::Expire { .. });
        let calls: Vec<&Call> = history.calls.iter().filter(concerned).collect();
        let done: Vec<Done<'_, _, _>> = calls
            .iter()
            .map(|call| Done {
                invoked: call.invoked,
                returned: call.returned,
                op: &call.op,
                answer: &call.answer,
            })
            .collect();
        if let Err(stuck) = linearize(&Account::opened(look_ups), &done) {
            let calls = calls.into_iter().cloned().collect();
            return Err(Box::new(Violation { number: history.number, account, calls, stuck }));
        }
    }
    Ok(())
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { number, account, calls, stuck } = self;
        writeln!(
            f,
            "history {number} is not linearizable: no order of the commands to account {account} explains the answers"
        )?;
        writeln!(f, "{}", timeline(&calls.iter().collect::<Vec<_>>()))?;
        writeln!(f, "the longest order that can be explained:")?;
        for place in &stuck.explained {
            let Call { thread, op, answer, .. } = &calls[*place];
            writeln!(f, "      thread {thread}: {op} -> {answer}")?;
        }
        writeln!(f, "and then none of these:")?;
        for place in &stuck.not_explained {
            let Call { thread, op, answer, .. } = &calls[*place];
            writeln!(f, "      thread {thread}: {op} -> {answer}")?;
        }
        Ok(())
    }
}
