//! Where a request comes from: the TCP peer, or what trusted proxies say of it.
//!
//! Every proxy appends the address it was called from, so the header is read from the right: what
//! stands left of the first untrusted address was written by whoever is there, and is not even parsed.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str;

use arrayvec::ArrayVec;
use ipnet::{IpNet, Ipv4Net};
use thiserror::Error;

use crate::policy::ForwardedHeader;
use crate::request::{Headers, trim_ows};

/// A header of more lines or bytes in all is not read, and more proxies are not followed: the cost of
/// a hostile header is bounded.
const MAX_LINES: usize = 64;
const MAX_BYTES: usize = 8 * 1024;
const MAX_HOPS: usize = 64;

/// The longest address: `[`, 45 characters of IPv6, `]:`, a port, and room for an obfuscated one.
const MAX_NODE_BYTES: usize = 64;

/// The source address of a request; IPv4-mapped IPv6 is IPv4.
///
/// - The peer, when it is in no trusted network: it could write any header.
/// - Else the rightmost address in the header that is in no trusted network, or the leftmost one if
///   all are trusted. An entry on the way that is no address (`unknown`, `_hidden`, an empty one) ends
///   the walk with no address at all. There is no fallback to a hop nearer by: it is a proxy's, and
///   would put all of its clients into one network and one limit.
/// - The peer, when it is trusted and sent no such header: then it speaks for itself, as health checks
///   and neighbouring services do.
/// - None without a peer, as nobody answers for the header then, and none over the bounds above.
pub(crate) fn client_ip(
    peer: Option<IpAddr>,
    headers: &dyn Headers,
    trusted: &[IpNet],
    header: ForwardedHeader,
) -> Option<IpAddr> {
    let mut source = peer?.to_canonical();
    if !in_networks(source, trusted) {
        return Some(source);
    }
    let name = match header {
        ForwardedHeader::XForwardedFor => "x-forwarded-for",
        ForwardedHeader::Forwarded => "forwarded",
    };
    let mut hops_left = MAX_HOPS;
    for line in lines(headers, name)?.into_iter().rev() {
        let mut rest = Some(line);
        while let Some(line) = rest {
            hops_left = hops_left.checked_sub(1)?;
            let (before, entry) = split_last_entry(line, header);
            source = match header {
                ForwardedHeader::XForwardedFor => x_forwarded_for(entry)?,
                ForwardedHeader::Forwarded => forwarded(entry)?,
            };
            if !in_networks(source, trusted) {
                return Some(source);
            }
            rest = before;
        }
    }
    Some(source)
}

/// The lines that a header came in; none when they are over the bounds.
fn lines<'h>(headers: &'h dyn Headers, name: &str) -> Option<ArrayVec<&'h [u8], MAX_LINES>> {
    let mut lines = ArrayVec::new();
    let mut bytes_left = Some(MAX_BYTES);
    headers.each_value(name, &mut |line| {
        let taken = lines.try_push(line).ok().and(bytes_left);
        bytes_left = taken.and_then(|left| left.checked_sub(line.len()));
        bytes_left.is_some()
    });
    bytes_left.map(|_| lines)
}

/// The entry after the last comma, and what stands before that comma.
fn split_last_entry(line: &[u8], header: ForwardedHeader) -> (Option<&[u8]>, &[u8]) {
    let comma = match header {
        ForwardedHeader::XForwardedFor => line.iter().rposition(|byte| *byte == b','),
        ForwardedHeader::Forwarded => last_unquoted_comma(line),
    };
    match comma.and_then(|index| line.split_at_checked(index)) {
        Some((before, [_, entry @ ..])) => (Some(before), entry),
        _ => (None, line),
    }
}

/// Quotes are paired from the right, so that one which the client left open cannot swallow what
/// proxies appended to it. Where quotes are balanced, both directions agree.
fn last_unquoted_comma(line: &[u8]) -> Option<usize> {
    let mut quoted = false;
    for (index, byte) in line.iter().enumerate().rev() {
        match byte {
            b'"' if !ends_in_escape(line.get(..index)?) => quoted = !quoted,
            b',' if !quoted => return Some(index),
            _ => {}
        }
    }
    None
}

/// Whether the byte after `text` is escaped: a backslash may itself be.
fn ends_in_escape(text: &[u8]) -> bool {
    text.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// An entry of `X-Forwarded-For`: an address, IPv6 also in brackets, and then or with IPv4 a port.
fn x_forwarded_for(entry: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(trim_ows(entry)).ok()?;
    let address = text.parse().ok().or_else(|| match split_node(text)? {
        (address, None) => Some(address),
        (address, Some(port)) => is_port(port).then_some(address),
    })?;
    Some(address.to_canonical())
}

/// An element of `Forwarded` (RFC 7239, section 4): `for=192.0.2.60;proto=http;by="[2001:db8::1]:80"`.
/// No address when `for` is absent or doubled, or when any other pair is malformed. White space
/// around `;`, which the grammar does not have and some proxies write, is passed over.
fn forwarded(element: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    let mut rest = trim_ows(element);
    while !rest.is_empty() {
        let pair_end = match rest {
            [b';', ..] => rest,
            _ => {
                let (name, after) = split_token(rest)?;
                let (value, after) = split_value(after.strip_prefix(b"=")?)?;
                if name.eq_ignore_ascii_case(b"for") && found.replace(value.address()?).is_some() {
                    return None;
                }
                trim_ows(after)
            }
        };
        rest = match pair_end {
            [b';', next @ ..] => trim_ows(next),
            [] => pair_end,
            _ => return None,
        };
    }
    found
}

/// The value of a pair.
#[derive(Clone, Copy)]
enum Value<'a> {
    Token(&'a [u8]),
    /// What stands between the quotes, escapes and all.
    Quoted(&'a [u8]),
}

impl Value<'_> {
    /// A node identifier (RFC 7239, section 6): a token can only be an IPv4 address, as `:` and `[` need
    /// quotes.
    fn address(self) -> Option<IpAddr> {
        let mut buffer = [0; MAX_NODE_BYTES];
        let text = match self {
            Value::Token(text) => text,
            Value::Quoted(content) => unescape(content, &mut buffer)?,
        };
        let (address, port) = split_node(str::from_utf8(text).ok()?)?;
        match port {
            Some(port) if !is_port(port) && !is_obfuscated_port(port) => None,
            _ => Some(address.to_canonical()),
        }
    }
}

/// A token (RFC 9110, section 5.6.2) and what follows it.
fn split_token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let end = text.iter().position(|byte| !is_tchar(byte)).unwrap_or(text.len());
    text.split_at_checked(end).filter(|(token, _)| !token.is_empty())
}

