//! From the tree to a policy, in one pass: what cannot be read is reported and left out, and the rest is read all the same.
//!
//! By hand and not by serde's derive: that compiles every type of a policy for every kind of value, and stops at the first error.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{Expected, IntoDeserializer, Unexpected};

use super::node::{Node, Value};
use crate::idempotency::OnOrphan;
use crate::ledger::{Amount, OnExpiry};
use crate::limit::{Algorithm, Counts, FailureMode, Partition};
use crate::policy::compiled::ForwardedHeader;
use crate::policy::config::{
    AnswersConfig, IdempotencyConfig, IdempotencyOverrides, LimitConfig, PathsConfig, PolicyConfig,
    ReservationsConfig, ResetFormat, RouteConfig, RouteIdempotency, SourceConfig, TokensConfig,
};
use crate::policy::error::{Problems, element, place};
use crate::token::TokenFormat;

/// A setting, which takes its value from a node.
pub(super) trait Read {
    /// What it is before it is read.
    fn blank() -> Self
    where
        Self: Sized;

    /// Reads it; false, and a problem, when the node holds no such value.
    fn read(&mut self, node: &Node, at: &str, problems: &mut Problems) -> bool;
}

fn mismatch(node: &Node, at: &str, expected: &str, problems: &mut Problems) -> bool {
    let message = format!("is {}, but must be {expected}", node.value.shown());
    report(node, at, message, problems)
}

fn report(node: &Node, at: &str, message: String, problems: &mut Problems) -> bool {
    problems.add_at_line(at.to_owned(), node.line, message);
    false
}

impl Value {
    /// In the words of the text, not of Rust.
    fn shown(&self) -> String {
        match self {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => format!("boolean `{value}`"),
            Value::Integer(value) => match (u64::try_from(*value), i64::try_from(*value)) {
                (Err(_), Err(_)) => "a huge number".to_owned(),
                (Ok(value), _) => format!("integer `{value}`"),
                (_, Ok(value)) => format!("integer `{value}`"),
            },
            Value::Float => "a floating-point number".to_owned(),
            Value::Text(value) => format!("string {value:?}"),
            #[cfg(feature = "toml")]
            Value::Time => "a date or time".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Table(_) => "a table".to_owned(),
        }
    }
}

fn any_of<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> String {
    let mut text = String::new();
    let count = names.len();
    for (index, name) in names.enumerate() {
        text.push_str(match count.saturating_sub(index) {
            _ if index == 0 => "",
            1 => " or ",
            _ => ", ",
        });
        text.push_str(&format!("{name:?}"));
    }
    text
}

impl Read for bool {
    fn blank() -> Self {
        false
    }

    fn read(&mut self, node: &Node, at: &str, problems: &mut Problems) -> bool {
        let Value::Bool(value) = node.value else {
            return mismatch(node, at, "true or false", problems);
        };
        *self = value;
        true
    }
}

impl Read for u64 {
    fn blank() -> Self {
        0
    }

    fn read(&mut self, node: &Node, at: &str, problems: &mut Problems) -> bool {
        let number = match node.value {
            Value::Integer(number) => u64::try_from(number).ok(),
            _ => None,
        };
        let Some(number) = number else {
            return mismatch(node, at, "a whole number, not negative", problems);
        };
        *self = number;
        true
    }
}

impl Read for Amount {
    fn blank() -> Self {
        Amount(0)
    }

    fn read(&mut self, node: &Node, at: &str, problems: &mut Problems) -> bool {
        self.0.read(node, at, problems)
    }
}

impl Read for String {
    fn blank() -> Self {
        String::new()
    }

    fn read(&mut self, node: &Node, at: &str, problems: &mut Problems) -> bool {
        let Value::Text(text) = &node.value else {
            return mismatch(node, at, "a string", problems);
        };
        self.clone_from(text);
        true
    }
}

/// An absent setting, and `null`, are `None`.
impl<T: Read> Read for Option<T> {
    fn blank() -> Self {
        None
    }

