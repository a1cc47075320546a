//! Policies and steps out of the fuzzer's bytes, a few bytes for each: the same world as that of the core's tests.

use arbitrary::{Result, Unstructured};
use tollgate::{
    Algorithm, Amount, Counts, IdempotencyOverrides, LimitConfig, OnExpiry, OnOrphan, Partition,
    Period, PolicyConfig, RouteConfig, RouteIdempotency, TokenFormat,
};

use crate::model::{Cap, End, Response};
use crate::world::steps::{Asked, Clock, Probe, Step};

type Bytes<'b, 'a> = &'b mut Unstructured<'a>;

const ROUTES: [&str; 5] =
    ["GET /messages", "POST /messages", "POST /calls", "GET /messages/{id}", "POST /codes"];
const MOST_STEPS: usize = 120;

/// One in so many times: a byte of zero says no, so that what is left out is what happens mostly.
fn one_in(bytes: Bytes<'_, '_>, times: u8) -> Result<bool> {
    Ok(bytes.arbitrary::<u8>()? % times == times - 1)
}

fn some<'a, T>(
    bytes: Bytes<'_, 'a>,
    times: u8,
    make: impl FnOnce(Bytes<'_, 'a>) -> Result<T>,
) -> Result<Option<T>> {
    if one_in(bytes, times)? { make(bytes).map(Some) } else { Ok(None) }
}

fn below(bytes: Bytes<'_, '_>, most: u8) -> Result<usize> {
    Ok(usize::from(bytes.arbitrary::<u8>()? % most))
}

fn limit(bytes: Bytes<'_, '_>) -> Result<LimitConfig> {
    use Partition::*;
    let per = *bytes.choose(&[Token, Account, SourceIp, TokenSourceIp, AccountSourceIp, Global])?;
    let quota = bytes.int_in_range(1..=7)?;
    let window_ms = *bytes.choose(&[7_u64, 16, 999, 1_000, 1_600, 5_000, 60_000, 3_600_000])?;
    let algorithm =
        *bytes.choose(&[Algorithm::Gcra, Algorithm::FixedWindow, Algorithm::SlidingWindow])?;
    let burst =
        some(bytes, 2, |bytes| bytes.int_in_range(1..=8))?.filter(|_| algorithm == Algorithm::Gcra);
    let routes = some(bytes, 3, |bytes| {
        let of = bytes.int_in_range(1..=31)?;
        let named = ROUTES.iter().enumerate().filter(|(at, _)| of >> at & 1 == 1);
        Ok(named.map(|(_, route)| (*route).to_owned()).collect())
    })?;
    let of_token = matches!(per, Token | TokenSourceIp);
    Ok(LimitConfig {
        algorithm,
        burst,
        counts: if one_in(bytes, 3)? { Counts::Executions } else { Counts::Requests },
        routes,
        cost: bytes.int_in_range(1..=2)?.min(burst.unwrap_or(quota)),
        token_override: some(bytes, 2, |bytes| bytes.arbitrary())?.filter(|is| !is || of_token),
        shadow: one_in(bytes, 5)?,
        ..LimitConfig::new(per, quota, window_ms)
    })
}

fn settings(bytes: Bytes<'_, '_>) -> Result<RouteConfig> {
    let idempotency = match bytes.int_in_range(0..=5)? {
        0 => None,
        1 => Some(RouteIdempotency::Switch(bytes.arbitrary()?)),
        _ => Some(RouteIdempotency::Settings(IdempotencyOverrides {
            retention_ms: Some(*bytes.choose(&[3_000_u64, 60_000, 86_400_000])?),
            on_orphan: Some(*bytes.choose(&[OnOrphan::Rerun, OnOrphan::Conflict])?),
            required: Some(one_in(bytes, 5)?),
            on_store_failure: None,
        })),
    };
    let expiry = [OnExpiry::Void, OnExpiry::Settle, OnExpiry::Hold];
    Ok(RouteConfig {
        idempotency,
        price: some(bytes, 2, |bytes| bytes.int_in_range(0..=11))?.map(Amount),
        lease_ms: some(bytes, 2, |bytes| bytes.choose(&[1_u64, 1_000, 5_000, 300_000]).copied())?,
        on_expiry: some(bytes, 2, |bytes| bytes.choose(&expiry).copied())?,
        limit_costs: some(bytes, 3, |bytes| bytes.int_in_range(1..=2))?
            .map(|cost| ("a".to_owned(), cost))
            .into_iter()
            .collect(),
    })
}

