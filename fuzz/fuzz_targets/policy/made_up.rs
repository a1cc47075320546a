//! A policy out of the fuzzer's bytes, near the bounds of what compiles.

use std::collections::BTreeMap;

use arbitrary::{Result, Unstructured};
use tollgate::{
    Algorithm, Amount, Counts, FailureMode, ForwardedHeader, IdempotencyOverrides, LimitConfig,
    OnExpiry, OnOrphan, Partition, PolicyConfig, ResetFormat, RouteConfig, RouteIdempotency,
    TokenFormat,
};

type Bytes<'b, 'a> = &'b mut Unstructured<'a>;

const ROUTES: &[&str] = &[
    "GET /messages",
    "POST /messages",
    "GET /messages/{id}",
    "GET /messages/{other}",
    "POST /codes",
    "HEAD /messages",
    "get /x",
    "GET /a/../b",
    "GET /a/",
    "GET /{a}/{a}",
    "GET /%2f",
    "M-SEARCH /",
    "GET",
    "GET /{a b}",
    "DELETE /a{b}",
];
const NAMES: &[&str] = &[
    "read",
    "sms:send",
    "a.b",
    "",
    "\"",
    "x y",
    "é",
    "limits",
    "token",
    "\u{1F600}",
    "[0]",
    "a\nb",
];
const NETWORKS: &[&str] = &[
    "10.0.0.0/8",
    "2001:db8::/32",
    "192.0.2.7",
    "::ffff:10.0.0.0/104",
    "::ffff:0:0/95",
    "10.0.0.1/8",
    "x",
    "::/0",
    "1.2.3.4/33",
];
const NUMBERS: &[u64] = &[
    0,
    1,
    2,
    7,
    60,
    999,
    1_000,
    60_000,
    86_400_000,
    1_000_000_000,
    1_000_000_001,
    34_560_000_000,
    34_560_000_001,
    i64::MAX as u64,
    u64::MAX,
];

fn word(bytes: Bytes<'_, '_>, words: &[&str]) -> Result<String> {
    if bytes.ratio(1, 12)? {
        return Ok(bytes.arbitrary::<&str>()?.to_owned());
    }
    Ok((*bytes.choose(words)?).to_owned())
}

fn number(bytes: Bytes<'_, '_>) -> Result<u64> {
    match bytes.int_in_range(0..=3)? {
        0 => bytes.arbitrary(),
        1 => bytes.int_in_range(1..=100),
        _ => Ok(*bytes.choose(NUMBERS)?),
    }
}

fn some<'a, T>(
    bytes: Bytes<'_, 'a>,
    make: impl FnOnce(Bytes<'_, 'a>) -> Result<T>,
) -> Result<Option<T>> {
    if bytes.arbitrary()? { make(bytes).map(Some) } else { Ok(None) }
}

fn words(bytes: Bytes<'_, '_>, of: &[&str]) -> Result<Vec<String>> {
    let count = bytes.int_in_range(0..=3)?;
    (0..count).map(|_| word(bytes, of)).collect()
}

fn map<'a, T>(
    bytes: Bytes<'_, 'a>,
    names: &[&str],
    mut make: impl FnMut(Bytes<'_, 'a>) -> Result<T>,
) -> Result<BTreeMap<String, T>> {
    let count = bytes.int_in_range(0..=4)?;
    (0..count).map(|_| Ok((word(bytes, names)?, make(bytes)?))).collect()
}

fn mode(bytes: Bytes<'_, '_>) -> Result<FailureMode> {
    bytes.choose(&[FailureMode::Closed, FailureMode::Open]).copied()
}

fn orphan(bytes: Bytes<'_, '_>) -> Result<OnOrphan> {
    bytes.choose(&[OnOrphan::Conflict, OnOrphan::Rerun]).copied()
}

fn expiry(bytes: Bytes<'_, '_>) -> Result<OnExpiry> {
    bytes.choose(&[OnExpiry::Void, OnExpiry::Settle, OnExpiry::Hold]).copied()
}

fn limit(bytes: Bytes<'_, '_>) -> Result<LimitConfig> {
    use Partition::*;
    let partitions = [Token, Account, SourceIp, TokenSourceIp, AccountSourceIp, Global];
    let algorithms = [Algorithm::Gcra, Algorithm::FixedWindow, Algorithm::SlidingWindow];
    Ok(LimitConfig {
        algorithm: *bytes.choose(&algorithms)?,
        burst: some(bytes, number)?,
        counts: *bytes.choose(&[Counts::Requests, Counts::Executions])?,
        routes: some(bytes, |bytes| words(bytes, ROUTES))?,
        cost: if bytes.arbitrary()? { 1 } else { number(bytes)? },
        token_override: some(bytes, |bytes| bytes.arbitrary())?,
        shadow: bytes.arbitrary()?,
        on_store_failure: mode(bytes)?,
        ..LimitConfig::new(*bytes.choose(&partitions)?, number(bytes)?, number(bytes)?)
    })
}

fn idempotency(bytes: Bytes<'_, '_>) -> Result<RouteIdempotency> {
    if bytes.arbitrary()? {
        return Ok(RouteIdempotency::Switch(bytes.arbitrary()?));
    }
    Ok(RouteIdempotency::Settings(IdempotencyOverrides {
        retention_ms: some(bytes, number)?,
        on_orphan: some(bytes, orphan)?,
        required: some(bytes, |bytes| bytes.arbitrary())?,
        on_store_failure: some(bytes, mode)?,
    }))
}

fn route(bytes: Bytes<'_, '_>) -> Result<RouteConfig> {
    Ok(RouteConfig {
        idempotency: some(bytes, idempotency)?,
        price: some(bytes, number)?.map(Amount),
        lease_ms: some(bytes, number)?,
        on_expiry: some(bytes, expiry)?,
        limit_costs: map(bytes, NAMES, number)?,
    })
}

pub fn policy(bytes: Bytes<'_, '_>) -> Result<PolicyConfig> {
    let mut config = PolicyConfig::default();
    if bytes.arbitrary()? {
        config.tokens.format = TokenFormat::Opaque;
    }
    config.source.trusted_proxies = words(bytes, NETWORKS)?;
    let headers = [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded];
    config.source.forwarded_header = *bytes.choose(&headers)?;
    config.source.shadow_networks = bytes.arbitrary()?;
    config.paths.fold_trailing_slash = bytes.arbitrary()?;
    config.scopes = map(bytes, NAMES, |bytes| words(bytes, ROUTES))?;
    config.limits = map(bytes, NAMES, limit)?;
    config.routes = map(bytes, ROUTES, route)?;
    if bytes.arbitrary()? {
        config.idempotency.retention_ms = number(bytes)?;
        config.idempotency.on_orphan = orphan(bytes)?;
        config.idempotency.required = bytes.arbitrary()?;
        config.idempotency.on_store_failure = mode(bytes)?;
        config.reservations.lease_ms = number(bytes)?;
        config.reservations.on_expiry = expiry(bytes)?;
        config.reservations.retention_ms = number(bytes)?;
        config.answers.problem_json = bytes.arbitrary()?;
        config.answers.x_ratelimit = bytes.arbitrary()?;
        config.answers.ietf_ratelimit = bytes.arbitrary()?;
        config.answers.reset = *bytes.choose(&[ResetFormat::Unix, ResetFormat::Delta])?;
        config.answers.realm = word(bytes, NAMES)?;
    }
    Ok(config)
}
