//! JSON as it crosses to JavaScript and back, without code for each type: that is most of what would be to download.

use core::fmt::{self, Write};

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::Fault;

/// A value that was read. It may be a secret, so it has no `Debug`.
#[derive(PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(u64),
    /// A number that is negative or not whole, which nothing takes.
    OtherNumber,
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::OtherNumber)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::OtherNumber)
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        while let Some(member) = members.next_entry()? {
            object.push(member);
        }
        Ok(Json::Object(object))
    }
}

/// The members of an object, each of which is taken once. What is said of them quotes no value: it may be a secret in the
/// wrong member.
pub(crate) struct Members(Vec<(String, Json)>);

impl Members {
    pub(crate) fn read(text: &str) -> Result<Self, Fault> {
        let value = serde_json::from_str(text)
            .map_err(|error| Fault::invalid(format!("not JSON: {error}")))?;
        Members::of(value, "it")
    }

    pub(crate) fn of(value: Json, name: &str) -> Result<Self, Fault> {
        match value {
            Json::Object(members) => Ok(Members(members)),
            _ => Err(unfit(name, "an object")),
        }
    }

    /// A member that is there, `null` or not.
    pub(crate) fn given(&mut self, name: &str) -> Option<Json> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// A member that may be left out or `null`.
    pub(crate) fn optional(&mut self, name: &str) -> Option<Json> {
        self.given(name).filter(|value| *value != Json::Null)
    }

    pub(crate) fn required(&mut self, name: &str) -> Result<Json, Fault> {
        self.given(name).ok_or_else(|| Fault::invalid(format!("{name:?} is missing")))
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<String, Fault> {
        text(self.required(name)?, name)
    }

    pub(crate) fn number(&mut self, name: &str) -> Result<u64, Fault> {
        number(self.required(name)?, name)
    }

    pub(crate) fn optional_number(&mut self, name: &str) -> Result<Option<u64>, Fault> {
        self.optional(name).map(|value| number(value, name)).transpose()
    }

    /// False when left out.
    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, Fault> {
        match self.optional(name) {
            None => Ok(false),
            Some(Json::Bool(flag)) => Ok(flag),
            Some(_) => Err(unfit(name, "true or false")),
        }
    }

    /// A list that may be left out.
    pub(crate) fn list(&mut self, name: &str) -> Result<Option<Vec<Json>>, Fault> {
        match self.optional(name) {
            None => Ok(None),
            Some(Json::List(items)) => Ok(Some(items)),
            Some(_) => Err(unfit(name, "a list")),
        }
    }

    /// What was not taken, nobody knows.
    pub(crate) fn end(self) -> Result<(), Fault> {
        let Some((name, _)) = self.0.first() else { return Ok(()) };
        Err(Fault::invalid(format!("{name:?} is unknown here, or there twice")))
    }
}

pub(crate) fn unfit(name: &str, wanted: &str) -> Fault {
    Fault::invalid(format!("{name:?} must be {wanted}"))
}

pub(crate) fn text(value: Json, name: &str) -> Result<String, Fault> {
    match value {
        Json::Text(text) => Ok(text),
        _ => Err(unfit(name, "a string")),
    }
}

/// A number of 64 bits: JavaScript's own hold 53, so larger ones are strings of digits.
pub(crate) fn number(value: Json, name: &str) -> Result<u64, Fault> {
    let number = match value {
        Json::Number(number) => Some(number),
        Json::Text(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
            digits.parse().ok()
        }
        _ => None,
    };
    number.ok_or_else(|| unfit(name, "a whole number from 0 to 2^64 - 1"))
}

/// JSON while it is written.
#[derive(Debug, Default)]
pub(crate) struct JsonText(String);

impl JsonText {
    fn separate(&mut self) {
        if !matches!(self.0.as_bytes().last(), None | Some(b'[' | b'{' | b':')) {
            self.0.push(',');
        }
    }

    /// A number of 16 or 32 bits, `true`, `false`, `null`, or an opening bracket.
    pub(crate) fn word(&mut self, word: &str) -> &mut Self {
        self.separate();
        self.0.push_str(word);
        self
    }

