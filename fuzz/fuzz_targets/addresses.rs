//! Peers, trusted proxies and forwarding headers, against a model on split text.
//!
//! An input that begins with `#` is lines: `p` and the peer, `t` and a trusted network, `h` and a line of the header, `f` for
//! `Forwarded`. So are the seeds.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use tollgate::{Engine, ForwardedHeader, PolicyConfig, Request, TokenFormat};
use tollgate_fuzz::Probe;

#[derive(Arbitrary, Debug, Default)]
struct Input {
    forwarded: bool,
    trusted: Vec<(Address, u8)>,
    peer: Option<Address>,
    lines: Vec<Line>,
}

impl Input {
    fn read(bytes: &[u8]) -> arbitrary::Result<Input> {
        let Some(lines) = bytes.strip_prefix(b"#") else {
            return Input::arbitrary_take_rest(Unstructured::new(bytes));
        };
        let mut input = Input::default();
        for line in lines.split(|byte| *byte == b'\n') {
            let Some((kind, value)) = line.split_first() else { continue };
            let text = str::from_utf8(value).unwrap_or_default();
            match kind {
                b'p' => input.peer = text.parse().ok().map(Address::of),
                b't' => {
                    let (ip, length) = text.split_once('/').unwrap_or((text, "32"));
                    let network = ip.parse().ok().zip(length.parse().ok());
                    input.trusted.extend(network.map(|(ip, length)| (Address::of(ip), length)));
                }
                b'h' => input.lines.push(Line::Bytes(value.to_vec())),
                b'f' => input.forwarded = true,
                _ => {}
            }
        }
        Ok(input)
    }
}

/// One of a few, which meet networks that are often trusted, or any.
#[derive(Arbitrary, Debug)]
enum Address {
    Known(u8),
    V4([u8; 4]),
    Mapped([u8; 4]),
    V6([u8; 16]),
}

#[derive(Arbitrary, Debug)]
enum Line {
    Bytes(Vec<u8>),
    Parts(Vec<Part>),
    /// One part, again and again: around the bounds.
    Repeated(Box<Part>, u8),
}

/// A word of a header.
#[derive(Arbitrary, Debug)]
enum Part {
    Bytes(Vec<u8>),
    Punctuation(u8),
    Address(Address),
    Port(u16),
    For,
    Other(u8),
}

const KNOWN: &[&str] = &[
    "10.0.0.1",
    "10.0.0.2",
    "192.0.2.7",
    "203.0.113.9",
    "2001:db8::1",
    "2001:db8::2",
    "::ffff:10.0.0.1",
    "::ffff:192.0.2.7",
    "::1",
    "127.0.0.1",
    "::",
    "fe80::1",
];
const PUNCTUATION: &[&str] = &[
    ",", ", ", ";", "=", "\"", "\\", "[", "]", ":", " ", "\t", "\"[", "]\"", "]:", "\",", ";for=",
    ", for=", "for=\"[", "%1",
];
const OTHERS: &[&str] = &[
    "unknown",
    "_hidden",
    "_p.o-r_t",
    "proto=http",
    "by=10.0.0.1",
    "host=\"a,b\"",
    "For=",
    "FOR=\"",
    "ext=\"\\\"\"",
    "010.0.0.1",
    "1.2.3",
    "::ffff:1.2.3.4",
    "0:0:0:0:0:0:0:1",
    ":65536",
    ":00080",
    ":080",
    "1.2.3.4:80",
    "[::1]:80",
];

impl Address {
    fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Address::V4(ip.octets()),
            IpAddr::V6(ip) => Address::V6(ip.octets()),
        }
    }

    fn ip(&self) -> IpAddr {
        match self {
            Address::Known(which) => KNOWN[usize::from(*which) % KNOWN.len()].parse().unwrap(),
            Address::V4(bytes) => (*bytes).into(),
            Address::Mapped(bytes) => Ipv4Addr::from(*bytes).to_ipv6_mapped().into(),
            Address::V6(bytes) => (*bytes).into(),
        }
    }
}

impl Part {
    fn write(&self, line: &mut Vec<u8>) {
        match self {
            Part::Bytes(bytes) => line.extend(bytes),
            Part::Punctuation(which) => {
                line.extend(PUNCTUATION[usize::from(*which) % PUNCTUATION.len()].as_bytes());
            }
            Part::Address(address) => line.extend(address.ip().to_string().as_bytes()),
            Part::Port(port) => line.extend(format!(":{port}").as_bytes()),
            Part::For => line.extend(b"for="),
            Part::Other(which) => {
                line.extend(OTHERS[usize::from(*which) % OTHERS.len()].as_bytes())
            }
        }
    }
}

