//! What simulations did, so that a reader sees that everything was reached.

use std::fmt;

use tollgate::{Refusal, STATUS_TABLE, Status};

use crate::fault::Fault;

/// What operators do.
pub(crate) const OPERATIONS: [&str; 9] = [
    "put_account",
    "put_token",
    "revoke",
    "rotate",
    "deposit",
    "refund",
    "resolve",
    "expire",
    "reload",
];

/// Refusals of endings and operations that simulations reach.
pub const REFUSALS: [Refusal; 11] = [
    Refusal::TokenExists,
    Refusal::TokenRevoked,
    Refusal::UnknownReservation,
    Refusal::LeaseEnded,
    Refusal::AlreadyFinished,
    Refusal::StaleFence,
    Refusal::MoreThanReserved,
    Refusal::NotPosted,
    Refusal::MoreThanPosted,
    Refusal::ReferenceReused,
    Refusal::NotAResolution,
];

/// Counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Simulations.
    pub seeds: u64,
    /// Of them, on a durable store.
    pub durable: u64,
    /// Of them, on a store with little room.
    pub bounded: u64,
    /// Events.
    pub events: u64,
    /// Events in which something went wrong on purpose.
    pub faulty_events: u64,
    /// Answers of engine or store that were compared with the model's.
    pub compared: u64,
    /// Requests that were let through, to be run by the upstream.
    pub executions: u64,
    /// Requests that were looked up again because their account was changed meanwhile.
    pub looked_up_again: u64,
    /// Endings that were taken.
    pub settled: u64,
    /// Leases and claims that sweeps ended.
    pub expired: u64,
    /// By the number of [`Fault`].
    pub faults: [u64; Fault::ALL.len()],
    /// By place in [`STATUS_TABLE`].
    pub statuses: [u64; 15],
    /// By place in [`REFUSALS`].
    pub refusals: [u64; REFUSALS.len()],
    pub(crate) operations: [u64; OPERATIONS.len()],
}

impl Totals {
    pub(crate) fn decided(&mut self, status: Status) {
        let place = STATUS_TABLE.iter().position(|row| row.status == status);
        if let Some(count) = place.and_then(|place| self.statuses.get_mut(place)) {
            *count += 1;
        }
    }

    pub(crate) fn refused(&mut self, refusal: Refusal) {
        if let Some(place) = REFUSALS.iter().position(|known| *known == refusal) {
            self.refusals[place] += 1;
        }
    }

    /// Adds those of another simulation.
    pub fn add(&mut self, other: &Totals) {
        for (sum, count) in [
            (&mut self.seeds, other.seeds),
            (&mut self.durable, other.durable),
            (&mut self.bounded, other.bounded),
            (&mut self.events, other.events),
            (&mut self.faulty_events, other.faulty_events),
            (&mut self.compared, other.compared),
            (&mut self.executions, other.executions),
            (&mut self.looked_up_again, other.looked_up_again),
            (&mut self.settled, other.settled),
            (&mut self.expired, other.expired),
        ] {
            *sum += count;
        }
        let lists: [(&mut [u64], &[u64]); 4] = [
            (&mut self.faults, &other.faults),
            (&mut self.statuses, &other.statuses),
            (&mut self.refusals, &other.refusals),
            (&mut self.operations, &other.operations),
        ];
        for (sums, counts) in lists {
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }

    /// The share of events with a fault, in percent.
    #[must_use]
    pub fn faulty_percent(&self) -> u64 {
        (self.faulty_events * 100).checked_div(self.events).unwrap_or(0)
    }

    /// What was never reached.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let statuses =
            STATUS_TABLE.iter().zip(self.statuses).map(|(row, n)| (row.code.to_owned(), n));
        let faults = Fault::ALL.iter().zip(self.faults).map(|(fault, n)| (format!("{fault:?}"), n));
        let refusals =
            REFUSALS.iter().zip(self.refusals).map(|(one, n)| (one.code().to_owned(), n));
        let operations =
            OPERATIONS.iter().zip(self.operations).map(|(one, n)| ((*one).to_owned(), n));
        let all = statuses.chain(faults).chain(refusals).chain(operations);
        all.filter(|(_, count)| *count == 0).map(|(name, _)| name).collect()
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} seeds ({} on a durable store, {} on one with little room), {} events, {} answers compared",
            self.seeds, self.durable, self.bounded, self.events, self.compared
        )?;
        writeln!(
            f,
            "{} events with faults ({} %), {} executions, {} endings taken, {} looked up again, {} expired by sweeps",
            self.faulty_events,
            self.faulty_percent(),
            self.executions,
            self.settled,
            self.looked_up_again,
            self.expired
        )?;
        let share =
            |count: u64| (count * 10_000).checked_div(self.events).unwrap_or(0) as f64 / 100.0;
        writeln!(f, "\nfaults, and their share of events")?;
        for (fault, count) in Fault::ALL.iter().zip(self.faults) {
            writeln!(f, "  {:<24} {count:>12} {:>6.2} %", format!("{fault:?}"), share(count))?;
        }
        writeln!(f, "\ndecisions")?;
        for (row, count) in STATUS_TABLE.iter().zip(self.statuses) {
            writeln!(f, "  {:<24} {count:>12}", row.code)?;
        }
        writeln!(f, "\nrefusals of endings and operations")?;
        for (refusal, count) in REFUSALS.iter().zip(self.refusals) {
            writeln!(f, "  {:<24} {count:>12}", refusal.code())?;
        }
        writeln!(f, "\noperations")?;
        for (operation, count) in OPERATIONS.iter().zip(self.operations) {
            writeln!(f, "  {operation:<24} {count:>12}")?;
        }
        Ok(())
    }
}
