//! What a host knows of one call.

use core::ffi::c_char;
use core::net::IpAddr;

use tollgate::{Amount, Body, Headers, Request, Single};

use crate::error::Error;
use crate::ffi::{self, Sized_, tollgate_header_t};

/// What a host knows of one call. Set `struct_size`, zero the rest, then fill in what is known.
///
/// Everything is borrowed for the length of the call that it is given to. A pointer may be null where its
/// length is 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tollgate_request_t {
    /// `sizeof(tollgate_request_t)`.
    pub struct_size: usize,
    /// Unix time in milliseconds.
    pub now_ms: u64,
    /// Method, as sent.
    pub method: *const c_char,
    /// Bytes of the method.
    pub method_len: usize,
    /// Request target, as sent: path and query, not decoded.
    pub target: *const c_char,
    /// Bytes of the target.
    pub target_len: usize,
    /// Headers, in order of arrival.
    pub headers: *const tollgate_header_t,
    /// How many headers.
    pub headers_len: usize,
    /// Address of the TCP peer in network order.
    pub peer: *const u8,
    /// 4 or 16 bytes; 0: not known.
    pub peer_len: usize,
    /// Body, for the fingerprint of an idempotency key.
    pub body: *const u8,
    /// Bytes of the body.
    pub body_len: usize,
    /// The SHA-256 of the body, 32 bytes, in its place; null: `body` counts.
    pub body_sha256: *const u8,
    /// Price of this call in the ledger's minor unit, if `has_cost`.
    pub cost: u64,
    /// 1: `cost` is the price; 0: the route's own is.
    pub has_cost: u8,
    /// 1: decide and consume nothing.
    pub peek: u8,
    /// The sender that the call names, UTF-8; null: none.
    pub sender: *const c_char,
    /// Bytes of the sender.
    pub sender_len: usize,
    /// The host's own refusal: a message for the client, UTF-8; null: it is valid.
    pub invalid: *const c_char,
    /// Bytes of the message.
    pub invalid_len: usize,
}

// SAFETY: `repr(C)`, pointers and numbers, and it begins with its size.
unsafe impl Sized_ for tollgate_request_t {}

/// Headers of a caller, whose pointers were checked.
struct GivenHeaders<'a>(&'a [tollgate_header_t]);

// SAFETY: the pointers are read only, for the length of the call, as if they were references.
unsafe impl Sync for GivenHeaders<'_> {}

impl<'a> GivenHeaders<'a> {
    fn new(headers: &'a [tollgate_header_t]) -> Result<Self, Error> {
        for header in headers {
            ffi::bytes(header.name, header.name_len, "headers[].name")?;
            ffi::bytes(header.value, header.value_len, "headers[].value")?;
        }
        Ok(GivenHeaders(headers))
    }

    fn each(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.0.iter().map(|header| {
            let name = ffi::bytes(header.name, header.name_len, "name").unwrap_or_default();
            (name, ffi::bytes(header.value, header.value_len, "value").unwrap_or_default())
        })
    }
}

impl<'a> GivenHeaders<'a> {
    /// The values of a header, in order of arrival.
    fn named(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let named =
            |key: &[u8]| key.len() == name.len() && key.eq_ignore_ascii_case(name.as_bytes());
        self.each().filter(move |(key, _)| named(key)).map(|(_, value)| value)
    }
}

impl Headers for GivenHeaders<'_> {
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        self.named(name).nth(nth)
    }

    fn single(&self, name: &str) -> Single<'_> {
        // One pass: this is asked of every request.
        let mut values = self.named(name);
        match (values.next(), values.next()) {
            (None, _) => Single::None,
            (Some(value), None) => Single::One(value),
            (Some(_), Some(_)) => Single::Repeated,
        }
    }
}

