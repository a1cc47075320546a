//! Tokens of operators and of services.

use std::fmt;

use subtle::ConstantTimeEq;

/// A secret of at least 16 bytes. It is compared in constant time and never shown.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

/// Why a text is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token has 16 to 1,024 visible ASCII characters; make one with `openssl rand -hex 32`")]
pub struct SecretError;

impl Secret {
    /// Takes a text; white space around it, such as a file's last newline, is not part of it.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn new(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        if !(16..=1024).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SecretError);
        }
        Ok(Secret(text.as_bytes().into()))
    }

    /// Whether this is it.
    pub(crate) fn is(&self, given: &[u8]) -> bool {
        bool::from(self.0.ct_eq(given))
    }

    /// Whether an `Authorization` header shows it (RFC 6750; the scheme in any case).
    pub(crate) fn is_bearer(&self, header: &[u8]) -> bool {
        let (scheme, token) = header.split_at_checked(7).unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"bearer ") && self.is(token.trim_ascii())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_compared_whole_and_not_shown() {
        let secret = Secret::new(" 0123456789abcdef\n").unwrap();
        assert!(secret.is_bearer(b"Bearer 0123456789abcdef"));
        assert!(secret.is_bearer(b"bEARER  0123456789abcdef"));
        for wrong in ["", "Bearer", "Bearer ", "Bearer 0123456789abcde", "Basic 0123456789abcdef"] {
            assert!(!secret.is_bearer(wrong.as_bytes()), "{wrong}");
        }
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert!(Secret::new("short").is_err() && Secret::new("0123456789 abcdef").is_err());
    }
}