    fn read(&mut self, node: &Node, at: &str, problems: &mut Problems) -> bool {
        if node.value == Value::Null {
            return true;
        }
        let mut value = T::blank();
        let is_read = value.read(node, at, problems);
        *self = is_read.then_some(value);
        is_read
    }
}

impl Read for Vec<String> {
    fn blank() -> Self {
        Vec::new()
    }

    fn read(&mut self, node: &Node, at: &str, problems: &mut Problems) -> bool {
        let Value::List(items) = &node.value else {
            return mismatch(node, at, "a list", problems);
        };
        for (index, item) in items.iter().enumerate() {
            let mut text = String::new();
            text.read(item, &element(at, index), problems);
            // One that is wrong too: the others keep their numbers, which errors yet to come will name.
            self.push(text);
        }
        true
    }
}

impl<T: Read> Read for BTreeMap<String, T> {
    fn blank() -> Self {
        BTreeMap::new()
    }

    fn read(&mut self, node: &Node, at: &str, problems: &mut Problems) -> bool {
        let Value::Table(entries) = &node.value else {
            return mismatch(node, at, "a table", problems);
        };
        for (key, entry) in entries {
            let mut value = T::blank();
            if value.read(entry, &place(at, key), problems) {
                self.insert(key.clone(), value);
            }
        }
        true
    }
}

/// A setting without which its table is none.
struct Needed<T>(Option<T>);

impl<T: Read> Read for Needed<T> {
    fn blank() -> Self {
        Needed(None)
    }

    fn read(&mut self, node: &Node, at: &str, problems: &mut Problems) -> bool {
        let mut value = T::blank();
        let is_read = value.read(node, at, problems);
        self.0 = is_read.then_some(value);
        is_read
    }
}

