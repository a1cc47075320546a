//! Why a step failed.

use core::fmt;

use serde_json::{Value, json};

/// Why a step failed, and what to do. The step changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepError(String);

impl StepError {
    /// With this text, which must not hold a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        StepError(text.into())
    }

    /// From an error whose text says enough.
    pub(crate) fn of(error: impl fmt::Display) -> Self {
        StepError(error.to_string())
    }

    /// The reply of the failed step: `{"error": text}`.
    #[must_use]
    pub fn to_reply(&self) -> Value {
        json!({ "error": self.0 })
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for StepError {}
