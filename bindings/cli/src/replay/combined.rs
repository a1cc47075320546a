//! A line of nginx's `combined` format, or of the `common` one, which ends after the size:
//!
//! ```text
//! $remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$referer" "$user_agent"
//! ```

use time::OffsetDateTime;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;

use super::record::{BadLine, IdentityRule, Names, Outcome, Parsed, Price, Record, unix_ms};

const TIME_LOCAL: StaticFormatDescription = format_description!(
    "[day]/[month repr:short]/[year]:[hour]:[minute]:[second] [offset_hour sign:mandatory][offset_minute]"
);

pub(crate) fn parse(line: &[u8], identity: &IdentityRule) -> Result<Parsed, BadLine> {
    // nginx escapes `"` in what a client sent, so the first one begins the request. A user name may hold
    // brackets and blanks, and whole false lines, but no quote: what is before it is read from its end.
    let (head, rest) = split_at_byte(line, b'"').ok_or(BadLine::NotCombined)?;
    let head = str::from_utf8(head).map_err(|_| BadLine::NotCombined)?;
    let head = head.strip_suffix("] ").ok_or(BadLine::NotCombined)?;
    let (before, time) = head.rsplit_once(" [").ok_or(BadLine::NotCombined)?;
    let mut words = before.splitn(3, ' ');
    let (Some(address), Some(_), Some(user)) = (words.next(), words.next(), words.next()) else {
        return Err(BadLine::NotCombined);
    };
    let time = OffsetDateTime::parse(time, TIME_LOCAL).map_err(|_| BadLine::CombinedTime)?;
    let now_ms = unix_ms(time).ok_or(BadLine::CombinedTime)?;
    let (request, rest) = quoted(rest).ok_or(BadLine::NotCombined)?;
    let status = status_of(rest).ok_or(BadLine::NotCombined)?;
    let Some((method, target)) = method_and_target(&request) else {
        return Ok(Parsed::NotHttp);
    };
    let user = unescaped(user.as_bytes());
    let user = String::from_utf8_lossy(&user);
    let user = Some(&*user).filter(|user| *user != "-");
    let source = Some(address).filter(|address| *address != "-");
    let names = Names { user, source, ..Names::default() };
    let outcome = Outcome { status: Some(status), ..Outcome::default() };
    Ok(Parsed::Record(Box::new(Record {
        now_ms,
        method: method.into(),
        target: target.into(),
        peer: address.parse().ok(),
        headers: Vec::new(),
        credential: outcome.credential(identity.pick(&names)),
        account: None,
        key: None,
        price: Price::default(),
        sender: None,
        invalid: None,
        peek: false,
        outcome,
    })))
}

fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|other| *other == byte)?;
    let (before, after) = text.split_at_checked(at)?;
    Some((before, after.get(1..)?))
}

/// The text up to the quote that ends it, unescaped, and what follows.
fn quoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut escaped = false;
    let end = text.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    })?;
    let (inside, after) = text.split_at_checked(end)?;
    Some((unescaped(inside), after.get(1..)?))
}

/// Without the escapes of nginx (`\xHH`) and of Apache (`\"`, `\\`, `\n`). What is no escape stays.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        let (byte, after) = match (byte, after) {
            (b'\\', [b'x', high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high.wrapping_shl(4) | low, after),
                _ => (b'\\', after_backslash(rest)),
            },
            (b'\\', [escaped @ (b'"' | b'\\'), after @ ..]) => (*escaped, after),
            (b'\\', [b'n', after @ ..]) => (b'\n', after),
            (b'\\', [b'r', after @ ..]) => (b'\r', after),
            (b'\\', [b't', after @ ..]) => (b'\t', after),
            _ => (*byte, after),
        };
        plain.push(byte);
        rest = after;
    }
    plain
}

