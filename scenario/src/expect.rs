//! Whether a reply is what a step expects.

use core::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

/// A part of a reply that is not as expected.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mismatch {
    /// Where, as a dotted path within the reply; empty for the reply itself.
    pub place: String,
    /// What was expected, in words or JSON.
    pub expected: String,
    /// What was there; `None` if nothing was.
    pub actual: Option<Value>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.place.is_empty() { "reply" } else { &self.place };
        write!(f, "{place}: expected {}, got ", self.expected)?;
        match &self.actual {
            Some(actual) => write!(f, "{actual}"),
            None => f.write_str("nothing"),
        }
    }
}

/// Matches a reply against the `expect` of its step, and those of the steps within a `parallel` one.
///
/// A step without `expect` must not fail; within a `parallel` step this holds unless that one says
/// itself what to expect.
///
/// # Errors
/// Every mismatch.
pub fn check(step: &Value, reply: &Value) -> Result<(), Vec<Mismatch>> {
    let mut found = Found::default();
    check_step(step, reply, false, "", &mut found);
    found.at_once()
}

/// Matches a reply against an `expect` object.
///
/// Objects are matched member by member, and members that are not expected may be there; arrays must
/// have the same length and match element by element; all else must be equal. `null` is also matched
/// by nothing. Besides:
///
/// - `error`: `true` for any error, `false` for none, or a text that the error contains;
/// - an object for `headers`, by name in any case: a value, a list of all values, or `null` for none;
/// - an object or array for a `body` that is text: the text is read as JSON;
/// - `counts`, against `replies`: how many have this verdict, code, or `"error"`: a number, or
///   `{"min": …, "max": …}`.
///
/// # Errors
/// Every mismatch.
pub fn matches(expect: &Value, reply: &Value) -> Result<(), Vec<Mismatch>> {
    let mut found = Found::default();
    match_reply(expect, reply, "", &mut found);
    found.at_once()
}

/// What a match found.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) mismatches: Vec<Mismatch>,
    /// What could not be matched yet: the headers of allowed requests whose replies do not show any.
    pub(crate) late: Vec<LateHeaders>,
}

/// Headers that are expected of an allowed request, and were not seen with its reply.
pub(crate) struct LateHeaders {
    pub(crate) id: String,
    place: String,
    expected: Value,
}

impl Found {
    /// For who cannot wait: what was not seen is not as expected.
    fn at_once(mut self) -> Result<(), Vec<Mismatch>> {
        for late in core::mem::take(&mut self.late) {
            add(&mut self, &late.place, late.expected.to_string(), None);
        }
        if self.mismatches.is_empty() { Ok(()) } else { Err(self.mismatches) }
    }
}

impl LateHeaders {
    /// Matches the headers, once they are seen.
    pub(crate) fn matches(&self, headers: &Value) -> Vec<Mismatch> {
        let mut found = Found::default();
        let place = format!("request `{}`", self.id);
        if !headers.is_array() {
            add(&mut found, &within(&place, "headers"), self.expected.to_string(), Some(headers));
            return found.mismatches;
        }
        match_member("headers", &self.expected, Some(headers), &place, &mut found);
        found.mismatches
    }
}

/// The request whose headers are seen later: the reply allows it and shows no headers.
fn seen_later(reply: &Value) -> Option<&str> {
    let is_allowed = reply.get("verdict").and_then(Value::as_str) == Some("allow");
    let id = reply.get("id").and_then(Value::as_str)?;
    (is_allowed && reply.get("headers").is_none()).then_some(id)
}

fn add(found: &mut Found, place: &str, expected: impl Into<String>, actual: Option<&Value>) {
    found.mismatches.push(Mismatch {
        place: place.to_owned(),
        expected: expected.into(),
        actual: actual.cloned(),
    });
}

fn within(place: &str, name: &str) -> String {
    if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") }
}

pub(crate) fn check_step(
    step: &Value,
    reply: &Value,
    may_fail: bool,
    place: &str,
    found: &mut Found,
) {
    let expect = step.get("expect");
    match expect {
        Some(expect) => match_reply(expect, reply, place, found),
        None if !may_fail && reply.get("error").is_some() => {
            add(found, place, "no error", Some(reply));
        }
        None => {}
    }
    let inner = step.get("steps").and_then(Value::as_array);
    let replies = reply.get("replies").and_then(Value::as_array);
    for (index, (step, reply)) in
        inner.into_iter().flatten().zip(replies.into_iter().flatten()).enumerate()
    {
        let place = format!("{}[{index}]", within(place, "replies"));
        check_step(step, reply, expect.is_some(), &place, found);
    }
}