/// A token or a quoted string (RFC 9110, section 5.6.4), and what follows it.
fn split_value(text: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        return split_token(text).map(|(token, after)| (Value::Token(token), after));
    };
    let mut escaped = false;
    for (index, byte) in quoted.iter().enumerate() {
        match byte {
            0..=8 | 10..=31 | 127 => return None,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => {
                let (content, after) = quoted.split_at_checked(index)?;
                return Some((Value::Quoted(content), after.strip_prefix(b"\"")?));
            }
            _ => {}
        }
    }
    None
}

/// Takes each backslash away and what follows it as it is; nothing when the buffer is too short for it.
fn unescape<'b>(content: &[u8], buffer: &'b mut [u8]) -> Option<&'b [u8]> {
    let mut bytes = content.iter();
    let mut length = 0_usize;
    while let Some(byte) = bytes.next() {
        let byte = if *byte == b'\\' { bytes.next()? } else { byte };
        *buffer.get_mut(length)? = *byte;
        length = length.checked_add(1)?;
    }
    buffer.get(..length)
}

/// `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]` or `[2001:db8::1]:80`: address and port.
fn split_node(text: &str) -> Option<(IpAddr, Option<&str>)> {
    if let Some(text) = text.strip_prefix('[') {
        let (address, after) = text.split_once(']')?;
        let port = if after.is_empty() { None } else { Some(after.strip_prefix(':')?) };
        // The standard library's parser takes no zone: it means something on the proxy's host only.
        return Some((address.parse::<Ipv6Addr>().ok()?.into(), port));
    }
    let (address, port) = text.split_once(':').map_or((text, None), |(a, port)| (a, Some(port)));
    // It takes no leading zeros either, which some read as octal.
    Some((address.parse::<Ipv4Addr>().ok()?.into(), port))
}

/// One to five digits that are a port number.
fn is_port(port: &str) -> bool {
    port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

/// An obfuscated port (RFC 7239, section 6): `_` and at least one of a few characters.
fn is_obfuscated_port(port: &str) -> bool {
    port.strip_prefix('_').is_some_and(|name| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    })
}

/// Whether an address is in one of the networks. IPv4-mapped IPv6 is IPv4, in the address and in
/// networks of /96 or longer; a shorter IPv6 network, such as `::/0`, has no IPv4 address in it.
pub(crate) fn in_networks(address: IpAddr, networks: &[IpNet]) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| match (network, address) {
        (IpNet::V4(network), IpAddr::V4(address)) => network.contains(&address),
        (IpNet::V6(network), IpAddr::V6(address)) => network.contains(&address),
        (IpNet::V6(network), IpAddr::V4(address)) => {
            network.prefix_len() >= 96 && network.contains(&address.to_ipv6_mapped())
        }
        (IpNet::V4(_), IpAddr::V6(_)) => false,
    })
}

/// Reads a network: CIDR (RFC 4632, RFC 4291), or an address, which is the network of it alone.
/// An IPv4-mapped IPv6 network of /96 or longer becomes the IPv4 network that it stands for.
///
/// # Errors
/// A text that is neither, and a network whose address has bits beyond the prefix: `10.0.0.1/8` may
/// mean `10.0.0.0/8` or `10.0.0.1/32`.
pub fn parse_network(text: &str) -> Result<IpNet, NetworkError> {
    let network = parse_cidr(text).ok_or(NetworkError::Syntax)?;
    if network.addr() == network.network() {
        Ok(network)
    } else {
        Err(NetworkError::HostBits { network: network.trunc(), address: network.addr() })
    }
}

fn parse_cidr(text: &str) -> Option<IpNet> {
    let Some((address, prefix)) = text.split_once('/') else {
        return text.parse::<IpAddr>().ok().map(|address| address.to_canonical().into());
    };
    let canonical_number = prefix == "0" || !prefix.starts_with(['0', '+']);
    let prefix: u8 = prefix.parse().ok().filter(|_| canonical_number)?;
    let network = IpNet::new(address.parse().ok()?, prefix).ok()?;
    match (network.addr().to_canonical(), prefix.checked_sub(96)) {
        (IpAddr::V4(address), Some(prefix)) if network.max_prefix_len() == 128 => {
            Ipv4Net::new(address, prefix).ok().map(IpNet::V4)
        }
        _ => Some(network),
    }
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// Neither an address nor CIDR.
    #[error("not a network: write an address (192.0.2.7) or CIDR (192.0.2.0/24, 2001:db8::/32)")]
    Syntax,
    /// The address has bits beyond the prefix.
    #[error(
        "the address has bits beyond its prefix: write {network}, or {address} for that address alone"
    )]
    HostBits {
        /// The network that the address is in.
        network: IpNet,
        /// The address as given; an IPv4-mapped one as IPv4.
        address: IpAddr,
    },
}

#[cfg(test)]
mod tests;