    pub(crate) fn close(&mut self, bracket: char) -> &mut Self {
        self.0.push(bracket);
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.separate();
        self.0.push('"');
        for char in text.chars() {
            match char {
                '"' | '\\' => self.0.extend(['\\', char]),
                '\0'..='\x1f' => {
                    let _ = write!(self.0, "\\u{:04x}", u32::from(char)); // a String takes all
                }
                _ => self.0.push(char),
            }
        }
        self.0.push('"');
        self
    }

    /// What displays without quotes and control characters.
    pub(crate) fn shown(&mut self, value: &dyn fmt::Display) -> &mut Self {
        self.separate();
        let _ = write!(self.0, "\"{value}\""); // a String takes all
        self
    }

    /// The name of an enum's variant, as serde has it.
    pub(crate) fn variant(&mut self, variant: &impl Serialize) -> &mut Self {
        self.shown(&Variant(variant))
    }

    /// A number of 64 bits, as a string.
    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.shown(&number)
    }

    pub(crate) fn flag(&mut self, flag: bool) -> &mut Self {
        self.word(if flag { "true" } else { "false" })
    }

    /// A number, or `null`.
    pub(crate) fn optional(&mut self, number: Option<u64>) -> &mut Self {
        match number {
            Some(number) => self.number(number),
            None => self.word("null"),
        }
    }

    pub(crate) fn name(&mut self, name: &str) -> &mut Self {
        self.text(name).0.push(':');
        self
    }

    pub(crate) fn texts<'t>(&mut self, texts: impl IntoIterator<Item = &'t str>) -> &mut Self {
        self.word("[");
        for text in texts {
            self.text(text);
        }
        self.close(']')
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

/// Texts as a JSON list.
pub(crate) fn json_list<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    let mut json = JsonText::default();
    json.texts(texts);
    json.into_string()
}

struct Variant<'a, T>(&'a T);

impl<T: Serialize> fmt::Display for Variant<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.serialize(f)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_written_is_json() {
        let mut json = JsonText::default();
        json.word("{").name("a\"\\\n\u{7f}é😀").text("\0\u{1f} ").name("list").word("[");
        json.number(u64::MAX).flag(true).optional(None).word("7").word("[").close(']').close(']');
        json.name("object").word("{").name("per").variant(&tollgate::Period::Lifetime);
        json.close('}').name("texts").texts(["x", "y"]).close('}');
        let read: Value = serde_json::from_str(&json.into_string()).unwrap();
        let expected = json!({
            "a\"\\\n\u{7f}é😀": "\0\u{1f} ",
            "list": ["18446744073709551615", true, null, 7, []],
            "object": {"per": "lifetime"},
            "texts": ["x", "y"],
        });
        assert_eq!(read, expected);
    }

    #[test]
    fn members_are_taken_once_and_none_is_left() {
        let text = r#"{"a": 1, "b": "2", "c": null, "d": [true], "e": "x", "f": true}"#;
        let mut members = Members::read(text).unwrap();
        assert_eq!(members.number("a").unwrap(), 1);
        assert_eq!(members.number("b").unwrap(), 2);
        assert_eq!(members.optional_number("c").unwrap(), None);
        assert!(members.list("d").unwrap().unwrap() == [Json::Bool(true)]);
        assert_eq!(members.text("e").unwrap(), "x");
        assert!(members.flag("f").unwrap() && !members.flag("g").unwrap());
        assert!(members.given("a").is_none());
        members.end().unwrap();
    }

    #[test]
    fn faults_name_the_member_and_quote_no_value() {
        let of = |text: &str| Members::read(text).unwrap();
        let faults = [
            of("{}").text("a").unwrap_err(),
            of(r#"{"a": 1}"#).text("a").unwrap_err(),
            of(r#"{"a": "secret"}"#).number("a").unwrap_err(),
            of(r#"{"a": "18446744073709551616"}"#).number("a").unwrap_err(),
            of(r#"{"a": -1}"#).number("a").unwrap_err(),
            of(r#"{"a": 1.5}"#).optional_number("a").unwrap_err(),
            of(r#"{"a": {"secret": 1}}"#).list("a").err().unwrap(),
            of(r#"{"a": "secret"}"#).flag("a").unwrap_err(),
            of(r#"{"a": "secret"}"#).end().unwrap_err(),
        ];
        for fault in faults {
            let text = fault.to_string();
            assert!(text.contains("\"a\"") && !text.contains("secret"), "{text}");
        }
        assert!(Members::read("[]").is_err() && Members::read("{").is_err());
    }
}
