//! Texts of a step that stand for bytes, and texts that must not be shown.

use core::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use tollgate::Headers;

/// Bytes as they are on the wire, written as text: each code point U+0000 to U+00FF is one byte.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Wire(Vec<u8>);

impl Wire {
    /// Takes a text; `None` when it has a code point above U+00FF.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.chars().map(|char| u8::try_from(u32::from(char)).ok()).collect::<Option<_>>().map(Wire)
    }
}

/// Writes bytes as [`Wire`] reads them.
#[must_use]
pub fn wire_text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

impl AsRef<[u8]> for Wire {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It may be the value of an Authorization header.
        write!(f, "Wire({} bytes)", self.0.len())
    }
}

impl<'de> Deserialize<'de> for Wire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Wire::parse(&text).ok_or_else(|| {
            D::Error::custom(
                "a code point above U+00FF stands for no byte: write each byte as one code point, \
                 U+0000 to U+00FF",
            )
        })
    }
}

/// Headers in the order of arrival, written as a list of `[name, value]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct HeaderList(pub Vec<(Wire, Wire)>);

impl Headers for HeaderList {
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        self.0.as_slice().value(name, nth)
    }
}

/// The text of a token: its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text. Whoever calls this decides where it goes.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_point_is_a_byte() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(Wire::parse(&wire_text(&all)).unwrap().as_ref(), all);
        assert_eq!(Wire::parse("a\u{100}"), None);
        assert_eq!(Wire::parse("☎"), None);
    }

    #[test]
    fn nothing_is_shown() {
        let secret: Secret = serde_json::from_str("\"hush\"").unwrap();
        let value = Wire::parse("Bearer hush").unwrap();
        assert!(!format!("{secret:?} {value:?}").contains("hush"));
    }
}
