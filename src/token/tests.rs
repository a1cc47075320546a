use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

fn native(text: &str) -> Result<TokenText, TokenTextError> {
    TokenText::parse(TokenFormat::Native, text)
}

fn opaque(text: &str) -> Result<TokenText, TokenTextError> {
    TokenText::parse(TokenFormat::Opaque, text)
}

// Computed by another implementation (Python: int.from_bytes, zlib.crc32).
#[test]
fn generates_known_tokens() {
    let mut counting = [0; 32];
    counting.iter_mut().zip(0..).for_each(|(byte, value)| *byte = value);
    for (entropy, expected) in [
        ([0; 32], "tg_live_0000000000000000000000000000003nUU1K"),
        (counting, "tg_live_CTQj2uNU3MFagCXG9LRKRcwGkBIDlf16kj7J"),
        ([0xff; 32], "tg_live_L1YmHWZWm8LLG7HjnuCA2j5rOw8Xp11vCJcr"),
    ] {
        let token = TokenText::generate(&entropy);
        assert_eq!(token.expose(), expected);
        assert_eq!(native(expected).unwrap().expose(), expected);
    }
}

#[test]
fn every_substitution_is_refused() {
    let token = TokenText::generate(&[0xa5; 32]);
    for position in 0..NATIVE_BYTES {
        let mut text = token.expose().as_bytes().to_vec();
        let original = text[position];
        for byte in (0..=255).filter(|byte| *byte != original) {
            text[position] = byte;
            assert!(!is_well_formed(TokenFormat::Native, &text), "{position} {byte}");
        }
    }
}

#[test]
fn transpositions_deletions_and_insertions_are_refused() {
    let token = TokenText::generate(&[0x3c; 32]);
    let token = token.expose();
    for position in 0..NATIVE_BYTES - 1 {
        let mut bytes = token.as_bytes().to_vec();
        bytes.swap(position, position + 1);
        let same = bytes == token.as_bytes();
        assert_eq!(is_well_formed(TokenFormat::Native, &bytes), same, "{position}");
        bytes.remove(position);
        assert!(!is_well_formed(TokenFormat::Native, &bytes));
        assert!(native(&format!("{}x{}", &token[..position], &token[position..])).is_err());
    }
}

#[test]
fn errors_say_what_is_wrong() {
    let token = TokenText::generate(&[1; 32]);
    let token = token.expose();
    let with = |position: usize, text: &str| {
        let mut changed = String::from(token);
        changed.replace_range(position..=position, text);
        changed
    };
    for (text, expected) in [
        (String::new(), TokenTextError::NativePrefix),
        (format!(" {token}"), TokenTextError::NativePrefix),
        (token.replace("tg_live_", "tg_test_"), TokenTextError::NativePrefix),
        (format!("{token}\n"), TokenTextError::NativeLength { bytes: 45 }),
        (token[..43].into(), TokenTextError::NativeLength { bytes: 43 }),
        (with(8, "-"), TokenTextError::NativeCharacter { position: 8 }),
        (with(43, " "), TokenTextError::NativeCharacter { position: 43 }),
        (with(20, if &token[20..21] == "a" { "b" } else { "a" }), TokenTextError::NativeChecksum),
    ] {
        assert_eq!(native(&text).unwrap_err(), expected, "{text:?}");
    }
    for (text, expected) in [
        (String::new(), TokenTextError::OpaqueLength { bytes: 0 }),
        ("a".repeat(513), TokenTextError::OpaqueLength { bytes: 513 }),
        ("ab c".into(), TokenTextError::OpaqueCharacter { position: 2 }),
        ("ab\u{7f}".into(), TokenTextError::OpaqueCharacter { position: 2 }),
        ("é".into(), TokenTextError::OpaqueCharacter { position: 0 }),
    ] {
        assert_eq!(opaque(&text).unwrap_err(), expected, "{text:?}");
    }
    assert_eq!(opaque(&"~".repeat(512)).unwrap().expose().len(), 512);
    assert_eq!(opaque("!").unwrap().expose(), "!");
}

