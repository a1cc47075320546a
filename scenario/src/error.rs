//! Why a step failed.

use core::fmt;

use serde_json::{Value, json};

/// Why a step failed, and what to do. The step changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepError {
    text: String,
    is_not_carried: bool,
}

impl StepError {
    /// With this text, which must not hold a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        StepError { text: text.into(), is_not_carried: false }
    }

    /// From an error whose text says enough.
    #[must_use]
    pub fn of(error: impl fmt::Display) -> Self {
        StepError::new(error.to_string())
    }

    /// Of a step that a [`Surface`](crate::Surface) has no way to carry, and why: a request that HTTP
    /// cannot express, say. Its scenario says nothing about that surface.
    #[must_use]
    pub fn not_carried(reason: impl Into<String>) -> Self {
        StepError { text: reason.into(), is_not_carried: true }
    }

    /// Whether the surface has no way to carry the step.
    #[must_use]
    pub fn is_not_carried(&self) -> bool {
        self.is_not_carried
    }

    /// The same with more words; a reason that a step is not carried stays as it is.
    pub(crate) fn within(self, words: impl FnOnce(String) -> String) -> Self {
        if self.is_not_carried { self } else { StepError::new(words(self.text)) }
    }

    /// The reply of the failed step: `{"error": text}`.
    #[must_use]
    pub fn to_reply(&self) -> Value {
        json!({ "error": self.text })
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl core::error::Error for StepError {}
