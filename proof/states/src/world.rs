//! A state: the records, and beside them what has been seen from outside.

use arrayvec::ArrayVec;

use crate::rows::{MAX_GRANTS, REFERENCES, Rows};
use crate::rule::Rule;
use crate::word::Word;

/// A state of a setup.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// The time.
    pub(crate) now: u8,
    /// The accounts.
    pub(crate) accounts: Vec<Account>,
    /// The first rule that a step on the way here has broken.
    pub(crate) broken: Option<Rule>,
}

/// An account: its records, which only `tollgate::transition` writes, and what an onlooker knows, who
/// sees requests, answers and executions, and never the records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Account {
    pub(crate) rows: Rows,
    /// All that was paid in.
    pub(crate) deposited: u8,
    /// All that was admitted. The number of a reservation is its place here, from 1.
    pub(crate) grants: ArrayVec<Grant, MAX_GRANTS>,
}

impl Account {
    /// The grants with their numbers.
    pub(crate) fn numbered(&self) -> impl DoubleEndedIterator<Item = (u8, &Grant)> {
        let numbers = 1..=self.grants.len() as u8;
        numbers.zip(self.grants.iter())
    }

    pub(crate) fn grant(&self, number: u8) -> &Grant {
        &self.grants[usize::from(number) - 1]
    }

    pub(crate) fn grant_mut(&mut self, number: u8) -> &mut Grant {
        &mut self.grants[usize::from(number) - 1]
    }
}

/// An admitted call, and the host that has it in hand.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Grant {
    /// The call.
    pub(crate) call: u8,
    /// When it was admitted.
    pub(crate) at: u8,
    pub(crate) stage: Stage,
    /// The first outcome that was taken.
    pub(crate) end: Option<Word>,
    /// Whether that came after the end of the lease had dealt with the money: it was about the key.
    pub(crate) late: bool,
    /// What was given back, by reference.
    pub(crate) refunds: [u8; REFERENCES.len()],
}

/// How far a host came. What it says afterwards is on its way from then on: it may arrive at any time,
/// any number of times, or never, and the host may be dead by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// The answer is on its way to it, or it is about to execute.
    Admitted,
    /// It has executed, once.
    Executed,
    /// It will never execute: it gave up, it crashed, or no answer reached it.
    Gone,
}
