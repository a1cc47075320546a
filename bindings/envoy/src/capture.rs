//! A response on its way: how its request ends, and what of it is kept for replays.

use std::sync::Arc;

use tollgate::{Amount, Finish, StoredResponse, Ticket};

use crate::abi::{HeaderMap, ReceivedBody};
use crate::config::Rules;
use crate::host::Stream;

/// A response whose head has come.
pub(crate) struct Capture {
    status: u16,
    amount: Option<Amount>,
    /// How many bytes of its body are still to come, where its head says so.
    left: Option<u64>,
    /// There where the response is kept.
    kept: Option<Kept>,
}

struct Kept {
    headers: Vec<(Box<str>, Box<[u8]>)>,
    /// None once there was too much of it.
    body: Option<Vec<u8>>,
    max_body: u64,
}

/// The status of a response.
pub(crate) fn status(stream: &Stream<'_>) -> u16 {
    let status = stream.header(HeaderMap::Response, ":status", 0);
    let digits = status.and_then(|status| core::str::from_utf8(status).ok());
    digits.and_then(|status| status.parse().ok()).unwrap_or(0)
}

impl Capture {
    /// The head of the response of this stream, before the module changes it.
    pub(crate) fn of(stream: &Stream<'_>, rules: &Rules, ticket: &Ticket) -> Capture {
        let amount = rules.charge().and_then(|name| {
            let value = stream.header(HeaderMap::Response, name, 0)?;
            let amount = core::str::from_utf8(value).ok()?.trim().parse().ok().map(Amount)?;
            (amount <= ticket.reserved).then_some(amount)
        });
        let kept = ticket.holds_key.then(|| Kept {
            headers: headers(stream, rules),
            body: Some(Vec::new()),
            max_body: rules.max_response_body(),
        });
        let length = stream.header(HeaderMap::Response, "content-length", 0);
        let left = length.and_then(|length| core::str::from_utf8(length).ok()?.trim().parse().ok());
        Capture { status: status(stream), amount, left, kept }
    }

    /// Takes what came of the body; gives whether that was the last of it. A client that counts bytes does not wait for the end of the stream,
    /// which Envoy tells after them.
    pub(crate) fn add(&mut self, stream: &Stream<'_>) -> bool {
        let Capture { left, kept, .. } = self;
        if left.is_none() && kept.is_none() {
            return false;
        }
        stream.for_each_chunk(ReceivedBody::Response, |chunk| {
            if let Some(left) = left {
                *left = left.saturating_sub(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
            }
            let Some(kept) = kept else { return };
            let Some(body) = &mut kept.body else { return };
            let length = body.len().saturating_add(chunk.len());
            if u64::try_from(length).is_ok_and(|length| length <= kept.max_body) {
                body.extend_from_slice(chunk);
            } else {
                kept.body = None;
            }
        });
        *left == Some(0)
    }

    /// How the request ends, now that the response has. Success and redirection are charged; other answers say that it was not done.
    pub(crate) fn finish(self) -> Finish {
        let (status, amount) = (self.status, self.amount);
        let response = self.kept.map(|kept| Arc::new(kept.response(status)));
        match status {
            200..=399 => Finish::Settle { amount, response },
            _ => Finish::Void { response },
        }
    }

    /// The same where only the head is known.
    pub(crate) fn without_body(mut self) -> Capture {
        if let Some(kept) = &mut self.kept {
            kept.body = None;
        }
        self
    }
}

impl Kept {
    /// Without a body, headers that describe the bytes of one are left out too.
    fn response(self, status: u16) -> StoredResponse {
        let whole = self.body.is_some();
        let describes = |name: &str| matches!(name, "content-encoding" | "etag");
        let headers = self.headers.into_iter().filter(|(name, _)| whole || !describes(name));
        StoredResponse {
            status,
            headers: headers.collect(),
            body: self.body.map(Vec::into_boxed_slice),
        }
    }
}

fn headers(stream: &Stream<'_>, rules: &Rules) -> Vec<(Box<str>, Box<[u8]>)> {
    let values = |name: &str| {
        let values = (0..).map_while(|nth| stream.header(HeaderMap::Response, name, nth));
        values.map(|value| (name.into(), value.into())).collect::<Vec<_>>()
    };
    let mut headers: Vec<_> = rules.replay_headers().flat_map(values).collect();
    // An answer to HEAD tells the length of what GET would give.
    if stream.header(HeaderMap::Request, ":method", 0) == Some(b"HEAD") {
        headers.extend(values("content-length"));
    }
    headers
}