/// A request with everything but its headers' trait object.
struct Parts<'a> {
    headers: GivenHeaders<'a>,
    method: &'a [u8],
    target: &'a [u8],
    peer: Option<IpAddr>,
    body: Body<'a>,
    sender: Option<&'a str>,
    invalid: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(given: &tollgate_request_t) -> Result<Parts<'a>, Error> {
        let body = match ffi::optional_array(given.body_sha256, "body_sha256")? {
            Some(digest) => Body::Sha256(digest),
            None => Body::Bytes(ffi::many(given.body, given.body_len, "body")?),
        };
        Ok(Parts {
            headers: GivenHeaders::new(ffi::many(given.headers, given.headers_len, "headers")?)?,
            method: ffi::bytes(given.method, given.method_len, "method")?,
            target: ffi::bytes(given.target, given.target_len, "target")?,
            peer: peer(ffi::many(given.peer, given.peer_len, "peer")?)?,
            body,
            sender: ffi::optional_text(given.sender, given.sender_len, "sender")?,
            invalid: ffi::optional_text(given.invalid, given.invalid_len, "invalid")?,
        })
    }
}

fn peer(bytes: &[u8]) -> Result<Option<IpAddr>, Error> {
    if bytes.is_empty() {
        return Ok(None);
    }
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(Some(v4.into()));
    }
    match <[u8; 16]>::try_from(bytes) {
        Ok(v6) => Ok(Some(v6.into())),
        Err(_) => Err(Error::invalid("`peer_len` is 0, 4 or 16")),
    }
}

/// Lends a caller's request.
pub(crate) fn with_request<T>(
    given: *const tollgate_request_t,
    then: impl FnOnce(&Request<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let given = ffi::read(given, "request")?;
    let parts = Parts::of(&given)?;
    then(&Request {
        now_ms: given.now_ms,
        method: parts.method,
        target: parts.target,
        headers: &parts.headers,
        peer: parts.peer,
        body: parts.body,
        cost: (given.has_cost != 0).then_some(Amount(given.cost)),
        sender: parts.sender,
        invalid: parts.invalid,
        peek: given.peek != 0,
    })
}

/// A request that is kept for later.
pub(crate) struct OwnedRequest {
    pub(crate) now_ms: u64,
    method: Box<[u8]>,
    target: Box<[u8]>,
    headers: OwnedHeaders,
    peer: Option<IpAddr>,
    body: OwnedBody,
    cost: Option<Amount>,
    sender: Option<Box<str>>,
    invalid: Option<Box<str>>,
    peek: bool,
}

struct OwnedHeaders(Vec<OwnedHeader>);

/// Name and value.
type OwnedHeader = (Box<[u8]>, Box<[u8]>);

impl Headers for OwnedHeaders {
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        self.0.as_slice().value(name, nth)
    }
}

enum OwnedBody {
    Bytes(Box<[u8]>),
    Sha256([u8; 32]),
}

impl OwnedRequest {
    pub(crate) fn new(given: *const tollgate_request_t) -> Result<Self, Error> {
        let given = ffi::read(given, "request")?;
        let parts = Parts::of(&given)?;
        let headers = parts.headers.each().map(|(name, value)| (name.into(), value.into()));
        Ok(OwnedRequest {
            now_ms: given.now_ms,
            method: parts.method.into(),
            target: parts.target.into(),
            headers: OwnedHeaders(headers.collect()),
            peer: parts.peer,
            body: match parts.body {
                Body::Bytes(bytes) => OwnedBody::Bytes(bytes.into()),
                Body::Sha256(digest) => OwnedBody::Sha256(digest),
            },
            cost: (given.has_cost != 0).then_some(Amount(given.cost)),
            sender: parts.sender.map(Into::into),
            invalid: parts.invalid.map(Into::into),
            peek: given.peek != 0,
        })
    }

    pub(crate) fn lend(&self) -> Request<'_> {
        Request {
            now_ms: self.now_ms,
            method: &self.method,
            target: &self.target,
            headers: &self.headers,
            peer: self.peer,
            body: match &self.body {
                OwnedBody::Bytes(bytes) => Body::Bytes(bytes),
                OwnedBody::Sha256(digest) => Body::Sha256(*digest),
            },
            cost: self.cost,
            sender: self.sender.as_deref(),
            invalid: self.invalid.as_deref(),
            peek: self.peek,
        }
    }
}
