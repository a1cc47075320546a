//! Borrowed facts about one call.

use core::fmt;
use core::net::IpAddr;

use crate::ledger::Amount;

/// Where a request's header values come from: a host's own header map, seen by name.
///
/// `Sync`, so that a decision that waits for its store may move between threads.
pub trait Headers: Sync {
    /// The `nth` value (from 0, in order of arrival) of the header `name`, which is lower-case.
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]>;

    /// Gives all values of the header `name`, which is lower-case, to `each`, in order of arrival, until it says
    /// `false`. Worth its own body where [`value`](Self::value) looks through all headers each time.
    fn each_value<'h>(&'h self, name: &str, each: &mut dyn FnMut(&'h [u8]) -> bool) {
        for value in (0..).map_while(|nth| self.value(name, nth)) {
            if !each(value) {
                return;
            }
        }
    }

    /// The value of a header that may be sent only once.
    fn single(&self, name: &str) -> Single<'_> {
        match (self.value(name, 0), self.value(name, 1)) {
            (None, _) => Single::None,
            (Some(value), None) => Single::One(value),
            (Some(_), Some(_)) => Single::Repeated,
        }
    }
}

/// A header that may be sent only once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Single<'a> {
    /// It was not sent.
    None,
    /// Its value.
    One(&'a [u8]),
    /// It was sent more than once.
    Repeated,
}

/// Names are mostly in the same case already, and comparing them whole is several times as quick.
#[inline]
fn is_named(key: &[u8], name: &str) -> bool {
    key.len() == name.len() && (key == name.as_bytes() || key.eq_ignore_ascii_case(name.as_bytes()))
}

impl<N: AsRef<[u8]> + Sync, V: AsRef<[u8]> + Sync> Headers for [(N, V)] {
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        self.iter()
            .filter(|(key, _)| is_named(key.as_ref(), name))
            .nth(nth)
            .map(|(_, value)| value.as_ref())
    }

    fn each_value<'h>(&'h self, name: &str, each: &mut dyn FnMut(&'h [u8]) -> bool) {
        for (key, value) in self {
            if is_named(key.as_ref(), name) && !each(value.as_ref()) {
                return;
            }
        }
    }

    fn single(&self, name: &str) -> Single<'_> {
        // One pass: this is asked of every request.
        let mut found = Single::None;
        for (key, value) in self {
            if is_named(key.as_ref(), name) {
                if found != Single::None {
                    return Single::Repeated;
                }
                found = Single::One(value.as_ref());
            }
        }
        found
    }
}

impl<N: AsRef<[u8]> + Sync, V: AsRef<[u8]> + Sync, const LEN: usize> Headers for [(N, V); LEN] {
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        self.as_slice().value(name, nth)
    }

    fn each_value<'h>(&'h self, name: &str, each: &mut dyn FnMut(&'h [u8]) -> bool) {
        self.as_slice().each_value(name, each);
    }

    fn single(&self, name: &str) -> Single<'_> {
        self.as_slice().single(name)
    }
}

/// Without the optional white space around a field value or a list element: spaces and tabs (OWS, RFC 9110).
pub(crate) fn trim_ows(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The request's body, as far as the fingerprint of an idempotency key needs it.
#[derive(Clone, Copy)]
pub enum Body<'a> {
    /// The bytes themselves.
    Bytes(&'a [u8]),
    /// The SHA-256 of the bytes, from a host that hashed them while they streamed.
    Sha256([u8; 32]),
}

/// What a host knows about one call. Everything is borrowed; nothing is parsed before it is needed.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Unix time in milliseconds, at most [`MAX_NOW_MS`](crate::MAX_NOW_MS).
    pub now_ms: u64,
    /// Method, as sent.
    pub method: &'a [u8],
    /// Request target, as sent: path and query, not decoded.
    pub target: &'a [u8],
    /// Header values by name.
    pub headers: &'a dyn Headers,
    /// Address of the TCP peer; `None` when the host could not tell.
    pub peer: Option<IpAddr>,
    /// Body, for the fingerprint.
    pub body: Body<'a>,
    /// Price of this call in the ledger's minor unit; `None` takes the route's default.
    pub cost: Option<Amount>,
    /// The sender that the call names, to be checked against the account's approved ones.
    pub sender: Option<&'a str>,
    /// The host's own validation: `Some(message)` when it refused the request.
    pub invalid: Option<&'a str>,
    /// Decide and consume nothing.
    pub peek: bool,
}

struct NoHeaders;

impl Headers for NoHeaders {
    fn value(&self, _: &str, _: usize) -> Option<&[u8]> {
        None
    }
}

impl<'a> Request<'a> {
    /// A request with a method, a target and a time, and nothing else known.
    #[must_use]
    pub fn new(method: &'a [u8], target: &'a [u8], now_ms: u64) -> Self {
        Request {
            now_ms,
            method,
            target,
            headers: &NoHeaders,
            peer: None,
            body: Body::Bytes(&[]),
            cost: None,
            sender: None,
            invalid: None,
            peek: false,
        }
    }

    /// The same with `headers`.
    #[must_use]
    pub fn with_headers(self, headers: &'a dyn Headers) -> Self {
        Request { headers, ..self }
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers carry the token and bodies carry customers' data: neither is ever printed.
        f.debug_struct("Request")
            .field("now_ms", &self.now_ms)
            .field("method", &alloc::string::String::from_utf8_lossy(self.method))
            .field("peer", &self.peer)
            .field("cost", &self.cost)
            .field("peek", &self.peek)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_no_headers_until_it_is_given_some() {
        let request = Request::new(b"GET", b"/a", 1);
        assert!(request.headers.single("authorization") == Single::None);
    }

    #[test]
    fn a_name_of_the_same_length_is_another_name() {
        let headers: &[(&str, &str)] =
            &[("Content-Range", "a"), ("AUTHORIZATION", "b"), ("X-Authorization", "c")];
        assert!(headers.single("authorization") == Single::One(b"b"));
        assert_eq!(headers.value("authorization", 0), Some(&b"b"[..]));
        assert_eq!(headers.value("authorization", 1), None);
    }

    #[test]
    fn debug_tells_what_is_no_secret() {
        let headers = [("authorization", "Bearer hidden-token")];
        let request =
            Request { body: Body::Bytes(b"hidden-body"), ..Request::new(b"GET", b"/", 7) };
        let text = alloc::format!("{:?}", request.with_headers(&headers));
        assert!(text.contains("now_ms: 7") && text.contains("GET"), "{text}");
        assert!(!text.contains("hidden"), "{text}");
    }
}
