//! Numbers of 64 bits in JSON: JavaScript's own hold 53, so larger ones are strings of digits, and all that go out are.

use core::fmt;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};

/// A number of 64 bits: read from a number or a string of digits, written as a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number(pub(crate) u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number from 0 to 2^64 - 1")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
                Ok(Number(number))
            }

            fn visit_str<E: Error>(self, digits: &str) -> Result<Number, E> {
                let is_number = digits.bytes().all(|digit| digit.is_ascii_digit());
                let number = digits.parse().ok().filter(|_| is_number);
                number
                    .map(Number)
                    .ok_or_else(|| E::invalid_value(Unexpected::Other("a text"), &self))
            }
        }
        deserializer.deserialize_any(Digits)
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
