//! Who is calling: the bearer token of a request.

use core::fmt;

use crate::request::{Headers, Single, trim_ows};
use crate::token::{TokenFormat, is_well_formed};

/// A longer value is refused unread: the longest token has 512 bytes.
const MAX_VALUE_BYTES: usize = 4096;

const SCHEME: &[u8] = b"bearer";

/// What a request presents as its token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bearer<'a> {
    /// No bearer token.
    Missing,
    /// Something that is no token, or that could be read as two.
    Malformed,
    /// A text that is well formed; whether it is known is for the store to say.
    Token(&'a [u8]),
}

impl fmt::Debug for Bearer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bearer::Missing => "Missing",
            Bearer::Malformed => "Malformed",
            Bearer::Token(_) => "Token(..)",
        })
    }
}

/// The bearer token in `Authorization` (RFC 6750, section 2.1; syntax of RFC 9110, section 11.4).
///
/// Another scheme, or none, is a missing token. Two `Authorization` headers are malformed, whatever they
/// say: a proxy in front may have looked at the other one.
pub(crate) fn bearer<'a>(headers: &'a dyn Headers, format: TokenFormat) -> Bearer<'a> {
    let value = match headers.single("authorization") {
        Single::One(value) if value.len() <= MAX_VALUE_BYTES => value,
        Single::One(_) | Single::Repeated => return Bearer::Malformed,
        Single::None => return Bearer::Missing,
    };
    // As nearly all clients write it.
    if let Some(text) = value.strip_prefix(b"Bearer ") {
        return token(trim_ows(text), format);
    }
    let Some((scheme, rest)) = trim_ows(value).split_at_checked(SCHEME.len()) else {
        return Bearer::Missing;
    };
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Bearer::Missing;
    }
    match rest {
        [] => Bearer::Missing,
        [b' ', text @ ..] => token(trim_ows(text), format),
        // A tab ends the scheme but does not separate it from the token.
        [b'\t', ..] => Bearer::Malformed,
        // A longer word: another scheme.
        _ => Bearer::Missing,
    }
}

fn token(text: &[u8], format: TokenFormat) -> Bearer<'_> {
    match text {
        [] => Bearer::Missing,
        text if is_well_formed(format, text) => Bearer::Token(text),
        _ => Bearer::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::token::TokenText;

    fn read(values: &[&[u8]], format: TokenFormat) -> Option<Result<Vec<u8>, ()>> {
        let headers: Vec<_> = values.iter().map(|value| ("Authorization", *value)).collect();
        let headers: &dyn Headers = &Slice(headers);
        match bearer(headers, format) {
            Bearer::Missing => None,
            Bearer::Malformed => Some(Err(())),
            Bearer::Token(text) => Some(Ok(text.to_vec())),
        }
    }

    struct Slice<'a>(Vec<(&'a str, &'a [u8])>);

    impl Headers for Slice<'_> {
        fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
            self.0.as_slice().value(name, nth)
        }
    }

    #[test]
    fn table() {
        let token = |text: &[u8]| Some(Ok(text.to_vec()));
        let missing = None;
        let malformed = Some(Err(()));
        let long = [b"Bearer ".as_slice(), &[b'a'; 512]].concat();
        let too_long = [b"Bearer ".as_slice(), &[b'a'; 513]].concat();
        let padded = [b"Bearer a".as_slice(), &[b' '; 4089]].concat();
        let table: &[(&[&[u8]], _)] = &[
            (&[], missing.clone()),
            (&[b""], missing.clone()),
            (&[b" \t "], missing.clone()),
            (&[b"Bearer"], missing.clone()),
            (&[b"Bearer "], missing.clone()),
            (&[b" bearer \t "], missing.clone()),
            (&[b"Basic dXNlcjpwYXNz"], missing.clone()),
            (&[b"BearerX abc"], missing.clone()),
            (&[b"Bearer-abc"], missing.clone()),
            (&[b"Bear"], missing.clone()),
            (&[b"abc"], missing),
            (&[b"Bearer abc"], token(b"abc")),
            (&[b"bEARER abc"], token(b"abc")),
            (&[b"\t Bearer \t  abc\t "], token(b"abc")),
            (&[b"Bearer a,b"], token(b"a,b")),
            (&[&long], token(&long[7..])),
            (&[&too_long], malformed.clone()),
            (&[&padded], malformed.clone()),
            (&[&padded[..4096]], token(b"a")),
            (&[b"Bearer\tabc"], malformed.clone()),
            (&[b"Bearer abc def"], malformed.clone()),
            (&[b"Bearer abc, Bearer def"], malformed.clone()),
            (&[b"Bearer a\0"], malformed.clone()),
            (&[b"Bearer a\x80"], malformed.clone()),
            (&[b"Bearer abc", b"Bearer abc"], malformed.clone()),
            (&[b"", b"Bearer abc"], malformed.clone()),
            (&[b"Bearer abc", b"Basic abc"], malformed),
        ];
        for (values, expected) in table {
            assert_eq!(&read(values, TokenFormat::Opaque), expected, "{values:?}");
        }
    }

    #[test]
    fn native_tokens_are_checked() {
        let token = TokenText::generate(&[7; 32]);
        let mut value = [b"Bearer ".as_slice(), token.expose().as_bytes()].concat();
        assert_eq!(
            read(&[&value], TokenFormat::Native),
            Some(Ok(token.expose().as_bytes().to_vec()))
        );
        value[20] = b'!';
        assert_eq!(read(&[&value], TokenFormat::Native), Some(Err(())));
    }

    #[test]
    fn debug_hides_the_token() {
        assert_eq!(alloc::format!("{:?}", Bearer::Token(b"secret")), "Token(..)");
    }

    proptest! {
        #[test]
        fn any_bytes(value in proptest::collection::vec(any::<u8>(), 0..80), scheme in any::<bool>()) {
            let value = if scheme { [b"Bearer ".as_slice(), &value].concat() } else { value };
            for format in [TokenFormat::Native, TokenFormat::Opaque] {
                if let Some(Ok(text)) = read(&[&value], format) {
                    prop_assert!(is_well_formed(format, &text));
                    prop_assert!(text.iter().all(u8::is_ascii_graphic));
                }
            }
        }
    }
}
