//! What HTTP carries of a scenario: requests as bytes, and the upstream's answers that end them as a step says.

use std::net::IpAddr;

use tollgate::{Amount, Finish, StoredResponse};
use tollgate_scenario::{RequestStep, StepError};

use crate::gateway::MAX_RESPONSE_BODY;

/// What was asked, as far as it matters for how it can end.
pub(crate) struct Asked {
    /// Method.
    pub(crate) method: Vec<u8>,
    /// Whether it claims a key.
    pub(crate) claims_key: bool,
    /// What it reserved.
    pub(crate) reserved: u64,
}

fn not_carried<T>(why: &str) -> Result<T, StepError> {
    Err(StepError::not_carried(why))
}

/// The address that the request comes from; without one it comes over the socket.
pub(crate) fn address(step: &RequestStep) -> Option<IpAddr> {
    std::str::from_utf8(step.peer.as_ref()?.as_ref()).ok()?.parse().ok()
}

fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b':')
}

fn is_value(value: &[u8]) -> bool {
    !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}

/// The request as bytes; or why HTTP, or this gateway, cannot carry it.
pub(crate) fn request_bytes(
    step: &RequestStep,
    number: u64,
    gateway: &str,
) -> Result<Vec<u8>, StepError> {
    if step.peek == Some(true) {
        return not_carried("HTTP has no peek");
    }
    let no_text = |text: &Option<String>| {
        text.as_deref().is_some_and(|text| {
            !is_value(text.as_bytes()) || text.trim() != text || text.is_empty()
        })
    };
    if no_text(&step.sender) || no_text(&step.invalid) {
        return not_carried("a sender or refusal that is no header's value");
    }
    let (method, target) = (step.method.as_ref(), step.target.as_ref());
    if !is_token(method)
        || target.is_empty()
        || target.iter().any(|byte| byte.is_ascii_whitespace())
    {
        return not_carried("a request line that would be another one");
    }
    if target.starts_with(b"http://") {
        return not_carried(&format!("{gateway} takes the path out of an absolute target"));
    }
    let mut bytes =
        [method, b" ", target, b" HTTP/1.1\r\nHost: test\r\nConnection: close\r\n"].concat();
    let mut add = |name: &[u8], value: &[u8]| bytes.extend([name, b": ", value, b"\r\n"].concat());
    add(b"X-Test-Id", number.to_string().as_bytes());
    if let Some(peer) = address(step) {
        add(b"X-Test-Peer", peer.to_string().as_bytes());
    }
    if let Some(Amount(cost)) = step.cost {
        add(b"X-Test-Cost", cost.to_string().as_bytes());
    }
    if let Some(sender) = &step.sender {
        add(b"X-Test-Sender", sender.as_bytes());
    }
    if let Some(invalid) = &step.invalid {
        add(b"X-Test-Invalid", invalid.as_bytes());
    }
    let framing =
        ["host", "connection", "content-length", "transfer-encoding", "expect", "upgrade"];
    for (name, value) in &step.headers.0 {
        let lower = String::from_utf8_lossy(name.as_ref()).to_ascii_lowercase();
        if !is_token(name.as_ref())
            || !is_value(value.as_ref())
            || framing.contains(&lower.as_str())
        {
            return not_carried("a header that would be another one, or the connection's");
        }
        add(name.as_ref(), value.as_ref());
    }
    let body = step.body.as_deref().unwrap_or_default();
    if !body.is_empty() {
        add(b"Content-Length", body.len().to_string().as_bytes());
    }
    bytes.extend(b"\r\n");
    bytes.extend(body.as_bytes());
    Ok(bytes)
}

/// What the upstream answers so that the gateway ends the request like this.
pub(crate) fn answer(asked: &Asked, finish: &Finish) -> Result<Vec<u8>, StepError> {
    let has_key = asked.claims_key;
    match finish {
        Finish::Unknown => Ok(Vec::new()),
        Finish::Settle { amount: Some(Amount(amount)), .. } if *amount > asked.reserved => {
            not_carried("a charge above what was reserved is cut to it")
        }
        Finish::Settle { amount, response } => match response {
            None if has_key => not_carried("an upstream that settles gives a response"),
            None => respond(asked, &empty(200), *amount),
            Some(response) if !(200..400).contains(&response.status) => {
                not_carried("a 4xx or 5xx of the upstream is voided")
            }
            Some(response) => respond(asked, response, *amount),
        },
        Finish::Void { response } => match response {
            None if has_key => not_carried("only a refused connection frees a key"),
            None => respond(asked, &empty(500), None),
            Some(response) if response.status < 400 => {
                not_carried("a 2xx or 3xx of the upstream settles")
            }
            Some(response) => respond(asked, response, None),
        },
    }
}

/// What the upstream answers when nobody said how the request ends.
pub(crate) fn late_answer(asked: &Asked) -> Result<Vec<u8>, StepError> {
    respond(asked, &empty(200), None)
}

fn empty(status: u16) -> StoredResponse {
    StoredResponse { status, headers: Box::default(), body: Some(Box::default()) }
}

fn respond(
    asked: &Asked,
    response: &StoredResponse,
    amount: Option<Amount>,
) -> Result<Vec<u8>, StepError> {
    let too_long = vec![b'.'; MAX_RESPONSE_BODY + 1];
    let body = response.body.as_deref().unwrap_or(&too_long);
    let status = response.status;
    if status > 599 || (matches!(status, 204 | 304) && !body.is_empty()) {
        return not_carried("a response that HTTP does not have");
    }
    let mut bytes = format!("HTTP/1.1 {status} Said\r\n").into_bytes();
    for (name, value) in &response.headers {
        if asked.claims_key && name.eq_ignore_ascii_case("set-cookie") {
            return not_carried("Set-Cookie is never kept");
        }
        if !is_token(name.as_bytes()) || !is_value(value) {
            return not_carried("a response header that would be another one");
        }
        bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    if let Some(Amount(amount)) = amount {
        bytes.extend(format!("X-Charge: {amount}\r\n").into_bytes());
    }
    if !matches!(status, 204 | 304) {
        bytes.extend(format!("Content-Length: {}\r\n", body.len()).into_bytes());
    }
    bytes.extend(b"\r\n");
    if asked.method != b"HEAD" {
        bytes.extend(body);
    }
    Ok(bytes)
}
