//! Policies of APIs that are documented elsewhere.
//!
//! They are written in Rust and not as text, so that a build without a text format has them too,
//! and there is one copy of the facts.

mod sms_gateway;

use crate::policy::config::PolicyConfig;

/// The names of all presets.
pub const PRESETS: &[&str] = &["sms-gateway"];

/// The preset with this name, one of [`PRESETS`].
#[must_use]
pub fn preset(name: &str) -> Option<PolicyConfig> {
    match name {
        "sms-gateway" => Some(sms_gateway::policy()),
        _ => None,
    }
}
