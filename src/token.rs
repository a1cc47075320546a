//! Bearer tokens: format, checksum, digest.
//!
//! A native token is 44 bytes of ASCII:
//!
//! ```text
//! tg_live_ 000000000000000000000000000000 000000
//! prefix   30 base62 digits, 178 bits     CRC-32 of all before it, 6 base62 digits
//! ```
//!
//! The checksum is no secret. It refuses typos and random strings without a store call, and lets
//! scanners of leaked secrets tell a token from a look-alike.

use alloc::boxed::Box;
use core::fmt;
use core::str;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use thiserror::Error;

use crate::crc32::crc32;
use crate::sha256::sha256;

const PREFIX: &[u8] = b"tg_live_";
const RANDOM_DIGITS: usize = 30;
const CHECKSUM_DIGITS: usize = 6;
const NATIVE_BYTES: usize = 44;
const MAX_OPAQUE_BYTES: usize = 512;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Of no digit: it has a bit that values below 62 do not have.
const NO_DIGIT: u8 = 0xff;

/// The value of each byte as a base62 digit.
#[expect(clippy::indexing_slicing, reason = "a byte is below 256, and the compiler evaluates it")]
const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let (mut digits, mut value) = (BASE62.as_slice(), 0);
    while let Some((digit, rest)) = digits.split_first() {
        values[*digit as usize] = value;
        value += 1;
        digits = rest;
    }
    values
};

/// SHA-256 of a token's text (HMAC-SHA-256 when the engine has a pepper): all that a store keeps of it.
///
/// Equality need not take constant time. What is compared is the digest of what the client sent, and
/// a client that learns how many leading bytes agreed would have to find a text of 178 random bits
/// whose digest agrees in more: the timing tells nothing that brings it closer to the token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// Takes the bytes of a digest.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        TokenDigest(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The bytes as numbers, for comparing and hashing.
    #[cfg(feature = "std")] // the memory store's
    #[inline]
    pub(crate) fn as_words(&self) -> [u64; 4] {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(self.0.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        words
    }

    /// The digest with these [`as_words`](Self::as_words).
    #[cfg(feature = "std")]
    pub(crate) fn from_words(words: [u64; 4]) -> Self {
        let mut bytes = [0; 32];
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
        TokenDigest(bytes)
    }

    /// Reads what `Display` writes: 64 hexadecimal digits, in either case.
    ///
    /// # Errors
    /// Any other text. The error does not contain it: it may be a token that was pasted by mistake.
    pub fn from_hex(text: &str) -> Result<Self, TokenDigestError> {
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(TokenDigestError) };
        if pairs.len() != 32 {
            return Err(TokenDigestError);
        }
        let mut bytes = [0; 32];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = hex_digit(*high)? << 4 | hex_digit(*low)?;
        }
        Ok(TokenDigest(bytes))
    }
}

fn hex_digit(digit: u8) -> Result<u8, TokenDigestError> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
        .ok_or(TokenDigestError)
}

impl fmt::Display for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenDigest({self})")
    }
}

/// A text that is not the digest of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a token digest is 64 hexadecimal digits: give the digest, not the token itself")]
pub struct TokenDigestError;

/// Which token texts are admitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenFormat {
    /// `tg_live_` + 30 base62 characters + 6 base62 characters of CRC-32.
    #[default]
    Native,
    /// Any text of another system.
    Opaque,
}

/// The secret text of a token, to be shown once to whom it is issued.
///
/// It has no `Display`, so that it cannot slip into a message, and its `Debug` does not show it.
#[derive(Clone)]
pub struct TokenText(Box<str>);

