//! What a proxy tells of the request that it asks about.

use std::net::IpAddr;

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::StatusCode;
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tollgate::Amount;

use crate::caller::Caller;
use crate::options::FactHeaders;
use crate::question::{HeaderList, Payload, Question, Via};
use crate::reply::Fault;
use crate::shared::Shared;

/// Where method and target of the client's request are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `X-Forwarded-Method` and `X-Forwarded-Uri`.
    Forwarded,
    /// `X-Original-Method` and `X-Original-URI`.
    Original,
    /// The auth request has them itself, its path behind a prefix.
    Prefixed(&'static str),
}

/// The head of the client's request.
///
/// # Errors
/// A caller that is no proxy, or does not tell what it must.
pub(super) fn head(
    shared: &Shared,
    parts: &Parts,
    via: Via,
    dialect: Dialect,
) -> Result<Question, Fault> {
    let options = &shared.options;
    Caller::of(&parts.extensions).must_be_one_of(&options.proxies)?;
    let (method, target) = match dialect {
        Dialect::Forwarded => {
            let target = path_of(once(parts, "x-forwarded-uri")?);
            (once(parts, "x-forwarded-method")?, target)
        }
        Dialect::Original => (once(parts, "x-original-method")?, once(parts, "x-original-uri")?),
        Dialect::Prefixed(prefix) => {
            let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
            let target = target.strip_prefix(prefix).unwrap_or(target);
            let method = Bytes::copy_from_slice(parts.method.as_str().as_bytes());
            (method, Bytes::copy_from_slice(target.as_bytes()))
        }
    };
    let mut question = Question::new(shared.live.load(), via, method, target);
    let names = question.engine.policy().header_names();
    question.headers = relevant(&parts.headers, names);
    question.peer = take_peer(&parts.headers, &options.peer_header, &mut question.headers);
    let id = parts.headers.get("x-request-id");
    question.id = id.and_then(|id| id.to_str().ok()).and_then(request_id);
    add_facts(&parts.headers, &options.facts, &mut question)?;
    Ok(question)
}

/// The body, where the proxy sent it along. One that cannot be judged makes the request invalid: a key must not stand for a
/// part of a body.
pub(super) async fn body(shared: &Shared, parts: &Parts, body: Body, question: &mut Question) {
    let max = shared.options.bounds.max_body_bytes;
    let partial =
        parts.headers.get_all("x-envoy-auth-partial-body").iter().any(|value| value == "true");
    let problem = match Limited::new(body, max).collect().await {
        Ok(_) if partial => format!("The request body is over {max} bytes. Send a shorter one."),
        Ok(whole) => {
            question.body = Payload::Bytes(whole.to_bytes());
            return;
        }
        Err(error) if error.is::<LengthLimitError>() => {
            format!("The request body is over {max} bytes. Send a shorter one.")
        }
        Err(_) => "The request body did not come to its end. Send it again.".into(),
    };
    question.body = Payload::Sha256([0; 32]);
    question.invalid = Some(problem.into());
}

/// A header that the proxy sets, exactly once: what is there twice was set by somebody else too.
fn once(parts: &Parts, name: &'static str) -> Result<Bytes, Fault> {
    let mut values = parts.headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(Bytes::copy_from_slice(value.as_bytes())),
        (None, _) => Err(Fault::malformed(format!(
            "the proxy must send {name} with what the client asked for; its configuration is in the documentation"
        ))),
        (Some(_), Some(_)) => Err(Fault::malformed(format!(
            "{name} came more than once; the proxy must set it in place of what clients send"
        ))),
    }
}

/// A target without scheme and authority: Caddy tells an absolute one as it came, and passes on its path.
fn path_of(target: Bytes) -> Bytes {
    let lower = target.get(..8).unwrap_or(&target).to_ascii_lowercase();
    let scheme = ["http://", "https://"].into_iter().find(|s| lower.starts_with(s.as_bytes()));
    let Some(scheme) = scheme else { return target };
    let authority = target.get(scheme.len()..).unwrap_or_default();
    match authority.iter().position(|byte| matches!(byte, b'/' | b'?')) {
        Some(end) if authority.get(end) == Some(&b'/') => {
            target.slice(scheme.len().saturating_add(end)..)
        }
        Some(end) => [b"/", authority.get(end..).unwrap_or_default()].concat().into(),
        None => Bytes::from_static(b"/"),
    }
}

