//! The canonical path of a request target.
//!
//! A path that two programs could read in two ways would let a request be authorised as one
//! endpoint and served as another. So nothing is normalised here: a path is either in the one form
//! that everybody reads alike, or it is refused.

/// What one byte of a path means to [`canonical_path`].
#[derive(Clone, Copy)]
enum Class {
    Plain,
    Slash,
    Dot,
    Percent,
    Query,
    Refused,
}

const CLASSES: [Class; 256] = classes();

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)] // const: checked by the compiler
const fn classes() -> [Class; 256] {
    let mut table = [Class::Refused; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        table[byte] = Class::Plain;
        byte += 1;
    }
    table[b'/' as usize] = Class::Slash;
    table[b'.' as usize] = Class::Dot;
    table[b'%' as usize] = Class::Percent;
    table[b'?' as usize] = Class::Query;
    // `;` starts parameters that some servers drop, `\` is a slash to some, `#` ends the path for some.
    table[b';' as usize] = Class::Refused;
    table[b'\\' as usize] = Class::Refused;
    table[b'#' as usize] = Class::Refused;
    table
}

/// The path of a request target (`/path?query`, as sent), or `None` when it is not canonical.
///
/// Refused are: anything that does not start with `/`; empty and dot segments; `\`, `;`, `#`,
/// space, control bytes and bytes from 0x7f; malformed percent escapes, and escapes of `/`, `\`,
/// control bytes and unreserved characters (RFC 3986, 2.3); and a trailing slash, unless
/// `fold_trailing_slash` strips it.
pub(crate) fn canonical_path(target: &[u8], fold_trailing_slash: bool) -> Option<&[u8]> {
    let (b'/', mut rest) = target.split_first()? else { return None };
    let mut at_segment_start = true;
    let path = loop {
        let Some((&byte, tail)) = rest.split_first() else { break target };
        let class = CLASSES.get(usize::from(byte)).copied().unwrap_or(Class::Refused);
        match class {
            Class::Plain => {}
            Class::Slash if at_segment_start => return None,
            Class::Slash => {}
            Class::Dot if at_segment_start && is_dot_segment(tail) => return None,
            Class::Dot => {}
            Class::Percent => {
                rest = after_escape(tail)?;
                at_segment_start = false;
                continue;
            }
            Class::Query => break target.get(..target.len().checked_sub(rest.len())?)?,
            Class::Refused => return None,
        }
        at_segment_start = byte == b'/';
        rest = tail;
    };
    match path {
        [] | [b'/'] => Some(path),
        [stem @ .., b'/'] => fold_trailing_slash.then_some(stem),
        _ => Some(path),
    }
}

/// Whether a segment that starts with a dot, and goes on with `tail`, is `.` or `..`.
fn is_dot_segment(tail: &[u8]) -> bool {
    matches!(tail, [] | [b'/' | b'?', ..] | [b'.'] | [b'.', b'/' | b'?', ..])
}

