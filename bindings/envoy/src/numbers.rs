//! Whole numbers as Envoy hands them over.
//!
//! In a `google.protobuf.Struct` that was written as YAML, Envoy makes a text of every whole number that 32 bits do not hold: `window_ms:
//! 2592000000`, which is a month, arrives as `"2592000000"`.

use serde_json::Value;

/// The same with those texts as the numbers that they were; `None` where there are none.
pub(crate) fn restored(value: &Value) -> Option<Value> {
    let mut restored = value.clone();
    restore(&mut restored).then_some(restored)
}

/// Whether anything was changed.
fn restore(value: &mut Value) -> bool {
    match value {
        Value::String(text) => match number(text) {
            Some(number) => {
                *value = number.into();
                true
            }
            None => false,
        },
        // Not `any`: each of them is restored.
        Value::Array(values) => {
            values.iter_mut().fold(false, |changed, one| restore(one) | changed)
        }
        Value::Object(members) => {
            members.values_mut().fold(false, |changed, one| restore(one) | changed)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (i32::try_from(number).is_err() && number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_that_envoy_made_of_numbers_are_numbers_again() {
        let value = json!({"a": ["2147483648", "x"], "b": {"c": "18446744073709551615"}, "d": 1});
        let wanted = json!({"a": [2_147_483_648_u64, "x"], "b": {"c": u64::MAX}, "d": 1});
        assert_eq!(restored(&value), Some(wanted));
        for other in [
            "2147483647",
            "02147483648",
            "+2147483648",
            "2147483648 ",
            "1e10",
            "18446744073709551616",
            "",
        ] {
            assert_eq!(restored(&json!({"a": [other]})), None, "{other}");
        }
    }
}