/// Reads a table's entries into the settings of their names. One that cannot be read leaves its setting as it was.
fn table(
    node: &Node,
    at: &str,
    problems: &mut Problems,
    settings: &mut [(&'static str, &mut dyn Read)],
) -> bool {
    let Value::Table(entries) = &node.value else {
        return mismatch(node, at, "a table", problems);
    };
    for (key, entry) in entries {
        let at = place(at, key);
        if let Some((_, setting)) = settings.iter_mut().find(|(name, _)| name == key) {
            setting.read(entry, &at, problems);
        } else {
            let known = any_of(settings.iter().map(|(name, _)| *name));
            report(entry, &at, format!("is unknown; remove it, or use {known}"), problems);
        }
    }
    true
}

/// Tables whose settings all may be left out, by the names of their fields.
macro_rules! tables {
    ($($table:ident { $($setting:ident),* $(,)? })*) => {$(
        impl Read for $table {
            fn blank() -> Self {
                Self::default()
            }

            fn read(&mut self, node: &Node, at: &str, problems: &mut Problems) -> bool {
                let settings: &mut [(&'static str, &mut dyn Read)] =
                    &mut [$((stringify!($setting), &mut self.$setting)),*];
                table(node, at, problems, settings)
            }
        }
    )*};
}

tables! {
    PolicyConfig { tokens, source, paths, scopes, limits, idempotency, reservations, routes, answers }
    TokensConfig { format }
    SourceConfig { trusted_proxies, forwarded_header, shadow_networks }
    PathsConfig { fold_trailing_slash }
    IdempotencyConfig { retention_ms, on_orphan, required, on_store_failure }
    IdempotencyOverrides { retention_ms, on_orphan, required, on_store_failure }
    ReservationsConfig { lease_ms, on_expiry, retention_ms }
    RouteConfig { idempotency, price, lease_ms, on_expiry, limit_costs }
    AnswersConfig { problem_json, x_ratelimit, ietf_ratelimit, reset, realm }
}

impl Read for LimitConfig {
    fn blank() -> Self {
        LimitConfig::new(Partition::Token, 0, 0)
    }

    fn read(&mut self, node: &Node, at: &str, problems: &mut Problems) -> bool {
        let (mut per, mut quota, mut window_ms) = (Needed(None), Needed(None), Needed(None));
        let settings: &mut [(&'static str, &mut dyn Read)] = &mut [
            ("per", &mut per),
            ("quota", &mut quota),
            ("window_ms", &mut window_ms),
            ("algorithm", &mut self.algorithm),
            ("burst", &mut self.burst),
            ("counts", &mut self.counts),
            ("routes", &mut self.routes),
            ("cost", &mut self.cost),
            ("token_override", &mut self.token_override),
            ("shadow", &mut self.shadow),
            ("on_store_failure", &mut self.on_store_failure),
        ];
        if !table(node, at, problems, settings) {
            return false;
        }
        let (Some(per), Some(quota), Some(window_ms)) = (per.0, quota.0, window_ms.0) else {
            let missing = ["per", "quota", "window_ms"]
                .into_iter()
                .zip([per.0.is_none(), quota.0.is_none(), window_ms.0.is_none()])
                .find(|(_, is_missing)| *is_missing);
            // It is not missing for the reader if it was there and has been reported.
            if let Some((name, _)) = missing.filter(|(name, _)| !node.has(name)) {
                report(node, at, format!("has no {name:?}; add it"), problems);
            }
            return false;
        };
        (self.per, self.quota, self.window_ms) = (per, quota, window_ms);
        true
    }
}

impl Read for RouteIdempotency {
    fn blank() -> Self {
        RouteIdempotency::Switch(false)
    }

    fn read(&mut self, node: &Node, at: &str, problems: &mut Problems) -> bool {
        *self = match &node.value {
            Value::Bool(on) => RouteIdempotency::Switch(*on),
            Value::Table(_) => {
                let mut settings = IdempotencyOverrides::default();
                settings.read(node, at, problems);
                RouteIdempotency::Settings(settings)
            }
            _ => {
                let expected = "true, false, or a table of idempotency settings";
                return mismatch(node, at, expected, problems);
            }
        };
        true
    }
}

/// Settings that are one of a few words, which serde knows.
macro_rules! words {
    ($($word:ident = $blank:expr,)*) => {$(
        impl Read for $word {
            fn blank() -> Self {
                $blank
            }

            fn read(&mut self, node: &Node, at: &str, problems: &mut Problems) -> bool {
                // What is no text is none of the words either: the error names them.
                let text = if let Value::Text(text) = &node.value { text } else { "" };
                let text: StrDeserializer<'_, NoWord> = text.into_deserializer();
                match $word::deserialize(text) {
                    Ok(word) => {
                        *self = word;
                        true
                    }
                    Err(NoWord(words)) => no_word(node, at, words, problems),
                }
            }
        }
    )*};
}

words! {
    TokenFormat = TokenFormat::default(),
    ForwardedHeader = ForwardedHeader::default(),
    Partition = Partition::Token,
    Algorithm = Algorithm::Gcra,
    Counts = Counts::Requests,
    FailureMode = FailureMode::default(),
    OnOrphan = OnOrphan::default(),
    OnExpiry = OnExpiry::default(),
    ResetFormat = ResetFormat::default(),
}

fn no_word(node: &Node, at: &str, words: &[&str], problems: &mut Problems) -> bool {
    let expected = any_of(words.iter().copied());
    match &node.value {
        Value::Text(text) => {
            report(node, at, format!("is {text:?}, but must be {expected}"), problems)
        }
        _ => mismatch(node, at, &expected, problems),
    }
}

/// That a text is none of these words.
#[derive(Debug)]
struct NoWord(&'static [&'static str]);

impl serde::de::Error for NoWord {
    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        NoWord(expected)
    }

    fn invalid_type(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        NoWord(&[])
    }

    fn custom<T: fmt::Display>(_: T) -> Self {
        NoWord(&[])
    }
}

impl fmt::Display for NoWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an unknown word")
    }
}

impl core::error::Error for NoWord {}
