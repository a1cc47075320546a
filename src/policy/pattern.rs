//! Route patterns as they are written: `METHOD /path/{param}`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::path::canonical_path;

/// The most segments of a pattern; it bounds how deep a look-up goes.
const MAX_SEGMENTS: usize = 64;

/// A pattern that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern<'p> {
    pub method: &'p str,
    pub path: &'p str,
    pub segments: Vec<Segment<'p>>,
}

/// What stands between two slashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Segment<'p> {
    /// Matches itself.
    Literal(&'p str),
    /// Matches any one segment that is not empty. The name is for readers only.
    Param(&'p str),
}

impl<'p> Pattern<'p> {
    /// Reads a pattern; the error says what is wrong and what to do.
    pub(crate) fn parse(text: &'p str) -> Result<Self, String> {
        let Some((method, path)) = text.split_once(' ') else {
            return Err(format!(
                "route {text:?} has no method; write it as METHOD /path, e.g. \"GET /messages\""
            ));
        };
        check_method(text, method)?;
        check_path(text, path)?;
        let segments = path.split('/').skip(1).map(|segment| read_segment(text, segment));
        let segments: Vec<Segment<'p>> = segments.collect::<Result<_, _>>()?;
        if segments.len() > MAX_SEGMENTS {
            return Err(format!(
                "route {text:?} has {} segments; use at most {MAX_SEGMENTS}",
                segments.len()
            ));
        }
        let mut names: Vec<&str> = segments.iter().filter_map(Segment::param).collect();
        names.sort_unstable();
        if let Some(name) = names.windows(2).find_map(|pair| match pair {
            [a, b] if a == b => Some(*a),
            _ => None,
        }) {
            return Err(format!(
                "route {text:?} has the parameter {{{name}}} twice; give each its own name"
            ));
        }
        Ok(Pattern { method, path, segments })
    }

    pub(crate) fn is_static(&self) -> bool {
        self.segments.iter().all(|segment| segment.param().is_none())
    }
}

impl<'p> Segment<'p> {
    fn param(&self) -> Option<&'p str> {
        match self {
            Segment::Literal(_) => None,
            Segment::Param(name) => Some(name),
        }
    }
}

/// A method is a token (RFC 9110, 5.6.2), and case-sensitive; all that exist are upper-case.
fn check_method(text: &str, method: &str) -> Result<(), String> {
    let token = |byte: u8| {
        byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
    };
    if method == "HEAD" {
        return Err(format!(
            "route {text:?} declares HEAD; declare GET instead, which HEAD requests match too"
        ));
    }
    if method.is_empty() || !method.bytes().all(token) {
        return Err(format!(
            "route {text:?} has a bad method; use an upper-case HTTP method such as GET or POST, \
             then one space and the path"
        ));
    }
    Ok(())
}

fn check_path(text: &str, path: &str) -> Result<(), String> {
    if canonical_path(path.as_bytes(), false) != Some(path.as_bytes()) {
        return Err(format!(
            "route {text:?} has a path that no request can match; start it with '/', and use no \
             query, trailing slash, empty or dot segments, spaces, '\\', ';', '#', or needless \
             percent escapes"
        ));
    }
    Ok(())
}

fn read_segment<'p>(text: &str, segment: &'p str) -> Result<Segment<'p>, String> {
    if !segment.contains(['{', '}']) {
        return Ok(Segment::Literal(segment));
    }
    let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let valid = |name: &&str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    name.filter(valid).map(Segment::Param).ok_or_else(|| {
        format!(
            "route {text:?} has the segment {segment:?}; a parameter takes a whole segment and is \
             named with letters, digits and '_', e.g. /messages/{{id}}"
        )
    })
}