impl TokenText {
    /// A native token out of 32 bytes of the caller's entropy: the same bytes give the same token.
    ///
    /// The bytes must come from a cryptographic random generator. They are taken as a big-endian
    /// integer modulo 62^30; as 2^256 is 2^77 times that, no token is likelier than another by
    /// more than one part in 2^77.
    #[must_use]
    pub fn generate(entropy: &[u8; 32]) -> Self {
        let mut text = [0; NATIVE_BYTES];
        let mut number = *entropy;
        let (body, checksum_digits) = text.split_at_mut(NATIVE_BYTES - CHECKSUM_DIGITS);
        let (prefix, random) = body.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX);
        for digit in random.iter_mut().rev() {
            *digit = base62(divide_by_62(&mut number));
        }
        checksum_digits.copy_from_slice(&checksum(body));
        TokenText(str::from_utf8(&text).unwrap_or_default().into())
    }

    /// Takes a token's text from an administrator: the whole of it, no white space around it.
    ///
    /// # Errors
    /// A text that no request could carry in this format. The error never contains the text.
    pub fn parse(format: TokenFormat, text: &str) -> Result<Self, TokenTextError> {
        if is_well_formed(format, text.as_bytes()) {
            Ok(TokenText(text.into()))
        } else {
            Err(TokenTextError::of(format, text.as_bytes()))
        }
    }

    /// The secret itself. Whoever calls this decides where it goes.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText(..)")
    }
}

/// Why a text is no token. Positions count bytes from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TokenTextError {
    /// A native token of another length.
    #[error(
        "a native token has {NATIVE_BYTES} characters and this text has {bytes} bytes: \
         copy the whole token, or set tokens.format to \"opaque\" for tokens of another system"
    )]
    NativeLength {
        /// Length of the text, in bytes.
        bytes: usize,
    },
    /// A native token that does not begin with `tg_live_`.
    #[error(
        "a native token begins with tg_live_: \
         copy the whole token, or set tokens.format to \"opaque\" for tokens of another system"
    )]
    NativePrefix,
    /// A native token with a character other than letters and digits after the prefix.
    #[error("byte {position} of the token is not a letter or digit: copy the token again")]
    NativeCharacter {
        /// Where the first of them is.
        position: usize,
    },
    /// A native token that was not copied faithfully.
    #[error(
        "the checksum of the token does not match, so a character is wrong: copy the token again"
    )]
    NativeChecksum,
    /// An opaque token that is empty or too long.
    #[error(
        "a token has 1 to {MAX_OPAQUE_BYTES} bytes and this text has {bytes}: use another token"
    )]
    OpaqueLength {
        /// Length of the text, in bytes.
        bytes: usize,
    },
    /// An opaque token with a character that a header cannot carry unambiguously.
    #[error(
        "byte {position} of the token is not a visible ASCII character (0x21 to 0x7e): \
         remove spaces and line ends, or use another token"
    )]
    OpaqueCharacter {
        /// Where the first of them is.
        position: usize,
    },
}

impl TokenTextError {
    /// What is wrong with a text that is not well formed.
    fn of(format: TokenFormat, text: &[u8]) -> Self {
        let bytes = text.len();
        match format {
            TokenFormat::Native if !text.starts_with(PREFIX) => TokenTextError::NativePrefix,
            TokenFormat::Native if bytes != NATIVE_BYTES => TokenTextError::NativeLength { bytes },
            TokenFormat::Native => text
                .iter()
                .enumerate()
                .skip(PREFIX.len())
                .find(|(_, byte)| !byte.is_ascii_alphanumeric())
                .map_or(TokenTextError::NativeChecksum, |(position, _)| {
                    TokenTextError::NativeCharacter { position }
                }),
            TokenFormat::Opaque => text
                .iter()
                .take(MAX_OPAQUE_BYTES)
                .position(|byte| !byte.is_ascii_graphic())
                .map_or(TokenTextError::OpaqueLength { bytes }, |position| {
                    TokenTextError::OpaqueCharacter { position }
                }),
        }
    }
}

/// Whether a request may present this text: one that fails is unknown without asking a store.
pub(crate) fn is_well_formed(format: TokenFormat, text: &[u8]) -> bool {
    match format {
        TokenFormat::Native => is_native(text),
        TokenFormat::Opaque => {
            (1..=MAX_OPAQUE_BYTES).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic)
        }
    }
}

