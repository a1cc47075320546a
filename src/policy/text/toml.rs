//! TOML text to the tree.

use alloc::borrow::ToOwned;
use alloc::string::ToString;
use alloc::vec::Vec;

use toml::de::{DeTable, DeValue};

use super::node::{Node, Value};
use crate::policy::error::Problems;

/// The tree, or what is not TOML.
pub(super) fn parse(text: &str) -> Result<Node, Problems> {
    let lines = Lines::of(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(Node { line: Some(1), value: lines.table(table.get_ref()) });
    }
    let mut problems = Problems::default();
    for error in errors {
        let line = error.span().map(|span| lines.at(span.start));
        problems.add_at_line(Default::default(), line, error.message().to_owned());
    }
    Err(problems)
}

/// Where the lines end.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Lines(text.match_indices('\n').map(|(offset, _)| offset).collect())
    }

    /// The line, from 1, of the byte at `offset`.
    fn at(&self, offset: usize) -> usize {
        self.0.partition_point(|end| *end < offset).saturating_add(1)
    }

    fn node(&self, offset: usize, value: &DeValue<'_>) -> Node {
        let value = match value {
            DeValue::String(text) => Value::Text(text.clone().into_owned()),
            DeValue::Boolean(value) => Value::Bool(*value),
            DeValue::Integer(digits) => i128::from_str_radix(digits.as_str(), digits.radix())
                .map_or(Value::Integer(i128::MAX), Value::Integer),
            DeValue::Float(_) => Value::Float,
            DeValue::Datetime(_) => Value::Time,
            DeValue::Array(items) => Value::List(
                items.iter().map(|item| self.node(item.span().start, item.get_ref())).collect(),
            ),
            DeValue::Table(table) => self.table(table),
        };
        Node { line: Some(self.at(offset)), value }
    }

    fn table(&self, table: &DeTable<'_>) -> Value {
        let entries = table.iter().map(|(key, value)| {
            (key.get_ref().to_string(), self.node(key.span().start, value.get_ref()))
        });
        Value::Table(entries.collect())
    }
}