impl Line {
    fn bytes(&self) -> Vec<u8> {
        let mut line = Vec::new();
        match self {
            Line::Bytes(bytes) => line.extend(bytes),
            Line::Parts(parts) => parts.iter().for_each(|part| part.write(&mut line)),
            Line::Repeated(part, times) => {
                for _ in 0..*times {
                    part.write(&mut line);
                    line.push(b',');
                }
                part.write(&mut line);
            }
        }
        line
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(input) = Input::read(bytes) else { return };
    let lines: Vec<Vec<u8>> = input.lines.iter().take(70).map(Line::bytes).collect();
    let trusted: Vec<(IpAddr, u8)> = input
        .trusted
        .iter()
        .take(6)
        .map(|(address, length)| {
            (address.ip(), length % if address.ip().is_ipv4() { 33 } else { 129 })
        })
        .map(|(ip, length)| (ip, if length == 0 { 8 } else { length }))
        .collect();
    let mut config = PolicyConfig::default();
    config.tokens.format = TokenFormat::Opaque;
    config.source.trusted_proxies = trusted.iter().map(network_text).collect();
    config.source.forwarded_header =
        if input.forwarded { ForwardedHeader::Forwarded } else { ForwardedHeader::XForwardedFor };
    config.scopes.insert("read".into(), vec!["GET /".into()]);
    let engine = Engine::new(config.compile().unwrap());

    let name = if input.forwarded { "Forwarded" } else { "X-Forwarded-For" };
    let other = if input.forwarded { "x-forwarded-for" } else { "forwarded" };
    let mut headers: Vec<(&str, &[u8])> =
        vec![("authorization", b"Bearer t"), (other, b"198.51.100.1")];
    headers.extend(lines.iter().map(|line| (name, line.as_slice())));
    let headers = Headers(headers);
    let peer = input.peer.as_ref().map(Address::ip);
    let request = Request { peer, ..Request::new(b"GET", b"/", 1).with_headers(&headers) };
    let probe = Probe::anywhere();
    let decision = engine.decide(&probe, &request);
    let source = probe.take().source;

    let expected = peer.and_then(|peer| walk(canonical(peer), &trusted, &lines, input.forwarded));
    let shown: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(line)).collect();
    assert_eq!(source, expected, "{peer:?} {trusted:?} {name}: {shown:?}");
    assert!(source.is_none_or(|source| source == canonical(source)), "mapped: {source:?}");
    let denied = decision.status() == tollgate::Status::IpNotAllowed;
    assert_eq!(denied, source.is_none(), "no address is in no network");
});

struct Headers<'a>(Vec<(&'a str, &'a [u8])>);

impl tollgate::Headers for Headers<'_> {
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        self.0.as_slice().value(name, nth)
    }
}

fn canonical(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4),
        v4 => v4,
    }
}

/// As a policy has it: the bits behind the prefix are zero.
fn network_text((ip, length): &(IpAddr, u8)) -> String {
    let kept = |all: u32| u128::MAX.checked_shl(all - u32::from(*length)).unwrap_or(0);
    match ip {
        IpAddr::V4(ip) => format!("{}/{length}", Ipv4Addr::from(ip.to_bits() & kept(32) as u32)),
        IpAddr::V6(ip) => format!("{}/{length}", Ipv6Addr::from(ip.to_bits() & kept(128))),
    }
}

/// An IPv4 network of `n` bits is the IPv6 network of `96 + n` bits of mapped addresses.
fn is_trusted(ip: IpAddr, trusted: &[(IpAddr, u8)]) -> bool {
    let wide = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    trusted.iter().any(|(network, length)| {
        let length = if network.is_ipv4() { 96 + u32::from(*length) } else { u32::from(*length) };
        // A shorter IPv6 network is of IPv6 alone.
        let same_kind = ip.is_ipv6() || length >= 96;
        same_kind && wide(ip) >> (128 - length) == wide(*network) >> (128 - length)
    })
}