fn is_native(text: &[u8]) -> bool {
    let Ok(text) = <&[u8; NATIVE_BYTES]>::try_from(text) else { return false };
    let Some((body, checksum_digits)) = text.split_last_chunk::<CHECKSUM_DIGITS>() else {
        return false;
    };
    let Some((prefix, random)) = body.split_last_chunk::<RANDOM_DIGITS>() else { return false };
    // No early exit: all bytes are tested at once in vector registers.
    let digits = random.iter().fold(true, |digits, byte| digits & byte.is_ascii_alphanumeric());
    prefix == PREFIX && digits && decode(checksum_digits) == Some(crc32(body))
}

/// CRC-32 (IEEE 802.3) in base62: most significant digit first, zeros in front.
fn checksum(body: &[u8]) -> [u8; CHECKSUM_DIGITS] {
    let mut rest = crc32(body);
    let mut digits = [0; CHECKSUM_DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = base62(rest % 62);
        rest /= 62;
    }
    digits
}

/// What [`checksum`] wrote: by table and without branches, as digits of a secret are hard to predict,
/// and faster than dividing to write the digits anew.
fn decode(digits: &[u8; CHECKSUM_DIGITS]) -> Option<u32> {
    let mut seen = 0;
    let number = digits.iter().fold(0_u64, |number, digit| {
        let value = VALUES.get(usize::from(*digit)).copied().unwrap_or(NO_DIGIT);
        seen |= value;
        number.wrapping_mul(62).wrapping_add(u64::from(value))
    });
    // Six digits reach beyond 32 bits: what does is no checksum.
    u32::try_from(number).ok().filter(|_| seen < 64)
}

/// Divides a big-endian integer by 62 and returns the remainder.
fn divide_by_62(number: &mut [u8; 32]) -> u32 {
    let mut remainder = 0_u16;
    for byte in number {
        let dividend = remainder << 8 | u16::from(*byte);
        // The remainder is below 62, so the quotient is below 256.
        [_, *byte] = (dividend / 62).to_be_bytes();
        remainder = dividend % 62;
    }
    u32::from(remainder)
}

/// The digit of a value below 62.
fn base62(value: u32) -> u8 {
    usize::try_from(value).ok().and_then(|index| BASE62.get(index)).copied().unwrap_or(b'0')
}

/// A secret that keys the digests of tokens, so that a stolen store alone does not tell whether a
/// guessed token exists. It matters for opaque tokens of little entropy; keep it out of the store.
///
/// Changing it makes every token unknown.
#[derive(Clone)]
pub struct Pepper(Hmac<Sha256>);

impl Pepper {
    /// Takes 16 to 64 secret bytes, best from a random generator: HMAC would hash a longer key
    /// first (RFC 2104, section 2), which adds nothing.
    ///
    /// # Errors
    /// Another length.
    pub fn new(key: &[u8]) -> Result<Self, PepperError> {
        let error = PepperError { bytes: key.len() };
        if !(16..=64).contains(&key.len()) {
            return Err(error);
        }
        Hmac::new_from_slice(key).map(Pepper).map_err(|_| error)
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(..)")
    }
}

/// A key that is too short or too long for a [`Pepper`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a pepper has 16 to 64 bytes and this one has {bytes}: take 32 random bytes")]
pub struct PepperError {
    /// Length of the key, in bytes.
    pub bytes: usize,
}

/// The digest of a token's text: SHA-256 (FIPS 180-4), or HMAC-SHA-256 (RFC 2104) keyed with the pepper.
#[must_use]
pub fn digest(text: &[u8], pepper: Option<&Pepper>) -> TokenDigest {
    TokenDigest(match pepper {
        None => sha256([text]),
        // The pepper holds the state after the key's blocks: cloning it spares two compressions.
        Some(Pepper(keyed)) => keyed.clone().chain_update(text).finalize().into_bytes().into(),
    })
}

#[cfg(test)]
mod tests;