/// What follows the two digits of a percent escape; `None` when the escape is refused.
fn after_escape(tail: &[u8]) -> Option<&[u8]> {
    let [high, low, rest @ ..] = tail else { return None };
    let byte = hex(*high)?.wrapping_shl(4) | hex(*low)?;
    let refused = byte.is_ascii_control()
        || byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/' | b'\\');
    (!refused).then_some(rest)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(digit.wrapping_sub(b'a').wrapping_add(10)),
        b'A'..=b'F' => Some(digit.wrapping_sub(b'A').wrapping_add(10)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn path(target: &str) -> Option<&str> {
        canonical_path(target.as_bytes(), false).map(|path| core::str::from_utf8(path).unwrap())
    }

    #[test]
    fn canonical_paths_pass_without_their_query() {
        for target in [
            "/",
            "/a",
            "/a/b",
            "/a.b",
            "/.a",
            "/..a",
            "/a..",
            "/...",
            "/a/...",
            "/a/.b/c",
            "/%20",
            "/a%3Bb",
            "/%C3%A9",
            "/a:b@c,d=e+f!$&'()*",
            "/~a-b_c",
            "/%25",
        ] {
            assert_eq!(path(target), Some(target));
            assert_eq!(path(&format!("{target}?x=/../%2f//;#")), Some(target));
        }
    }

    #[test]
    fn what_can_be_read_two_ways_is_refused() {
        for target in [
            "",
            "*",
            "a",
            "http://h/a",
            "h:80",
            "?",
            "//",
            "//a",
            "/a//b",
            "/a//",
            "/.",
            "/..",
            "/./",
            "/../",
            "/a/./b",
            "/a/../b",
            "/a/.",
            "/a/..",
            "/.?",
            "/..?q",
            "/%2f",
            "/%2F",
            "/%5c",
            "/%5C",
            "/%2e",
            "/%2E%2e/",
            "/%61",
            "/%41",
            "/%30",
            "/%2d",
            "/%5f",
            "/%7e",
            "/%7E",
            "/%",
            "/%4",
            "/%zz",
            "/%2?",
            "/a%",
            "/a\\b",
            "/a;b",
            "/a#b",
            "/a b",
            "/a\tb",
            "/a\r\n",
            "/\0",
            "/\x7f",
            "/é",
            "/%00",
            "/%0a",
            "/%0D",
            "/%1f",
            "/%7f",
        ] {
            assert_eq!(path(target), None, "{target:?}");
            assert_eq!(canonical_path(target.as_bytes(), true), None, "{target:?}");
        }
    }

    #[test]
    fn one_trailing_slash_is_folded_when_asked() {
        assert_eq!(path("/a/"), None);
        assert_eq!(path("/a/?q"), None);
        assert_eq!(canonical_path(b"/a/", true), Some(&b"/a"[..]));
        assert_eq!(canonical_path(b"/a/?q", true), Some(&b"/a"[..]));
        assert_eq!(canonical_path(b"/", true), Some(&b"/"[..]));
        assert_eq!(canonical_path(b"/a//", true), None);
        assert_eq!(canonical_path(b"/../", true), None);
    }

    /// The rules again, as a list of what must not be there.
    fn naive(target: &[u8]) -> Option<Vec<u8>> {
        let path: Vec<u8> = target.iter().copied().take_while(|byte| *byte != b'?').collect();
        let text: String = path.iter().map(|byte| char::from(*byte)).collect();
        let lower = text.to_ascii_lowercase();
        let ends = ["/.", "/.."].iter().any(|end| text.ends_with(end));
        let inside =
            ["//", "/./", "/../", "\\", ";", "#", " "].iter().any(|bad| text.contains(bad));
        let escape = (0..=255_u8)
            .filter(|byte| {
                byte.is_ascii_control() || byte.is_ascii_alphanumeric() || b"-._~/\\".contains(byte)
            })
            .any(|byte| lower.contains(&format!("%{byte:02x}")));
        let malformed = text.split('%').skip(1).any(|after| {
            after.len() < 2 || !after.bytes().take(2).all(|digit| digit.is_ascii_hexdigit())
        });
        let bytes = path.iter().any(|byte| *byte < 0x20 || *byte >= 0x7f);
        let slash = text.len() > 1 && text.ends_with('/');
        let refused =
            !text.starts_with('/') || ends || inside || escape || malformed || bytes || slash;
        (!refused).then_some(path)
    }

    proptest! {
        #[test]
        fn agrees_with_the_list_of_what_is_refused(
            target in proptest::collection::vec(
                prop_oneof![
                    8 => proptest::sample::select(&b"/.%?a2eEfF5cC7-;\\"[..]),
                    1 => any::<u8>(),
                ],
                0..12,
            ),
            rooted in proptest::bool::weighted(0.8),
        ) {
            let mut target = target;
            if rooted { target.insert(0, b'/'); }
            prop_assert_eq!(canonical_path(&target, false).map(<[u8]>::to_vec), naive(&target));
        }

        #[test]
        fn never_panics(target: Vec<u8>, fold: bool) {
            let _ = canonical_path(&target, fold);
        }
    }
}