/// The headers that the engine reads, of a head that has many.
fn relevant(headers: &HeaderMap, names: &[&'static str]) -> HeaderList {
    let mut list = HeaderList::default();
    for name in names {
        for value in headers.get_all(*name) {
            let value = Bytes::copy_from_slice(value.as_bytes());
            list.0.push((Bytes::from_static(name.as_bytes()), value));
        }
    }
    list
}

/// The address that the proxy itself saw: the last entry of its header. What stands before it stays for the policy's trusted
/// proxies, so that the answer is that of an engine inside the proxy.
fn take_peer(
    headers: &HeaderMap,
    name: &http::HeaderName,
    list: &mut HeaderList,
) -> Option<IpAddr> {
    let last = headers.get_all(name).iter().next_back()?.as_bytes();
    let (before, entry) = match last.iter().rposition(|byte| *byte == b',') {
        Some(comma) => (last.get(..comma)?, last.get(comma.checked_add(1)?..)?),
        None => (&[][..], last),
    };
    let line = list.0.iter().rposition(|(known, _)| known == name.as_str());
    if let Some(line) = line {
        if before.is_empty() {
            list.0.remove(line);
        } else if let Some((_, value)) = list.0.get_mut(line) {
            *value = Bytes::copy_from_slice(before);
        }
    }
    std::str::from_utf8(entry).ok()?.trim().parse().ok()
}

/// The proxy's name for the request, where it is one that a log can hold.
pub(crate) fn request_id(id: &str) -> Option<Box<str>> {
    let fits = (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| id.into())
}

fn add_facts(
    headers: &HeaderMap,
    names: &FactHeaders,
    question: &mut Question,
) -> Result<(), Fault> {
    let text = |name: &Option<http::HeaderName>| -> Result<Option<Box<str>>, Fault> {
        let Some(name) = name else { return Ok(None) };
        let mut values = headers.get_all(name).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return match headers.contains_key(name) {
                true => Err(Fault::malformed(format!(
                    "{name} came more than once; the proxy must set it once"
                ))),
                false => Ok(None),
            };
        };
        let text = std::str::from_utf8(value.as_bytes());
        let text = text.map_err(|_| Fault::malformed(format!("{name} is not UTF-8")))?;
        Ok(Some(text).filter(|text| !text.is_empty()).map(Into::into))
    };
    if let Some(cost) = text(&names.cost)? {
        let number = cost.parse().map_err(|_| {
            Fault::new(
                StatusCode::BAD_REQUEST,
                "malformed_request",
                "the cost is no whole number of the ledger's minor unit",
            )
        })?;
        question.cost = Some(Amount(number));
    }
    question.sender = text(&names.sender)?;
    question.invalid = text(&names.invalid)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absolute_target_is_its_path() {
        for (target, path) in [
            ("http://evil.test/abs?q=1", "/abs?q=1"),
            ("HTTPS://evil.test:1/a//b", "/a//b"),
            ("http://evil.test", "/"),
            ("http://evil.test?q=/x", "/?q=/x"),
            ("/http://x/y", "/http://x/y"),
            ("ftp://evil.test/a", "ftp://evil.test/a"),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(path_of(target.into()), path, "{target}");
        }
    }

    #[test]
    fn the_last_entry_is_the_peer_and_the_rest_stays() {
        let name = http::HeaderName::from_static("x-forwarded-for");
        let try_lines = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(&name, http::HeaderValue::from_static(line));
            }
            let mut list = relevant(&headers, &["x-forwarded-for"]);
            let peer = take_peer(&headers, &name, &mut list);
            let rest: Vec<String> = list
                .0
                .iter()
                .map(|(_, value)| String::from_utf8(value.to_vec()).unwrap())
                .collect();
            (peer.map(|peer| peer.to_string()), rest)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(try_lines(&["203.0.113.7"]), (some("203.0.113.7"), vec![]));
        assert_eq!(
            try_lines(&["10.0.0.1, 203.0.113.7"]),
            (some("203.0.113.7"), vec!["10.0.0.1".into()])
        );
        assert_eq!(try_lines(&["10.0.0.1", "::1"]), (some("::1"), vec!["10.0.0.1".into()]));
        assert_eq!(try_lines(&["10.0.0.1, "]), (None, vec!["10.0.0.1".into()]));
        assert_eq!(try_lines(&[]), (None, vec![]));
    }
}
