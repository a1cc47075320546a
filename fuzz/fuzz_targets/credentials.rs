//! `Authorization` and `Idempotency-Key` as they come, and token texts, against grammars spelled out.
//!
//! An input that begins with `#` is lines: `a` and an `Authorization`, `k` and an `Idempotency-Key`, `t` and a token's text,
//! `o` for opaque tokens, `r` for keys that are required. So are the seeds.

#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use tollgate::{
    ClaimKey, Engine, Idempotency, PolicyConfig, Request, RouteIdempotency, Status, TokenDigest,
    TokenFormat, TokenText,
};
use tollgate_fuzz::Probe;

const ROUTE: &str = "POST /messages";
const BASE62: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[derive(Arbitrary, Debug, Default)]
struct Input {
    opaque: bool,
    key_is_required: bool,
    authorization: Vec<Value>,
    idempotency_key: Vec<Value>,
    token: Option<Value>,
}

impl Input {
    fn read(bytes: &[u8]) -> arbitrary::Result<Input> {
        let Some(lines) = bytes.strip_prefix(b"#") else {
            return Input::arbitrary_take_rest(Unstructured::new(bytes));
        };
        let mut input = Input::default();
        for line in lines.split(|byte| *byte == b'\n') {
            let value = || Value::Bytes(line[1..].to_vec());
            match line.first() {
                Some(b'a') => input.authorization.push(value()),
                Some(b'k') => input.idempotency_key.push(value()),
                Some(b't') => input.token = Some(value()),
                Some(b'o') => input.opaque = true,
                Some(b'r') => input.key_is_required = true,
                _ => {}
            }
        }
        Ok(input)
    }
}

/// A header's value, or a token: any bytes, or good ones with bytes around them.
#[derive(Arbitrary, Debug)]
enum Value {
    Bytes(Vec<u8>),
    Bearer(Padding, Box<Value>),
    /// A native token, of which one byte is another.
    Native {
        entropy: u8,
        at: u8,
        xor: u8,
    },
    Padded(Padding, Box<Value>, Padding),
    Quoted(Vec<u8>),
    /// One byte, again and again: around the bounds of lengths.
    Repeated(u8, Length),
}

#[derive(Arbitrary, Debug)]
struct Padding {
    scheme: [bool; 6],
    spaces: Vec<bool>,
}

#[derive(Arbitrary, Debug)]
enum Length {
    Key(i8),
    Token(i8),
    Value(i8),
}

impl Padding {
    fn space(&self) -> String {
        self.spaces.iter().take(5).map(|tab| if *tab { '\t' } else { ' ' }).collect()
    }

    fn scheme(&self) -> String {
        let letters = "bearer".chars().zip(self.scheme);
        letters.map(|(c, upper)| if upper { c.to_ascii_uppercase() } else { c }).collect()
    }
}

impl Value {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Value::Bytes(bytes) => bytes.clone(),
            Value::Bearer(padding, value) => {
                [padding.scheme().as_bytes(), padding.space().as_bytes(), &value.bytes()].concat()
            }
            Value::Native { entropy, at, xor } => {
                let mut text = TokenText::generate(&[*entropy; 32]).expose().as_bytes().to_vec();
                let at = usize::from(*at) % text.len();
                text[at] ^= xor;
                text
            }
            Value::Padded(before, value, after) => {
                [before.space().as_bytes(), &value.bytes(), after.space().as_bytes()].concat()
            }
            Value::Quoted(content) => [b"\"", content.as_slice(), b"\""].concat(),
            Value::Repeated(byte, length) => {
                let length = match length {
                    Length::Key(more) => 255_usize.saturating_add_signed((more % 4).into()),
                    Length::Token(more) => 512_usize.saturating_add_signed((more % 4).into()),
                    Length::Value(more) => 4096_usize.saturating_add_signed((more % 12).into()),
                };
                vec![*byte; length]
            }
        }
    }
}

fn engine(format: TokenFormat, required: bool) -> Engine {
    let mut config = PolicyConfig::default();
    config.tokens.format = format;
    config.idempotency.required = required;
    config.scopes.insert("send".into(), vec![ROUTE.into()]);
    let idempotency = Some(RouteIdempotency::Switch(true));
    config.routes.insert(ROUTE.into(), tollgate::RouteConfig { idempotency, ..Default::default() });
    Engine::new(config.compile().unwrap())
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(input) = Input::read(bytes) else { return };
    let format = if input.opaque { TokenFormat::Opaque } else { TokenFormat::Native };
    if let Some(token) = &input.token {
        token_text(format, &token.bytes());
    }

    let engine = engine(format, input.key_is_required);
    let authorization: Vec<Vec<u8>> =
        input.authorization.iter().take(3).map(Value::bytes).collect();
    let keys: Vec<Vec<u8>> = input.idempotency_key.iter().take(3).map(Value::bytes).collect();
    let mut headers: Vec<(&str, &[u8])> = vec![("x-other", b"Bearer abc")];
    headers.extend(authorization.iter().map(|value| ("Authorization", value.as_slice())));
    headers.extend(keys.iter().map(|value| ("idempotency-KEY", value.as_slice())));
    let headers = Headers(headers);
    let request = Request::new(b"POST", b"/messages", 1).with_headers(&headers);
    let probe = Probe::open();
    let decision = engine.decide(&probe, &request);
    let seen = probe.take();

    let expected = bearer(format, &authorization);
    match expected {
        Bearer::Missing => assert_eq!(decision.status(), Status::MissingToken),
        Bearer::Malformed => assert_eq!(decision.status(), Status::InvalidToken),
        Bearer::Token(_) => assert_eq!(decision.status(), Status::Allowed),
    }
    let Bearer::Token(text) = expected else {
        assert_eq!(seen, Default::default(), "a store was asked");
        return;
    };
    assert_eq!(seen.digest, Some(TokenDigest::new(Sha256::digest(text).into())));
    let found = match seen.idempotency.expect("it was admitted") {
        Idempotency::Absent => Key::Absent,
        Idempotency::Invalid => Key::Invalid,
        Idempotency::Key { claim, .. } => Key::Claim(claim),
    };
    assert_eq!(found, key(&keys, input.key_is_required), "{keys:?}");
});