fn after_backslash(text: &[u8]) -> &[u8] {
    text.get(1..).unwrap_or_default()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn status_of(rest: &[u8]) -> Option<u16> {
    let rest = str::from_utf8(rest.get(..5)?).ok()?;
    let status = rest.strip_prefix(' ')?.strip_suffix(' ')?;
    let all_digits = status.bytes().all(|byte| byte.is_ascii_digit());
    status.parse().ok().filter(|_| all_digits)
}

/// Method and target of `METHOD TARGET HTTP/1.1`; of HTTP/0.9 too, which names no version.
fn method_and_target(request: &[u8]) -> Option<(&[u8], &[u8])> {
    let (method, rest) = split_at_byte(request, b' ')?;
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if method.is_empty() || !method.iter().all(is_token) {
        return None;
    }
    let version =
        rest.iter().rposition(|byte| *byte == b' ').and_then(|at| rest.split_at_checked(at));
    let target = match version {
        Some((target, version)) if version.starts_with(b" HTTP/") => target,
        _ => rest,
    };
    let is_target = target.starts_with(b"/") || target == b"*" || target.starts_with(b"http");
    is_target.then_some((method, target))
}

#[cfg(test)]
mod tests {
    use super::super::record::{Credential, Kind, Name};
    use super::*;

    const REST: &str = r#"512 "-" "curl/8.5 \x22<script>\x22""#;

    fn line(user: &str, request: &str, status: &str) -> String {
        format!(r#"192.0.2.7 - {user} [29/Nov/2026:11:10:18 +0100] "{request}" {status} {REST}"#)
    }

    fn record(line: &str) -> Record {
        match parse(line.as_bytes(), &IdentityRule::First) {
            Ok(Parsed::Record(record)) => *record,
            other => panic!("{other:?}: {line}"),
        }
    }

    #[test]
    fn a_line_is_read() {
        let record = record(&line("-", "POST /sms/send?a=1 HTTP/1.1", "201"));
        assert_eq!(record.now_ms, 1_795_947_018_000);
        assert_eq!((&*record.method, &*record.target), (&b"POST"[..], &b"/sms/send?a=1"[..]));
        assert_eq!(record.peer, Some("192.0.2.7".parse().unwrap()));
        assert_eq!(record.outcome.status, Some(201));
        let source = Name { kind: Kind::Source, text: "192.0.2.7".into() };
        assert_eq!(record.credential, Credential::Of(source));
    }

    #[test]
    fn a_user_is_told_apart_and_cannot_write_a_line_of_his_own() {
        let named = |user: &str| record(&line(user, "GET /a HTTP/1.1", "200")).credential;
        let user = |text: &str| Credential::Of(Name { kind: Kind::User, text: text.into() });
        assert_eq!(named("alice"), user("alice"));
        assert_eq!(named(r"al\x22ice"), user("al\"ice"));
        let forged = r"x [01/Jan/2000:00:00:00 +0000] \x22GET /free HTTP/1.1\x22 200 1";
        let found = record(&line(forged, "GET /a HTTP/1.1", "200"));
        assert_eq!((&*found.target, found.now_ms), (&b"/a"[..], 1_795_947_018_000));
    }

    #[test]
    fn a_401_stays_unauthenticated() {
        let found = record(&line("alice", "GET /a HTTP/1.1", "401"));
        assert_eq!(found.credential, Credential::Invalid);
    }

    #[test]
    fn escapes_are_undone() {
        let target = |text: &str| record(&line("-", &format!("GET {text} HTTP/2.0"), "200")).target;
        assert_eq!(&*target(r"/\x22\x5C\xE2\x82"), b"/\"\\\xe2\x82");
        assert_eq!(&*target(r#"/\"\\\n\t\r"#), b"/\"\\\n\t\r");
        assert_eq!(&*target(r"/\xZZ\q"), br"/\xZZ\q");
        assert_eq!(&*target("/a b"), b"/a b");
        assert_eq!(&*record(&line("-", "GET /old", "200")).target, b"/old");
    }

    #[test]
    fn what_is_no_http_is_told_from_a_bad_line() {
        for request in ["", "-", r"\x16\x03\x01\x02", "GET", "GET  HTTP/1.1", r"\x00 /a HTTP/1.1"] {
            let line = line("-", request, "400");
            let parsed = parse(line.as_bytes(), &IdentityRule::First);
            assert_eq!(parsed, Ok(Parsed::NotHttp), "{line}");
        }
    }

    #[test]
    fn bad_lines_say_so() {
        let whole = line("-", "GET /a HTTP/1.1", "200");
        for (line, why) in [
            (String::new(), BadLine::NotCombined),
            ("hello".to_owned(), BadLine::NotCombined),
            (whole.replace("29/Nov", "31/Feb"), BadLine::CombinedTime),
            (whole.replace("2026", "1969"), BadLine::CombinedTime),
            (whole.replace("200", "2x0"), BadLine::NotCombined),
            (whole.replace("200", "2000"), BadLine::NotCombined),
            (whole.replace("200", "+20"), BadLine::NotCombined),
            (whole.replace(" - ", " "), BadLine::NotCombined),
            (whole.split_at(60).0.to_owned(), BadLine::NotCombined),
        ] {
            assert_eq!(parse(line.as_bytes(), &IdentityRule::First), Err(why), "{line}");
        }
        let common = whole.split_once(" \"-\"").unwrap().0;
        assert_eq!(&*record(common).target, b"/a");
    }
}
