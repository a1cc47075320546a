//! Idempotency keys: what they look like, what they cover, and what is kept of an answer.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::ledger::ReservationId;
use crate::limit::FailureMode;
use crate::request::{Body, trim_ows};
use crate::sha256::{length, sha256};

/// How a route treats its idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyRule {
    /// A request without a key is refused.
    pub required: bool,
    /// How long a completed answer is replayed, in milliseconds from the first request.
    pub retention_ms: u64,
    /// What becomes of a claim whose holder never settled it.
    pub on_orphan: OnOrphan,
    /// What happens when the store cannot answer.
    pub on_store_failure: FailureMode,
}

/// What becomes of a claim whose holder never settled it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnOrphan {
    /// It stays in flight until it is resolved or its retention ends: never silently run again.
    #[default]
    Conflict,
    /// Once its lease ends, the next request with the key runs again.
    Rerun,
}

/// Names a claim within its account: SHA-256 over route and key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClaimKey(pub [u8; 32]);

/// What a key stands for: SHA-256 over method, target and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub [u8; 32]);

/// A claim on an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The request that the key stands for.
    pub fingerprint: Fingerprint,
    /// Number of the execution that holds the claim: the fencing token.
    pub fence: ReservationId,
    /// When its holder is given up, in Unix milliseconds.
    pub lease_until_ms: u64,
    /// When the claim is forgotten, in Unix milliseconds.
    pub expires_ms: u64,
    /// The answer, once there is one.
    pub response: Option<Arc<StoredResponse>>,
}

/// Response headers that a host keeps for replays, unless it is told otherwise: those that say what the body is and where things are. Lower-case.
pub const REPLAY_HEADERS: [&str; 11] = [
    "content-type",
    "content-language",
    "content-encoding",
    "content-disposition",
    "content-location",
    "location",
    "cache-control",
    "etag",
    "last-modified",
    "link",
    "vary",
];

/// Response headers that a host never keeps, whatever it is told: those of one connection, one moment or one client. Lower-case.
pub const NEVER_REPLAYED_HEADERS: [&str; 10] = [
    "set-cookie",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "date",
    "content-length",
];

/// An upstream's answer, kept for replays.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredResponse {
    /// HTTP status.
    pub status: u16,
    /// Chosen headers, in order.
    #[allow(clippy::type_complexity)]
    // pairs of name and value: a name of its own would say less
    pub headers: Box<[(Box<str>, Box<[u8]>)]>,
    /// Body; `None` when it was over the host's bound and only the fact is kept.
    pub body: Option<Box<[u8]>>,
}

impl fmt::Debug for StoredResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Bodies carry customers' data.
        f.debug_struct("StoredResponse")
            .field("status", &self.status)
            .field("headers", &self.headers.len())
            .field("body_bytes", &self.body.as_ref().map(|body| body.len()))
            .finish()
    }
}

/// Over the route's name, prefixed with its length, and the key.
pub(crate) fn claim_key(route: &str, key: &[u8]) -> ClaimKey {
    ClaimKey(sha256([&length(route.as_bytes()), route.as_bytes(), key]))
}

/// Over method, target and the body's SHA-256, each of fixed length or prefixed with it.
pub(crate) fn fingerprint(method: &[u8], target: &[u8], body: Body<'_>) -> Fingerprint {
    let body = match body {
        Body::Bytes(bytes) => sha256([bytes]),
        Body::Sha256(digest) => digest,
    };
    Fingerprint(sha256([&length(method), method, &length(target), target, &body]))
}

/// The longest key.
pub(crate) const MAX_KEY_BYTES: usize = 255;

/// A key that is not 1 to 255 visible ASCII characters, bare or as an RFC 8941 string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidKey;

/// The key in a header value: bare, or as a string (draft-ietf-httpapi-idempotency-key-header, section
/// 2.1; RFC 8941, section 3.3.3), so that `abc` and `"abc"` are the same key. A string's parameters are refused:
/// they could mean something that nobody here would heed.
///
/// The key is a part of `value`, or was written into `buffer` when it had escapes.
pub(crate) fn parse_key<'v>(
    value: &'v [u8],
    buffer: &'v mut [u8; MAX_KEY_BYTES],
) -> Result<&'v [u8], InvalidKey> {
    let key = match trim_ows(value) {
        [b'"', content @ .., b'"'] if !content.contains(&b'\\') => {
            if content.contains(&b'"') {
                return Err(InvalidKey);
            }
            content
        }
        [b'"', content @ .., b'"'] => unescape(content, buffer)?,
        [b'"', ..] => return Err(InvalidKey),
        bare => bare,
    };
    if (1..=MAX_KEY_BYTES).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic) {
        Ok(key)
    } else {
        Err(InvalidKey)
    }
}

