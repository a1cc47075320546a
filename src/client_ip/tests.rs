use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

struct Lines<'a>(&'static str, &'a [&'a [u8]]);

impl Headers for Lines<'_> {
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        self.1.get(nth).copied().filter(|_| name == self.0)
    }
}

fn trusted() -> [IpNet; 3] {
    ["10.0.0.0/8", "2001:db8:aaaa::/48", "192.0.2.1"].map(|text| parse_network(text).unwrap())
}

fn from_peer(peer: &str, header: ForwardedHeader, lines: &[&[u8]]) -> Option<String> {
    let name = match header {
        ForwardedHeader::XForwardedFor => "x-forwarded-for",
        ForwardedHeader::Forwarded => "forwarded",
    };
    client_ip(Some(peer.parse().unwrap()), &Lines(name, lines), &trusted(), header)
        .map(|address| address.to_string())
}

fn read(header: ForwardedHeader, lines: &[&[u8]]) -> Option<String> {
    from_peer("10.0.0.1", header, lines)
}

#[test]
fn an_untrusted_peer_speaks_for_itself() {
    let headers: &[&[u8]] = &[b"203.0.113.9"];
    for (peer, expected) in [
        ("198.51.100.1", "198.51.100.1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("192.0.2.2", "192.0.2.2"),
        ("::ffff:10.0.0.1", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9"),
        ("2001:db8:aaaa::1", "203.0.113.9"),
        ("192.0.2.1", "203.0.113.9"),
    ] {
        let found = from_peer(peer, ForwardedHeader::XForwardedFor, headers);
        assert_eq!(found.as_deref(), Some(expected), "{peer}");
    }
    let lines = Lines("x-forwarded-for", headers);
    let peer = Some(IpAddr::from([10, 0, 0, 1]));
    assert_eq!(client_ip(peer, &lines, &[], ForwardedHeader::XForwardedFor), peer);
    assert_eq!(client_ip(None, &lines, &trusted(), ForwardedHeader::XForwardedFor), None);
    // The other header is not looked at.
    assert_eq!(client_ip(peer, &lines, &trusted(), ForwardedHeader::Forwarded), peer);
}

#[test]
fn x_forwarded_for_table() {
    let table: &[(&[&[u8]], Option<&str>)] = &[
        (&[], Some("10.0.0.1")),
        (&[b"203.0.113.9"], Some("203.0.113.9")),
        (&[b"6.6.6.6, 203.0.113.9"], Some("203.0.113.9")),
        (&[b"6.6.6.6,\t203.0.113.9 \t, 10.1.1.1,10.2.2.2"], Some("203.0.113.9")),
        (&[b"6.6.6.6", b"203.0.113.9", b"10.1.1.1"], Some("203.0.113.9")),
        (&[b"junk", b"junk, 203.0.113.9", b"10.1.1.1"], Some("203.0.113.9")),
        (&[b"10.3.3.3, 10.1.1.1", b"10.2.2.2"], Some("10.3.3.3")),
        (&[b"2001:db8::9"], Some("2001:db8::9")),
        (&[b"[2001:db8::9]"], Some("2001:db8::9")),
        (&[b"[2001:db8::9]:443"], Some("2001:db8::9")),
        (&[b"203.0.113.9:65535"], Some("203.0.113.9")),
        (&[b"::ffff:203.0.113.9"], Some("203.0.113.9")),
        (&[b"203.0.113.9, ::ffff:10.1.1.1"], Some("203.0.113.9")),
        (&[b"203.0.113.9, [::ffff:a01:101]:1"], Some("203.0.113.9")),
        (&[b"203.0.113.9, 2001:db8:aaaa:1::2"], Some("203.0.113.9")),
        (&[b""], None),
        (&[b"203.0.113.9", b""], None),
        (&[b"203.0.113.9,"], None),
        (&[b",203.0.113.9"], Some("203.0.113.9")),
        (&[b",10.1.1.1"], None),
        (&[b"203.0.113.9, unknown"], None),
        (&[b"203.0.113.9, _hidden, 10.1.1.1"], None),
        (&[b"203.0.113.09"], None),
        (&[b"0203.0.113.9"], None),
        (&[b"203.0.113"], None),
        (&[b"203.0.113.9.1"], None),
        (&[b"0xcb.0.113.9"], None),
        (&[b"203.0.113.9:"], None),
        (&[b"203.0.113.9:65536"], None),
        (&[b"203.0.113.9:000080"], None),
        (&[b"203.0.113.9:+80"], None),
        (&[b"203.0.113.9:_port"], None),
        (&[b"203.0.113.9/32"], None),
        (&[b"203.0.113.9 10.1.1.1"], None),
        (&[b"\"203.0.113.9\""], None),
        (&[b"[203.0.113.9]"], None),
        (&[b"[2001:db8::9"], None),
        (&[b"2001:db8::9]"], None),
        (&[b"[2001:db8::9]443"], None),
        (&[b"[2001:db8::9]:"], None),
        (&[b"[]"], None),
        (&[b"fe80::1%eth0"], None),
        (&[b"[fe80::1%25eth0]:80"], None),
        (&[b"fe80::1%1"], None),
        (&[b"203.0.113.9\0"], None),
        (&[b"\xff"], None),
    ];
    for (lines, expected) in table {
        let found = read(ForwardedHeader::XForwardedFor, lines);
        assert_eq!(found.as_deref(), *expected, "{lines:?}");
    }
}

#[test]
fn forwarded_table() {
    let table: &[(&[&[u8]], Option<&str>)] = &[
        (&[], Some("10.0.0.1")),
        (&[b"for=203.0.113.9"], Some("203.0.113.9")),
        (&[b"For=203.0.113.9;proto=https;by=10.0.0.2"], Some("203.0.113.9")),
        (&[b"proto=https;;FOR=\"203.0.113.9\";"], Some("203.0.113.9")),
        (&[b"for=203.0.113.9; proto=https ; by=_x"], Some("203.0.113.9")),
        (&[b"for=203.0.113.9;by=\"\t\""], Some("203.0.113.9")),
        (&[b"for=203.0.113.9;by=\"\0\""], None),
        (&[b"for=6.6.6.6, for=203.0.113.9 , for=10.1.1.1"], Some("203.0.113.9")),
        (&[b"for=6.6.6.6", b"for=203.0.113.9", b"for=10.1.1.1"], Some("203.0.113.9")),
        (&[b"for=10.3.3.3, for=10.1.1.1"], Some("10.3.3.3")),
        (&[b"for=\"[2001:db8::9]\""], Some("2001:db8::9")),
        (&[b"for=\"[2001:db8::9]:4711\""], Some("2001:db8::9")),
        (&[b"for=\"[2001:db8::9]:_port\""], Some("2001:db8::9")),
        (&[b"for=\"203.0.113.9:4711\""], Some("203.0.113.9")),
        (&[b"for=\"2\\03.0.\\113.9\""], Some("203.0.113.9")),
        (&[b"for=\"[::ffff:203.0.113.9]\""], Some("203.0.113.9")),
        (&[b"for=203.0.113.9;ext=\"a,b;for=6.6.6.6\\\"\\\\\", for=10.1.1.1"], Some("203.0.113.9")),
        (&[b"for=203.0.113.9, for=10.1.1.1;ext=\",for=6.6.6.6,\""], Some("203.0.113.9")),
        // A client's open quote does not swallow what the proxy appended.
        (&[b"for=6.6.6.6;by=\", for=\"203.0.113.9:1\", for=10.1.1.1"], Some("203.0.113.9")),
        (&[b"for=6.6.6.6;by=\"", b"for=203.0.113.9"], Some("203.0.113.9")),
        (&[b"for=6.6.6.6;by=\", for=10.1.1.1"], None),
        (&[b"for=6.6.6.6;by=\"\\\", for=10.1.1.1"], None),
        (&[b""], None),
        (&[b";"], None),
        (&[b"for=203.0.113.9,"], None),
        (&[b"proto=https"], None),
        (&[b"for=203.0.113.9, proto=https"], None),
        (&[b"for=203.0.113.9;for=203.0.113.9"], None),
        (&[b"for=203.0.113.9;For=unknown"], None),
        (&[b"for=unknown"], None),
        (&[b"for=203.0.113.9, for=unknown, for=10.1.1.1"], None),
        (&[b"for=_hidden"], None),
        (&[b"for=\"_hidden:80\""], None),
        (&[b"for="], None),
        (&[b"for=\"\""], None),
        (&[b"for"], None),
        (&[b"=203.0.113.9"], None),
        (&[b"for = 203.0.113.9"], None),
        (&[b"for=203.0.113.9 proto=https"], None),
        (&[b"for=\"203.0.113.9\"proto=https"], None),
        (&[b"for=203.0.113.9;proto"], None),
        (&[b"for=203.0.113.9;proto="], None),
        (&[b"for=203.0.113.9;a b=c"], None),
        (&[b"for=203.0.113.9:80"], None),
        (&[b"for=2001:db8::9"], None),
        (&[b"for=[2001:db8::9]"], None),
        (&[b"for=\"2001:db8::9\""], None),
        (&[b"for=\"[fe80::1%25eth0]\""], None),
        (&[b"for=\"203.0.113.09\""], None),
        (&[b"for=\"203.0.113.9:_\""], None),
        (&[b"for=\"203.0.113.9:_a b\""], None),
        (&[b"for=\"203.0.113.9:\""], None),
        (&[b"for=\" 203.0.113.9\""], None),
        (&[b"for=\"203.0.113.9"], None),
        (&[b"for=\"203.0.113.9\\\""], None),
        (&[b"for=\"203.0.113.9\0\""], None),
        (&[b"203.0.113.9"], None),
    ];
    for (lines, expected) in table {
        let found = read(ForwardedHeader::Forwarded, lines);
        assert_eq!(found.as_deref(), *expected, "{lines:?}");
    }
}

#[test]
fn cost_is_bounded() {
    let hops = |count: usize| vec!["10.1.1.1"; count].join(",");
    let x_forwarded_for = |lines: &[&[u8]]| read(ForwardedHeader::XForwardedFor, lines);
    assert_eq!(x_forwarded_for(&[hops(64).as_bytes()]).as_deref(), Some("10.1.1.1"));
    assert_eq!(x_forwarded_for(&[hops(65).as_bytes()]), None);
    assert!(x_forwarded_for(&[format!("203.0.113.9,{}", hops(63)).as_bytes()]).is_some());
    assert_eq!(x_forwarded_for(&[format!("203.0.113.9,{}", hops(64)).as_bytes()]), None);
    // More entries do no harm where the walk does not reach them.
    assert!(x_forwarded_for(&[format!("{},203.0.113.9", hops(100)).as_bytes()]).is_some());

    assert!(x_forwarded_for(&[b"203.0.113.9".as_slice(); 64]).is_some());
    assert_eq!(x_forwarded_for(&[b"203.0.113.9".as_slice(); 65]), None);

    let padded = |bytes: usize| format!("{:>bytes$}", "203.0.113.9");
    assert!(x_forwarded_for(&[padded(8192).as_bytes()]).is_some());
    assert_eq!(x_forwarded_for(&[padded(8193).as_bytes()]), None);
    assert_eq!(x_forwarded_for(&[padded(8180).as_bytes(), b"203.0.113.9\t\t"]), None);

    for pattern in [",", "\"", "\\", "\\\"", ";", " ", "for=\"", "10.1.1.1,", "for=10.1.1.1,"] {
        for bytes in [8192, 1 << 20] {
            let line = pattern.repeat(bytes / pattern.len());
            assert_eq!(x_forwarded_for(&[line.as_bytes()]), None);
            assert_eq!(read(ForwardedHeader::Forwarded, &[line.as_bytes()]), None);
        }
    }
}

#[test]
fn networks_table() {
    for (text, expected) in [
        ("0.0.0.0/0", Some("0.0.0.0/0")),
        ("::/0", Some("::/0")),
        ("10.0.0.0/8", Some("10.0.0.0/8")),
        ("192.0.2.7", Some("192.0.2.7/32")),
        ("192.0.2.7/32", Some("192.0.2.7/32")),
        ("2001:DB8::/32", Some("2001:db8::/32")),
        ("2001:db8::1", Some("2001:db8::1/128")),
        ("::ffff:10.0.0.0/104", Some("10.0.0.0/8")),
        ("::ffff:0:0/96", Some("0.0.0.0/0")),
        ("::ffff:192.0.2.7", Some("192.0.2.7/32")),
        ("::ffff:192.0.2.7/128", Some("192.0.2.7/32")),
        ("::ffff:0.0.0.0/95", None),
        ("", None),
        (" 10.0.0.0/8", None),
        ("10.0.0.0/8 ", None),
        ("10.0.0.0/08", None),
        ("10.0.0.0/+8", None),
        ("10.0.0.0/00", None),
        ("10.0.0.0/-1", None),
        ("10.0.0.0/", None),
        ("10.0.0.0/33", None),
        ("10.0.0.0/256", None),
        ("10.0.0.0/8/8", None),
        ("10.0.0.0/255.0.0.0", None),
        ("10.0.0/24", None),
        ("010.0.0.0/8", None),
        ("2001:db8::/129", None),
        ("[2001:db8::]/32", None),
        ("fe80::1%eth0", None),
        ("10.0.0.1/8", None),
    ] {
        let found = parse_network(text).ok().map(|network| network.to_string());
        assert_eq!(found.as_deref(), expected, "{text}");
    }
}

#[test]
fn host_bits_are_named() {
    for (text, network, address) in [
        ("10.1.2.3/8", "10.0.0.0/8", "10.1.2.3"),
        ("2001:db8::1/32", "2001:db8::/32", "2001:db8::1"),
        ("::ffff:10.0.0.1/104", "10.0.0.0/8", "10.0.0.1"),
    ] {
        let message = parse_network(text).unwrap_err().to_string();
        assert!(message.contains(&format!("write {network}, or {address} for")), "{message}");
    }
}

#[test]
fn membership_table() {
    let raw = |text: &str| text.parse::<IpNet>().unwrap();
    for (address, network, expected) in [
        ("10.255.255.255", raw("10.0.0.0/8"), true),
        ("11.0.0.0", raw("10.0.0.0/8"), false),
        ("::ffff:10.0.0.1", raw("10.0.0.0/8"), true),
        ("10.0.0.1", raw("::ffff:10.0.0.0/104"), true),
        ("11.0.0.1", raw("::ffff:10.0.0.0/104"), false),
        ("::ffff:10.0.0.1", raw("::/0"), false),
        ("10.0.0.1", raw("::/0"), false),
        ("::1", raw("::/0"), true),
        ("::1", raw("0.0.0.0/0"), false),
        ("2001:db8::1", raw("2001:db8::/32"), true),
        ("2001:db9::1", raw("2001:db8::/32"), false),
    ] {
        let address: IpAddr = address.parse().unwrap();
        assert_eq!(in_networks(address, &[network]), expected, "{address} {network}");
        assert_eq!(in_networks(address, &[raw("8.8.8.8/32"), network]), expected);
        assert!(!in_networks(address, &[]));
    }
}

/// An entry, and the address that it stands for.
type Entry = (&'static str, Option<&'static str>);

const X_FORWARDED_FOR: &[Entry] = &[
    ("10.1.1.1", Some("10.1.1.1")),
    ("10.1.1.2:80", Some("10.1.1.2")),
    ("::ffff:10.1.1.3", Some("10.1.1.3")),
    ("[2001:db8:aaaa::1]:80", Some("2001:db8:aaaa::1")),
    ("192.0.2.1", Some("192.0.2.1")),
    ("203.0.113.9", Some("203.0.113.9")),
    ("2001:db8::9", Some("2001:db8::9")),
    ("unknown", None),
    ("_x", None),
    ("", None),
    ("10.1.1.01", None),
    ("\"", None),
];

const FORWARDED: &[Entry] = &[
    ("for=10.1.1.1", Some("10.1.1.1")),
    ("proto=http;For=\"10.1.1.2:80\"", Some("10.1.1.2")),
    ("for=\"[::ffff:10.1.1.3]\";x=\",\"", Some("10.1.1.3")),
    ("x=\"\\\",\\\\\";for=\"[2001:db8:aaaa::1]:_p\"", Some("2001:db8:aaaa::1")),
    ("for=192.0.2.1;", Some("192.0.2.1")),
    ("for=203.0.113.9;x=\"for=10.1.1.1, for=10.1.1.1\"", Some("203.0.113.9")),
    ("for=\"[2001:db8::9]\"", Some("2001:db8::9")),
    ("for=unknown", None),
    ("for=\"_x\"", None),
    ("", None),
    ("for=10.1.1.1;for=10.1.1.1", None),
    ("proto=\",\"", None),
];

fn model(peer: &str, entries: Vec<Entry>) -> Option<String> {
    let is_trusted = |address: &str| {
        let trusted = ["10.", "2001:db8:aaaa:"].iter().any(|prefix| address.starts_with(prefix));
        trusted || address == "192.0.2.1"
    };
    let mut chain: Vec<Option<&str>> = entries.into_iter().map(|(_, address)| address).collect();
    chain.push(Some(peer));
    let leftmost = chain[0];
    let answer = chain.into_iter().rev().find(|entry| !entry.is_some_and(is_trusted));
    answer.unwrap_or(leftmost).map(String::from)
}

fn lines_of(alphabet: &'static [Entry]) -> impl Strategy<Value = Vec<Vec<(Entry, &'static str)>>> {
    let space = select(&["", " ", "\t", " \t "][..]);
    // Weighted towards trusted entries, or walks would end at once.
    let entry = prop_oneof![3 => select(&alphabet[..5]), 1 => select(alphabet)];
    let line = proptest::collection::vec((entry, space), 1..5);
    proptest::collection::vec(line, 0..4)
}

fn check(
    peer: &str,
    header: ForwardedHeader,
    lines: &[Vec<(Entry, &'static str)>],
) -> Result<(), TestCaseError> {
    let texts: Vec<String> = lines
        .iter()
        .map(|line| {
            let entries = line.iter().map(|((text, _), space)| format!("{space}{text}{space}"));
            entries.collect::<Vec<_>>().join(",")
        })
        .collect();
    let bytes: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
    let entries = lines.iter().flatten().map(|(entry, _)| *entry).collect();
    prop_assert_eq!(from_peer(peer, header, &bytes), model(peer, entries), "{:?}", texts);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn x_forwarded_for_agrees_with_the_model(
        peer in select(&["10.0.0.1", "192.0.2.1", "198.51.100.1"][..]),
        lines in lines_of(X_FORWARDED_FOR),
    ) {
        check(peer, ForwardedHeader::XForwardedFor, &lines)?;
    }

    #[test]
    fn forwarded_agrees_with_the_model(
        peer in select(&["10.0.0.1", "192.0.2.1", "198.51.100.1"][..]),
        lines in lines_of(FORWARDED),
    ) {
        check(peer, ForwardedHeader::Forwarded, &lines)?;
    }

    /// Whatever a client writes, what the proxy appends to the line decides.
    #[test]
    fn a_client_cannot_choose_its_address(
        forged in "(for=|by=|6\\.6\\.6\\.6|[\",;\\\\ \\[\\]:x]|10\\.1\\.1\\.1){0,12}",
        node in select(&["203.0.113.9", "\"203.0.113.9:1\"", "\"203.0.113.9\";x=\",\\\"\""][..]),
    ) {
        let line = format!("{forged}, for={node}, for=10.1.1.1;by=\"_x\"");
        let found = read(ForwardedHeader::Forwarded, &[line.as_bytes()]);
        prop_assert_eq!(found.as_deref(), Some("203.0.113.9"), "{}", line);
    }

    #[test]
    fn any_bytes(
        bytes in proptest::collection::vec(any::<u8>(), 0..100),
        text in "(for=|by=|[\",;\\\\\\[\\]:%/_.0-9a-f]|10\\.1\\.1\\.1){0,24}",
    ) {
        for line in [&bytes, text.as_bytes()] {
            for header in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
                let _ = read(header, &[line, line]);
            }
            let text = String::from_utf8_lossy(line);
            if let Ok(network) = parse_network(&text) {
                prop_assert_eq!(parse_network(&network.to_string()), Ok(network));
            }
        }
    }
}
