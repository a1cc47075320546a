//! Fixed and sliding windows.
use serde::{Deserialize, Serialize};

/// Fixed window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedCell {}

/// Sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlidingCell {}