/// The characters of a string, of which only quotes and backslashes are escaped, and always.
fn unescape<'b>(
    content: &[u8],
    buffer: &'b mut [u8; MAX_KEY_BYTES],
) -> Result<&'b [u8], InvalidKey> {
    let mut rest = content;
    let mut length = 0_usize;
    while let Some((byte, after)) = rest.split_first() {
        let (byte, after) = match (byte, after) {
            (b'\\', [escaped @ (b'"' | b'\\'), after @ ..]) => (escaped, after),
            (b'\\' | b'"', _) => return Err(InvalidKey),
            other => other,
        };
        *buffer.get_mut(length).ok_or(InvalidKey)? = *byte;
        length = length.saturating_add(1);
        rest = after;
    }
    buffer.get(..length).ok_or(InvalidKey)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn read(value: &[u8]) -> Option<Vec<u8>> {
        parse_key(value, &mut [0; MAX_KEY_BYTES]).ok().map(<[u8]>::to_vec)
    }

    fn quote(key: &[u8]) -> Vec<u8> {
        let mut quoted = alloc::vec![b'"'];
        for byte in key {
            if matches!(byte, b'"' | b'\\') {
                quoted.push(b'\\');
            }
            quoted.push(*byte);
        }
        quoted.push(b'"');
        quoted
    }

    #[test]
    fn table() {
        let longest = [b'k'; 255];
        let table: &[(&[u8], Option<&[u8]>)] = &[
            (b"abc", Some(b"abc")),
            (br#""abc""#, Some(b"abc")),
            (b" \tabc\t ", Some(b"abc")),
            (br#"  "abc" "#, Some(b"abc")),
            (br#""a\"b""#, Some(br#"a"b"#)),
            (br#""a\\b""#, Some(br"a\b")),
            (br#""\"""#, Some(br#"""#)),
            (br"a\b", Some(br"a\b")),
            (br#"a"b"#, Some(br#"a"b"#)),
            (br#"abc""#, Some(br#"abc""#)),
            (b"8e03978e-40d5-43e8-bc93", Some(b"8e03978e-40d5-43e8-bc93")),
            (b"?1", Some(b"?1")),
            (b"abc;a=1", Some(b"abc;a=1")),
            (&longest, Some(&longest)),
            (b"", None),
            (b" \t", None),
            (br#"""#, None),
            (br#""""#, None),
            (br#"" ""#, None),
            (br#""abc"#, None),
            (br#""a"b""#, None),
            (br#""a\b""#, None),
            (br#""a\""#, None),
            (br#""\""#, None),
            (br#""a\\"b""#, None),
            (br#""abc";a=1"#, None),
            (br#""abc";a="1""#, None),
            (br#""abc", "def""#, None),
            (br#""a b""#, None),
            (br#""a\" b""#, None),
            (b"a b", None),
            (b"a\tb", None),
            (b"a\0", None),
            (b"a\x7f", None),
            (b"\"a\\\"\x80\"", None),
            ("ключ".as_bytes(), None),
            (&[b'k'; 256], None),
        ];
        for (value, expected) in table {
            assert_eq!(read(value).as_deref(), *expected, "{:?}", value.escape_ascii());
        }
    }

    #[test]
    fn length_counts_after_unescaping() {
        assert_eq!(read(&quote(&[b'\\'; 255])), Some([b'\\'; 255].to_vec()));
        assert_eq!(read(&quote(&[b'\\'; 256])), None);
        assert_eq!(read(&quote(&[b'k'; 255])), Some([b'k'; 255].to_vec()));
        assert_eq!(read(&quote(&[b'k'; 256])), None);
    }

    #[test]
    fn debug_tells_no_body() {
        let response =
            StoredResponse { status: 201, headers: [].into(), body: Some([42; 9].into()) };
        let text = alloc::format!("{response:?}");
        assert_eq!(text, "StoredResponse { status: 201, headers: 0, body_bytes: Some(9) }");
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(claim_key("POST /pay", b"1"), claim_key("POST /pay1", b""));
        let empty = Body::Bytes(b"");
        assert_ne!(fingerprint(b"GET", b"/a", empty), fingerprint(b"GE", b"T/a", empty));
        assert_eq!(
            fingerprint(b"GET", b"/a", Body::Bytes(b"abc")),
            fingerprint(b"GET", b"/a", Body::Sha256(sha256([b"abc"])))
        );
    }

    proptest! {
        #[test]
        fn quoted_and_bare_are_the_same_key(key in proptest::collection::vec(0x21_u8..=0x7e, 1..=255)) {
            prop_assert_eq!(read(&quote(&key)), Some(key.clone()));
            if key[0] != b'"' {
                prop_assert_eq!(read(&key), Some(key));
            }
        }

        #[test]
        fn any_bytes(value in "[\"\\\\a \u{0}é;]{0,12}", bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            for value in [value.as_bytes(), &bytes] {
                if let Some(key) = read(value) {
                    prop_assert!((1..=255).contains(&key.len()));
                    prop_assert!(key.iter().all(u8::is_ascii_graphic));
                    prop_assert_eq!(read(&quote(&key)), Some(key));
                }
            }
        }
    }
}
