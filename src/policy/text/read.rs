//! From the tree to a policy: a deserializer whose errors say where.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};

use super::node::{Node, Step, Value};

/// What is wrong, and the way there from the root, innermost step first.
#[derive(Debug)]
pub(super) struct ReadError {
    message: String,
    missing_field: bool,
    steps: Vec<Step>,
}

impl ReadError {
    fn new(message: String) -> Self {
        ReadError { message, missing_field: false, steps: Vec::new() }
    }

    fn within(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// The way from the root.
    pub(super) fn path(&self) -> Vec<Step> {
        self.steps.iter().rev().cloned().collect()
    }

    pub(super) fn is_missing_field(&self) -> bool {
        self.missing_field
    }

    pub(super) fn into_message(self) -> String {
        self.message
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for ReadError {}

impl serde::de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        ReadError::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        mismatch(found, &describe(expected))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        mismatch(found, &describe(expected))
    }

    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Self {
        ReadError::new(format!("is {found:?}, but must be {}", any_of(expected)))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        ReadError::new(format!("is unknown; remove it, or use {}", any_of(expected)))
    }

    fn missing_field(field: &'static str) -> Self {
        let message = format!("has no {field:?}; add it");
        ReadError { missing_field: true, ..ReadError::new(message) }
    }
}

// Not by `Unexpected`'s own display, which brings along all that writes floating-point numbers.
fn mismatch(found: Unexpected<'_>, expected: &str) -> ReadError {
    let found = match found {
        Unexpected::Unit => "null".to_owned(),
        Unexpected::Bool(value) => format!("boolean `{value}`"),
        Unexpected::Unsigned(value) => format!("integer `{value}`"),
        Unexpected::Signed(value) => format!("integer `{value}`"),
        Unexpected::Float(_) => "a floating-point number".to_owned(),
        Unexpected::Str(value) => format!("string {value:?}"),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a table".to_owned(),
        Unexpected::Other(what) => what.to_owned(),
        _ => "something else".to_owned(),
    };
    ReadError::new(format!("is {found}, but must be {expected}"))
}

/// In the words of the text, not of Rust.
fn describe(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "u64" => "a whole number, not negative".to_owned(),
        "a map" => "a table".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a boolean" => "true or false".to_owned(),
        text if text.starts_with("tuple struct Amount") => {
            "a whole number, not negative".to_owned()
        }
        text if text.contains("enum ") => "a string".to_owned(),
        _ => text,
    }
}

fn any_of(names: &[&str]) -> String {
    let mut text = String::new();
    for (index, name) in names.iter().enumerate() {
        let left = names.len().saturating_sub(index);
        text.push_str(match left {
            _ if index == 0 => "",
            1 => " or ",
            _ => ", ",
        });
        text.push_str(&format!("{name:?}"));
    }
    text
}

impl Node {
    fn mismatch(&self, expected: &dyn Expected) -> ReadError {
        let found = match &self.value {
            Value::Integer(value) => match (u64::try_from(*value), i64::try_from(*value)) {
                (Ok(value), _) => Unexpected::Unsigned(value),
                (_, Ok(value)) => Unexpected::Signed(value),
                _ => Unexpected::Other("a huge number"),
            },
            value => value.unexpected(),
        };
        mismatch(found, &describe(expected))
    }
}

// What a policy has is asked for by its kind. `deserialize_any` would do for all of it, but then every type of a policy
// would be compiled for every kind of value.
impl<'de> Deserializer<'de> for &'de Node {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.value {
            Value::Bool(_) => self.deserialize_bool(visitor),
            Value::Integer(_) => self.deserialize_u64(visitor),
            Value::Text(_) => self.deserialize_str(visitor),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Table(_) => self.deserialize_map(visitor),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.value {
            Value::Bool(value) => visitor.visit_bool(*value),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let Value::Integer(value) = &self.value else { return Err(self.mismatch(&visitor)) };
        let Ok(value) = u64::try_from(*value) else { return Err(self.mismatch(&visitor)) };
        visitor.visit_u64(value)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.value {
            Value::Text(value) => visitor.visit_borrowed_str(value),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.value {
            Value::List(items) => visitor.visit_seq(Items { items: items.iter().enumerate() }),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.value {
            Value::Table(entries) => {
                visitor.visit_map(Entries { entries: entries.iter(), value: None })
            }
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.value {
            Value::Text(text) => {
                let text: StrDeserializer<'_, ReadError> = text.as_str().into_deserializer();
                text.deserialize_enum(name, variants, visitor)
            }
            other => Err(mismatch(other.unexpected(), &any_of(variants))),
        }
    }

    // Derived structs would take a list too, and read its items in the order of the fields.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.value {
            Value::Table(_) => self.deserialize_map(visitor),
            other => Err(mismatch(other.unexpected(), "a table")),
        }
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 f64 char bytes byte_buf unit unit_struct tuple
        tuple_struct identifier ignored_any
    }
}

impl Value {
    fn unexpected(&self) -> Unexpected<'_> {
        match self {
            Value::Null => Unexpected::Unit,
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::Integer(_) => Unexpected::Other("a number"),
            Value::Float(value) => Unexpected::Float(*value),
            Value::Text(value) => Unexpected::Str(value),
            #[cfg(feature = "toml")]
            Value::Time => Unexpected::Other("a date or time"),
            Value::List(_) => Unexpected::Seq,
            Value::Table(_) => Unexpected::Map,
        }
    }
}

struct Items<'de> {
    items: core::iter::Enumerate<core::slice::Iter<'de, Node>>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let Some((index, item)) = self.items.next() else { return Ok(None) };
        seed.deserialize(item).map(Some).map_err(|error| error.within(Step::Index(index)))
    }
}

struct Entries<'de> {
    entries: core::slice::Iter<'de, (String, Node)>,
    value: Option<&'de (String, Node)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        self.value = self.entries.next();
        let Some((key, _)) = self.value else { return Ok(None) };
        let text: BorrowedStrDeserializer<'de, ReadError> = BorrowedStrDeserializer::new(key);
        seed.deserialize(text).map(Some).map_err(|error| error.within(Step::Key(key.clone())))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let Some((key, node)) = self.value.take() else {
            return Err(ReadError::custom("a value was asked for before its key"));
        };
        seed.deserialize(node).map_err(|error| error.within(Step::Key(key.clone())))
    }
}