struct Headers<'a>(Vec<(&'a str, &'a [u8])>);

impl tollgate::Headers for Headers<'_> {
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        self.0.as_slice().value(name, nth)
    }
}

fn token_text(format: TokenFormat, bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match TokenText::parse(format, text) {
        Ok(parsed) => {
            assert!(is_token(format, bytes), "{text:?}");
            assert_eq!(parsed.expose(), text);
        }
        Err(error) => {
            assert!(!is_token(format, bytes), "{text:?}: {error}");
            let message = error.to_string();
            // Short texts are words of any message.
            assert!(text.len() < 12 || !message.contains(text), "the message has the secret");
        }
    }
}

enum Bearer {
    Missing,
    Malformed,
    Token(Vec<u8>),
}

/// The README's words: one header, the scheme in any case, spaces, then a token of the format.
fn bearer(format: TokenFormat, lines: &[Vec<u8>]) -> Bearer {
    let line = match lines {
        [] => return Bearer::Missing,
        [line] if line.len() <= 4096 => line,
        _ => return Bearer::Malformed,
    };
    // One character for each byte.
    let line: String = line.iter().map(|byte| char::from(*byte)).collect();
    let line = line.trim_matches([' ', '\t']);
    let scheme_end = line.find([' ', '\t']).unwrap_or(line.len());
    let (scheme, rest) = line.split_at(scheme_end);
    if !scheme.eq_ignore_ascii_case("bearer") || rest.is_empty() {
        return Bearer::Missing;
    }
    let text: Vec<u8> = rest.trim_matches([' ', '\t']).chars().map(|c| c as u8).collect();
    if rest.starts_with(' ') && is_token(format, &text) {
        Bearer::Token(text)
    } else {
        Bearer::Malformed
    }
}

fn is_token(format: TokenFormat, text: &[u8]) -> bool {
    match format {
        TokenFormat::Opaque => {
            !text.is_empty()
                && text.len() <= 512
                && text.iter().all(|byte| (33..=126).contains(byte))
        }
        TokenFormat::Native => {
            text.len() == 44
                && text.starts_with(b"tg_live_")
                && text[8..].iter().all(|byte| BASE62.as_bytes().contains(byte))
                && text[38..] == *checksum(&text[..38])
        }
    }
}

/// CRC-32 bit by bit, in six digits of base 62.
fn checksum(text: &[u8]) -> Vec<u8> {
    let mut crc = u32::MAX;
    for byte in text {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    let mut rest = !crc;
    let mut digits = Vec::new();
    for _ in 0..6 {
        digits.insert(0, BASE62.as_bytes()[rest as usize % 62]);
        rest /= 62;
    }
    digits
}

#[derive(Debug, PartialEq)]
enum Key {
    Absent,
    Invalid,
    Claim(ClaimKey),
}

fn key(lines: &[Vec<u8>], required: bool) -> Key {
    let line = match lines {
        [] if required => return Key::Invalid,
        [] => return Key::Absent,
        [line] => line,
        _ => return Key::Invalid,
    };
    let line: String = line.iter().map(|byte| char::from(*byte)).collect();
    let line = line.trim_matches([' ', '\t']);
    let key = if line.starts_with('"') { string(line) } else { Some(line.to_owned()) };
    let visible = |key: &String| key.chars().all(|c| ('!'..='~').contains(&c));
    match key.filter(|key| (1..=255).contains(&key.len()) && visible(key)) {
        Some(key) => {
            let named =
                [&(ROUTE.len() as u32).to_be_bytes(), ROUTE.as_bytes(), key.as_bytes()].concat();
            Key::Claim(ClaimKey(Sha256::digest(named).into()))
        }
        None => Key::Invalid,
    }
}

/// A string of RFC 8941, section 3.3.3, and nothing after it.
fn string(text: &str) -> Option<String> {
    let mut chars = text.strip_prefix('"')?.chars();
    let mut content = String::new();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(content),
            '\\' => content.push(chars.next().filter(|c| "\"\\".contains(*c))?),
            other => content.push(other),
        }
    }
}