/// From the right, over all that is trusted; the first that is no address ends it with nothing.
fn walk(
    peer: IpAddr,
    trusted: &[(IpAddr, u8)],
    lines: &[Vec<u8>],
    forwarded: bool,
) -> Option<IpAddr> {
    if !is_trusted(peer, trusted) {
        return Some(peer);
    }
    if lines.len() > 64 || lines.iter().map(Vec::len).sum::<usize>() > 8192 {
        return None;
    }
    let entries = lines.iter().flat_map(|line| {
        let text: String = line.iter().map(|byte| char::from(*byte)).collect();
        let separators: Vec<usize> = text.match_indices(',').map(|(at, _)| at).collect();
        let kept = |at: &usize| !forwarded || quotes_after(&text, *at) % 2 == 0;
        let mut bounds: Vec<usize> = separators.into_iter().filter(kept).collect();
        bounds.push(text.len());
        let mut start = 0;
        let mut entries = Vec::new();
        for end in bounds {
            entries.push(text[start..end].trim_matches([' ', '\t']).to_owned());
            start = end + 1;
        }
        entries
    });
    let entries: Vec<String> = entries.collect();
    let mut source = peer;
    for (hop, entry) in entries.iter().rev().enumerate() {
        if hop == 64 {
            return None;
        }
        let found = if forwarded { element(entry) } else { node(entry).map(|(ip, _)| ip) };
        source = canonical(found?);
        if !is_trusted(source, trusted) {
            break;
        }
    }
    Some(source)
}

/// Quotes to the right of a place that no backslash escapes.
fn quotes_after(text: &str, at: usize) -> usize {
    text.match_indices('"')
        .filter(|(quote, _)| *quote > at)
        .filter(|(quote, _)| {
            let before = &text[..*quote];
            (before.len() - before.trim_end_matches('\\').len()) % 2 == 0
        })
        .count()
}

/// An address, bare or with a port, by the parsers of the standard library; and whether it was in
/// brackets or had a port.
fn node(text: &str) -> Option<(IpAddr, bool)> {
    if let Ok(bare) = text.parse::<IpAddr>() {
        return Some((bare, false));
    }
    if text.contains('%') {
        return None; // a zone is of the proxy's host only
    }
    if text.starts_with('[') && text.ends_with(']') {
        return Some((IpAddr::V6(text[1..text.len() - 1].parse().ok()?), true));
    }
    let port = &text[text.rfind(':')? + 1..];
    if port.len() > 5 {
        return None;
    }
    let v4 = text.parse::<SocketAddrV4>().map(|socket| IpAddr::V4(*socket.ip()));
    let v6 = text.parse::<SocketAddrV6>().map(|socket| IpAddr::V6(*socket.ip()));
    v4.or(v6).ok().map(|ip| (ip, true))
}

/// An element of `Forwarded`: pairs, one of them `for`.
fn element(text: &str) -> Option<IpAddr> {
    let mut fors = Vec::new();
    let mut rest: Vec<char> = text.chars().rev().collect(); // the next character is the last
    let is_space = |c: Option<&char>| matches!(c, Some(' ' | '\t'));
    let tchar = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    loop {
        while is_space(rest.last()) {
            rest.pop();
        }
        match rest.last() {
            None => break,
            Some(';') => {
                rest.pop();
                continue;
            }
            Some(_) => {}
        }
        let name = word(&mut rest, tchar);
        if name.is_empty() || rest.pop() != Some('=') {
            return None;
        }
        let quoted = rest.last() == Some(&'"');
        let value = if quoted { quoted_string(&mut rest)? } else { word(&mut rest, tchar) };
        if value.is_empty() && !quoted {
            return None;
        }
        if name.eq_ignore_ascii_case("for") {
            fors.push(identifier(&value)?);
        }
        while is_space(rest.last()) {
            rest.pop();
        }
        if !matches!(rest.last(), None | Some(';')) {
            return None;
        }
    }
    match fors.as_slice() {
        [one] => Some(*one),
        _ => None,
    }
}

fn word(rest: &mut Vec<char>, is_part: impl Fn(char) -> bool) -> String {
    let mut word = String::new();
    while let Some(c) = rest.pop_if(|c| is_part(*c)) {
        word.push(c);
    }
    word
}

fn quoted_string(rest: &mut Vec<char>) -> Option<String> {
    rest.pop();
    let mut value = String::new();
    loop {
        let c = match rest.pop()? {
            '"' => return Some(value),
            '\\' => rest.pop()?,
            c => c,
        };
        if (c < ' ' && c != '\t') || c == '\x7f' {
            return None;
        }
        value.push(c);
    }
}

/// A node of RFC 7239, section 6: IPv6 is in brackets always, and a port may be obfuscated.
fn identifier(text: &str) -> Option<IpAddr> {
    if text.len() > 64 {
        return None;
    }
    if let Some((before, port)) = text.rsplit_once(":_") {
        let letters = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let good = !port.is_empty() && port.chars().all(letters);
        // In front of it stands an address without a port.
        let (ip, dressed) = node(before).filter(|_| good)?;
        return (ip.is_ipv4() != dressed)
            .then_some(ip)
            .filter(|_| before.ends_with(']') || ip.is_ipv4());
    }
    let (ip, dressed) = node(text)?;
    (ip.is_ipv4() || dressed).then_some(ip)
}
