//! What is asked about a request.

use std::borrow::Cow;
use std::net::IpAddr;

use tollgate::{Amount, Body, Engine, Headers, Request};

use crate::abi::HeaderMap;
use crate::clock::now_ms;
use crate::config::Rules;
use crate::host::{RequestHeaders, Stream};
use crate::settings::{Peer, Source};

/// The facts of a request, as long as an event lasts.
pub(crate) struct Facts<'s> {
    now_ms: u64,
    method: Cow<'s, [u8]>,
    target: Cow<'s, [u8]>,
    peer: Option<IpAddr>,
    cost: Option<Amount>,
    sender: Option<Cow<'s, str>>,
    invalid: Option<Cow<'s, str>>,
}

impl<'s> Facts<'s> {
    /// Those of the request of this stream, now.
    ///
    /// # Errors
    /// A cost that is no number.
    pub(crate) fn of(stream: &'s Stream<'_>, rules: &'s Rules) -> Result<Facts<'s>, String> {
        let (method, target) = stream.request_line();
        Ok(Facts {
            now_ms: now_ms(),
            method: Cow::Borrowed(method),
            target: Cow::Borrowed(target),
            peer: match rules.config.peer {
                Peer::Connection => stream.direct_remote_address(),
                Peer::Downstream => stream.source_address(),
            },
            cost: rules.cost().and_then(|source| cost(stream, source).transpose()).transpose()?,
            sender: rules.sender().and_then(|source| text(stream, source)),
            invalid: rules.invalid().and_then(|source| text(stream, source)),
        })
    }

    /// The request.
    pub(crate) fn request<'a>(&'a self, headers: &'a dyn Headers, body: Body<'a>) -> Request<'a> {
        Request {
            peer: self.peer,
            body,
            cost: self.cost,
            sender: self.sender.as_deref(),
            invalid: self.invalid.as_deref(),
            ..Request::new(&self.method, &self.target, self.now_ms).with_headers(headers)
        }
    }

    /// The same beyond the event, with the headers that the engine reads.
    pub(crate) fn keep(self, stream: &Stream<'_>, engine: &Engine) -> KeptFacts {
        let headers = RequestHeaders(stream);
        let mut kept = Vec::new();
        for name in engine.policy().header_names() {
            let values = (0..).map_while(|nth| headers.value(name, nth));
            kept.extend(values.map(|value| (*name, value.to_vec())));
        }
        let owned = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        let facts = Facts {
            now_ms: self.now_ms,
            method: Cow::Owned(self.method.into_owned()),
            target: Cow::Owned(self.target.into_owned()),
            peer: self.peer,
            cost: self.cost,
            sender: owned(self.sender),
            invalid: owned(self.invalid),
        };
        KeptFacts { facts, headers: kept }
    }
}

/// The facts of a request that is decided on another thread.
pub(crate) struct KeptFacts {
    facts: Facts<'static>,
    headers: Vec<(&'static str, Vec<u8>)>,
}

impl KeptFacts {
    /// The request.
    pub(crate) fn request<'a>(
        &'a self,
        headers: &'a KeptHeaders<'a>,
        body: Body<'a>,
    ) -> Request<'a> {
        self.facts.request(headers, body)
    }

    /// Its headers.
    pub(crate) fn headers(&self) -> KeptHeaders<'_> {
        KeptHeaders(&self.headers)
    }
}

/// Headers that were kept.
pub(crate) struct KeptHeaders<'a>(&'a [(&'static str, Vec<u8>)]);

impl Headers for KeptHeaders<'_> {
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        self.0.value(name, nth)
    }
}

fn text<'s>(stream: &'s Stream<'_>, source: &'s Source) -> Option<Cow<'s, str>> {
    let text = match source {
        Source::Header(name) => {
            String::from_utf8_lossy(stream.header(HeaderMap::Request, name, 0)?)
        }
        Source::Metadata { namespace, key } => {
            String::from_utf8_lossy(stream.metadata_text(namespace, key)?)
        }
        Source::Value(serde_json::Value::String(text)) => Cow::Borrowed(text.as_str()),
        Source::Value(value) => Cow::Owned(value.to_string()),
    };
    (!text.is_empty()).then_some(text)
}

fn cost(stream: &Stream<'_>, source: &Source) -> Result<Option<Amount>, String> {
    if let Source::Metadata { namespace, key } = source
        && let Some(number) = stream.metadata_number(namespace, key)
    {
        return whole(number).map(|number| Some(Amount(number)));
    }
    let Some(text) = text(stream, source) else { return Ok(None) };
    let amount = text.parse().map_err(|_| format!("`{text}` is no amount"))?;
    Ok(Some(Amount(amount)))
}

/// Metadata has numbers of JSON: whole ones up to 2^53 are exact.
fn whole(number: f64) -> Result<u64, String> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if !(0.0..=EXACT).contains(&number) || number.fract() != 0.0 {
        return Err(format!("{number} is no amount"));
    }
    // Within the bounds above nothing is lost.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_metadata_are_whole() {
        assert_eq!(whole(0.0), Ok(0));
        assert_eq!(whole(9_007_199_254_740_992.0), Ok(1 << 53));
        for wrong in [-1.0, 0.5, 1e300, f64::NAN, f64::INFINITY] {
            assert!(whole(wrong).is_err(), "{wrong}");
        }
    }
}