#[test]
fn secrets_are_not_printed() {
    let token = TokenText::generate(&[9; 32]);
    assert_eq!(format!("{token:?}"), "TokenText(..)");
    let pepper = Pepper::new(b"0123456789abcdef").unwrap();
    assert_eq!(format!("{pepper:?}"), "Pepper(..)");
}

#[test]
fn peppers_have_16_to_64_bytes() {
    for bytes in [0, 15, 65, 1000] {
        let error = Pepper::new(&alloc::vec![1; bytes]).unwrap_err();
        assert_eq!(error, PepperError { bytes });
    }
    for bytes in [16, 64] {
        assert!(Pepper::new(&alloc::vec![1; bytes]).is_ok());
    }
}

// FIPS 180-4 examples.
#[test]
fn digest_is_sha_256() {
    for (text, expected) in [
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
    ] {
        assert_eq!(digest(text.as_bytes(), None).to_string(), expected);
    }
}

// RFC 4231, section 4: cases 1 to 4 and 6. Keys outside a pepper's bounds are built without `new`.
#[test]
fn peppered_digest_is_hmac_sha_256() {
    let counting: Vec<u8> = (1..=25).collect();
    let cases: [(&[u8], &[u8], &str); 5] = [
        (
            &[0x0b; 20],
            b"Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            &[0xaa; 20],
            &[0xdd; 50],
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
        ),
        (
            &counting,
            &[0xcd; 50],
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
        ),
        (
            &[0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
    ];
    for (key, text, expected) in cases {
        let pepper =
            Pepper::new(key).unwrap_or_else(|_| Pepper(Hmac::new_from_slice(key).unwrap()));
        // Twice: the keyed state is not used up.
        assert_eq!(digest(text, Some(&pepper)).to_string(), expected);
        assert_eq!(digest(text, Some(&pepper)).to_string(), expected);
    }
}

#[test]
fn digests_read_as_they_print() {
    let digest = digest(b"abc", None);
    assert_eq!(TokenDigest::from_hex(&digest.to_string()), Ok(digest));
    assert_eq!(TokenDigest::from_hex(&digest.to_string().to_uppercase()), Ok(digest));
    let zeros = "0".repeat(62);
    for text in ["", "00", &zeros, &(zeros.clone() + "000"), &(zeros.clone() + "0g")] {
        assert_eq!(TokenDigest::from_hex(text), Err(TokenDigestError), "{text:?}");
    }
    assert_eq!(TokenDigest::from_hex(&(zeros.clone() + "é")), Err(TokenDigestError));
    assert_eq!(TokenDigest::from_hex(&(zeros + "+1")), Err(TokenDigestError));
}

proptest! {
    #[test]
    fn generated_tokens_parse(entropy: [u8; 32]) {
        let token = TokenText::generate(&entropy);
        prop_assert_eq!(token.expose().len(), NATIVE_BYTES);
        prop_assert!(native(token.expose()).is_ok());
        prop_assert!(opaque(token.expose()).is_ok());
    }

    #[test]
    fn well_formed_is_what_the_format_says(text in "(tg_live_)?[0-9A-Za-z]{28,32}[0-9A-Za-z!]{6}") {
        let body = text.get(..38).unwrap_or_default().as_bytes();
        let expected = text.len() == 44
            && text.starts_with("tg_live_")
            && text.bytes().skip(8).all(|byte| byte.is_ascii_alphanumeric())
            && text.as_bytes()[38..] == checksum(body);
        prop_assert_eq!(is_well_formed(TokenFormat::Native, text.as_bytes()), expected);
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(!is_well_formed(TokenFormat::Native, &bytes));
        let _ = is_well_formed(TokenFormat::Opaque, &bytes);
        let text = String::from_utf8_lossy(&bytes);
        for format in [TokenFormat::Native, TokenFormat::Opaque] {
            let parsed = TokenText::parse(format, &text).is_ok();
            prop_assert_eq!(parsed, is_well_formed(format, text.as_bytes()));
        }
        let _ = TokenDigest::from_hex(&text);
    }
}
