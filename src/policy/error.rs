//! What is wrong with a policy, all of it at once.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// One thing that is wrong with a policy, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyError {
    /// Where, as a dotted path (`limits.token.window_ms`, `scopes."sms:send"[0]`); empty for the
    /// text as a whole.
    pub place: String,
    /// Line in the text, from 1; `None` when the policy did not come from text.
    pub line: Option<usize>,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.message)
    }
}

impl core::error::Error for PolicyError {}

/// Everything that is wrong with a policy, by line and place; never empty. Displays one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyErrors(Vec<PolicyError>);

impl PolicyErrors {
    /// The errors, by line and place.
    #[must_use]
    pub fn as_slice(&self) -> &[PolicyError] {
        &self.0
    }

    /// The errors, by line and place.
    pub fn iter(&self) -> core::slice::Iter<'_, PolicyError> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a PolicyErrors {
    type Item = &'a PolicyError;
    type IntoIter = core::slice::Iter<'a, PolicyError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fmt::Display::fmt(error, f)?;
        }
        Ok(())
    }
}

impl core::error::Error for PolicyErrors {}

/// Errors while they are gathered.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    own: Vec<PolicyError>,
    references: Vec<PolicyError>,
}

impl Problems {
    pub(crate) fn add(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.own.push(error(place.into(), message.into()));
    }

    /// A name that nothing declares. It may be a mere consequence when the declaration itself could
    /// not be read, so that only a policy that could be read whole reports it.
    pub(crate) fn add_reference(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.references.push(error(place.into(), message.into()));
    }

    #[cfg(any(feature = "toml", feature = "json"))]
    pub(crate) fn add_at_line(&mut self, place: String, line: Option<usize>, message: String) {
        self.own.push(PolicyError { place, line, message });
    }

    /// The errors so far, without references: for a policy of which a part could not be read.
    #[cfg(any(feature = "toml", feature = "json"))]
    pub(crate) fn without_references(mut self) -> Self {
        self.references.clear();
        self
    }

    /// Keeps the first `most`, and says so; whether there were no more.
    #[cfg(any(feature = "toml", feature = "json"))]
    pub(crate) fn cut_after(&mut self, most: usize) -> bool {
        if self.own.len() <= most {
            return true;
        }
        self.own.truncate(most);
        self.add("", "there are more errors; correct these first");
        false
    }

    #[cfg(any(feature = "toml", feature = "json"))]
    pub(crate) fn is_empty(&self) -> bool {
        self.own.is_empty() && self.references.is_empty()
    }

    /// Adds those of `other` whose place has no error yet.
    #[cfg(any(feature = "toml", feature = "json"))]
    pub(crate) fn append(&mut self, other: Problems) {
        let known: alloc::collections::BTreeSet<String> =
            self.own.iter().map(|error| error.place.clone()).collect();
        let is_new = |error: &PolicyError| !known.contains(&error.place);
        self.own.extend(other.own.into_iter().filter(is_new));
        self.references.extend(other.references.into_iter().filter(is_new));
    }

    /// Names the lines that are not known yet.
    #[cfg(any(feature = "toml", feature = "json"))]
    pub(crate) fn locate(&mut self, line_of: impl Fn(&str) -> Option<usize>) {
        for error in self.own.iter_mut().chain(&mut self.references) {
            error.line = error.line.or_else(|| line_of(&error.place));
        }
    }

    /// `value`, unless there are errors.
    pub(crate) fn or<T>(self, value: Option<T>) -> Result<T, PolicyErrors> {
        let mut errors = self.own;
        errors.extend(self.references);
        errors.sort_by(|a, b| (a.line, &a.place).cmp(&(b.line, &b.place)));
        match value {
            Some(value) if errors.is_empty() => Ok(value),
            _ if errors.is_empty() => Err(PolicyErrors(alloc::vec![error(
                String::new(),
                "the policy cannot be read".into()
            )])),
            _ => Err(PolicyErrors(errors)),
        }
    }
}

fn error(place: String, message: String) -> PolicyError {
    PolicyError { place, line: None, message }
}

/// A place within another: `limits` and `token` make `limits.token`. Names that are not bare TOML
/// keys are quoted, as one would write them.
pub(crate) fn place(parent: &str, key: &str) -> String {
    let mut place = String::from(parent);
    if !place.is_empty() {
        place.push('.');
    }
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !key.is_empty() && key.bytes().all(bare) {
        place.push_str(key);
    } else {
        place.push('"');
        place.extend(key.escape_debug());
        place.push('"');
    }
    place
}

/// An element of a list: `scopes.otp` and 1 make `scopes.otp[1]`.
pub(crate) fn element(parent: &str, index: usize) -> String {
    alloc::format!("{parent}[{index}]")
}