/// A policy that compiles.
pub fn policy(bytes: Bytes<'_, '_>) -> Result<PolicyConfig> {
    let mut policy = PolicyConfig::default();
    policy.tokens.format = TokenFormat::Opaque;
    policy.source.shadow_networks = one_in(bytes, 5)?;
    policy.reservations.retention_ms = *bytes.choose(&[1_000_u64, 30_000, 604_800_000])?;
    let all = ROUTES.map(str::to_owned);
    policy.scopes.insert("read".into(), vec![all[0].clone(), all[3].clone()]);
    policy.scopes.insert("write".into(), all[1..].to_vec());
    let mut stated = false;
    for name in &["a", "b", "c", "d"][..below(bytes, 5)?] {
        let mut limit = limit(bytes)?;
        // A token has one quota of its own, so at most one limit takes it.
        if limit.token_override == Some(true) && std::mem::replace(&mut stated, true) {
            limit.token_override = None;
        }
        policy.limits.insert((*name).to_owned(), limit);
    }
    for route in &ROUTES[1..] {
        let mut settings = settings(bytes)?;
        match policy.limits.get("a") {
            Some(limit) => {
                let most = limit.burst.unwrap_or(limit.quota);
                settings.limit_costs.values_mut().for_each(|cost| *cost = (*cost).min(most));
            }
            None => settings.limit_costs.clear(),
        }
        policy.routes.insert((*route).to_owned(), settings);
    }
    Ok(policy)
}

fn clock(bytes: Bytes<'_, '_>) -> Result<Clock> {
    const AROUND: &[i64] = &[-1, 0, 1, 500];
    const AHEAD: &[u64] = &[1, 999, 1_000, 3_000, 5_000, 5_001, 30_000, 60_000, 300_000];
    Ok(match bytes.int_in_range(0..=9)? {
        0 => Clock::Stay,
        1 | 2 => Clock::Ahead(bytes.int_in_range(1..=30)?),
        3 => Clock::Ahead(bytes.int_in_range(100..=2_500)?),
        4 | 5 => Clock::Ahead(*bytes.choose(AHEAD)?),
        6 => Clock::Back(bytes.int_in_range(1..=50_000)?),
        7 => Clock::Second(*bytes.choose(AROUND)?),
        8 => Clock::Day(*bytes.choose(AROUND)?),
        _ => Clock::Month(*bytes.choose(AROUND)?),
    })
}

fn request(bytes: Bytes<'_, '_>) -> Result<Step> {
    let asked = Asked {
        // Of zero and one, which are nobody and a stranger, there are few.
        token: if one_in(bytes, 12)? { below(bytes, 2)? } else { 2 + below(bytes, 10)? },
        route: below(bytes, 6)?,
        query: one_in(bytes, 10)?,
        source: below(bytes, 5)?,
        key: below(bytes, 7)?,
        body: u8::from(one_in(bytes, 7)?),
        cost: some(bytes, 3, |bytes| bytes.int_in_range(0..=29))?,
        sender: some(bytes, 5, |bytes| bytes.int_in_range(0..=1))?,
        invalid: one_in(bytes, 12)?,
    };
    let probe = match below(bytes, 8)? {
        6 => Probe::Peek,
        7 => Probe::Explain,
        _ => Probe::No,
    };
    Ok(Step::Request(asked, probe))
}