fn match_reply(expect: &Value, reply: &Value, place: &str, found: &mut Found) {
    let Value::Object(members) = expect else {
        return add(found, place, "an `expect` that is an object", Some(expect));
    };
    let error = reply.get("error");
    if error.is_some() && !members.contains_key("error") {
        return add(found, place, expect.to_string(), Some(reply));
    }
    let seen_later = seen_later(reply);
    for (name, expected) in members {
        match (name.as_str(), seen_later) {
            ("headers", Some(id)) => found.late.push(LateHeaders {
                id: id.to_owned(),
                place: within(place, name),
                expected: expected.clone(),
            }),
            ("error", _) => match_error(expected, error, place, found),
            ("counts", _) => match_counts(expected, reply, place, found),
            _ => match_member(name, expected, reply.get(name), place, found),
        }
    }
}

fn match_error(expected: &Value, error: Option<&Value>, place: &str, found: &mut Found) {
    let text = error.and_then(Value::as_str);
    let (as_expected, words) = match expected {
        Value::Bool(true) => (text.is_some(), "an error".to_owned()),
        Value::Bool(false) => (error.is_none(), "no error".to_owned()),
        Value::String(part) => {
            let contained = text.is_some_and(|text| text.contains(part.as_str()));
            (contained, format!("an error that contains {expected}"))
        }
        _ => (false, "true, false or a text to look for".to_owned()),
    };
    if !as_expected {
        add(found, &within(place, "error"), words, error);
    }
}

fn match_member(
    name: &str,
    expected: &Value,
    actual: Option<&Value>,
    place: &str,
    found: &mut Found,
) {
    let place = within(place, name);
    match (name, expected, actual) {
        ("headers", Value::Object(expected), Some(Value::Array(actual))) => {
            match_headers(expected, actual, &place, found);
        }
        ("body", Value::Object(_) | Value::Array(_), Some(text @ Value::String(body))) => {
            match serde_json::from_str(body) {
                Ok(body) => match_value(expected, Some(&body), &place, found),
                Err(_) => add(found, &place, format!("JSON like {expected}"), Some(text)),
            }
        }
        ("replies", Value::Array(expected), Some(Value::Array(actual)))
            if expected.len() == actual.len() =>
        {
            for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                match_reply(expected, actual, &format!("{place}[{index}]"), found);
            }
        }
        _ => match_value(expected, actual, &place, found),
    }
}

fn match_value(expected: &Value, actual: Option<&Value>, place: &str, found: &mut Found) {
    match (expected, actual) {
        (Value::Null, None) => {}
        (Value::Object(members), Some(actual @ Value::Object(_))) => {
            for (name, expected) in members {
                match_member(name, expected, actual.get(name), place, found);
            }
        }
        (Value::Array(expected), Some(Value::Array(actual))) if expected.len() == actual.len() => {
            for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                match_value(expected, Some(actual), &format!("{place}[{index}]"), found);
            }
        }
        (expected, Some(actual)) if expected == actual => {}
        _ => add(found, place, expected.to_string(), actual),
    }
}

fn match_headers(expected: &Map<String, Value>, actual: &[Value], place: &str, found: &mut Found) {
    for (name, expected) in expected {
        let values: Vec<&Value> = actual
            .iter()
            .filter(|pair| {
                let known = pair.get(0).and_then(Value::as_str);
                known.is_some_and(|known| known.eq_ignore_ascii_case(name))
            })
            .filter_map(|pair| pair.get(1))
            .collect();
        let as_expected = match (expected, values.as_slice()) {
            (Value::Null, []) => true,
            (Value::Array(all), values) => all.iter().eq(values.iter().copied()),
            (one, [value]) => one == *value,
            _ => false,
        };
        if !as_expected {
            let actual = match values.as_slice() {
                [] => None,
                [value] => Some((*value).clone()),
                _ => Some(values.into_iter().cloned().collect()),
            };
            let words = if expected.is_null() { "none".to_owned() } else { expected.to_string() };
            add(found, &within(place, name), words, actual.as_ref());
        }
    }
}

fn match_counts(expected: &Value, reply: &Value, place: &str, found: &mut Found) {
    let place = within(place, "counts");
    let Some(replies) = reply.get("replies").and_then(Value::as_array) else {
        return add(found, &place, "a reply with `replies`", Some(reply));
    };
    let Value::Object(expected) = expected else {
        return add(found, &place, "an object of numbers by verdict or code", Some(expected));
    };
    for (name, bounds) in expected {
        let is_counted = |reply: &&Value| {
            let is_name = |member| reply.get(member).and_then(Value::as_str) == Some(name);
            is_name("verdict") || is_name("code") || name == "error" && reply.get("error").is_some()
        };
        let count = replies.iter().filter(is_counted).count();
        if !holds(bounds, u64::try_from(count).unwrap_or(u64::MAX)) {
            add(found, &within(&place, name), bounds.to_string(), Some(&count.into()));
        }
    }
}

/// Whether a count is a number, or within `{"min", "max"}`. Any other member never holds.
fn holds(bounds: &Value, count: u64) -> bool {
    match bounds {
        Value::Object(bounds) => {
            bounds.iter().all(|(name, bound)| match (name.as_str(), bound.as_u64()) {
                ("min", Some(min)) => count >= min,
                ("max", Some(max)) => count <= max,
                _ => false,
            })
        }
        exact => exact.as_u64() == Some(count),
    }
}
