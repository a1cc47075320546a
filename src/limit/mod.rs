//! Rate limits: the user's words (`quota`), the arithmetic (`gcra`, `window`), and one check over both.

mod gcra;
mod quota;
mod window;

pub use quota::{Algorithm, Counts, FailureMode, Limit, LimitId, Partition, Quota};
pub(crate) use quota::{CellKey, Subject};

use serde::{Deserialize, Serialize};

/// The state of one limit for one partition. Absent and expired cells are the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Cell {
    /// See [`Algorithm::Gcra`].
    Gcra(gcra::GcraCell),
    /// See [`Algorithm::FixedWindow`].
    FixedWindow(window::FixedCell),
    /// See [`Algorithm::SlidingWindow`].
    SlidingWindow(window::SlidingCell),
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// taken until then; `None` when its cost is more than the limit ever holds.
    pub retry_at_ms: Option<u64>,
}
