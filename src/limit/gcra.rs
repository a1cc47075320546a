//! Generic cell rate algorithm.
use serde::{Deserialize, Serialize};

/// Theoretical arrival time of the next unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcraCell {
    /// Unix nanoseconds.
    pub(crate) tat_ns: u64,
}
