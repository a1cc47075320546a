//! JSON text to the tree.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::node::{Node, Value};
use crate::policy::error::{Problems, element, place};

/// The tree, or what is not JSON.
pub(super) fn parse(text: &str) -> Result<Node, Problems> {
    let mut problems = Problems::default();
    let mut root: Node = match serde_json::from_str(text) {
        Ok(root) => root,
        Err(error) => {
            let message = error.to_string();
            let message = message.rsplit_once(" at line ").map_or(&*message, |(what, _)| what);
            problems.add_at_line(String::new(), Some(error.line()), message.to_owned());
            return Err(problems);
        }
    };
    let mut lines = token_lines(text).into_iter();
    root.line = lines.next();
    set_lines(&mut root, &mut lines);
    find_doubled(&root, "", &mut problems);
    if problems.is_empty() { Ok(root) } else { Err(problems) }
}

/// The tree of a value, which has no lines.
pub(super) fn from_value(value: &serde_json::Value) -> Result<Node, Problems> {
    Node::deserialize(value).map_err(|error| {
        let mut problems = Problems::default();
        problems.add("", error.to_string());
        problems
    })
}

/// The line of every token that begins a key or a value, in order. The text is known to be JSON.
fn token_lines(text: &str) -> Vec<usize> {
    let mut lines = Vec::new();
    let mut line: usize = 1;
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\n' => line = line.saturating_add(1),
            b' ' | b'\t' | b'\r' | b',' | b':' | b']' | b'}' => {}
            b'[' | b'{' => lines.push(line),
            b'"' => {
                lines.push(line);
                skip_string(&mut bytes);
            }
            _ => {
                lines.push(line);
                let in_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
                while bytes.next_if(in_word).is_some() {}
            }
        }
    }
    lines
}

/// Goes past the quote that ends a string. A string has no line breaks in it.
fn skip_string(bytes: &mut impl Iterator<Item = u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'"' => return,
            _ => {}
        }
    }
}

/// Gives lines to all that is within `node`, in the order in which it was written.
fn set_lines(node: &mut Node, lines: &mut impl Iterator<Item = usize>) {
    match &mut node.value {
        Value::Table(entries) => {
            for (_, value) in entries {
                value.line = lines.next(); // the key's
                lines.next();
                set_lines(value, lines);
            }
        }
        Value::List(items) => {
            for item in items {
                item.line = lines.next();
                set_lines(item, lines);
            }
        }
        _ => {}
    }
}

/// JSON leaves open which of two equal keys counts, so neither does.
fn find_doubled(node: &Node, at: &str, problems: &mut Problems) {
    match &node.value {
        Value::Table(entries) => {
            let mut seen = BTreeSet::new();
            for (key, value) in entries {
                let at = place(at, key);
                if !seen.insert(&**key) {
                    let message = "is there twice; remove one of the two";
                    problems.add_at_line(at.clone(), value.line, message.to_owned());
                }
                find_doubled(value, &at, problems);
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                find_doubled(item, &element(at, index), problems);
            }
        }
        _ => {}
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue).map(|value| Node { line: None, value })
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Float)
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut table = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            table.push(entry);
        }
        Ok(Value::Table(table))
    }
}