fn response(bytes: Bytes<'_, '_>) -> Result<Option<Response>> {
    some(bytes, 2, |bytes| {
        let body: Option<&[u8]> = *bytes.choose(&[Some(&b"sent"[..]), Some(b"failed"), None])?;
        Ok(Response { status: *bytes.choose(&[201, 500])?, body: body.map(<[u8]>::to_vec) })
    })
}

fn end(bytes: Bytes<'_, '_>) -> Result<End> {
    Ok(match below(bytes, 8)? {
        0..=3 => End::Settle {
            amount: some(bytes, 3, |bytes| bytes.int_in_range(0..=14))?,
            response: response(bytes)?,
        },
        4..=6 => End::Void { response: response(bytes)? },
        _ => End::Unknown,
    })
}

fn networks(bytes: Bytes<'_, '_>) -> Result<Option<Vec<ipnet::IpNet>>> {
    some(bytes, 2, |bytes| {
        let list: &[&str] = match below(bytes, 5)? {
            0 => &["192.0.2.0/24"],
            1 => &["192.0.2.8/32", "2001:db8:1:2::/64"],
            _ => &[],
        };
        Ok(list.iter().map(|text| text.parse().unwrap()).collect())
    })
}

fn caps(bytes: Bytes<'_, '_>) -> Result<Option<Vec<Cap>>> {
    some(bytes, 2, |bytes| {
        let count = below(bytes, 3)?;
        let cap = |bytes: Bytes<'_, '_>| {
            Ok(Cap {
                per: *bytes.choose(&[Period::Day, Period::Month, Period::Lifetime])?,
                amount: bytes.int_in_range(0..=59)?,
                shadow: one_in(bytes, 4)?,
            })
        };
        (0..count).map(|_| cap(bytes)).collect()
    })
}

fn step(bytes: Bytes<'_, '_>) -> Result<Step> {
    const QUOTAS: &[(u64, u64)] = &[(0, 1_000), (1, 1_000), (3, 1_000), (9, 60_000), (2, 250)];
    Ok(match bytes.arbitrary::<u8>()? % 32 {
        0..=5 => Step::Clock(clock(bytes)?),
        6..=16 => request(bytes)?,
        17..=22 => {
            Step::Finish { which: below(bytes, 8)?, end: end(bytes)?, operator: one_in(bytes, 4)? }
        }
        23 => Step::Deposit { account: below(bytes, 3)?, amount: bytes.int_in_range(0..=49)? },
        24 => Step::Refund {
            which: below(bytes, 8)?,
            amount: bytes.int_in_range(0..=7)?,
            reference: bytes.int_in_range(0..=2)?,
        },
        25 => Step::Account {
            account: below(bytes, 3)?,
            networks: networks(bytes)?,
            caps: caps(bytes)?,
            senders: some(bytes, 2, |bytes| {
                Ok(if bytes.arbitrary()? { vec!["sender-0".to_owned()] } else { Vec::new() })
            })?,
        },
        26 | 27 => Step::Token {
            token: below(bytes, 8)?,
            networks: networks(bytes)?,
            quota: some(bytes, 2, |bytes| some(bytes, 2, |bytes| bytes.choose(QUOTAS).copied()))?,
            caps: caps(bytes)?,
            expires_in_ms: some(bytes, 5, |bytes| {
                some(bytes, 2, |bytes| bytes.choose(&[0_u64, 1_000, 20_000]).copied())
            })?,
        },
        28 => Step::Revoke { token: below(bytes, 8)? },
        29 => {
            Step::Rotate { token: below(bytes, 8)?, grace_ms: *bytes.choose(&[0_u64, 1, 5_000])? }
        }
        30 => Step::Expire,
        _ => Step::Reload(Box::new(policy(bytes)?)),
    })
}

/// Steps as long as there are bytes.
pub fn steps(bytes: Bytes<'_, '_>) -> Vec<Step> {
    let mut steps = Vec::new();
    while !bytes.is_empty() && steps.len() < MOST_STEPS {
        let Ok(step) = step(bytes) else { break };
        steps.push(step);
    }
    steps
}
