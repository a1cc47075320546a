//! Policies from text, with the line of every error.
//!
//! TOML and JSON become one tree that knows its lines, and a policy is read from that. An entry that
//! cannot be read is reported and left out, and the rest is read all the same: so one bad entry hides no other.

#[cfg(feature = "json")]
mod json;
mod node;
mod read;
#[cfg(test)]
#[cfg(all(feature = "toml", feature = "json"))]
mod tests;
#[cfg(feature = "toml")]
mod toml;

use alloc::collections::BTreeMap;
use alloc::string::String;

use crate::policy::compile;
use crate::policy::compiled::CompiledPolicy;
use crate::policy::config::PolicyConfig;
use crate::policy::error::{PolicyErrors, Problems, element, place};
use node::{Node, Value};
use read::Read;

/// After so many errors the rest is not told.
const MAX_ERRORS: usize = 100;

/// What a text holds, as far as it could be read.
struct Document {
    config: Option<PolicyConfig>,
    problems: Problems,
    lines: BTreeMap<String, usize>,
}

impl Document {
    fn read(root: Result<Node, Problems>) -> Self {
        let root = match root {
            Ok(root) => root,
            Err(problems) => return Document { config: None, problems, lines: BTreeMap::new() },
        };
        let mut lines = BTreeMap::new();
        add_lines(&root, String::new(), &mut lines);
        let mut problems = Problems::default();
        let config = read_all(&root, &mut problems);
        Document { config, problems, lines }
    }

    fn into_config(mut self) -> Result<PolicyConfig, PolicyErrors> {
        self.problems.locate(|place| line_of(&self.lines, place));
        self.problems.or(self.config)
    }

    fn compile(mut self) -> Result<CompiledPolicy, PolicyErrors> {
        let policy = self.config.as_ref().map(|config| {
            let mut found = Problems::default();
            let policy = compile::build(config, &mut found);
            let whole = self.problems.is_empty();
            self.problems.append(if whole { found } else { found.without_references() });
            policy
        });
        self.problems.locate(|place| line_of(&self.lines, place));
        self.problems.or(policy)
    }
}

/// Reads what can be read; `None` when that is not even a policy.
fn read_all(root: &Node, problems: &mut Problems) -> Option<PolicyConfig> {
    let mut config = PolicyConfig::blank();
    let is_table = config.read(root, "", problems);
    let is_whole = problems.cut_after(MAX_ERRORS);
    (is_table && is_whole).then_some(config)
}

fn add_lines(node: &Node, at: String, lines: &mut BTreeMap<String, usize>) {
    match &node.value {
        Value::Table(entries) => {
            for (key, value) in entries {
                add_lines(value, place(&at, key), lines);
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                add_lines(item, element(&at, index), lines);
            }
        }
        _ => {}
    }
    if let Some(line) = node.line {
        lines.insert(at, line);
    }
}

/// The line of a place, or of the nearest one around it.
fn line_of(lines: &BTreeMap<String, usize>, place: &str) -> Option<usize> {
    let mut place = place;
    loop {
        if let Some(line) = lines.get(place) {
            return Some(*line);
        }
        place = place.get(..place.rfind(['.', '['])?)?;
    }
}

#[cfg(feature = "toml")]
impl PolicyConfig {
    /// Reads a policy from TOML text.
    ///
    /// # Errors
    /// What is not TOML, has a wrong type, is missing or is unknown, with its line. Whether it makes
    /// sense is for [`compile`](Self::compile) to say.
    pub fn from_toml(text: &str) -> Result<Self, PolicyErrors> {
        Document::read(toml::parse(text)).into_config()
    }
}

#[cfg(feature = "toml")]
impl CompiledPolicy {
    /// Reads and compiles a policy from TOML text.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once, with the lines.
    pub fn from_toml(text: &str) -> Result<Self, PolicyErrors> {
        Document::read(toml::parse(text)).compile()
    }
}

#[cfg(feature = "json")]
impl PolicyConfig {
    /// Reads a policy from JSON text.
    ///
    /// # Errors
    /// What is not JSON, has a wrong type, is missing or is unknown, with its line. Whether it makes
    /// sense is for [`compile`](Self::compile) to say.
    pub fn from_json(text: &str) -> Result<Self, PolicyErrors> {
        Document::read(json::parse(text)).into_config()
    }

    /// Reads a policy from a JSON value.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json), without lines.
    pub fn from_json_value(value: &serde_json::Value) -> Result<Self, PolicyErrors> {
        Document::read(json::from_value(value)).into_config()
    }

    /// This policy changed by a merge patch (RFC 7396): members replace, `null` resets or removes.
    ///
    /// # Errors
    /// What the patch breaks, without lines.
    pub fn merge_patch(&self, patch: &serde_json::Value) -> Result<Self, PolicyErrors> {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        crate::policy::merge::merge_patch(&mut value, patch);
        Self::from_json_value(&value)
    }
}

#[cfg(feature = "json")]
impl CompiledPolicy {
    /// Reads and compiles a policy from JSON text.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once, with the lines.
    pub fn from_json(text: &str) -> Result<Self, PolicyErrors> {
        Document::read(json::parse(text)).compile()
    }
}
