//! A tree of values that knows where they were written.

use alloc::string::String;
use alloc::vec::Vec;

/// A value and its line.
#[derive(Debug, PartialEq)]
pub(super) struct Node {
    /// From 1; `None` when it did not come from text. An entry of a table has the line of its key.
    pub line: Option<usize>,
    pub value: Value,
}

#[derive(Debug, PartialEq)]
pub(super) enum Value {
    #[cfg_attr(not(feature = "json"), allow(dead_code))] // TOML has no null
    Null,
    Bool(bool),
    Integer(i128),
    /// No setting takes one.
    Float,
    Text(String),
    /// A TOML date or time, which no setting takes.
    #[cfg(feature = "toml")]
    Time,
    List(Vec<Node>),
    /// In the order in which it was written; keys may be doubled in JSON.
    Table(Vec<(String, Node)>),
}

impl Node {
    /// Whether it is a table with such an entry.
    pub(super) fn has(&self, name: &str) -> bool {
        let Value::Table(entries) = &self.value else { return false };
        entries.iter().any(|(key, _)| key == name)
    }
}
