//! Bytes in JSON: header texts as one code point a byte, bodies as text where they are, else in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes of a head as text: each code point U+0000 to U+00FF is one byte, so that anything a client sent can be written.
#[derive(Clone, Default)]
pub(super) struct Wire(pub Bytes);

impl<'de> Deserialize<'de> for Wire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes: Option<Vec<u8>> =
            text.chars().map(|char| u8::try_from(u32::from(char)).ok()).collect();
        let message = "a text with a code point above U+00FF, which stands for no byte";
        bytes.map(|bytes| Wire(bytes.into())).ok_or_else(|| serde::de::Error::custom(message))
    }
}

impl Serialize for Wire {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text: String = self.0.iter().copied().map(char::from).collect();
        serializer.serialize_str(&text)
    }
}

/// Bytes in base64 (RFC 4648, section 4).
pub(super) struct Base64(pub Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text);
        bytes.map(Base64).map_err(|_| serde::de::Error::custom("a text that is not base64"))
    }
}

/// A body as `(body, body_base64)`: the first where it is UTF-8.
pub(super) fn body_texts(body: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(body) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(STANDARD.encode(body))),
    }
}
