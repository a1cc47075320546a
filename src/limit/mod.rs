//! Rate limits: the user's words (`quota`), the arithmetic (`gcra`, `window`), one check over both,
//! and what answers say about them (`headers`).

pub(crate) mod gcra;
pub(crate) mod headers;
mod quota;
#[cfg(test)]
mod tests;
mod window;

pub use gcra::GcraCell;
pub use quota::{
    Algorithm, CellKey, Counts, FailureMode, Limit, LimitId, Partition, Quota, TokenQuota,
};
pub use window::{FixedCell, SlidingCell};

use serde::{Deserialize, Serialize};

use crate::MAX_NOW_MS;

/// The state of one limit for one partition. Absent and expired cells are the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Cell {
    /// See [`Algorithm::Gcra`].
    Gcra(GcraCell),
    /// See [`Algorithm::FixedWindow`].
    FixedWindow(FixedCell),
    /// See [`Algorithm::SlidingWindow`].
    SlidingWindow(SlidingCell),
}

/// What a limit says to a request of some cost at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// The cell to store if the request goes through, or when it would.
    pub verdict: Result<Cell, Refused>,
    /// What is left *before* this request is counted.
    pub before: Left,
    /// What is left after this request, if it is counted; the same as `before` when refused.
    pub after: Left,
}

/// What is left of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Units that could be taken at once now.
    pub remaining: u64,
    /// Unix milliseconds at which the limit is whole again, if nothing more is taken.
    pub reset_ms: u64,
}

/// A limit's refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The first Unix millisecond at which the same request would go through, if nothing else is
    /// taken until then; `None` when its cost is more than the limit ever holds, or that time is
    /// past [`MAX_NOW_MS`].
    pub retry_at_ms: Option<u64>,
}

impl Refused {
    /// When to try again: as soon as the request would go through, or, if it never will, after one
    /// window, which is all the advice there is.
    pub(crate) fn retry_at_ms(&self, quota: &Quota, now_ms: u64) -> u64 {
        self.retry_at_ms.unwrap_or_else(|| now_ms.saturating_add(quota.window_ms))
    }

    fn until(retry_at_ms: u64) -> Self {
        Refused { retry_at_ms: (retry_at_ms <= MAX_NOW_MS).then_some(retry_at_ms) }
    }
}

/// What a limit of `quota`, counted by `algorithm`, says to a request of `cost` units at `now_ms`.
///
/// Pure: the request is counted when, and only when, the cell of the verdict is stored. A cell
/// that another algorithm wrote, before the policy changed, counts as absent: the change starts
/// the limit anew. A request of no cost is always admitted and counts nothing. A quota without
/// units or without a burst admits nothing else.
///
/// `now_ms` is at most [`MAX_NOW_MS`]; callers clamp it.
#[must_use]
pub fn check(
    algorithm: Algorithm,
    quota: &Quota,
    cell: Option<&Cell>,
    now_ms: u64,
    cost: u64,
) -> Check {
    match (algorithm, cell) {
        (Algorithm::Gcra, Some(Cell::Gcra(cell))) => gcra::check(quota, *cell, now_ms, cost),
        (Algorithm::Gcra, _) => gcra::check(quota, GcraCell::EMPTY, now_ms, cost),
        (Algorithm::FixedWindow, Some(Cell::FixedWindow(cell))) => {
            window::check_fixed(quota, *cell, now_ms, cost)
        }
        (Algorithm::FixedWindow, _) => window::check_fixed(quota, FixedCell::EMPTY, now_ms, cost),
        (Algorithm::SlidingWindow, Some(Cell::SlidingWindow(cell))) => {
            window::check_sliding(quota, *cell, now_ms, cost)
        }
        (Algorithm::SlidingWindow, _) => {
            window::check_sliding(quota, SlidingCell::EMPTY, now_ms, cost)
        }
    }
}

/// The first Unix millisecond from which on [`check`] says the same with `cell` as without, so
/// that it may be forgotten. A cell of another algorithm, or in which nothing is counted, gives 0.
#[must_use]
pub fn expires_ms(algorithm: Algorithm, quota: &Quota, cell: &Cell) -> u64 {
    match (algorithm, cell) {
        (Algorithm::Gcra, Cell::Gcra(cell)) => gcra::expires_ms(*cell),
        (Algorithm::FixedWindow, Cell::FixedWindow(cell)) => window::fixed_expires_ms(quota, *cell),
        (Algorithm::SlidingWindow, Cell::SlidingWindow(cell)) => {
            window::sliding_expires_ms(quota, *cell)
        }
        _ => 0,
    }
}

/// How long after a request's time its units may be given back, in milliseconds: see [`give_back`].
pub const GIVEN_BACK_WITHIN_MS: u64 = 1_000;

/// The cell `stored` without `cost` units that were counted at `now_ms` by storing `taken`, for a request
/// that did not go through after all. It is called within a second of that time.
///
/// What others took meanwhile stays counted. Units whose window has ended since, or that are in a cell
/// of another kind, are gone already. GCRA may keep what refills within a second: never is more given
/// back than was taken.
#[must_use]
pub fn give_back(quota: &Quota, stored: &Cell, taken: &Cell, cost: u64, now_ms: u64) -> Cell {
    match (*stored, *taken) {
        (Cell::Gcra(stored), Cell::Gcra(taken)) => {
            Cell::Gcra(gcra::give_back(quota, stored, taken, cost, now_ms))
        }
        (Cell::FixedWindow(stored), Cell::FixedWindow(taken)) => {
            Cell::FixedWindow(window::give_back_fixed(stored, taken, cost))
        }
        (Cell::SlidingWindow(stored), Cell::SlidingWindow(taken)) => {
            Cell::SlidingWindow(window::give_back_sliding(stored, taken, cost))
        }
        (stored, _) => stored,
    }
}
