//! A tree of values that knows where they were written.

use alloc::string::String;
use alloc::vec::Vec;

/// A value and its line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// From 1; `None` when it did not come from text. An entry of a table has the line of its key.
    pub line: Option<usize>,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    #[cfg_attr(not(feature = "json"), allow(dead_code))] // TOML has no null
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    /// A TOML date or time, which no setting takes.
    #[cfg(feature = "toml")]
    Time,
    List(Vec<Node>),
    /// In the order in which it was written; keys may be doubled in JSON.
    Table(Vec<(String, Node)>),
}

/// A way from a value to one within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl Node {
    /// The line of what is at `path`, or of the nearest value around it.
    pub(super) fn line_at(&self, path: &[Step]) -> Option<usize> {
        let inner = path
            .split_first()
            .and_then(|(step, rest)| self.child(step).and_then(|child| child.line_at(rest)));
        inner.or(self.line)
    }

    fn child(&self, step: &Step) -> Option<&Node> {
        match (&self.value, step) {
            (Value::Table(entries), Step::Key(key)) => {
                entries.iter().find(|(known, _)| known == key).map(|(_, node)| node)
            }
            (Value::List(items), Step::Index(index)) => items.get(*index),
            _ => None,
        }
    }

    /// Takes out what is at `path`; false when nothing is there, or it is the root.
    pub(super) fn remove(&mut self, path: &[Step]) -> bool {
        let Some((step, rest)) = path.split_first() else { return false };
        let child = match (&mut self.value, step) {
            (Value::Table(entries), Step::Key(key)) => {
                if rest.is_empty() {
                    let before = entries.len();
                    entries.retain(|(known, _)| known != key);
                    return entries.len() < before;
                }
                entries.iter_mut().find(|(known, _)| known == key).map(|(_, node)| node)
            }
            (Value::List(items), Step::Index(index)) => {
                let Some(item) = items.get_mut(*index) else { return false };
                if rest.is_empty() {
                    // The others keep their numbers, which errors yet to come will name.
                    item.value = Value::Text(String::new());
                    return true;
                }
                Some(item)
            }
            _ => None,
        };
        child.is_some_and(|child| child.remove(rest))
    }
}
